"""What a listing says beside an instruction: the map, variable, string, function or relocation that a slot refers to.

    18 11 .. imm=12           ──►  4: ["map counters (hash)"]
    18 21 .. imm=7, next=4    ──►  9: ["counter in .bss"]
    85 .. imm=6               ──►  14: ['fmt "hello %d\\n"']

Only facts of the program's source are named; a slot without one has no note. One pass over the slots that can refer to something
(ld_imm64 and calls), found by opcode. Cost: linear in their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from bpflens.errors import BpflensError
from bpflens.isa.extended.helpers import helper_name, helper_prototype
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.isa.extended.table import lookup, writes
from bpflens.program import Map, Program, Relocation

__all__ = ("call_name", "slot_notes")

_LD_IMM64, _CALL = 0x18, 0x85
_ARRAY = 2  # BPF_MAP_TYPE_ARRAY
_REFERENCES = re.compile(b"[\x18\x85]")
_STRING_LOOKBACK_INSNS = 24
_SHOWN_STRING = 72


def slot_notes(program: Program, prototypes: bool = False, called: bool = False) -> dict[int, list[str]]:
    """Notes of an extended program by slot.

    With `prototypes` calls carry the C prototype of what they call; with `called`, for text that has only its number, the name.
    """
    notes: dict[int, list[str]] = {}
    for relocation in program.relocations:
        notes.setdefault(relocation.off_insns, []).append(_relocation(relocation, program))
    if not (program.maps or program.symbols or prototypes or called):
        return notes
    slots = _Slots(program)
    related = {relocation.off_insns for relocation in program.relocations}
    for slot in slots.references():
        word = slots.word(slot)
        if word & 0xFF == _CALL:
            found = _call_notes(slots, slot, prototypes, called)
        elif slot in related:
            found = []
        else:
            found = _reference_notes(slots, slot)
        if found:
            notes.setdefault(slot, []).extend(found)
    return notes


def call_name(symbols: Mapping[int, str], slot: int, word: int) -> str:
    """The name that `symbols` has for a helper or kfunc call, "" where the tables say it better or nothing is known."""
    return symbols.get(slot, "") if word & 0xFF == _CALL and word >> 12 & 15 != 1 else ""


class _Slots:
    """Random access to the words of a program, and to its maps by id and by name."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.code = program.code
        self.count = len(program.code) // 8
        self.maps_by_id = {m.id: m for m in program.maps if m.id is not None}
        self.maps_by_name = {m.name: m for m in program.maps}
        self.relocations: dict[int, Relocation] = {r.off_insns: r for r in program.relocations}

    def word(self, slot: int) -> int:
        return int.from_bytes(self.code[slot * 8 : slot * 8 + 8], "little")

    def references(self) -> Iterator[int]:
        opcodes = self.code[0 : self.count * 8 : 8]
        return (found.start() for found in _REFERENCES.finditer(opcodes))

    def pointed_at(self, slot: int) -> tuple[Map, int] | None:
        """(data map, byte offset) that the ld_imm64 at `slot` points to."""
        relocation = self.relocations.get(slot)
        if relocation is not None:
            m = self.maps_by_name.get(relocation.section) if relocation.kind == "data" else None
            return (m, relocation.value) if m is not None else None
        word = self.word(slot)
        if word & 0xFF == _LD_IMM64 and word >> 12 & 15 == 2 and slot + 1 < self.count:
            m = self.maps_by_id.get(word >> 32) if self.program.xlated else None
            return (m, self.word(slot + 1) >> 32) if m is not None else None
        return None


def _relocation(relocation: Relocation, program: Program) -> str:
    if relocation.kind == "data":
        m = next((m for m in program.maps if m.name == relocation.section), None)
        if m is not None:
            return _place(m, relocation.value)
    return relocation.text or f"{relocation.kind} {relocation.symbol}"


def _reference_notes(slots: _Slots, slot: int) -> list[str]:
    word = slots.word(slot)
    source = word >> 12 & 15
    if slot in slots.program.symbols:
        return [slots.program.symbols[slot]]
    if not slots.program.xlated:
        return []
    if source == 1:
        m = slots.maps_by_id.get(word >> 32)
        return [f"map {m.name} ({type_name(MAP_TYPES, m.type)})"] if m is not None else []
    target = slots.pointed_at(slot)
    return [_place(*target)] if target is not None else []


def _place(m: Map, offset: int) -> str:
    """A byte of a data map in words: the variable with its section, and the string that stands there."""
    variable = ""
    is_text = True
    for start, (name, size, declaration) in m.datasec.items():
        if start <= offset < start + max(size, 1):
            variable = name if offset == start else f"{name}+{offset - start}"
            is_text = "char" in declaration
            break
    section = _section_of(m)
    where = f"{variable} in {section}" if variable else f"{section}+{offset:#x}"
    text = _string_at(m, offset) if is_text else None
    return f"{where} {text}" if text else where


def _section_of(m: Map) -> str:
    """ ".rodata" of a map that libbpf named "obj.rodata"."""
    name, dot, section = m.name.partition(".")
    return f".{section}" if dot and name else m.name


def _string_at(m: Map, offset: int) -> str | None:
    """The printable NUL-terminated string at a byte of constant data, quoted, or None."""
    data = _constant_data(m)
    if data is None:
        return None
    raw = data[offset : offset + 256]
    end = raw.find(0)
    if end < 1:
        return None
    try:
        text = raw[:end].decode()
    except UnicodeDecodeError:
        return None
    if not all(c.isprintable() or c in "\n\t" for c in text):
        return None
    shown = text if len(text) <= _SHOWN_STRING else text[:_SHOWN_STRING] + "..."
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _constant_data(m: Map) -> bytes | None:
    """The value of a map of constants: from the object, or of a frozen array of the running kernel."""
    if m.data is not None or m.type != _ARRAY or m.id is None or not m.fields.get("frozen"):
        return m.data if "rodata" in m.name else None
    return _live_value(m.id)


@lru_cache(maxsize=16)
def _live_value(map_id: int) -> bytes | None:
    from bpflens.kernel.map_data import lookup
    from bpflens.kernel.maps import open_map

    try:
        with open_map(map_id) as fd:
            return lookup(fd, bytes(4))
    except BpflensError:
        return None  # a note less


def _call_notes(slots: _Slots, slot: int, prototypes: bool, called: bool) -> list[str]:
    word = slots.word(slot)
    kind, number = word >> 12 & 15, (word >> 32 ^ 0x80000000) - 0x80000000
    notes = []
    prototype = _helper_prototype(slots, slot, number) if kind == 0 else None
    if prototypes:
        shown = prototype if kind == 0 else _kfunc_prototype(slots, slot, number) if kind == 2 else None
        if shown:
            notes.append(shown)
    if called and not notes and kind != 1:
        name = call_name(slots.program.symbols, slot, word) or (helper_name(number) if kind == 0 else None)
        if name:
            notes.append(name)
    if prototype:
        parameters = prototype[prototype.index("(") + 1 :].split(", ")
        for register, parameter in enumerate(parameters[:5], 1):
            if parameter.startswith("const char *"):
                text = _string_in(slots, slot, register)
                if text:
                    notes.append(f"{parameter.removeprefix('const char *')} {text}")
    return notes


def _helper_prototype(slots: _Slots, slot: int, number: int) -> str | None:
    found = helper_prototype(number)
    if found is None and slot in slots.program.symbols:
        from bpflens.isa.extended.helpers import helper_id

        found = helper_prototype(helper_id(slots.program.symbols[slot]) or 0)
    return found


def _kfunc_prototype(slots: _Slots, slot: int, number: int) -> str | None:
    if not slots.program.xlated or slots.word(slot) >> 16 & 0xFFFF:
        return None  # a number of another BTF than the running vmlinux
    from bpflens.kernel.btf import vmlinux

    try:
        return vmlinux().c_declaration(number)
    except (BpflensError, LookupError):
        return None


def _string_in(slots: _Slots, call: int, register: int) -> str | None:
    """The constant string in a register at a call: its last writer before, in the same block, if that is a ld_imm64."""
    name = f"r{register}"
    slot = call - 1
    for _ in range(_STRING_LOOKBACK_INSNS):
        if slot < 0:
            return None
        word = slots.word(slot)
        if word & 0xFF == 0 and slot and slots.word(slot - 1) & 0xFF == _LD_IMM64:
            slot -= 1
            word = slots.word(slot)
        row = lookup(word)
        if row is None or row.control:
            return None
        if name in writes(word):
            if row.name == "mov64_reg":
                name = f"r{word >> 12 & 15}"
            else:
                target = slots.pointed_at(slot)
                return _string_at(*target) if target is not None else None
        slot -= 1
    return None
