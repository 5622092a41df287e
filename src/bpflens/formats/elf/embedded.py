"""BPF objects inside other files: executables with a libbpf skeleton, static libraries."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.formats.elf.file import EM_BPF, extent

__all__ = ("find_embedded", "machine_of")


def find_embedded(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each BPF object inside a file, ended by what its section table says; objects do not overlap."""
    at = data.find(b"\x7fELF")
    while at >= 0:
        length = 0
        if data[at + 4 : at + 5] == b"\2" and machine_of(data[at : at + 20]) == EM_BPF:
            length = extent(data, at)
        if length:
            yield at, data[at : at + length]
        at = data.find(b"\x7fELF", at + max(length, 4))


def machine_of(data: bytes) -> int:
    if len(data) < 20:
        return 0
    found: int = struct.unpack_from(">H" if data[5] == 2 else "<H", data, 18)[0]
    return found
