"""The reader of a BPF ring buffer (kernel/bpf/ringbuf.c): two positions and the data, mapped twice in a row.

A second reader, after a restart, goes on where the first one stopped, because the consumer's position is in the map.
"""

from __future__ import annotations

import mmap
import select
from collections.abc import Iterator

__all__ = ("Ring",)

_BUSY, _DISCARD = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
_HEADER = 8


class Ring:
    """Consumer of a BPF_MAP_TYPE_RINGBUF of `size` bytes."""

    def __init__(self, fd: int, size: int) -> None:
        self._size, self._mask, page = size, size - 1, mmap.PAGESIZE
        self._page = page
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._data = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._view = memoryview(self._data)
        self._produced, self._consumed = self._view[:8].cast("Q"), memoryview(self._consumer)[:8].cast("Q")  # one access of 8 bytes each
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """Wait for data."""
        return bool(self._poll.poll(milliseconds))

    def records(self) -> Iterator[bytes]:
        """Records until the ring is empty."""
        at = self._consumed[0]
        while at < self._produced[0]:
            start = self._page + (at & self._mask)
            length = int.from_bytes(self._view[start : start + 4], "little")
            if length & _BUSY:  # its program is still writing
                return
            size = length & (_DISCARD - 1)
            if not length & _DISCARD:
                yield bytes(self._view[start + _HEADER : start + _HEADER + size])
            at += (size + _HEADER + 7) & ~7
            self._consumed[0] = at

    def close(self) -> None:
        """Unmap."""
        for view in (self._produced, self._consumed, self._view):
            view.release()
        self._data.close()
        self._consumer.close()
