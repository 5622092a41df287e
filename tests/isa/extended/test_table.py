"""The table of extended instructions: no overlap, no holes, and agreement with an independent list of RFC 9669's opcodes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bpflens.isa.extended.table import CONFORMANCE_GROUPS, ROWS, explain_unknown, lookup, reads, writes

BY_NAME = {row.name: row for row in ROWS}


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(ROWS)


def test_no_two_rows_match_one_word() -> None:
    for a, b in itertools.combinations(ROWS, 2):
        common = a.mask & b.mask
        apart = (a.value ^ b.value) & common
        # what one row wants to be non-zero, the other fixes at zero
        apart = apart or (a.nonzero and not b.value & a.nonzero and b.mask & a.nonzero == a.nonzero)
        apart = apart or (b.nonzero and not a.value & b.nonzero and a.mask & b.nonzero == b.nonzero)
        assert apart, (a.name, b.name)


def test_every_class_of_words_matches_at_most_one_row() -> None:
    """All opcodes, all source registers, the offsets and immediates that distinguish forms."""
    offs = (0, 1, 8, 16, 32, 7, 0xFFFF)
    imms = (0, 1, 8, 16, 32, 64, 7, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1, 0x100, 0x110, 0xFFFFFFFF)
    for code in range(256):
        rows = [row for row in ROWS if row.value & 0xFF == code]
        for dst, src, off, imm in itertools.product((0, 1), (0, 1, 2, 3, 4, 5, 6, 7, 15), offs, imms):
            word = code | dst << 8 | src << 12 | off << 16 | imm << 32
            matching = [row for row in rows if row.matches(word)]

            assert len(matching) <= 1, (hex(word), matching)
            assert lookup(word) is (matching[0] if matching else None)


def rfc_words() -> list[tuple[str, int]]:
    """(conformance group, word) of every instruction of RFC 9669, written down from its text and not from our table.

    Section 4.3 leaves the group of EXIT open ("JMP ... base64 ... unless otherwise specified"); no program can do without it.
    """
    out: list[tuple[str, int]] = []

    def add(group: str, code: int, src: int = 0, off: int = 0, imm: int = 0) -> None:
        out.append((group, code | src << 12 | (off & 0xFFFF) << 16 | imm << 32))

    for low, bits in ((0x4, 32), (0x7, 64)):
        for high in (0x0, 0x1, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB, 0xC):
            add(f"base{bits}", high << 4 | low, imm=5)
            add(f"base{bits}", high << 4 | 8 | low, src=2)
        for high in (0x2, 0x3, 0x9):
            add(f"divmul{bits}", high << 4 | low, imm=5)
            add(f"divmul{bits}", high << 4 | 8 | low, src=2)
        for high in (0x3, 0x9):
            add(f"divmul{bits}", high << 4 | low, off=1, imm=5)
            add(f"divmul{bits}", high << 4 | 8 | low, src=2, off=1)
        add(f"base{bits}", 0x80 | low)
        for width in (8, 16):
            add(f"base{bits}", 0xB8 | low, src=2, off=width)
    add("base64", 0xBF, src=2, off=32)
    for code in (0xD4, 0xDC, 0xD7):
        for width in (16, 32, 64):
            add("base64" if width == 64 else "base32", code, imm=width)
    for low, bits in ((0x5, 64), (0x6, 32)):
        for high in (0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB, 0xC, 0xD):
            add(f"base{bits}", high << 4 | low, off=3, imm=5)
            add(f"base{bits}", high << 4 | 8 | low, src=2, off=3)
    add("base32", 0x05, off=3)
    add("base32", 0x06, imm=3)
    for src in (0, 1, 2):
        add("base32", 0x85, src=src, imm=9)
    add("base32", 0x95)
    for src in range(7):
        add("base64", 0x18, src=src, imm=9)
    for code in (0x20, 0x28, 0x30):
        add("packet", code, imm=9)
        add("packet", code + 0x20, src=2)
    for size, bits in ((0x61, 32), (0x69, 32), (0x71, 32), (0x79, 64)):
        add(f"base{bits}", size, src=2, off=4)
        add(f"base{bits}", size + 1, off=4, imm=5)
        add(f"base{bits}", size + 2, src=2, off=4)
    for code in (0x81, 0x89, 0x91):
        add("base32", code, src=2, off=4)
    for code, bits in ((0xC3, 32), (0xDB, 64)):
        for imm in (0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1):
            add(f"atomic{bits}", code, src=2, off=4, imm=imm)
    return out


@pytest.mark.parametrize(("group", "word"), rfc_words())
def test_every_instruction_of_the_rfc_has_a_row(group: str, word: int) -> None:
    row = lookup(word)

    assert row is not None, explain_unknown(word)
    assert row.group == group


def test_rows_outside_of_the_rfc_are_marked() -> None:
    named = {lookup(word).name for _, word in rfc_words()}  # type: ignore[union-attr]
    rest = {row.name for row in ROWS if row.group not in ("linux", "internal", "llvm")} - named

    assert not rest


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_complete(row) -> None:
    assert row.group in CONFORMANCE_GROUPS
    assert row.since == "none" or row.since.startswith("v")
    assert row.doc and row.semantics
    assert row.control in ("", "goto", "cond", "call", "exit", "switch")
    assert row.value & ~row.mask == 0
    operands = {"dst", "src", "mem", "skb", *(f"r{n}" for n in range(11))}
    assert operands >= {*row.reads, *row.writes}
    for name, field in (("dst", 0xF00), ("src", 0xF000)):
        if name in (*row.reads, *row.writes):
            assert row.mask & field == 0, f"{name} is used and fixed"


@pytest.mark.parametrize(
    ("word", "read", "written"),
    [
        (0x210F, {"r1", "r2"}, {"r1"}),  # r1 += r2
        (0x00B7, set(), {"r0"}),  # r0 = 0
        (0x1A7B, {"r10", "r1"}, {"mem"}),  # *(u64 *)(r10 +0) = r1
        (0x41_0000_10DB, {"r0", "r1", "mem"}, {"r1", "mem"}),  # fetch_or
        (0xF1_0000_21DB, {"r0", "r1", "r2", "mem"}, {"r0", "mem"}),  # cmpxchg
        (0x85, {"r1", "r2", "r3", "r4", "r5"}, {"r0", "r1", "r2", "r3", "r4", "r5"}),
        (0x95, {"r0"}, set()),
        (0xFF, set(), set()),
    ],
)
def test_reads_and_writes(word: int, read: set[str], written: set[str]) -> None:
    assert reads(word) == read
    assert writes(word) == written


def document() -> str:
    """docs/extended-instructions.md, from the table."""
    lines = [
        "# The extended instruction set",
        "",
        "Made from `src/bpflens/isa/extended/table.py`; `pytest tests/isa/extended/test_table.py --update` writes it anew.",
        "A field that may hold anything is `any`; the destination register is free where the text names it, else 0.",
        "",
        "Every other word prints as `.quad 0x...` with the reason, and assembles back. Among these are words that some tool knows:",
        "callx with the register in imm, as LLVM 14 encodes it, and what virtual machines other than Linux have added (sBPF: uhmul, shmul,",
        "lmul, udiv ...).",
    ]
    for group, meaning in CONFORMANCE_GROUPS.items():
        lines += ["", f"## {group}: {meaning}", ""]
        lines += ["| code | src | off | imm | kernel | llvm | effect | since | source |", f"|{'---|' * 9}"]
        for row in ROWS:
            if row.group == group:
                code = f"{row.value & 0xFF:#04x}"
                fields = [
                    field(row.mask, row.value, shift, bits) + ("≠0" if row.nonzero >> shift & 1 else "")
                    for shift, bits in ((12, 4), (16, 16), (32, 32))
                ]
                texts = [f"`{text}`".replace("|", "\\|") for text in (row.kernel, row.llvm)]
                cells = [code, *fields, *texts, row.semantics.replace("|", "\\|"), row.since, row.doc.replace("|", "\\|")]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def field(mask: int, value: int, shift: int, bits: int) -> str:
    every = (1 << bits) - 1
    return f"{value >> shift & every:#x}" if mask >> shift & every == every else "any"


def test_document_is_current(request: pytest.FixtureRequest) -> None:
    path = Path(__file__).parents[3] / "docs" / "extended-instructions.md"
    if request.config.getoption("--update"):
        path.write_text(document())

    assert path.read_text() == document()


def test_unknown_words_say_why() -> None:
    assert explain_unknown(0x8E) == "unknown opcode 0x8e"
    assert explain_unknown(0x2_0000_008D) == "callx r2 as older LLVM encodes it, which no kernel takes"
    assert explain_unknown(0xB_0000_008D) == "opcode 0x8d has no form with imm 0xb"
    assert explain_unknown(0x30B7) == "opcode 0xb7 has no form with src_reg 3"
