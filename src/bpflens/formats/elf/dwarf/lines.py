"""Source lines from DWARF (.debug_line, versions 2 to 5): for objects without BTF line information, as rustc and gcc often leave them.

    lines = DwarfLines.of(elf)
    lines.of_section(section)    # SourceLine(0, "src/main.rs", 14, 22, "let a = ..."), ...

A line table is a program for a small machine (DWARF 5, 6.2); its addresses are told apart by section through the relocations of
DW_LNE_set_address. The text of a line is in no section: it is read from the source file where that is there and is the one that was
compiled (source_files.py). Nothing is decoded before somebody asks. Cost: the size of .debug_line.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cached_property

from bpflens.errors import InputError
from bpflens.formats.elf.dwarf.bytes import DebugBytes, debug_bytes, debug_strings
from bpflens.formats.elf.dwarf.source_files import SourceFile, SourceFiles
from bpflens.formats.elf.dwarf.unit import compile_directories, unit_bytes
from bpflens.formats.elf.file import SHF_EXECINSTR, ElfFile, Section
from bpflens.formats.elf.on_demand import OnDemand
from bpflens.lean import NamedTuple
from bpflens.program import SourceLine

__all__ = ("DwarfLines", "SectionLines")

MAX_ROWS = 4_000_000  # of one object; a table of 16 MB has about as many
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _SET_COLUMN, _CONST_ADD_PC, _FIXED_ADVANCE_PC = 1, 2, 3, 4, 5, 8, 9  # DW_LNS_
_END_SEQUENCE, _SET_ADDRESS = 1, 2  # DW_LNE_
_PATH, _DIRECTORY, _MD5 = 1, 2, 5  # DW_LNCT_
_LINE_STRP, _STRP, _STRING = 0x1F, 0x0E, 0x08  # DW_FORM_
_UDATA, _DATA1, _DATA2, _DATA4, _DATA8, _DATA16, _BLOCK = 0x0F, 0x0B, 0x05, 0x06, 0x07, 0x1E, 0x09


class _Row(NamedTuple):
    """A line of the table: its slot, its file's number among `files`, line and column."""

    slot: int
    file: int
    line: int
    col: int


class _Header(NamedTuple):
    """What the machine needs of a unit's header. `first_file`: the number that the first file has in the program."""

    version: int
    unit: int
    line_base: int
    line_range: int
    operands: bytes
    files: list[SourceFile]
    first_file: int


class SectionLines(OnDemand[SourceLine]):
    """The lines of one section; decoded when they are looked at."""

    def __init__(self, lines: DwarfLines, section: int) -> None:
        self._lines, self._section = lines, section

    @cached_property
    def _all(self) -> tuple[SourceLine, ...]:
        return tuple(self._lines.decoded(self._section))

    def __len__(self) -> int:
        return len(self._all)

    def item(self, index: int) -> SourceLine:
        """One of those that were decoded."""
        return self._all[index]


class DwarfLines:
    """The line tables of one object. `table` is .debug_line; `where` names the object, whose age the source files are measured by."""

    def __init__(self, elf: ElfFile, table: DebugBytes) -> None:
        self._table, self._strings = table, debug_strings(elf)
        self._units = unit_bytes(elf)
        self._sections = _sections_of_addresses(elf, table)
        self._files = SourceFiles(elf.where)

    @staticmethod
    def of(elf: ElfFile) -> DwarfLines | None:
        """The tables of an object; None where it has none."""
        table = debug_bytes(elf, ".debug_line")
        return DwarfLines(elf, table) if table is not None else None

    def of_section(self, section: Section) -> SectionLines:
        """The lines of a section with code."""
        return SectionLines(self, section.index)

    def decoded(self, section: int) -> Iterator[SourceLine]:
        """The lines of a section by its index, in the order of their slots; of two rows for one slot the last counts."""
        files, rows = self._rows
        shown: tuple[int, int, int] | None = None
        last = {row.slot: row for row in rows.get(section, ())}
        for row in sorted(last.values(), key=lambda row: row.slot):
            if row[1:] != shown:
                shown = row[1:]
                file = files[row.file] if 0 <= row.file < len(files) else SourceFile("", "", None)
                yield SourceLine(row.slot, file.shown, row.line, row.col, self._files.text(file, row.line))

    @cached_property
    def _rows(self) -> tuple[list[SourceFile], dict[int, list[_Row]]]:
        """(files, section index -> rows) of all units; a damaged unit ends the reading, and what was read before it stays."""
        files: list[SourceFile] = []
        rows: dict[int, list[_Row]] = {}
        directories = compile_directories(self._units)
        room = MAX_ROWS
        at = 0
        while at + 4 <= len(self._table.data) and room > 0:
            try:
                reader = self._table.reader(at)
                end, wide = reader.unit()
                header = _header(reader, wide, self._strings, directories.get(at, ""))
                program = _run(reader, end, header, self._sections)
                for section, row in program:
                    file = row.file - header.first_file
                    number = len(files) + file if 0 <= file < len(header.files) else -1
                    rows.setdefault(section, []).append(row._replace(file=number))
                    room -= 1
                    if room <= 0:
                        break
                files += header.files
            except (InputError, struct.error, IndexError):
                break
            at = end
        return files, rows


def _sections_of_addresses(elf: ElfFile, table: DebugBytes) -> Callable[[int, int], tuple[int, int]]:
    """A function from (the place of an operand of DW_LNE_set_address, its value) to (section index, byte offset in it)."""
    places = {}
    for reloc in elf.relocations(table.section):
        symbol = elf.symbol(reloc.symbol)
        places[reloc.offset] = symbol.section, 0 if table.relocated else symbol.value
    code = [section.index for section in elf.sections if section.flags & SHF_EXECINSTR and section.size]
    alone = code[0] if len(code) == 1 else -1

    def place(at: int, value: int) -> tuple[int, int]:
        section, base = places.get(at, (alone, 0))
        return section, base + value

    return place


def _header(reader: DebugBytes, wide: bool, strings: dict[int, bytes], compiled_in: str) -> _Header:
    version = reader.number(2)
    if not 2 <= version <= 5:
        raise InputError("", f"a line table of version {version}")
    if version >= 5:
        reader.number(2)  # sizes of an address and of a segment selector
    length = reader.number(8 if wide else 4)
    program = reader.at + length
    unit = reader.number(1)
    if version >= 4:
        reader.number(1)  # operations of one instruction: 1, but on VLIW machines
    reader.number(1)
    line_base = reader.number(1, signed=True)
    line_range, opcode_base = reader.number(1), reader.number(1)
    operands = reader.take(max(opcode_base - 1, 0))
    if not line_range:
        raise InputError("", "a line table whose line_range is 0")
    if version >= 5:
        files = _files_5(reader, wide, strings)
    else:
        files = _files_2(reader, compiled_in)
    reader.at = program
    return _Header(version, unit, line_base, line_range, operands, files, 0 if version >= 5 else 1)


def _files_2(reader: DebugBytes, compiled_in: str) -> list[SourceFile]:
    directories = [compiled_in]
    while name := reader.string():
        directories.append(name)
    files = []
    while name := reader.string():
        directory = reader.uleb()
        reader.uleb(), reader.uleb()  # time and size
        shown = directories[directory] if 0 < directory < len(directories) else ""
        files.append(SourceFile(_joined(shown, name), _joined(compiled_in, _joined(shown, name)), None))
    return files


def _files_5(reader: DebugBytes, wide: bool, strings: dict[int, bytes]) -> list[SourceFile]:
    directories = [str(entry.get(_PATH, "")) for entry in _entries(reader, wide, strings)]
    compiled_in = directories[0] if directories else ""
    files = []
    for entry in _entries(reader, wide, strings):
        directory, name = entry.get(_DIRECTORY, 0), str(entry.get(_PATH, ""))
        shown = directories[directory] if isinstance(directory, int) and 0 < directory < len(directories) else ""
        md5 = entry.get(_MD5)
        path = _joined(compiled_in, _joined(shown, name))
        files.append(SourceFile(_joined(shown, name), path, md5 if isinstance(md5, bytes) else None))
    return files


def _joined(directory: str, name: str) -> str:
    return name if name.startswith("/") or not directory else f"{directory.rstrip('/')}/{name}"


def _entries(reader: DebugBytes, wide: bool, strings: dict[int, bytes]) -> Iterator[dict[int, int | str | bytes]]:
    """Directories or files of version 5: each entry as content type -> value."""
    formats = [(reader.uleb(), reader.uleb()) for _ in range(reader.number(1))]
    count = reader.uleb()
    if not formats and count:
        raise InputError("", "entries without a form")
    for _ in range(count):
        yield {content: _value(reader, form, wide, strings) for content, form in formats}


def _value(reader: DebugBytes, form: int, wide: bool, strings: dict[int, bytes]) -> int | str | bytes:
    if form == _STRING:
        return reader.string()
    if form in (_LINE_STRP, _STRP):
        offset = reader.number(8 if wide else 4)
        table = strings.get(form, b"")
        return table[offset : table.find(b"\0", offset)].decode("utf-8", "backslashreplace") if offset < len(table) else ""
    if form == _UDATA:
        return reader.uleb()
    if form == _DATA16:
        return reader.take(16)
    if form == _BLOCK:
        return reader.take(reader.uleb())
    sizes = {_DATA1: 1, _DATA2: 2, _DATA4: 4, _DATA8: 8}
    if form not in sizes:
        raise InputError("", f"a form {form:#x} in a line table")
    return reader.number(sizes[form])


def _run(
    reader: DebugBytes, end: int, header: _Header, place: Callable[[int, int], tuple[int, int]]
) -> Iterator[tuple[int, _Row]]:
    """(section index, row) for each row that the program writes; lines of number 0 belong to no source."""
    section, address, file, line, col = -1, 0, 1, 1, 0
    opcode_base = len(header.operands) + 1
    while reader.at < end:
        opcode = reader.number(1)
        if opcode >= opcode_base:
            step = opcode - opcode_base
            address += step // header.line_range * header.unit
            line += header.line_base + step % header.line_range
            if line > 0:
                yield section, _Row(address // 8, file, line, col)
        elif opcode == 0:
            length = reader.uleb()
            next_at = reader.at + length
            kind = reader.number(1)
            if kind == _END_SEQUENCE:
                section, address, file, line, col = -1, 0, 1, 1, 0
            elif kind == _SET_ADDRESS:
                section, address = place(reader.at, reader.number(min(length - 1, 8)))
            reader.at = next_at
        elif opcode == _COPY:
            if line > 0:
                yield section, _Row(address // 8, file, line, col)
        elif opcode == _ADVANCE_PC:
            address += reader.uleb() * header.unit
        elif opcode == _ADVANCE_LINE:
            line += reader.sleb()
        elif opcode == _SET_FILE:
            file = reader.uleb()
        elif opcode == _SET_COLUMN:
            col = reader.uleb()
        elif opcode == _CONST_ADD_PC:
            address += (255 - opcode_base) // header.line_range * header.unit
        elif opcode == _FIXED_ADVANCE_PC:
            address += reader.number(2)
        else:
            for _ in range(header.operands[opcode - 1]):
                reader.uleb()
