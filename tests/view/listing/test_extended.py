"""The listing of extended code: golden cases, reading back, and equality with the plain printer on programs longer than a chunk."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.isa.extended.table import ROWS, Row
from bpflens.isa.extended.text import format_word, is_pair
from bpflens.program import Function, Isa, Map, Origin, Program, Relocation, SourceLine
from bpflens.view.listing.arrows import MAX_LANES, draw
from bpflens.view.listing.extended import ListingOptions, listing
from golden import Case, cases, check

VARIABLES = {0: ("limit", 4, "const int"), 4: ("fmt", 10, "const char[10]")}
RODATA = Map(".rodata", 2, 4, 16, 1, data=b"\5\0\0\0hello %d\n\0\0\0", datasec=VARIABLES)
BSS = Map("prog.bss", 2, 4, 8, 1, id=7, datasec={0: ("counter", 4, "int"), 4: ("other", 4, "int")})
COUNTERS = Map("counters", 1, 4, 8, 16, id=12)


def program(code: bytes | str, **fields) -> Program:
    code = assemble(code) if isinstance(code, str) else code
    return Program(isa=Isa.EXTENDED, code=code, origin=Origin("raw", "test"), **fields)


def text_of(shown: Program, **options) -> str:
    return "".join(listing(shown, ListingOptions(**options)))


@pytest.mark.parametrize("case", cases("listing"))
def test_golden(case: Case, request: pytest.FixtureRequest) -> None:
    """[in] is assembler text, [options] are those of ListingOptions, [about] fields of the program."""
    scope = {"Function": Function, "Relocation": Relocation, "SourceLine": SourceLine, "RODATA": RODATA, "BSS": BSS, "COUNTERS": COUNTERS}
    about = eval(f"dict({case.sections.get('about', '')})", scope)
    options = eval(f"dict({case.sections.get('options', '')})")
    shown = program(case.input, **about)

    check(case, text_of(shown, **options), request)
    assert assemble(text_of(shown, **options)) == shown.code


WORDS = st.one_of(
    st.sampled_from(ROWS).flatmap(lambda row: st.integers(0, (1 << 64) - 1).map(lambda free: row.value | ~row.mask & free & (1 << 64) - 1)),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from((0x18, 0, 0x05, 0x0000_0001_0000_0015, 0xFFFF_0005, 0x95, 0x0001_0005)),
)


OPTIONS = st.fixed_dictionaries({"raw_insn": st.booleans(), "labels": st.booleans(), "arrows": st.booleans(), "prototypes": st.booleans()})


@given(st.lists(WORDS, min_size=1, max_size=24), st.sampled_from(("kernel", "llvm")), OPTIONS, st.booleans())
def test_any_listing_reads_back(code: list[int], dialect: str, options: dict[str, bool], xlated: bool) -> None:
    shown = program(b"".join(word.to_bytes(8, "little") for word in code), xlated=xlated)
    text = text_of(shown, dialect=dialect, **options)

    assert assemble(text, dialect) == shown.code


PLAIN_CODE = st.lists(st.sampled_from([row for row in ROWS if row.slots == 1 and row.group != "llvm"]), min_size=4, max_size=24)


@given(PLAIN_CODE, st.sampled_from(("kernel", "llvm")), st.integers(0, (1 << 64) - 1))
def test_the_dialect_of_a_listing_shows(rows: list[Row], dialect: str, free: int) -> None:
    """Reading back needs no option: kernel listings have an opcode column."""
    code = [row.value | ~row.mask & free & (1 << 64) - 1 for row in rows] + [0x0000_0005_0000_01B7]
    shown = program(b"".join(word.to_bytes(8, "little") for word in code))

    assert assemble(text_of(shown, dialect=dialect)) == shown.code


@given(st.binary(max_size=40))
def test_any_bytes_are_listed(code: bytes) -> None:
    text = text_of(program(code))

    assert assemble(text) == code[: len(code) & ~7]
    assert ("bytes after the last instruction" in text) == bool(len(code) & 7)


@pytest.mark.parametrize("seed", range(3))
def test_long_programs_equal_the_plain_printer(seed: int) -> None:
    """Longer than three chunks, with ld_imm64 across their borders."""
    dice = random.Random(seed)
    code: list[int] = []
    while len(code) < 3300:
        kind = dice.random()
        if kind < 0.3 or len(code) % 1000 == 999:
            code += [0x18 | dice.randrange(10) << 8 | dice.getrandbits(32) << 32, dice.getrandbits(2) << 32]
        elif kind < 0.5:
            code.append(0x15 | dice.randrange(10) << 8 | (dice.randrange(-60, 60) & 0xFFFF) << 16 | dice.getrandbits(8) << 32)
        else:
            code.append(0x07 | dice.randrange(10) << 8 | dice.getrandbits(4) << 32)
    shown = program(b"".join(word.to_bytes(8, "little") for word in code))
    lines = [line for line in text_of(shown, arrows=False).splitlines() if not line.startswith("L")]
    slots = words(shown.code)
    at = 0
    for line in lines:
        number, _, rest = line.partition(": ")
        following = slots[at + 1] if at + 1 < len(slots) else None
        text = f"({slots[at] & 0xFF:02x}) {format_word(slots[at], following)}"

        assert int(number) == at
        assert rest.startswith(text)
        at += 2 if is_pair(slots[at], following) else 1
    assert at == len(slots)
    labelled = [int(line[1:-1]) for line in text_of(shown, arrows=False).splitlines() if line.startswith("L")]
    assert labelled == sorted(set(labelled))


def test_a_range_is_part_of_the_whole() -> None:
    shown = program("r0 = 0\nr1 = 0x100000000\nif r0 == 0x0 goto pc+1\nr0 = 1\nexit")
    whole = [line for line in text_of(shown).splitlines() if not line.startswith("L")]

    assert text_of(shown, start=1, stop=4).splitlines() == whole[1:3]
    assert text_of(shown, start=2, stop=4).splitlines() == whole[2:3]
    assert text_of(shown, start=9) == ""


def test_many_distinct_words_do_not_fill_the_cache() -> None:
    from bpflens.view.listing import extended as module

    code = b"".join((0x07 | n << 32).to_bytes(8, "little") for n in range(80_000))
    text = text_of(program(code), arrows=False)

    assert text.count("\n") == 80_000
    assert all(len(bodies) <= module.CACHED_WORDS for bodies in module._shared_bodies.values())


def test_arrows_share_lanes_and_nest() -> None:
    assert draw(6, [(0, 3), (2, 5)]) == ["┌── ", "│   ", "│┌─ ", "└┼▸ ", " │  ", " └▸ "]
    assert draw(3, [(0, 2), (1, 2)]) == ["┌─ ", "├─ ", "└▸ "]
    assert draw(2, [(1, 1)]) is None


def test_no_more_lanes_than_fit() -> None:
    jumps = [(n, 40 + n) for n in range(20)]
    margins = draw(60, jumps)

    assert margins is not None
    assert {len(margin) for margin in margins} == {MAX_LANES + 2}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_every_lane_is_drawn_through(jumps: list[tuple[int, int]]) -> None:
    """Between the ends of an arrow there is no gap, and nothing but arrows is drawn."""
    margins = draw(31, sorted(jumps))
    if margins is None:
        assert all(slot == target for slot, target in jumps)
        return
    assert len({len(margin) for margin in margins}) == 1
    assert set("".join(margins)) <= set(" │┌└├─┼┬┴▸")
    targets = {target for slot, target in jumps if slot != target}
    assert {n for n, margin in enumerate(margins) if "▸" in margin} <= targets
