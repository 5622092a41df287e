"""The maps of a BPF object: from the BTF of `.maps`, from struct bpf_map_def in `maps`, and those that libbpf makes of global data.

    struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, u32); __type(value, struct v); __uint(max_entries, 64); } m SEC(".maps");

In BTF that is a variable of a struct whose members say it all: a number as the length of the array that the member points to, a type as
the type it points to (libbpf, src/bpf_helpers.h: __uint, __type, __array, __ulong).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import Steps, declaration
from bpflens.btf.fields import member_at
from bpflens.btf.layout import align
from bpflens.errors import InputError
from bpflens.formats.elf.file import SHT_NOBITS, SHT_PROGBITS, STB_WEAK, STT_OBJECT, STT_SECTION, ElfFile, Section
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import frozen
from bpflens.program import Map, MapFields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("MapPlace", "c_type", "is_data", "is_data_name", "is_map_section", "read_maps")

RDONLY_PROG, MMAPABLE = 1 << 7, 1 << 10  # BPF_F_*
DATA = (".data", ".rodata", ".bss")
MAX_ZEROS = 1 << 20  # .bss up to this size gets its zeros as data
MAX_INNER = 8
MAX_MEMBERS = 64  # of a map's definition; there are a dozen names that mean something
MAX_NAMED = 1000  # relocations of a struct_ops variable


@frozen
class MapPlace:
    """A map and where the object has it: a relocation to this byte of this section means it."""

    map: Map
    section: int
    byte_off: int


def is_map_section(name: str) -> bool:
    """`.maps` (BTF) or `maps` and `maps/NAME` (struct bpf_map_def)."""
    return name in (".maps", "maps") or name.startswith("maps/")


def is_data_name(name: str) -> bool:
    """`.data`, `.rodata`, `.bss` and what starts with one of them and a dot: the names of sections of global variables."""
    return any(name == known or name.startswith(known + ".") for known in DATA)


def is_data(section: Section) -> bool:
    """A section of global variables."""
    return section.type in (SHT_PROGBITS, SHT_NOBITS) and is_data_name(section.name)


def c_type(btf: Btf, id: int, steps: Steps) -> str:
    """A type, a variable or a function in C, on one line."""
    return " ".join(declaration(btf, id, steps=steps).split())


def read_maps(elf: ElfFile, btf: Btf | None, steps: Steps, warnings: list[str] | None = None) -> list[MapPlace]:
    """All maps of an object, in the order of its sections.

    A malformed definition is left out, with a line in `warnings`; InputError where the caller gave no list.
    """
    places: list[MapPlace] = []
    datasecs = {btf.name(id): id for id in btf.ids(Kind.DATASEC)} if btf else {}
    for section in elf.sections:
        found = _maps_of_section(elf, btf, section, datasecs.pop(section.name, None), steps)
        _take(found, places, warnings, "it is left out")
    if btf and ".kconfig" in datasecs:
        _take((_kconfig(btf, id, steps) for id in [datasecs[".kconfig"]]), places, warnings, "it is left out")
    return places


def _take(found: Iterator[MapPlace], places: list[MapPlace], warnings: list[str] | None, lost: str) -> None:
    """Add what is found up to the first damage."""
    try:
        for place in found:
            places.append(place)
    except InputError as error:
        if warnings is None:
            raise
        warnings.append(f"{error.reason}: {lost}")


def _maps_of_section(elf: ElfFile, btf: Btf | None, section: Section, datasec: int | None, steps: Steps) -> Iterator[MapPlace]:
    if section.name == ".maps":
        yield from _btf_maps(elf, btf, section, datasec, steps) if btf and datasec else _unknown_maps(elf, section)
    elif is_map_section(section.name):
        yield from _legacy_maps(elf, section)
    elif section.name in (".struct_ops", ".struct_ops.link") and btf and datasec:
        yield from _struct_ops(elf, btf, section, datasec, steps)
    elif is_data(section) and section.size:
        yield _data_map(elf, btf, section, datasec, steps)


# --- .maps ---


def _btf_maps(elf: ElfFile, btf: Btf, section: Section, datasec: int, steps: Steps) -> Iterator[MapPlace]:
    values = _map_values(elf, section)
    for variable in btf.variables(datasec):
        definition = btf.skip_modifiers(btf.type(variable.type_id).ref)
        if btf.kind(definition) is not Kind.STRUCT:
            raise InputError(elf.where, f"map {btf.name(variable.type_id)!r} is not defined by a struct")
        start, end = variable.byte_off, variable.byte_off + max(variable.size, btf.size(definition))
        initial = _between(values, start, end)
        map = _btf_map(elf, btf, btf.name(variable.type_id), definition, initial, 0, steps)
        yield MapPlace(map, section.index, start)


def _between(values: Mapping[int, str], start: int, end: int) -> dict[int, str]:
    """The values at offsets from `start` to `end`, with offsets from `start`. `values` is in ascending order."""
    offsets = list(values)
    inside = offsets[bisect_left(offsets, start) : bisect_left(offsets, end)]
    return {offset - start: values[offset] for offset in inside}


def _unknown_maps(elf: ElfFile, section: Section) -> list[MapPlace]:
    """Without BTF the maps of `.maps` have names only."""
    symbols = [symbol for symbol in elf.symbols_in(section.index) if symbol.type == STT_OBJECT]
    return [MapPlace(Map(s.name, 0, 0, 0, 0, fields={"unknown": "the object has no BTF"}), section.index, s.value) for s in symbols]


def _btf_map(elf: ElfFile, btf: Btf, name: str, definition: int, initial: Mapping[int, str], depth: int, steps: Steps) -> Map:
    """A map from the struct that defines it. `initial`: byte offset in the struct -> symbol put there by a relocation."""
    numbers: dict[str, int] = {}
    types: dict[str, int] = {}
    fields: Any = {}  # MapFields, and the numbers that have no name there
    if btf.type(definition).vlen > MAX_MEMBERS:
        raise InputError(elf.where, f"the definition of map {name!r} has {btf.type(definition).vlen} members")
    for member in btf.members(definition):
        if member.name in ("key", "value"):
            types[member.name] = _pointee(btf, member.type_id)
        elif member.name == "values" and "inner" not in fields:
            fields |= _values(elf, btf, name, member.type_id, depth, steps)
            slots = {(off - member.bit_off // 8) // 8: symbol for off, symbol in initial.items() if off >= member.bit_off // 8}
            if slots:
                fields["values"] = slots
        elif member.name:
            numbers[member.name] = _number(btf, member.type_id)
    if numbers.get("pinning"):
        fields["pinning"] = "by name" if numbers["pinning"] == 1 else numbers["pinning"]
    known = ("type", "key_size", "value_size", "max_entries", "map_flags", "pinning")
    fields |= {key: value for key, value in numbers.items() if key not in known}
    key, value = types.get("key", 0), types.get("value", 0)
    inner = "inner" in fields
    return Map(
        name=name,
        type=numbers.get("type", 0),
        key_size=numbers.get("key_size") or btf.size(key),
        value_size=numbers.get("value_size") or btf.size(value) or (4 if inner or "values" in fields else 0),
        max_entries=numbers.get("max_entries", 0),
        flags=numbers.get("map_flags", 0),
        key=c_type(btf, key, steps) if key else None,
        value=c_type(btf, value, steps) if value else None,
        key_type_id=key,
        value_type_id=value,
        fields=fields,
    )


def _pointee(btf: Btf, id: int) -> int:
    """__type(NAME, T) -> the id of T."""
    type = btf.type(btf.skip_modifiers(id))
    if type.kind is not Kind.PTR:
        raise InputError(btf.where, f"type {id} in a map's definition should be a pointer, but is {type.kind.name}")
    return type.ref


def _number(btf: Btf, id: int) -> int:
    """__uint(NAME, N) and __ulong(NAME, N) -> N."""
    id = btf.skip_modifiers(id)
    kind = btf.kind(id)
    if kind in (Kind.ENUM, Kind.ENUM64):
        constants = btf.enumerators(id)
        return constants[0].value if constants else 0
    array = btf.skip_modifiers(_pointee(btf, id))
    if btf.kind(array) is not Kind.ARRAY:
        raise InputError(btf.where, f"type {id} in a map's definition should be a pointer to an array, but is {btf.kind(array).name}")
    return btf.array(array)[2]


def _values(elf: ElfFile, btf: Btf, name: str, id: int, depth: int, steps: Steps) -> dict[str, Any]:
    """__array(values, T): the definition of the inner map where T is one."""
    array = btf.skip_modifiers(id)
    if btf.kind(array) is not Kind.ARRAY:
        return {}
    target = btf.skip_modifiers(_pointee(btf, btf.array(array)[0]))
    if btf.kind(target) is not Kind.STRUCT:
        return {}
    if depth >= MAX_INNER:
        raise InputError(btf.where, f"map {name!r}: maps within maps deeper than {MAX_INNER}")
    return {"inner": _btf_map(elf, btf, f"{name}.inner", target, {}, depth + 1, steps)}


def _map_values(elf: ElfFile, section: Section) -> dict[int, str]:
    """Relocations inside `.maps`: byte offset -> name of the map or program put there."""
    found = {reloc.offset: elf.name_of(elf.symbol(reloc.symbol)) for reloc in elf.relocations(section)}
    return dict(sorted(found.items()))


# --- struct bpf_map_def ---


def _legacy_maps(elf: ElfFile, section: Section) -> Iterator[MapPlace]:
    """`maps`: an array of struct bpf_map_def (five u32), or of iproute2's struct bpf_elf_map (nine)."""
    data = elf.bytes_of(section)
    symbols = sorted(elf.symbols_in(section.index), key=lambda symbol: symbol.bind == STB_WEAK, reverse=True)
    names = {s.value: s.name for s in symbols if s.name and s.type != STT_SECTION}  # of two names the one that is not weak
    starts = sorted(names)
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else len(data)
        if end - start < 20 or end > len(data):
            raise InputError(elf.where, f"section {section.name!r}: the map at byte {start} has {max(0, end - start)} of at least 20 bytes")
        words = struct.unpack_from(f"{elf.order}{min(9, (end - start) // 4)}I", data, start)
        extra = ("id", "pinning", "inner_id", "inner_idx") if len(words) == 9 else tuple(f"word {5 + n}" for n in range(len(words) - 5))
        fields: Any = {name: value for name, value in zip(extra, words[5:], strict=True) if value}
        type, key_size, value_size, max_entries, flags = words[:5]
        yield MapPlace(Map(names[start], type, key_size, value_size, max_entries, flags, fields=fields), section.index, start)


# --- global data ---


def _data_map(elf: ElfFile, btf: Btf | None, section: Section, datasec: int | None, steps: Steps) -> MapPlace:
    """The one-element array that libbpf makes of a data section."""
    if section.type == SHT_NOBITS:
        data = bytes(section.size) if section.size <= MAX_ZEROS else None
    else:
        data = elf.bytes_of(section)
    flags = MMAPABLE | (RDONLY_PROG if section.name.startswith(".rodata") else 0)
    variables = Variables(elf, btf, section, datasec, steps)
    map = Map(section.name, MapType.ARRAY, 4, section.size, 1, flags, data=data, value_type_id=datasec or 0, datasec=variables)
    return MapPlace(map, section.index, 0)


class Variables(Mapping[int, tuple[str, int, str]]):
    """byte offset -> (name, size, C type) of the variables of a section, ascending; each is made when it is asked for.

    Every variable has a symbol; where there is BTF it has the type too.
    """

    def __init__(self, elf: ElfFile, btf: Btf | None, section: Section, datasec: int | None, steps: Steps) -> None:
        self._elf, self._btf, self._steps, self._section = elf, btf, steps, section.index
        values = elf.symbol_values
        named = set(map(values.__getitem__, elf.symbol_numbers(section.index, STT_OBJECT)))
        self._types: Sequence[int] = ()
        self._sizes: Sequence[int] = ()
        self._typed: dict[int, int] = {}  # byte offset -> position in the other two
        if btf and datasec:
            self._types, offsets, self._sizes = btf.variable_columns(datasec)
            self._typed = dict(zip(offsets, range(len(offsets)), strict=True))
        self._order = sorted(named.union(self._typed)) if not named.issubset(self._typed) else sorted(self._typed)
        self._c: dict[int, str] = {}

    @cached_property
    def _symbols(self) -> dict[int, int]:
        """Byte offset -> symbol."""
        values = self._elf.symbol_values
        return {values[index]: index for index in self._elf.symbol_numbers(self._section, STT_OBJECT)}

    def __getitem__(self, offset: int) -> tuple[str, int, str]:
        typed = self._typed.get(offset)
        if typed is None or self._btf is None:
            symbol = self._elf.symbol(self._symbols[offset])
            return symbol.name, symbol.size, ""
        type, size = self._types[typed], self._sizes[typed]
        try:
            name, ref = self._btf.name_and_ref(type)
            c = self._c.get(ref)
            if c is None:
                c = self._c[ref] = c_type(self._btf, ref, self._steps)
            return name, size or self._btf.size(ref), c
        except InputError:  # a damaged type: the place and its size are known without
            return "", size, ""

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def _kconfig(btf: Btf, datasec: int, steps: Steps) -> MapPlace:
    """.kconfig exists in BTF only: libbpf lays its variables out by falling alignment, rising size, name (libbpf.c, cmp_externs)."""
    found = []
    for variable in btf.variables(datasec):
        type = btf.type(variable.type_id)
        if type.kind is Kind.VAR:
            found.append((-align(btf, type.ref), btf.size(type.ref), type.name, type.ref))
    variables: dict[int, tuple[str, int, str]] = {}
    end = 0
    for step, size, name, ref in sorted(found):
        start = -(-end // -step) * -step
        variables[start] = (name, size, c_type(btf, ref, steps))
        end = start + size
    map = Map(".kconfig", MapType.ARRAY, 4, end, 1, MMAPABLE | RDONLY_PROG, value_type_id=datasec, datasec=variables)
    return MapPlace(map, -1, 0)


def _struct_ops(elf: ElfFile, btf: Btf, section: Section, datasec: int, steps: Steps) -> list[MapPlace]:
    """A map for each variable of .struct_ops: its members that are programs are in `fields["values"]`, member -> function."""
    data = elf.bytes_of(section)
    targets = _map_values(elf, section)
    places = []
    for variable in btf.variables(datasec):
        type = btf.type(variable.type_id)
        size = variable.size or btf.size(type.ref)
        start = variable.byte_off
        inside = list(_between(targets, start, start + size).items())[:MAX_NAMED]
        values = {member_at(btf, type.ref, off) or f"byte {off}": name for off, name in inside}
        fields: MapFields = {"values": values}
        if section.name.endswith(".link"):
            fields["link"] = True
        map = Map(
            type.name, MapType.STRUCT_OPS, 4, size, 1, value=c_type(btf, type.ref, steps), value_type_id=type.ref,
            data=data[start : start + size], fields=fields,
        )  # fmt: skip
        places.append(MapPlace(map, section.index, start))
    return places
