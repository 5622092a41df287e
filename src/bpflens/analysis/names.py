"""What a listing says beside an instruction: the map, variable, string, function or relocation that a slot refers to.

    18 11 .. imm=12           ──►  4: ["map counters (hash)"]
    18 21 .. imm=7, next=4    ──►  9: ["counter in .bss"]
    85 .. imm=6               ──►  14: ['fmt "hello %d\\n"']

Only facts of the program's source are named; a slot without one has no note. One pass over the slots that can refer to something
(ld_imm64 and calls), found by opcode. Cost: linear in their number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping
from functools import lru_cache

from bpflens.analysis.references import CALL, References
from bpflens.errors import BpflensError
from bpflens.formats.elf_relocations import RelocationTable
from bpflens.isa.extended.helpers import HELPER_COUNT, helper_name, helper_prototype
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.program import Map, Program, Relocation

__all__ = ("call_name", "slot_notes")

_ARRAY = 2  # BPF_MAP_TYPE_ARRAY
_SHOWN_STRING = 72


def slot_notes(
    program: Program, prototypes: bool = False, called: bool = False, leaders: Container[int] | None = None
) -> dict[int, list[str]]:
    """Notes of an extended program by slot.

    With `prototypes` calls carry the C prototype of what they call; with `called`, for text that has only its number, the name.
    `leaders` are the targets of jumps and the functions, where the caller knows them.
    """
    notes: dict[int, list[str]] = {}
    slots = References(program, leaders)
    table = program.relocations
    if isinstance(table, RelocationTable):
        texts = _Texts(table, slots)
        for slot, text in zip(table.slots, map(texts.__getitem__, table.which), strict=True):
            notes.setdefault(slot, []).append(text)
    else:
        maps = {m.name: m for m in reversed(program.maps)}
        for relocation in table:
            notes.setdefault(relocation.off_insns, []).append(_relocation(relocation, maps))
    related = slots.related
    everything = prototypes or called or program.xlated or program.symbols
    for slot in slots.referring() if everything else slots.calls_of(_string_helpers()):
        word = slots.word(slot)
        if word & 0xFF == CALL:
            found = _call_notes(slots, slot, prototypes, called)
        elif slot in related:
            found = []
        else:
            found = _reference_notes(slots, slot)
        if found:
            notes.setdefault(slot, []).extend(found)
    for slot, found in program.info.get("annotations", {}).items():  # made by who asked for them (original/annotate.py)
        notes.setdefault(slot, []).extend(found)
    return notes


def call_name(symbols: Mapping[int, str], slot: int, word: int) -> str:
    """The name that `symbols` has for a helper or kfunc call, "" where the tables say it better or nothing is known."""
    return symbols.get(slot, "") if word & 0xFF == CALL and word >> 12 & 15 != 1 else ""


class _Texts(dict[int, str]):
    """Number of a meaning of a table of relocations -> its text."""

    def __init__(self, table: RelocationTable, slots: References) -> None:
        self.table, self.maps = table, {m.name: m for m in reversed(slots.program.maps)}

    def __missing__(self, number: int) -> str:
        text = self[number] = _relocation(Relocation(0, *self.table.meaning(number)), self.maps)
        return text


def _relocation(relocation: Relocation, maps: Mapping[str, Map]) -> str:
    if relocation.kind == "data":
        m = maps.get(relocation.section)
        if m is not None:
            return _place(m, relocation.value)
    return relocation.text or f"{relocation.kind} {relocation.symbol}"


def _reference_notes(slots: References, slot: int) -> list[str]:
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
    starts = _starts(m)
    index = bisect_right(starts, offset) - 1
    if index >= 0:
        start = starts[index]
        name, size, declaration = m.datasec[start]
        if offset < start + max(size, 1):
            variable = name if offset == start else f"{name}+{offset - start}"
            is_text = "char" in declaration
    section = _section_of(m)
    where = f"{variable} in {section}" if variable else f"{section}+{offset:#x}"
    text = _string_at(m, offset) if is_text else None
    return f"{where} {text}" if text else where


def _starts(m: Map) -> list[int]:
    """Where the variables of a data map start, ascending; worked out once for each map."""
    known = _sorted_starts.get(id(m.datasec))
    if known is None or known[0] is not m.datasec:
        if len(_sorted_starts) > _MAPS_KNOWN:
            _sorted_starts.clear()
        known = _sorted_starts[id(m.datasec)] = (m.datasec, sorted(m.datasec))
    return known[1]


_MAPS_KNOWN = 64
_sorted_starts: dict[int, tuple[Mapping[int, tuple[str, int, str]], list[int]]] = {}


def _section_of(m: Map) -> str:
    """ ".rodata" of a map that libbpf named "obj.rodata"."""
    name, dot, section = m.name.partition(".")
    return f".{section}" if dot and name else m.name


def _string_at(m: Map, offset: int) -> str | None:
    """The printable NUL-terminated string at a byte of constant data, quoted, or None."""
    data = _constant_data(m)
    if data is None:
        return None
    return _quoted(data[offset : offset + 256])


def _quoted(raw: bytes) -> str | None:
    """The NUL-terminated string at the start of some bytes, as C would have it; None where there is none that can be printed."""
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


def _call_notes(slots: References, slot: int, prototypes: bool, called: bool) -> list[str]:
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
    if prototype and "const char *" in prototype:
        from bpflens.analysis.call_strings import pointed_by

        parameters = prototype[prototype.index("(") + 1 :].split(", ")
        for register, parameter in enumerate(parameters[:5], 1):
            if parameter.startswith("const char *"):
                pointed = pointed_by(slots, slot, register)
                text = None if pointed is None else _quoted(pointed) if isinstance(pointed, bytes) else _string_at(*pointed)
                if text:
                    notes.append(f"{parameter.removeprefix('const char *')} {text}")
    return notes


@lru_cache(maxsize=1)
def _string_helpers() -> tuple[int, ...]:
    """Numbers of the helpers that take strings."""
    return tuple(n for n in range(1, HELPER_COUNT + 1) if "const char *" in (helper_prototype(n) or ""))


def _helper_prototype(slots: References, slot: int, number: int) -> str | None:
    found = helper_prototype(number)
    if found is None and slot in slots.program.symbols:
        from bpflens.isa.extended.helpers import helper_id

        found = helper_prototype(helper_id(slots.program.symbols[slot]) or 0)
    return found


def _kfunc_prototype(slots: References, slot: int, number: int) -> str | None:
    if not slots.program.xlated or slots.word(slot) >> 16 & 0xFFFF:
        return None  # a number of another BTF than the running vmlinux
    from bpflens.kernel.btf import vmlinux

    try:
        return vmlinux().c_declaration(number)
    except (BpflensError, LookupError):
        return None
