"""Where each unit was compiled: DW_AT_comp_dir of .debug_info, which line tables before DWARF 5 leave to it.

Only the first entry of each unit of version 2 to 4 is read; a line table of version 5 has the directory itself.
"""

from __future__ import annotations

import struct

from bpflens.errors import InputError
from bpflens.formats.elf.dwarf.bytes import DebugBytes, debug_bytes
from bpflens.formats.elf.file import ElfFile

__all__ = ("UnitBytes", "compile_directories", "unit_bytes")

UnitBytes = tuple[DebugBytes | None, DebugBytes | None, DebugBytes | None]
_BUDGET = 500_000

_STMT_LIST, _COMP_DIR = 0x10, 0x1B  # DW_AT_
_STRP, _STRING = 0x0E, 0x08  # DW_FORM_
_FIXED = {0x01: 8, 0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x20: 8}
_OFFSETS = (0x0E, 0x10, 0x17)  # strp, ref_addr, sec_offset: as wide as the unit's offsets
_LEB = (0x0D, 0x0F, 0x15)
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1}


def unit_bytes(elf: ElfFile) -> UnitBytes:
    """The sections that `compile_directories` reads."""
    return debug_bytes(elf, ".debug_info"), debug_bytes(elf, ".debug_abbrev"), debug_bytes(elf, ".debug_str")


def compile_directories(sections: UnitBytes) -> dict[int, str]:
    """Offset in .debug_line -> the directory that the unit was compiled in; what cannot be read is missing."""
    info, abbreviations, strings = sections
    found: dict[int, str] = {}
    budget = [_BUDGET]
    if info is None or abbreviations is None:
        return found
    at = 0
    while at + 4 <= len(info.data):
        try:
            reader = info.reader(at)
            at, wide = reader.unit()
            values = _first_entry(reader, wide, abbreviations, strings, budget)
        except (InputError, struct.error, IndexError, ValueError):
            break
        line_table, directory = values.get(_STMT_LIST), values.get(_COMP_DIR)
        if isinstance(line_table, int) and isinstance(directory, str):
            found[line_table] = directory
    return found


def _first_entry(
    reader: DebugBytes, wide: bool, abbreviations: DebugBytes, strings: DebugBytes | None, budget: list[int]
) -> dict[int, int | str]:
    """DW_AT_ -> value of the first entry of a unit, as far as it is understood; `budget`: abbreviations that may still be passed over."""
    if reader.number(2) > 4:
        return {}
    table = abbreviations.reader(reader.number(8 if wide else 4))
    reader.number(1)
    code = reader.uleb()
    while (number := table.uleb()) != code:
        budget[0] -= 1
        if not number or budget[0] < 0:
            return {}
        table.uleb(), table.number(1)
        while table.uleb() | table.uleb():
            pass
    table.uleb(), table.number(1)
    values: dict[int, int | str] = {}
    while True:
        attribute, form = table.uleb(), table.uleb()
        if not (attribute or form) or {_STMT_LIST, _COMP_DIR} <= values.keys():
            return values
        value = _value(reader, form, wide, strings)
        if value is None:
            return values
        values[attribute] = value


def _value(reader: DebugBytes, form: int, wide: bool, strings: DebugBytes | None) -> int | str | None:
    """A value, None for a form that DWARF 4 does not have."""
    if form == _STRING:
        return reader.string()
    if form in _OFFSETS:
        offset = reader.number(8 if wide else 4)
        return strings.reader(offset).string() if form == _STRP and strings is not None else offset
    if form in _FIXED:
        return reader.number(_FIXED[form])
    if form in _LEB:
        return reader.uleb()
    if form in _BLOCKS or form in (0x09, 0x18):
        reader.take(reader.number(_BLOCKS[form]) if form in _BLOCKS else reader.uleb())
        return 0
    return None
