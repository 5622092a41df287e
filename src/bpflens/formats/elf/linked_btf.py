"""The type information of an object as a linker would leave it."""

from __future__ import annotations

import struct

from bpflens.btf.btf import Btf, Kind
from bpflens.formats.elf.file import ElfFile, Section

__all__ = ("linked_btf",)


def linked_btf(elf: ElfFile, section: Section, where: str) -> Btf:
    """.BTF with its relocations applied and the sizes of data sections filled in: compilers leave both to the linker or loader."""
    raw = elf.bytes_of(section)
    word = struct.Struct(elf.order + "I")
    offsets, infos, addends = elf.relocation_columns(section)
    if offsets:
        blob = bytearray(raw)
        values = elf.symbol_values
        for offset, info, addend in zip(offsets, infos, addends, strict=True):
            if offset + 4 <= len(raw):
                value = (values[info >> 32] if info >> 32 < len(values) else elf.symbol(info >> 32).value) + addend
                word.pack_into(blob, offset, (word.unpack_from(raw, offset)[0] + value) & 0xFFFFFFFF)
        raw = bytes(blob)
        del blob
    btf = Btf.parse(raw, where=where)
    sizes = {known.name: known.size for known in reversed(elf.sections)}
    missing = {id: sizes[btf.name(id)] for id in btf.ids(Kind.DATASEC) if sizes.get(btf.name(id)) and not btf.type(id).size}
    if not missing:
        return btf
    blob = bytearray(raw)
    for id, size in missing.items():
        word.pack_into(blob, btf.types_at + 4 * btf.position(id) + 8, size & 0xFFFFFFFF)
    del raw, btf
    return Btf.parse(bytes(blob), where=where)
