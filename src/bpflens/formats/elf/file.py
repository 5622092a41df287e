"""The ELF container of a BPF object: sections, symbols, relocations. 64-bit, either byte order (elf(5), Linux' include/uapi/linux/elf.h).

pyelftools would do, but costs more than the rest of a disassembly (docs/decisions/0002-own-elf-reader.md). Every offset and count of the
file is checked before use; what does not fit raises InputError naming the section.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from functools import cached_property

from bpflens.errors import InputError
from bpflens.lean import NamedTuple, frozen

__all__ = ("EM_BPF", "EM_NONE", "EM_SBPF", "ElfFile", "Reloc", "Section", "Symbol", "extent", "machine_name")

EM_NONE, EM_BPF, EM_SBPF = 0, 247, 263  # LLVM before 3.9 left the machine of BPF objects at 0; 263 is the Solana dialect
SHN_UNDEF, SHN_LORESERVE = 0, 0xFF00
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 0, 1, 2, 3, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = range(5)
STB_LOCAL, STB_GLOBAL, STB_WEAK = range(3)
MAX_STRING = 1 << 12  # longer names are cut
_NO_LABEL = re.compile(rb"[^\0]")  # over the st_info of all symbols: STB_LOCAL, STT_NOTYPE is 0
MACHINES = {
    3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "s390", 40: "ARM", 62: "x86-64", 183: "arm64", 243: "RISC-V", 258: "LoongArch",
}  # fmt: skip


@frozen
class Section:
    """A section header; `offset` and `size` in bytes."""

    index: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int


class Symbol(NamedTuple):
    """A symbol; `section` is its section index (0: undefined), `value` its byte offset there."""

    name: str
    type: int
    bind: int
    section: int
    value: int
    size: int


class Reloc(NamedTuple):
    """A relocation at byte `offset` of its section; `addend` is 0 for SHT_REL (it is in the place itself)."""

    offset: int
    symbol: int
    type: int
    addend: int


class ElfFile:
    """A parsed ELF header with its section table; the rest is read when asked for."""

    def __init__(self, data: bytes, where: str, big_endian: bool, sections: tuple[Section, ...]) -> None:
        self.data, self.where, self.big_endian, self.sections = data, where, big_endian, sections

    @staticmethod
    def parse(data: bytes, where: str) -> ElfFile:
        """The sections of a 64-bit BPF object; InputError naming what is wrong with anything else."""
        order, machine = _identify(data, where)
        if machine not in (EM_BPF, EM_NONE, EM_SBPF):
            raise InputError(where, f"an ELF file for {machine_name(machine)}, not for BPF")
        if data[4] != 2:
            raise InputError(where, "a 32-bit ELF file, but BPF objects are 64-bit")
        if len(data) < 64:
            raise InputError(where, f"{len(data)} bytes are too few for an ELF header (64)")
        table, entry_size, count, names_index = _table(data, order)
        if not table:
            raise InputError(where, "an ELF file without sections")
        if entry_size != 64 or table + 64 * count > len(data):
            raise InputError(where, f"the section table ({count} entries at byte {table}) goes past the end of the {len(data)} bytes")
        raw = list(struct.iter_unpack(order + "IIQQQQIIQQ", data[table : table + 64 * count]))
        if names_index == 0xFFFF and raw:
            names_index = raw[0][6]
        if names_index >= count:
            raise InputError(where, f"section {names_index}, which should hold the section names, does not exist")
        names = data[raw[names_index][4] : raw[names_index][4] + raw[names_index][5]]
        sections = tuple(
            Section(index, _string(names, name), type, flags, offset, size, link, info, entry)
            for index, (name, type, flags, _, offset, size, link, info, _, entry) in enumerate(raw)
        )
        if sum(min(s.size, len(data)) for s in sections if s.type not in (SHT_NULL, SHT_NOBITS)) > len(data):
            raise InputError(where, "its sections overlap")  # no tool writes this, and it can make a small file endless work
        return ElfFile(data, where, order == ">", sections)

    def let_go(self) -> None:
        """Forget the bytes of the file, which are most of the memory that reading an object takes; symbols and section headers stay."""
        self._symbol_table, self._by_section, self.symbol_values  # noqa: B018 (read now)
        self.data = b""

    @property
    def order(self) -> str:
        """The byte order as struct writes it."""
        return ">" if self.big_endian else "<"

    def bytes_of(self, section: Section) -> bytes:
        """The content of a section; InputError where it goes past the end of the file. Empty for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        if section.offset + section.size > len(self.data):
            end = f"{section.size} bytes at byte {section.offset}"
            raise InputError(self.where, f"section {section.name!r} ({end}) goes past the end of the file ({len(self.data)} bytes)")
        return self.data[section.offset : section.offset + section.size]

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def without_symbols(self) -> None:
        """Go on as if the file had no symbol table: for one whose own is damaged."""
        self.__dict__["_symbol_table"] = b"", b""

    @cached_property
    def _symbol_table(self) -> tuple[bytes, bytes]:
        """(entries of 24 bytes, names) of the symbol table, empty where the file has none."""
        table = next((section for section in self.sections if section.type == SHT_SYMTAB), None)
        if table is None:
            return b"", b""
        if table.link >= len(self.sections):
            raise InputError(self.where, f"the symbol table's names are in section {table.link}, which does not exist")
        raw = self.bytes_of(table)
        return raw[: len(raw) // 24 * 24], self.bytes_of(self.sections[table.link])

    @property
    def symbol_count(self) -> int:
        """Entries of the symbol table."""
        return len(self._symbol_table[0]) // 24

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbol table, empty where the file has none. Names of local labels (STT_NOTYPE, STB_LOCAL) are left out."""
        return tuple(map(self.symbol, range(self.symbol_count)))

    @cached_property
    def _by_section(self) -> dict[int, list[int]]:
        """The numbers of the symbols of each section, but for local labels: there is one for each block of code."""
        found: dict[int, list[int]] = {}
        raw = self._symbol_table[0]
        kinds = raw[4::24]
        low, high = (6, 7) if self.order == "<" else (7, 6)
        lows, highs = raw[low::24], raw[high::24]
        for match in _NO_LABEL.finditer(kinds):
            index = match.start()
            found.setdefault(highs[index] << 8 | lows[index], []).append(index)
        return found

    def symbols_in(self, section: int, type: int | None = None) -> list[Symbol]:
        """The symbols of the section with that index, of one type if one is given, without local labels."""
        return [self.symbol(index) for index in self.symbol_numbers(section, type)]

    def symbol_numbers(self, section: int, type: int | None = None) -> list[int]:
        """The indexes of `symbols_in`."""
        numbers = self._by_section.get(section, [])
        if type is None:
            return numbers
        kinds = self._symbol_table[0][4::24]
        return [index for index in numbers if kinds[index] & 0xF == type]

    @cached_property
    def symbol_values(self) -> array[int]:
        """The values of all symbols by index."""
        found = array("Q", self._symbol_table[0])[1::3]
        if (self.order == "<") != (sys.byteorder == "little"):
            found.byteswap()
        return found

    @cached_property
    def _relocations(self) -> dict[int, list[Section]]:
        found: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.type in (SHT_REL, SHT_RELA):
                found.setdefault(section.info, []).append(section)
        return found

    def relocations(self, section: Section) -> Iterator[Reloc]:
        """The relocations that apply to a section."""
        for offset, info, addend in zip(*self.relocation_columns(section), strict=True):
            yield Reloc(offset, info >> 32, info & 0xFFFFFFFF, addend)

    def relocation_columns(self, section: Section) -> tuple[array[int], array[int], array[int]]:
        """(offsets, symbol << 32 | type, addends) of the relocations that apply to a section."""
        offsets, infos, addends = array("Q"), array("Q"), array("q")
        for table in self._relocations.get(section.index, ()):
            raw = self.bytes_of(table)
            width = 2 if table.type == SHT_REL else 3
            words = array("Q", raw[: len(raw) // (8 * width) * 8 * width])
            if (self.order == "<") != (sys.byteorder == "little"):
                words.byteswap()
            offsets += words[0::width]
            infos += words[1::width]
            addends += array("q", bytes(len(words) // width * 8) if width == 2 else words[2::3].tobytes())
        return offsets, infos, addends

    def symbol(self, index: int) -> Symbol:
        """Symbol `index`; InputError where there is none."""
        raw, names = self._symbol_table
        if index * 24 >= len(raw):
            raise InputError(self.where, f"a relocation refers to symbol {index}, but there are {len(raw) // 24}")
        name, info, _, section, value, size = struct.unpack_from(self.order + "IBBHQQ", raw, 24 * index)
        return Symbol(_string(names, name) if info else "", info & 0xF, info >> 4, section, value, size)

    def section_of_symbol(self, index: int) -> int:
        """The index of the section of a symbol; 0 where there is no such symbol."""
        raw = self._symbol_table[0]
        at = 24 * index + 6
        if at + 2 > len(raw):
            return 0
        return raw[at] | raw[at + 1] << 8 if self.order == "<" else raw[at] << 8 | raw[at + 1]

    def name_of(self, symbol: Symbol) -> str:
        """A symbol's name; a section symbol has its section's."""
        if symbol.type == STT_SECTION and 0 < symbol.section < len(self.sections):
            return self.sections[symbol.section].name
        return symbol.name


def extent(data: bytes, start: int = 0) -> int:
    """How many bytes the 64-bit ELF file at `start` takes, by its section table; clamped to `data`. 0 where it has none."""
    if len(data) < start + 64 or data[start + 4] != 2 or data[start + 5] not in (1, 2):
        return 0
    order = "<" if data[start + 5] == 1 else ">"
    table, entry_size, count, _ = _table(data[start : start + 64], order)
    end, room = table + entry_size * count, len(data) - start
    if not table or entry_size != 64 or end > room:
        return 0
    for _, type, _, _, offset, size, _, _, _, _ in struct.iter_unpack(order + "IIQQQQIIQQ", data[start + table : start + end]):
        if type != SHT_NOBITS and offset + size <= room:
            end = max(end, offset + size)
    return end


def _identify(data: bytes, where: str) -> tuple[str, int]:
    """(byte order, machine) of an ELF file."""
    if data[:4] != b"\x7fELF":
        raise InputError(where, "not an ELF file")
    if len(data) < 20:
        raise InputError(where, f"an ELF file of only {len(data)} bytes")
    if data[5] not in (1, 2):
        raise InputError(where, f"an ELF file of unknown byte order {data[5]}")
    order = "<" if data[5] == 1 else ">"
    return order, struct.unpack_from(order + "H", data, 18)[0]


def _table(data: bytes, order: str) -> tuple[int, int, int, int]:
    """(file offset, entry size, entries, index of the names' section) of the section table of a 64-bit file."""
    (table,) = struct.unpack_from(order + "Q", data, 40)
    entry_size, count, names = struct.unpack_from(order + "HHH", data, 58)
    if not count and table and table + 64 <= len(data):  # more than 0xff00 sections: the count is in section 0
        (count,) = struct.unpack_from(order + "Q", data, table + 32)
    return table, entry_size, count, names


def _string(table: bytes, offset: int) -> str:
    """The string at an offset of a string table, "" outside of it."""
    end = table.find(b"\0", offset, offset + MAX_STRING)
    if end < 0:
        return table[offset : offset + MAX_STRING].decode("utf-8", "backslashreplace")
    return table[offset:end].decode("utf-8", "backslashreplace")


def machine_name(machine: int) -> str:
    """ "x86-64", "machine 99"."""
    return MACHINES.get(machine, f"machine {machine}")
