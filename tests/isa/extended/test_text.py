"""Printing and assembling extended code: all that is printed reads back to the same bytes; llvm-objdump agrees where it is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import needs
import oracles
from bpflens.errors import InputError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import Insn, decode, encode
from bpflens.isa.extended.table import ROWS, Row, lookup
from bpflens.isa.extended.text import format_insn, format_word
from golden import Case, cases, check

FREE = st.one_of(st.just(0), st.just((1 << 64) - 1), st.integers(0, (1 << 64) - 1))


def word_of(row: Row, free: int) -> int:
    """A word of the row's form with these bits in its free fields."""
    word = row.value | ~row.mask & free & (1 << 64) - 1
    return word if not row.nonzero or word & row.nonzero else word | 1 << 16


def bytes_of(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


@pytest.mark.parametrize("dialect", ["kernel", "llvm"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_form_reads_back(row: Row, dialect: str) -> None:
    for free in (0, (1 << 64) - 1, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0x8000000080008000, 0x7FFFFFFF7FFF7F00, 0x12345678FFF0A300):
        word = word_of(row, free)
        following = free >> 32 << 32 if row.slots == 2 else None
        for map_by in ("fd", "id"):
            text = format_word(word, following, dialect, map_by)

            assert not text.startswith(".quad"), text
            assert assemble(text, dialect) == bytes_of(word, *([following] if following is not None else []))


@given(st.sampled_from(ROWS), FREE, st.integers(0, (1 << 32) - 1), st.sampled_from(("kernel", "llvm")))
def test_any_word_of_a_form_reads_back(row: Row, free: int, high: int, dialect: str) -> None:
    word = word_of(row, free)
    words = (word, high << 32) if row.slots == 2 else (word,)
    text = format_word(word, words[1] if row.slots == 2 else None, dialect)

    assert lookup(word) is row
    assert assemble(text, dialect) == bytes_of(*words)


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=6), st.sampled_from(("kernel", "llvm", "raw")))
def test_any_words_at_all_read_back(words: list[int], dialect: str) -> None:
    insns = decode(bytes_of(*words))
    lines, slot = [], 0
    while slot < len(insns):
        following = insns[slot + 1] if slot + 1 < len(insns) else None
        lines.append(format_insn(insns[slot], following, dialect))
        row = lookup(insns[slot].word)
        slot += 2 if dialect != "raw" and row is not None and row.slots == 2 and not lines[-1].startswith(".quad") else 1

    assert assemble("\n".join(lines), None if dialect == "raw" else dialect) == bytes_of(*words)


@given(st.binary(max_size=64))
def test_decode_and_encode(code: bytes) -> None:
    assert encode(decode(code)) == code[: len(code) // 8 * 8]


@given(st.text(max_size=60))
def test_any_text_gives_code_or_an_input_error(text: str) -> None:
    try:
        assemble(text)
    except InputError as error:
        assert str(error).startswith("text:")


@given(st.sampled_from(ROWS), FREE, st.text(alphabet="0123456789abcdefrwx +-*/=<>()[]#:;.,", max_size=4), st.integers(0, 30))
def test_damaged_lines_give_code_or_an_input_error(row: Row, free: int, damage: str, at: int) -> None:
    text = format_word(word_of(row, free), 0, "kernel")
    try:
        code = assemble(text[:at] + damage + text[at + len(damage) :])
    except InputError:
        return
    assert len(code) % 8 == 0


@pytest.mark.parametrize("case", cases("extended_text"))
def test_golden_text(case: Case, request: pytest.FixtureRequest) -> None:
    """[in] is hex bytes, [out] the text in both dialects."""
    insns = decode(bytes.fromhex(case.input))
    lines = []
    for dialect in ("kernel", "llvm"):
        skip = False
        for i, insn in enumerate(insns):
            if not skip:
                following = insns[i + 1] if i + 1 < len(insns) else None
                text = format_insn(insn, following, dialect)
                lines.append(f"{dialect:7} {text}")
                skip = insn.code == 0x18 and not text.startswith(".quad")
            else:
                skip = False
    check(case, "\n".join(lines), request)


@pytest.mark.parametrize("case", cases("extended_asm"))
def test_golden_assembly(case: Case, request: pytest.FixtureRequest) -> None:
    """[in] is text, [out] hex bytes or the error."""
    try:
        code = assemble(case.input)
    except InputError as error:
        check(case, f"{error}" + (f"\nhint: {error.hint}" if error.hint else ""), request)
        return
    check(case, "\n".join(code[at : at + 8].hex(" ") for at in range(0, len(code), 8)), request)


def test_llvm_objdump_agrees_on_every_form(tmp_path: Path) -> None:
    """Word by word; where it does not, the fault has a name, and the fault is really there."""
    needs.tool("llvm-objdump"), needs.tool("llvm-mc")
    words: list[int] = []
    expected: dict[int, tuple[Row, str]] = {}
    for row in ROWS:
        for free in (0x0000000300042100, 0xFFFFFFF0FFF8A600):
            word = word_of(row, free)
            following = free >> 32 << 32 if row.slots == 2 else None
            expected[len(words)] = (row, format_word(word, following, "llvm"))
            words += [word] if following is None else [word, following]
    theirs = oracles.llvm_lines(bytes_of(*words), tmp_path)
    wrong = []
    agreeing = 0
    for slot, (row, ours) in expected.items():
        fault = oracles.llvm_fault(row.name)
        if fault is None:
            if theirs.get(slot) == ours:
                agreeing += 1
            else:
                wrong.append((row.name, ours, theirs.get(slot)))
        else:
            assert fault in oracles.LLVM_14_FAULTS
            if theirs.get(slot) == ours:
                wrong.append((row.name, ours, f"llvm-objdump is right, the fault {fault!r} is not there"))

    assert not wrong, "\n".join(map(str, wrong))
    assert agreeing > 200


def test_insn_is_interned_and_immutable() -> None:
    insn = Insn.make(0xB7, dst=1, imm=-1)

    assert insn is Insn(insn.word)
    assert (insn.code, insn.dst, insn.src, insn.off, insn.imm) == (0xB7, 1, 0, 0, -1)
    with pytest.raises(AttributeError):
        insn.imm = 2  # type: ignore[misc]
