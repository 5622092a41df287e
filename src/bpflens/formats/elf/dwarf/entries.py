"""The entries of .debug_info (DWARF 4 and 5), as many as somebody asks for: those that nobody wants are passed over unread.

    for unit in units(elf): for entry in unit.entries({0x34}): entry.text(0x03)     # the names of all variables

Source: DWARF 5, 7.5. Cost: linear in .debug_info, with little for what has a fixed size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.errors import InputError
from bpflens.formats.elf.dwarf.bytes import DebugBytes, debug_bytes, debug_strings
from bpflens.formats.elf.file import ElfFile
from bpflens.lean import NamedTuple

__all__ = ("Entry", "Unit", "units")

NAME, LOW_PC, STR_OFFSETS_BASE, ADDR_BASE, LOCLISTS_BASE = 0x03, 0x11, 0x72, 0x73, 0x8C  # DW_AT_
_MAX_ENTRIES = 4_000_000
_MAX_CHILDREN = 10_000
# DW_FORM_ -> bytes; those as wide as an offset of the unit are added for each unit
_FIXED = {
    0x01: 8, 0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1E: 16, 0x20: 8, 0x21: 0,
    0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip
_OFFSETS = (0x0E, 0x10, 0x17, 0x1F)  # strp, ref_addr, sec_offset, line_strp
_LEB = (0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23)  # udata, ref_udata, strx, addrx, loclistx, rnglistx
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1}
_REFERENCES = (0x11, 0x12, 0x13, 0x14, 0x15)  # counted from the start of the unit
_STRX = (0x1A, 0x25, 0x26, 0x27, 0x28)
_STRINGS = (0x0E, 0x1F)


class _Abbreviation(NamedTuple):
    """`attributes`: (DW_AT_, DW_FORM_, the value where the abbreviation has it). `size`: bytes of an entry, -1 where they differ."""

    tag: int
    children: bool
    attributes: tuple[tuple[int, int, int], ...]
    size: int


class Entry(NamedTuple):
    """An entry at a place in .debug_info. `values`: DW_AT_ -> (DW_FORM_, value)."""

    unit: Unit
    at: int
    tag: int
    depth: int
    values: dict[int, tuple[int, int | bytes | str]]

    def number(self, attribute: int, default: int = 0) -> int:
        """An attribute that is a number; a reference counts from the start of .debug_info."""
        form, value = self.values.get(attribute, (0, default))
        if not isinstance(value, int):
            return default
        return value + self.unit.start if form in _REFERENCES else value

    def text(self, attribute: int) -> str:
        """An attribute that is a string, "" where there is none."""
        form, value = self.values.get(attribute, (0, ""))
        return value if isinstance(value, str) else self.unit.string(form, value) if isinstance(value, int) else ""


class Unit:
    """One unit of .debug_info."""

    def __init__(self, info: DebugBytes, start: int, parts: dict[str, DebugBytes | None], strings: dict[int, bytes]) -> None:
        self.info, self.start, self.parts, self.strings = info, start, parts, strings
        reader = info.reader(start)
        self.end, self.wide = reader.unit()
        self.version = reader.number(2)
        if self.version not in (4, 5):
            raise InputError("", f"a unit of version {self.version}")
        if self.version == 5:
            kind, _ = reader.number(1), reader.number(1)
            abbreviations = reader.number(8 if self.wide else 4)
            if kind != 1:
                raise InputError("", f"a unit of type {kind}")
        else:
            abbreviations = reader.number(8 if self.wide else 4)
            reader.number(1)
        self.first = reader.at
        self.abbreviations = self._abbreviations(abbreviations)
        self.head = self.entry(self.first)

    def _abbreviations(self, at: int) -> dict[int, _Abbreviation]:
        table = self.parts[".debug_abbrev"]
        if table is None:
            raise InputError("", "no abbreviations")
        reader = table.reader(at)
        found: dict[int, _Abbreviation] = {}
        while code := reader.uleb():
            tag, children = reader.uleb(), bool(reader.number(1))
            attributes, size = [], 0
            while True:
                attribute, form = reader.uleb(), reader.uleb()
                constant = reader.sleb() if form == 0x21 else 0
                if not attribute and not form:
                    break
                attributes.append((attribute, form, constant))
                one = (8 if self.wide else 4) if form in _OFFSETS else _FIXED.get(form, -1)
                size = size + one if size >= 0 and one >= 0 else -1
            found[code] = _Abbreviation(tag, children, tuple(attributes), size)
        return found

    def entry(self, at: int, depth: int = 0) -> Entry:
        """The entry at a place."""
        reader = self.info.reader(at)
        kind = self.abbreviations[reader.uleb()]
        return Entry(self, at, kind.tag, depth, self._values(reader, kind))

    def children(self, entry: Entry) -> Iterator[Entry]:
        """The entries right below one, in order."""
        reader = self.info.reader(entry.at)
        kind = self.abbreviations[reader.uleb()]
        self._values(reader, kind)
        depth = 0 if kind.children else -1
        for _ in range(_MAX_CHILDREN):
            at = reader.at
            code = reader.uleb() if depth >= 0 else 0
            if not code:
                depth -= 1
                if depth < 0:
                    return
                continue
            kind = self.abbreviations[code]
            values = self._values(reader, kind)
            if depth == 0:
                yield Entry(self, at, kind.tag, 0, values)
            depth += kind.children

    def entries(self, tags: frozenset[int]) -> Iterator[Entry]:
        """The entries of these kinds, in order, each with its depth in the tree."""
        reader = self.info.reader(self.first)
        depth = 0
        for _ in range(_MAX_ENTRIES):
            if reader.at >= self.end:
                return
            at = reader.at
            code = reader.uleb()
            if not code:
                depth -= 1
                continue
            kind = self.abbreviations[code]
            if kind.tag in tags:
                yield Entry(self, at, kind.tag, depth, self._values(reader, kind))
            elif kind.size >= 0:
                reader.at += kind.size
            else:
                self._values(reader, kind)
            depth += kind.children

    def _values(self, reader: DebugBytes, kind: _Abbreviation) -> dict[int, tuple[int, int | bytes | str]]:
        return {at: (form, constant if form == 0x21 else self._value(reader, form)) for at, form, constant in kind.attributes}

    def _value(self, reader: DebugBytes, form: int) -> int | bytes | str:
        if form in _OFFSETS:
            return reader.number(8 if self.wide else 4)
        if form in _FIXED:
            return reader.number(_FIXED[form]) if form != 0x19 else 1
        if form in _LEB:
            return reader.uleb()
        if form == 0x0D:
            return reader.sleb()
        if form == 0x08:
            return reader.string()
        if form in _BLOCKS or form in (0x09, 0x18):
            return reader.take(reader.number(_BLOCKS[form]) if form in _BLOCKS else reader.uleb())
        raise InputError("", f"a form {form:#x} in .debug_info")

    def string(self, form: int, value: int) -> str:
        """The string that an attribute of a form points to."""
        if form in _STRX:
            offsets = self.parts[".debug_str_offsets"]
            if offsets is None:
                return ""
            size = 8 if self.wide else 4
            value = offsets.reader(self.head.number(STR_OFFSETS_BASE, 8) + size * value).number(size)
            form = 0x0E
        table = self.strings.get(form, b"")
        return table[value : table.find(b"\0", value)].decode("utf-8", "backslashreplace") if value < len(table) else ""


def units(elf: ElfFile) -> Iterator[Unit]:
    """The units of an object; a damaged one ends the reading."""
    info = debug_bytes(elf, ".debug_info")
    if info is None:
        return
    names = (".debug_abbrev", ".debug_str_offsets", ".debug_addr", ".debug_loclists", ".debug_loc")
    parts = {name: debug_bytes(elf, name) for name in names}
    strings = debug_strings(elf)
    at = 0
    while at + 4 <= len(info.data):
        try:
            unit = Unit(info, at, parts, strings)
        except (InputError, struct.error, IndexError, KeyError):
            return
        yield unit
        at = unit.end
