"""The slots of an extended program that refer to something, and the maps that they refer to."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from typing import TypeAlias

from bpflens.program import Map, Program, Relocation

__all__ = ("CALL", "LD_IMM64", "References", "Words", "words_of")

LD_IMM64, CALL = 0x18, 0x85
_REFERRING = re.compile(b"[\x18\x85]")
_CONTROL = b"[" + b"".join(re.escape(bytes([code])) for code in range(256) if code & 7 in (5, 6)) + b"\x18]"


Words: TypeAlias = "memoryview | array[int]"


def words_of(code: bytes) -> Words:
    """The 64-bit words of little-endian code, without a copy where the machine has the same order."""
    if sys.byteorder == "little":
        return memoryview(code)[: len(code) & ~7].cast("Q")
    from bpflens.isa.extended.insn import words

    return words(code)


class References:
    """Random access to the words of a program, and to its maps by id and by name. `leaders` where the caller knows them already."""

    def __init__(self, program: Program, leaders: Container[int] | None = None) -> None:
        self.program = program
        self._leaders = leaders
        self.code = program.code
        self.count = len(program.code) // 8
        self.maps_by_id = {m.id: m for m in program.maps if m.id is not None}
        self.maps_by_name = {m.name: m for m in program.maps}

    @cached_property
    def relocations(self) -> dict[int, Relocation]:
        """The relocations by slot."""
        return {r.off_insns: r for r in self.program.relocations}

    @cached_property
    def related(self) -> Container[int]:
        """The slots that have relocations."""
        return self.relocations.keys()

    @cached_property
    def words(self) -> Words:
        """The 64-bit words of the code."""
        return words_of(self.code)

    def word(self, slot: int) -> int:
        """The 64-bit word of a slot."""
        word: int = self.words[slot]
        return word

    def referring(self) -> Iterator[int]:
        """Slots with the opcode of ld_imm64 or of a call, ascending; found by opcode, without a look at the other slots."""
        return (found.start() for found in _REFERRING.finditer(self._opcodes))

    def calls_of(self, helpers: Iterable[int]) -> Iterator[int]:
        """Slots that call one of these helpers by its number, ascending; found by one scan of the code."""
        numbers = b"|".join(re.escape(number.to_bytes(4, "little")) for number in helpers)
        for found in re.finditer(b"\x85(?=\x00\x00\x00(?:" + numbers + b"))", self.code, re.DOTALL):
            if not found.start() & 7:
                yield found.start() >> 3

    def pointed_at(self, slot: int) -> tuple[Map, int] | None:
        """(data map, byte offset) that the ld_imm64 at `slot` points to."""
        relocation = self.relocations.get(slot)
        if relocation is not None:
            m = self.maps_by_name.get(relocation.section) if relocation.kind == "data" else None
            return (m, relocation.value) if m is not None else None
        word = self.word(slot)
        if word & 0xFF == LD_IMM64 and word >> 12 & 15 == 2 and slot + 1 < self.count and self.program.xlated:
            m = self.maps_by_id.get(word >> 32)
            return (m, self.word(slot + 1) >> 32) if m is not None else None
        return None

    @cached_property
    def leaders(self) -> Container[int]:
        """Slots that are reached by more than falling through: targets of jumps, first slots of functions."""
        if self._leaders is not None:
            return self._leaders
        from bpflens.analysis.cfg import jump_target, reference
        from bpflens.isa.extended.insn import Insn

        found = {0, *(function.start for function in self.program.functions)}
        for match in re.finditer(_CONTROL, self._opcodes):
            slot = match.start()
            insn = Insn(self.word(slot))
            for target in (jump_target(insn, slot), reference(insn, slot, self.program.xlated)):
                if target is not None:
                    found.add(target)
        return frozenset(found)

    @cached_property
    def _opcodes(self) -> bytes:
        return self.code[0 : self.count * 8 : 8]
