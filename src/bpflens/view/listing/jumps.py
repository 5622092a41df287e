"""Where the jumps and calls of a program go: for a listing, in arrays, with no object per instruction.

    goto pc+2 at slot 5  ──►  slots [5], targets [8], flags[8] == TARGET

Candidates are found by regular expressions over the code and its opcode bytes; distances are worked out once per distinct word.
Memory: one flag byte per slot, eight bytes per jump, a bounded cache.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Container
from operator import add

from bpflens.isa.extended.insn import Words, words_of
from bpflens.isa.extended.table import ROWS
from bpflens.lean import NamedTuple

__all__ = ("FUNCTION", "MARKED", "NOWHERE", "SECOND_SLOT", "TARGET", "Jumps", "Words", "find_jumps", "signed", "words_of")

TARGET, SECOND_SLOT, FUNCTION = 1, 2, 3
"""Flags of a slot: a jump's target, the second half of a ld_imm64, the first of a named function. 0 is none of these.
Odd ones are reached by more than falling through."""

MARKED = re.compile(b"\x01")
"""Finds the TARGET flags."""

NOWHERE = 1 << 40
_CACHED_WORDS = 1 << 15
_BLOCK = 1 << 16

# Jumps are found in the opcode bytes (every eighth byte of the code) translated to ones and zeros.
_JUMP_CODES = {_row.value & 0xFF for _row in ROWS if "{jump" in _row.kernel and _row.control in ("goto", "cond")}
_TRANSLATION = bytes(code in _JUMP_CODES for code in range(256))
# Over the code itself, where a match counts at a multiple of 8: complete ld_imm64, and calls of functions of the program.
_PAIRS = re.compile(rb"\x18(?=[\x00-\x6f]\x00\x00.{4}\x00{4})", re.DOTALL)
_CALLS = re.compile(rb"\x85(?=[\x10-\x1f])", re.DOTALL)


_FORMS: dict[int, list[tuple[int, int, int, int, int]]] = {}
for _row in ROWS:  # opcode -> (mask, value, nonzero) of a row that jumps, first bit and width of its distance
    if "{jump" in _row.kernel:
        _FORMS.setdefault(_row.value & 0xFF, []).append(
            (_row.mask, _row.value, _row.nonzero, *((32, 32) if "{jumpl}" in _row.kernel else (16, 16)))
        )


class _Distances(dict[int, int]):
    """word of a jump, or of a call of a function -> slots from it to its target; NOWHERE for words of no such form. Bounded."""

    def __missing__(self, word: int) -> int:
        for mask, value, nonzero, low, bits in _FORMS.get(word & 0xFF, ()):
            if word & mask == value and (not nonzero or word & nonzero):
                distance = 1 + signed(word >> low, bits)
                break
        else:
            distance = NOWHERE
        if len(self) < _CACHED_WORDS:
            self[word] = distance
        return distance


def signed(value: int, bits: int) -> int:
    """The low bits of a number as two's complement."""
    return (value & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)


class Jumps(NamedTuple):
    """What goes where: `slots[i]` jumps to the labelled slot `targets[i]`, `odd` are (slot, target) of all other jumps.

    `pairs` are the first slots of ld_imm64, `functions` those of them that load the address of a function; `calls[i]` calls the
    function of the program at `called[i]`. All in order.
    """

    slots: array[int]
    targets: array[int]
    odd: dict[int, int]
    pairs: array[int]
    functions: array[int]
    calls: array[int]
    called: array[int]


def find_jumps(
    code: bytes, words: Words, functions: dict[int, str], related: Container[int] = frozenset()
) -> tuple[bytearray, Jumps]:
    """One flag per slot (a jump's target, second half of a ld_imm64, a function), and the jumps.

    `related` are the slots with a relocation: what they call or point to is not in the code yet.
    """
    count = len(code) // 8
    flags = bytearray(count)
    for start in functions:
        if start < count:
            flags[start] = FUNCTION
    jumps = Jumps(array("i"), array("i"), {}, array("i"), array("i"), array("i"), array("i"))
    jumps.pairs.extend([at >> 3 for found in _PAIRS.finditer(code) if not (at := found.start()) & 7])
    for slot in jumps.pairs:
        flags[slot + 1] = SECOND_SLOT
    registers = code[1 : count * 8 : 8]
    jumps.functions.extend([slot for slot in jumps.pairs if registers[slot] >> 4 == 4])
    for slot in jumps.functions:
        if slot not in related:
            _mark(flags, slot + 1 + signed(words[slot] >> 32, 32))
    distances = _Distances()
    calls = [at >> 3 for found in _CALLS.finditer(code, 0, count * 8) if not (at := found.start()) & 7]
    jumps.calls.extend([slot for slot in calls if slot not in related])
    jumps.called.extend([min(slot + distances[words[slot]], count) for slot in jumps.calls])
    for target in jumps.called:
        _mark(flags, target)
    classes = code[0 : count * 8 : 8].translate(_TRANSLATION)
    for low in range(0, count, _BLOCK):
        slots = [found.start() for found in MARKED.finditer(classes, low, low + _BLOCK)]
        targets = list(map(add, slots, map(distances.__getitem__, map(words.__getitem__, slots))))
        if targets and (min(targets) < 0 or max(targets) >= count):
            jumps.odd.update((slot, target) for slot, target in zip(slots, targets, strict=True) if not 0 <= target < count)
            inside = [(slot, target) for slot, target in zip(slots, targets, strict=True) if 0 <= target < count]
            slots, targets = [slot for slot, _ in inside], [target for _, target in inside]
        special = set()
        for target in set(targets):
            flag = flags[target]
            if not flag:
                flags[target] = TARGET
            elif flag != TARGET:
                special.add(target)
        if special:
            for index in [index for index, target in enumerate(targets) if target in special][::-1]:
                jumps.odd[slots.pop(index)] = targets.pop(index)
        jumps.slots.extend(slots)
        jumps.targets.extend(targets)
    return flags, jumps


def _mark(flags: bytearray, target: int) -> None:
    if 0 <= target < len(flags) and not flags[target]:
        flags[target] = TARGET

