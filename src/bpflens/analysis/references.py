"""The slots of an extended program that refer to something, and the maps that they refer to."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from functools import cached_property, lru_cache

from bpflens.formats.elf.relocations.relocations import RelocationTable
from bpflens.isa.extended.insn import Words, words_of
from bpflens.isa.extended.opcodes import CALL_CODE, JMP, JMP32, LD_IMM64, PSEUDO_MAP_VALUE
from bpflens.program import Map, Program, Relocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.analysis.data_places import Places

__all__ = ("References", "relocation_slots")

_REFERRING = re.compile(b"[" + bytes((LD_IMM64, CALL_CODE)) + b"]")
_CONTROL = b"[" + b"".join(re.escape(bytes([code])) for code in range(256) if code & 7 in (JMP, JMP32)) + bytes((LD_IMM64,)) + b"]"


def relocation_slots(program: Program, core: bool = True) -> Iterable[int]:
    """The slots of the relocations of a program; without `core` only of those that a linker or loader needs."""
    table = program.relocations
    if isinstance(table, RelocationTable):
        return table.slots if core else table.of_the_linker
    return (relocation.off_insns for relocation in table if core or relocation.kind != "core")


@lru_cache(maxsize=4)
def _calls(helpers: tuple[int, ...]) -> re.Pattern[bytes]:
    numbers = b"|".join(re.escape(number.to_bytes(4, "little")) for number in helpers)
    return re.compile(b"\x85(?=\x00\x00\x00(?:" + numbers + b"))", re.DOTALL)


class References:
    """Random access to the words of a program, and to its maps by id and by name. `leaders` as `leader_flags`, where the
    caller has them already."""

    def __init__(self, program: Program, leaders: bytes | bytearray | None = None) -> None:
        self.program = program
        self._places: dict[int, Places] = {}
        self._by_section: dict[str, Places] = {}
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
    def _meanings(self) -> dict[int, int]:
        """slot -> number of what its relocation means, where the program's relocations are a table."""
        table = self.program.relocations
        return dict(zip(table.slots, table.which, strict=True)) if isinstance(table, RelocationTable) else {}

    @cached_property
    def related(self) -> Container[int]:
        """The slots that have relocations."""
        return (self._meanings or self.relocations).keys()

    @cached_property
    def words(self) -> Words:
        """The 64-bit words of the code."""
        return words_of(self.code)

    def places(self, m: Map) -> Places:
        """The bytes of a data map of the program."""
        known = self._places.get(id(m))
        if known is None:
            from bpflens.analysis.data_places import Places

            known = self._places[id(m)] = Places(m)
        return known

    def place(self, section: str, offset: int) -> tuple[str, str | None]:
        """A byte of a section of global data in words, "" where the program has no such map, and the string there, if any."""
        places = self._by_section.get(section)
        if places is None:
            m = next((m for m in self.program.maps if m.name == section), None)
            if m is None:
                return "", None
            places = self._by_section[section] = self.places(m)
        return places.place_and_string(offset)

    def word(self, slot: int) -> int:
        """The 64-bit word of a slot."""
        word: int = self.words[slot]
        return word

    def referring(self, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Slots with the opcode of ld_imm64 or of a call, ascending; found by opcode, without a look at the other slots."""
        return (found.start() for found in _REFERRING.finditer(self._opcodes, start, self.count if end is None else end))

    def calls_of(self, helpers: tuple[int, ...], start: int = 0, end: int | None = None) -> Iterator[int]:
        """Slots that call one of these helpers by its number, ascending; found by one scan of the code."""
        for found in _calls(helpers).finditer(self.code, start * 8, (self.count if end is None else end) * 8):
            if not found.start() & 7:
                yield found.start() >> 3

    def pointed_at(self, slot: int) -> tuple[Map, int] | None:
        """(data map, byte offset) that the ld_imm64 at `slot` points to."""
        table = self.program.relocations
        if isinstance(table, RelocationTable):
            number = self._meanings.get(slot)
            if number is not None:
                kind, _, value, _, section = table.meaning(number)
                m = self.maps_by_name.get(section) if kind == "data" else None
                return (m, value) if m is not None else None
        elif (relocation := self.relocations.get(slot)) is not None:
            m = self.maps_by_name.get(relocation.section) if relocation.kind == "data" else None
            return (m, relocation.value) if m is not None else None
        word = self.word(slot)
        if word & 0xFF == LD_IMM64 and word >> 12 & 15 == PSEUDO_MAP_VALUE and slot + 1 < self.count and self.program.xlated:
            m = self.maps_by_id.get(word >> 32)
            return (m, self.word(slot + 1) >> 32) if m is not None else None
        return None

    @cached_property
    def leader_flags(self) -> bytes | bytearray:
        """A byte for each slot, odd where it is reached by more than falling through: targets of jumps, first slots of functions."""
        if self._leaders is not None:
            return self._leaders
        from bpflens.analysis.cfg import jump_target, reference
        from bpflens.isa.extended.insn import Insn

        flags = bytearray(self.count + 1)
        found = {0, *(function.start for function in self.program.functions)}
        for match in re.finditer(_CONTROL, self._opcodes):
            slot = match.start()
            insn = Insn(self.word(slot))
            for target in (jump_target(insn, slot), reference(insn, slot, self.program.xlated)):
                if target is not None:
                    found.add(target)
        for slot in found:
            if 0 <= slot < self.count:
                flags[slot] = 1
        return flags

    @cached_property
    def _opcodes(self) -> bytes:
        return self.code[0 : self.count * 8 : 8]
