"""The contents of a map, streamed into the archive: by batches where the type has them, key by key, through a mapping, or from memory.

    hash 12 (1,000,000 entries)  ──►  maps/12/data.bin: key, value, key, value ...      layout "records"
    array 13                     ──►  maps/13/data.bin: value, value ...                layout "values"

What a type cannot give is a sentence in `_WITHOUT`; nothing is consumed and nothing is changed by looking.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SavedData
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.maps.inode_storage import INODE_KEY
from bpflens.kernel.maps.map_batch import interleave, read_batches
from bpflens.kernel.maps.map_data import BATCHED, UNBATCHED, is_percpu, items, lookup, possible_cpus, value_stride
from bpflens.kernel.maps.mapped_maps import PAGE, unread_records
from bpflens.kernel.maps.storage import OWNERS, storage_items
from bpflens.program import Map
from bpflens.snapshot.taking.memory import KernelMemory

__all__ = ("Contents", "contents", "save_data")

SINGLE, STABLE, QUIESCED = "single pass", "stable", "quiesced"
_WRONLY = 1 << 4  # BPF_F_WRONLY
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_QUEUES = frozenset({MapType.QUEUE, MapType.STACK})
_SOCKETS = frozenset({MapType.SOCKMAP, MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY})
_IDS = {
    MapType.PROG_ARRAY: "programs", MapType.ARRAY_OF_MAPS: "maps", MapType.HASH_OF_MAPS: "maps", MapType.DEVMAP: "device",
    MapType.DEVMAP_HASH: "device", MapType.CPUMAP: "cpu", MapType.CGROUP_ARRAY: "cgroups", **dict.fromkeys(_SOCKETS, "sockets"),
}  # fmt: skip

_WITHOUT = {
    MapType.PERF_EVENT_ARRAY: "its elements are perf events of processes, which the kernel does not show",
    MapType.XSKMAP: "its elements are AF_XDP sockets of processes, which the kernel does not show",
    MapType.BLOOM_FILTER: "a bloom filter keeps no keys: the kernel only answers whether one may be in it",
    MapType.INSN_ARRAY: "the kernel fills it when the program is loaded",
}
_Pieces = Iterator[bytes | bytearray | memoryview]


class Contents(NamedTuple):
    """How a map is read: `pieces` makes one pass; `record` bytes of an element (0: one value of any length). See SavedData for the rest."""

    layout: str
    pieces: Callable[[], _Pieces]
    record: int
    key_size: int
    value_size: int
    cpus: int = 0
    ids_of: str = ""


def contents(fd: int, map: Map, memory: KernelMemory) -> Contents | str:
    """How to read a map, or why it cannot be read."""
    reason = _WITHOUT.get(map.type)
    if reason:
        return reason
    stride = value_stride(map.type, map.value_size)
    if map.flags & _WRONLY:
        return "the map may not be read"
    if map.type == MapType.STRUCT_OPS:
        return Contents("value", lambda: iter([lookup(fd, bytes(4), map.value_size) or b""]), 0, 4, map.value_size)
    if map.type in _QUEUES:
        return _queue(map, memory)
    if map.type == MapType.CGROUP_ARRAY:
        return _cgroups(map, memory)
    if map.type in (MapType.RINGBUF, MapType.USER_RINGBUF):
        return Contents("value", lambda: unread_records(fd, map.max_entries), 0, 0, 0)
    if map.type == MapType.ARENA:
        return Contents("pages", lambda: _arena(map, memory), 4 + PAGE, 4, PAGE)
    if map.type in _SOCKETS and map.value_size != 8:
        return "its elements are sockets; the kernel shows their cookies only where values have 8 bytes"
    if map.type == MapType.INODE_STORAGE:
        return _inodes(map, memory)
    if map.type in OWNERS:
        owner, key_size = OWNERS[map.type]
        return Contents("records", lambda: _storage(fd, map), key_size + map.value_size, key_size, map.value_size, 0, owner)
    cpus = possible_cpus() if is_percpu(map.type) else 0
    ids = _IDS.get(map.type, "")
    if map.type in _ARRAYS:
        return Contents("values", lambda: _values(fd, map, stride), stride, map.key_size, stride, cpus)
    return Contents("records", lambda: _records(fd, map, stride), map.key_size + stride, map.key_size, stride, cpus, ids)


def save_data(fd: int, map: Map, writer: ArchiveWriter, memory: KernelMemory, *, stable: bool, quiesced: bool) -> SavedData | str:
    """Stream the contents into the archive; a sentence where there are none to be had. `stable`: read until two passes are equal, three
    times at most.
    """
    found = contents(fd, map, memory)
    if isinstance(found, str):
        return found
    name = f"maps/{map.id}/data.bin"
    try:
        before = _digest(found.pieces()) if stable else ""
        with writer.stream(name) as out:
            for piece in found.pieces():
                out.write(piece)
        size, digest = out.size, out.hash.hexdigest()
        consistency = SINGLE
        if stable and (digest == before or digest == _digest(found.pieces())):
            consistency = STABLE
    except (KernelError, OSError) as error:
        writer.members.pop(name, None)
        return f"reading failed: {error.reason if isinstance(error, BpflensError) else error.strerror}"
    if quiesced:
        consistency = QUIESCED
    entries = size // found.record if found.record else int(size > 0)
    return SavedData(name, found.layout, entries, found.key_size, found.value_size, consistency, found.cpus, found.ids_of)


def _digest(pieces: _Pieces) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _records(fd: int, map: Map, stride: int) -> _Pieces:
    if map.type in BATCHED:
        started = False
        try:
            for keys, values, _ in read_batches(fd, map.key_size, stride):
                started = True
                yield interleave(keys, values, map.key_size, stride)
            return
        except KernelError as error:
            if started or error.errno not in UNBATCHED:
                raise
    yield from _gathered(key + value for key, value in items(fd) if value is not None)


def _values(fd: int, map: Map, stride: int) -> _Pieces:
    started = False
    try:
        for _, values, _ in read_batches(fd, map.key_size, stride):
            started = True
            yield values
        return
    except KernelError as error:
        if started or error.errno not in UNBATCHED:
            raise
    yield from _gathered(lookup(fd, struct.pack("=I", index), stride) or bytes(stride) for index in range(map.max_entries))


def _storage(fd: int, map: Map) -> _Pieces:
    return _gathered(key + value for key, value in storage_items(fd, map.type, map.value_size))


def _gathered(parts: Iterator[bytes]) -> _Pieces:
    """Small parts in pieces of some size: hashing and writing cost per piece."""
    pieces: list[bytes] = []
    size = 0
    for part in parts:
        pieces.append(part)
        size += len(part)
        if size >= 1 << 18:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _queue(map: Map, memory: KernelMemory) -> Contents | str:
    if memory.reader() is None:
        return f"reading a queue by its interface would empty it, and {memory.reason}"

    def pieces() -> _Pieces:
        elements = memory.queue(map.id or 0, map.value_size)
        if elements is None:
            raise OSError(errno.EIO, "kernel memory did not hold still, or cannot be read")
        return iter([b"".join(elements)])

    return Contents("values", pieces, map.value_size, 0, map.value_size)


def _inodes(map: Map, memory: KernelMemory) -> Contents | str:
    if memory.reader() is None:
        return f"its values belong to inodes, which the kernel lists nowhere but in memory, and {memory.reason}"
    size = INODE_KEY.size

    def pieces() -> _Pieces:
        return _gathered(key + value for key, value in sorted(memory.inodes(map.id or 0, map.value_size)))

    return Contents("records", pieces, size + map.value_size, size, map.value_size, 0, "inodes")


def _cgroups(map: Map, memory: KernelMemory) -> Contents | str:
    if memory.reader() is None:
        return f"the kernel shows its elements nowhere but in memory, and {memory.reason}"

    def pieces() -> _Pieces:
        slots = memory.cgroups(map.id or 0, map.max_entries)
        if slots is None:
            raise OSError(errno.EIO, "kernel memory cannot be read")
        return iter([b"".join(struct.pack("=IQ", index, id) for index, id in slots)])

    return Contents("records", pieces, 12, 4, 8, 0, "cgroups")


def _arena(map: Map, memory: KernelMemory) -> _Pieces:
    pages = memory.arena_pages(map.id or 0, map.max_entries)
    return _gathered(struct.pack("=I", number) + content for number, content in pages if any(content))
