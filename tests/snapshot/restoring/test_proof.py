"""Images compared slot by slot: map ids are mapped, addresses of the program itself are let pass and counted, all else is a difference."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended.insn import words
from bpflens.snapshot.restoring.proof import _difference


def slots(*code: tuple[int, int, int, int, int]) -> list[int]:
    return list(words(b"".join(struct.pack("<BBhi", opcode, dst | src << 4, off, imm) for opcode, dst, src, off, imm in code)))


def load(dst: int, src: int, value: int) -> tuple[tuple[int, int, int, int, int], ...]:
    low, high = value & 0xFFFFFFFF, value >> 32
    return (0x18, dst, src, 0, low - ((low & 1 << 31) << 1)), (0, 0, 0, 0, high - ((high & 1 << 31) << 1))


EXIT = (0x95, 0, 0, 0, 0)


def test_map_ids_are_mapped() -> None:
    then, now = slots(*load(1, 1, 7), EXIT), slots(*load(1, 1, 900), EXIT)
    assert _difference(then, now, {900: 7}) == (None, 0)
    assert _difference(then, now, {900: 8}) == (0, 0)
    assert _difference(then, now, {}) == (0, 0)


def test_offsets_of_values_are_compared() -> None:
    then, now = slots(*load(1, 2, 7 | 4 << 32), EXIT), slots(*load(1, 2, 900 | 8 << 32), EXIT)
    assert _difference(then, now, {900: 7}) == (0, 0)


def test_addresses_of_the_program_itself() -> None:
    then, now = slots(*load(3, 0, 0xFFFF888101234560), EXIT), slots(*load(3, 0, 0xFFFFC90001234560), EXIT)
    assert _difference(then, now, {}) == (None, 1)
    other = slots(*load(3, 0, 0xFFFFFFFF81234560), EXIT)  # the kernel's text: another function
    assert _difference(then, other, {}) == (0, 0)
    assert _difference(slots(*load(3, 0, 5), EXIT), slots(*load(3, 0, 6), EXIT), {}) == (0, 0)
    assert _difference(then, slots(*load(4, 0, 0xFFFFC90001234560), EXIT), {}) == (0, 0)  # another register


def test_length() -> None:
    assert _difference(slots(EXIT), slots(EXIT, EXIT), {}) == (1, 0)


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=30), st.data())
def test_any_other_change_is_seen(code: list[int], data: st.DataObject) -> None:
    """One flipped bit of one slot, unless both readings are addresses of the kernel."""
    slot = data.draw(st.integers(0, len(code) - 1))
    changed = list(code)
    changed[slot] ^= 1 << data.draw(st.integers(0, 63))
    assert _difference(code, code, {}) == (None, 0)
    first, own = _difference(code, changed, {})
    assert first is not None or own == 1
