"""The bytes of DWARF sections, unpacked where they are compressed, and a reader of their numbers.

Relocations of the kind SHT_RELA are applied: their value is not in the section. Those of SHT_REL, which LLVM writes, are there already.
"""

from __future__ import annotations

import struct
import zlib

from bpflens.errors import InputError
from bpflens.formats.elf.file import ElfFile, Section

__all__ = ("DebugBytes", "debug_bytes", "debug_strings")

SHF_COMPRESSED, ELFCOMPRESS_ZLIB = 0x800, 1
MAX_UNPACKED = 1 << 28
_ABS64 = (1, 2)  # R_BPF_64_64 as LLVM before 13 wrote it, R_BPF_64_ABS64


class DebugBytes:
    """A section's bytes, read from `at` on; IndexError at its end. `relocated`: its relocations are applied."""

    __slots__ = ("at", "data", "order", "relocated", "section")

    def __init__(self, section: Section, data: bytes, order: str, relocated: bool = False, at: int = 0) -> None:
        self.section, self.data, self.order, self.relocated, self.at = section, data, order, relocated, at

    def reader(self, at: int) -> DebugBytes:
        """The same bytes, read from another place."""
        return DebugBytes(self.section, self.data, self.order, self.relocated, at)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise IndexError(end)
        found = self.data[self.at : end]
        self.at = end
        return found

    def number(self, size: int, signed: bool = False) -> int:
        """The next bytes as a number."""
        return int.from_bytes(self.take(size), "little" if self.order == "<" else "big", signed=signed)

    def uleb(self) -> int:
        """The next number in LEB128."""
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise IndexError(self.at)

    def sleb(self) -> int:
        """The next signed number in LEB128."""
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value

    def string(self) -> str:
        """The next string, which a zero byte ends."""
        end = self.data.index(b"\0", self.at) if 0 in self.data[self.at : self.at + 4096] else -1
        if end < 0:
            raise IndexError(self.at)
        found = self.data[self.at : end].decode("utf-8", "backslashreplace")
        self.at = end + 1
        return found

    def unit(self) -> tuple[int, bool]:
        """(end of the unit that begins here, whether its offsets have 64 bits)."""
        length = self.number(4)
        wide = length == 0xFFFFFFFF
        if wide:
            length = self.number(8)
        if not length or self.at + length > len(self.data):
            raise IndexError(self.at)
        return self.at + length, wide


def debug_bytes(elf: ElfFile, name: str) -> DebugBytes | None:
    """A DWARF section; None where the object has none, or one that cannot be unpacked."""
    section = elf.section(name)
    if section is None or not section.size:
        return None
    try:
        data = elf.bytes_of(section)
        if section.flags & SHF_COMPRESSED:
            data = _unpacked(elf, data)
        if any(elf.relocation_columns(section)[2]):
            return DebugBytes(section, _relocated(elf, section, data), elf.order, relocated=True)
        return DebugBytes(section, data, elf.order)
    except (InputError, struct.error, zlib.error):
        return None


def _unpacked(elf: ElfFile, data: bytes) -> bytes:
    kind, _, size, _ = struct.unpack_from(elf.order + "IIQQ", data)  # Elf64_Chdr
    if kind != ELFCOMPRESS_ZLIB or size > MAX_UNPACKED:
        raise InputError(elf.where, f"a section compressed in a way that is not read ({kind})")
    unpacked = zlib.decompressobj().decompress(data[24:], size + 1)  # to its end, where the checksum is
    if len(unpacked) != size:
        raise InputError(elf.where, f"a compressed section of {len(unpacked)} bytes that says {size}")
    return unpacked


def _relocated(elf: ElfFile, section: Section, data: bytes) -> bytes:
    out = bytearray(data)
    for reloc in elf.relocations(section):
        size = 8 if reloc.type in _ABS64 else 4
        value = (elf.symbol(reloc.symbol).value + reloc.addend) & ((1 << 8 * size) - 1)
        if reloc.offset + size <= len(out):
            out[reloc.offset : reloc.offset + size] = value.to_bytes(size, "little" if elf.order == "<" else "big")
    return bytes(out)


def debug_strings(elf: ElfFile) -> dict[int, bytes]:
    """DW_FORM_ -> the strings that it points into."""
    found = {}
    for form, name in ((0x1F, ".debug_line_str"), (0x0E, ".debug_str")):
        part = debug_bytes(elf, name)
        found[form] = part.data if part is not None else b""
    return found
