"""An ELF file from sections, symbols and relocations: the container that elf_write.py fills."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from bpflens.formats.elf.file import EM_BPF, SHT_NOBITS, SHT_REL, SHT_STRTAB, SHT_SYMTAB, STB_LOCAL, STT_SECTION

__all__ = ("OutSection", "OutSymbol", "emit")


@dataclass
class OutSection:
    """A section being written."""

    name: str
    type: int
    flags: int
    data: bytearray = field(default_factory=bytearray)
    size: int = 0  # of SHT_NOBITS
    align: int = 8
    index: int = 0
    relocations: list[tuple[int, str, int]] = field(default_factory=list)  # byte offset, symbol, type


@dataclass
class OutSymbol:
    """A symbol being written; section None: undefined."""

    name: str
    type: int
    bind: int
    section: OutSection | None
    value: int = 0
    size: int = 0

    @property
    def key(self) -> str:
        """What relocations call it: section symbols have no name of their own."""
        return f"\0{self.section.name}" if self.type == STT_SECTION and self.section else self.name


def emit(sections: list[OutSection], symbols: list[OutSymbol]) -> bytes:
    """The file: header, sections, symbols (local ones first), names, section table."""
    symbols.sort(key=lambda s: s.bind != STB_LOCAL)
    order = {id(symbol): index for index, symbol in enumerate(symbols, 1)}
    by_name = {symbol.key: symbol for symbol in symbols}
    for index, section in enumerate(sections, 1):
        section.index = index
    names = bytearray(b"\0")
    offsets: dict[str, int] = {"": 0}

    def name(text: str) -> int:
        if text not in offsets:
            offsets[text] = len(names)
            names.extend(text.encode("utf-8", "surrogateescape") + b"\0")
        return offsets[text]

    table = [bytes(24)]
    for symbol in symbols:
        index = symbol.section.index if symbol.section else 0
        table.append(struct.pack("<IBBHQQ", name(symbol.name), symbol.bind << 4 | symbol.type, 0, index, symbol.value, symbol.size))
    headers: list[tuple[str, int, int, bytes, int, int, int, int, int]] = []  # name type flags data size link info align entry
    symtab = len(sections) + 1
    for out in sections:
        size = out.size if out.type == SHT_NOBITS else len(out.data)
        headers.append((out.name, out.type, out.flags, bytes(out.data), size, 0, 0, out.align, 0))
    locals = 1 + sum(symbol.bind == STB_LOCAL for symbol in symbols)
    raw = b"".join(table)
    headers.append((".symtab", SHT_SYMTAB, 0, raw, len(raw), symtab + 1, locals, 8, 24))
    relocations = [out for out in sections if out.relocations]
    for text in [".strtab", *(f".rel{out.name}" for out in relocations)]:
        name(text)
    for header in headers:
        name(header[0])
    headers.append((".strtab", SHT_STRTAB, 0, bytes(names), len(names), 0, 0, 1, 0))
    for out in relocations:
        raw = b"".join(struct.pack("<QQ", at, order[id(by_name[symbol])] << 32 | type) for at, symbol, type in sorted(out.relocations))
        headers.append((f".rel{out.name}", SHT_REL, 0x40, raw, len(raw), symtab, out.index, 8, 16))
    body = bytearray(64)
    rows = [bytes(64)]
    for text, type, flags, data, size, link, info, align, entry in headers:
        body += bytes(-len(body) % align)
        rows.append(struct.pack("<IIQQQQIIQQ", offsets[text], type, flags, 0, len(body), size, link, info, align, entry))
        body += data
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    body[:64] = ident + struct.pack("<HHIQQQIHHHHHH", 1, EM_BPF, 1, 0, 0, len(body), 0, 64, 0, 0, 64, len(rows), symtab + 1)
    return bytes(body) + b"".join(rows)
