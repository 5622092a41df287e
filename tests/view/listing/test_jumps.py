"""Jumps found without an object per instruction, and the text of single words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words_of
from bpflens.isa.extended.text import format_word
from bpflens.view.listing.bodies import CACHED_WORDS, Bodies, ListingOptions
from bpflens.view.listing.jumps import FUNCTION, SECOND_SLOT, TARGET, find_jumps, signed

# call pc+2; r1 = function at pc+4 (ld_imm64); if r1 goto +1; goto -2; exit ...
TEXT = "call pc+5\nr1 = 5 ll\nif r1 != 0 goto pc+1\ngoto pc-2\nexit\nr0 = 1\nexit"


def found(code: bytes, functions: dict[int, str] | None = None, related: frozenset[int] = frozenset()):
    return find_jumps(code, words_of(code), functions or {}, related)


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 40))
def test_twos_complement(value: int, bits: int) -> None:
    assert (signed(value, bits) - value) % (1 << bits) == 0 and -(1 << bits - 1) <= signed(value, bits) < 1 << bits - 1


def test_where_everything_goes() -> None:
    """Slots and targets in order; the second half of a constant and the start of a function have flags of their own."""
    flags, jumps = found(assemble(TEXT), {6: "f"})
    assert list(flags) == [0, 0, SECOND_SLOT, TARGET, 0, TARGET, FUNCTION, 0]
    assert (list(jumps.slots), list(jumps.targets), jumps.odd) == ([3, 4], [5, 3], {})
    assert (list(jumps.pairs), list(jumps.calls), list(jumps.called), list(jumps.functions)) == ([1], [0], [6], [])


def test_jumps_out_and_into_constants() -> None:
    """They are told apart: no label can stand there."""
    flags, jumps = found(assemble("goto pc+100\nr1 = 5 ll\ngoto pc-2\ngoto pc-9\nexit"))
    assert jumps.odd == {0: 101, 3: 2, 4: -4} and list(jumps.slots) == [] and list(flags) == [0, 0, SECOND_SLOT, 0, 0, 0]


def test_a_call_that_is_not_in_the_code_yet() -> None:
    """The loader puts the distance in: the slot has a relocation."""
    _, jumps = found(assemble(TEXT), related=frozenset((0,)))
    assert list(jumps.calls) == [] == list(jumps.called)


def test_code_within_other_bytes() -> None:
    """What looks like a constant or a call counts at the beginning of a slot only."""
    number = int.from_bytes(bytes.fromhex("18000000"), "little")
    code = assemble(f"r1 = {number}\nr2 = 133\nexit")
    flags, jumps = found(code)
    assert not any(flags) and not jumps.pairs and not jumps.calls


def test_the_text_of_a_word() -> None:
    """As the plain printer gives it, with the opcode in the kernel's dialect; made once."""
    bodies = Bodies(ListingOptions(), "id")
    for text in ("r0 = 1", "w1 += w2", "exit", "r1 = *(u16 *)(r2 +8)", "goto pc+3"):
        word = int.from_bytes(assemble(text)[:8], "little")
        assert bodies[word] == f"({word & 0xFF:02x}) {format_word(word)}" and word in bodies
    unknown = 0xFF
    assert bodies[unknown].startswith("(ff) ") and " ; " in bodies[unknown] and len(bodies) < CACHED_WORDS


def test_dialects() -> None:
    """llvm names the helper beside its call; raw shows numbers; the bytes stand before."""
    call = int.from_bytes(assemble("call 5"), "little")
    llvm = Bodies(ListingOptions(dialect="llvm", arrows=False), "id")[call]
    assert llvm.startswith("call 0x5") and llvm.endswith("; bpf_ktime_get_ns")
    assert Bodies(ListingOptions(dialect="llvm", arrows=False, notes=False), "id")[call] == "call 0x5"
    raw = Bodies(ListingOptions(dialect="raw"), "id")
    assert raw[call] == format_word(call, None, "raw")
    assert Bodies(ListingOptions(raw_insn=True), "id")[call].startswith("85 00 00 00 05 00 00 00  (85) call")


def test_constants_of_two_slots() -> None:
    """In one line, with their bytes in two; a half alone is said to be one."""
    code = assemble("r1 = 0x500000007 ll")
    first, second = (int.from_bytes(code[at : at + 8], "little") for at in (0, 8))
    plain, with_bytes = Bodies(ListingOptions(), "id"), Bodies(ListingOptions(raw_insn=True), "id")
    assert plain.pair(first, second) == "(18) r1 = 0x500000007"
    lines = with_bytes.pair(first, second).splitlines()
    assert lines[0] == f"{code[:8].hex(' ')}  (18) r1 = 0x500000007" and lines[1].strip() == code[8:].hex(" ")
    assert plain.lone_half(first).endswith("; ld_imm64 without its second half")
    assert with_bytes.lone_half(first).startswith(code[:8].hex(" "))
    assert Bodies(ListingOptions(dialect="raw"), "id").pair(first, second).count("\n") == 1
    small = int.from_bytes(assemble("r1 = 5 ll")[:8], "little")
    assert plain[small] == plain.pair(small, 0)
