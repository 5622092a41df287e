"""Maps that are read and written through a mapping: ring buffers and arenas.

A ring buffer is a page with the consumer's position, a page with the producer's, and the data twice in a row (kernel/bpf/ringbuf.c,
ringbuf_map_mmap_kern). An arena is mapped at one address in all processes, so that pointers inside stay right (kernel/bpf/arena.c).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator

from bpflens.kernel.sys.syscalls import map_memory

__all__ = ("PAGE", "unread_records", "write_pages")

PAGE = mmap.PAGESIZE
_PIECE = 1 << 20


def unread_records(fd: int, size: int) -> Iterator[bytes]:
    """The bytes between consumer and producer of a ring buffer of `size` bytes, with their headers; they stay unread."""
    with mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as consumer:
        start = int.from_bytes(consumer[:8], "little")
    with mmap.mmap(fd, PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE) as producer:
        end = int.from_bytes(producer[:8], "little")
        length = min(max(end - start, 0), size)
        at = PAGE + start % size
        for offset in range(0, length, _PIECE):
            yield producer[at + offset : at + min(offset + _PIECE, length)]


def write_pages(fd: int, size: int, address: int, pages: Iterable[tuple[int, bytes]]) -> None:
    """Write (number, bytes) of pages of an arena of `size` bytes, mapped at `address`. OSError where something else is mapped there."""
    with map_memory(fd, size, address, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        for number, content in pages:
            memory.write(number * PAGE, content)
