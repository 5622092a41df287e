"""Maps as memory: arrays that user space may map, and ring buffers read to their end.

Ring buffer layout: kernel/bpf/ringbuf.c (v6.18): a page with the consumer's position, a page with the producer's, then the data twice in a
row, so that a record never wraps; a record has a header of 8 bytes (length with two flag bits, page offset).
"""

from __future__ import annotations

import ctypes
import mmap
import struct

__all__ = ("MappedArray", "RingBuffer", "address_of", "map_array")

MappedArray = mmap.mmap

_BUSY, _DISCARD = 1 << 31, 1 << 30


def map_array(fd: int, size: int) -> MappedArray:
    """The values of an array created with BPF_F_MMAPABLE, readable and writable; `size` bytes. OSError where it can't be mapped."""
    page = mmap.PAGESIZE
    return mmap.mmap(fd, -(-size // page) * page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def address_of(memory: MappedArray) -> int:
    """Where the mapping is in this process, as long as it is mapped."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class RingBuffer:
    """The reader of a ring buffer map. `size`: max_entries of the map, in bytes."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)

    def drain(self) -> list[bytes]:
        """All records since the last call, in order; those that were discarded are left out."""
        records = []
        at = int.from_bytes(self._consumer[:8], "little")
        end = int.from_bytes(self._producer[:8], "little")
        while at < end:
            start = mmap.PAGESIZE + at % self._size
            (head,) = struct.unpack_from("=I", self._producer, start)
            if head & _BUSY:
                break
            length = head & ~(_BUSY | _DISCARD)
            if not head & _DISCARD:
                records.append(self._producer[start + 8 : start + 8 + length])
            at += -(-(length + 8) // 8) * 8
        self._consumer[:8] = at.to_bytes(8, "little")
        return records

    def close(self) -> None:
        """Unmap."""
        self._consumer.close()
        self._producer.close()
