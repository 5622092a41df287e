"""Memory in regions: every access is inside one of them, or it is memory that is not the program's.

An address is region << 28 | offset, so that an access is one look-up in a dictionary and one bounds check. Regions hold bytearrays, or
bytes where they are read only. Packets lie below 2^32, because contexts hold their addresses in 32 bits.

Memory outside: what the kernel or a process would have there is not known. It reads as numbers that only depend on the address and the
seed, zero, small, or a pointer to more of the same; the first page and addresses that are not canonical fault. Writes there are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

__all__ = ("EFAULT", "Fault", "Memory", "is_mapped")

SHIFT, LOW = 28, (1 << 28) - 1
M64 = 0xFFFFFFFFFFFFFFFF
EFAULT = -14 & M64
_FIRST = 0xFFFF8800_0000_0000 >> SHIFT
_MAX_OUTSIDE = 1 << 16
_MIX = 0x9E3779B97F4A7C15
_PACKERS = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


class Fault(Exception):
    """An access that the kernel would not survive or the verifier would refuse."""


def is_mapped(address: int) -> bool:
    """Whether memory outside may be there: not the first page, and canonical."""
    return 4096 <= address < 1 << 47 or address >= 0xFFFF8000_0000_0000


class Memory:
    """Regions by number; `outside` says whether plain loads may go outside (programs with BTF pointers), helpers may always."""

    def __init__(self, seed: int = 0, outside: bool = False) -> None:
        self.regions: dict[int, bytearray | bytes] = {}
        self.seed, self.outside = seed, outside
        self.written: dict[int, int] = {}
        self.read_outside = False
        self.planted: dict[int, int] = {}
        self._next = _FIRST

    def add(self, content: bytearray | bytes, at: int | None = None) -> int:
        """A new region; its address. `at`: a region number to take."""
        if at is None:
            at = self._next
            self._next += 1
        self.regions[at] = content
        return at << SHIFT

    def drop_after(self, mark: int) -> None:
        """Forget the regions that were made since `mark`."""
        for number in range(mark, self._next):
            self.regions.pop(number, None)
        self._next = mark

    @property
    def mark(self) -> int:
        """To give to `drop_after`."""
        return self._next

    def word_outside(self, address: int) -> int:
        """The eight bytes at an aligned address outside."""
        planted = self.planted.get(address)
        if planted is not None:
            return planted
        mixed = ((address ^ self.seed) * _MIX ^ (address >> 7)) & M64
        mixed = (mixed ^ mixed >> 29) * _MIX & M64
        kind = mixed >> 60
        if kind < 3:
            return 0
        if kind < 8:
            return mixed >> 20 & 0xFF
        if kind < 10:
            return mixed >> 8 & 0x000000FF000000FF
        return 0xFFFF9000_0000_0000 | (mixed >> 4 & 0xFFFFFFFF0)

    def byte_outside(self, address: int) -> int:
        """One byte outside."""
        known = self.written.get(address)
        return known if known is not None else self.word_outside(address & ~7) >> 8 * (address & 7) & 0xFF

    def read(self, address: int, size: int, *, probe: bool = False) -> bytes:
        """Bytes of a region, or from outside where that is allowed or `probe`d; Fault else."""
        region = self.regions.get(address >> SHIFT)
        offset = address & LOW
        if region is not None:
            if offset + size > len(region):
                raise Fault(f"read of {size} bytes at byte {offset} of {len(region)}")
            return bytes(region[offset : offset + size])
        if not (probe or self.outside):
            raise Fault(f"read of {size} bytes at {address:#x}, where nothing is")
        if not is_mapped(address) or not is_mapped(address + size - 1):
            raise Fault(f"read of {size} bytes at {address:#x}, which is not mapped")
        if size > _MAX_OUTSIDE:
            raise Fault(f"read of {size} bytes outside")
        self.read_outside = True
        return bytes(self.byte_outside(address + n & M64) for n in range(size))

    def write(self, address: int, data: bytes) -> None:
        """Bytes into a region; Fault outside, but where plain loads may go there the write is kept."""
        region = self.regions.get(address >> SHIFT)
        offset, size = address & LOW, len(data)
        if region is not None:
            if not isinstance(region, bytearray):
                raise Fault(f"write of {size} bytes to memory that is read only")
            if offset + size > len(region):
                raise Fault(f"write of {size} bytes at byte {offset} of {len(region)}")
            region[offset : offset + size] = data
        elif self.outside and is_mapped(address):
            self.written.update((address + n, byte) for n, byte in enumerate(data))
        else:
            raise Fault(f"write of {size} bytes at {address:#x}, where nothing is")

    def text(self, address: int, limit: int) -> bytes:
        """The bytes of a string before its zero, at most `limit`."""
        out = bytearray()
        while len(out) < limit:
            byte = self.read(address + len(out) & M64, 1, probe=True)
            if byte == b"\0":
                break
            out += byte
        return bytes(out)

    def accessors(self) -> dict[str, Callable[..., Any]]:
        """load1 .. load8, store1 .. store8 for compiled blocks."""
        names: dict[str, Callable[..., Any]] = {}
        for size, packer in _PACKERS.items():
            names[f"load{size}"] = self._loader(size, packer)
            names[f"store{size}"] = self._storer(size, packer)
        return names

    def _loader(self, size: int, packer: struct.Struct) -> Callable[[int], int]:
        unpack, regions = packer.unpack_from, self.regions

        def load(address: int) -> int:
            try:
                value: int = unpack(regions[address >> 28], address & 0xFFFFFFF)[0]
                return value
            except (KeyError, struct.error):
                pass
            if self.outside and address >> 28 not in regions and not is_mapped(address):
                return 0  # a load through a BTF pointer that faults reads as 0 (BPF_PROBE_MEM)
            return int.from_bytes(self.read(address, size), "little")

        return load

    def _storer(self, size: int, packer: struct.Struct) -> Callable[[int, int], None]:
        pack, regions = packer.pack_into, self.regions

        def store(address: int, value: int) -> None:
            try:
                pack(regions[address >> 28], address & 0xFFFFFFF, value)
            except (KeyError, struct.error, TypeError):
                self.write(address, value.to_bytes(size, "little"))

        return store
