"""Elements of maps: look up, walk, update, freeze.

Which type can be read how is measured, not assumed: a walk tries BPF_MAP_LOOKUP_BATCH (v5.6, hash and array families; every key present
throughout is seen exactly once, ten times faster) and falls back to GET_NEXT_KEY with LOOKUP, which may miss or repeat keys while others
change the map. Values of maps of objects read as ids (programs, inner maps), though descriptors are written.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from errno import EINVAL, ENOENT, ENOSPC, EOPNOTSUPP
from functools import lru_cache

from bpflens.errors import KernelError
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.sys.bpf import Buffer, bpf, bpf_errno, cmd

__all__ = (
    "BATCHED", "UNBATCHED", "array_values", "delete", "freeze", "is_percpu", "items", "lookup", "next_key", "pop", "possible_cpus",
    "update", "value_stride",
)  # fmt: skip

_ELEM = struct.Struct("=IIQQQ")  # map_fd, pad, key, value or next_key, flags
_BATCH = struct.Struct("=QQQQIIQQ")  # in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags
_BATCH_KEYS = 4096
_BATCH_BYTES = 8 << 20  # values may have megabytes
BATCHED = frozenset({
    MapType.HASH, MapType.ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH, MapType.LPM_TRIE, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS, MapType.RHASH,
})  # fmt: skip
"""Types of maps that may be read and written by batches."""
UNBATCHED = frozenset({EINVAL, EOPNOTSUPP, 524})  # 524: ENOTSUPP, include/linux/errno.h
"""What a kernel answers that does not do so."""
_PERCPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE})
_HOLDS_IDS = frozenset({MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_MAP_INFO_HEAD = struct.Struct("=IIII")  # type, id, key_size, value_size of struct bpf_map_info
ANY, NOEXIST, EXIST, LOCK = 0, 1, 2, 4  # flags of update


@lru_cache(maxsize=1)
def possible_cpus() -> int:
    """num_possible_cpus(): values of per-cpu maps have one part for each."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as stream:
        return max(int(part.rpartition("-")[2]) for part in stream.read().strip().split(",")) + 1


def is_percpu(type: int) -> bool:
    """Whether a value of this map type has a part per possible CPU."""
    return type in _PERCPU


def value_stride(type: int, value_size: int) -> int:
    """Bytes that one look-up writes: per-cpu values are rounded up to 8 and repeated (kernel/bpf/syscall.c:bpf_map_value_size)."""
    if is_percpu(type):
        return (value_size + 7 & ~7) * possible_cpus()
    return 4 if type in _HOLDS_IDS else value_size


def lookup(fd: int, key: bytes, stride: int | None = None, flags: int = 0) -> bytes | None:
    """The value of `key` (all CPUs' for per-cpu maps), None where there is none. `stride`: bytes of a value, asked for where None.

    KernelError for a type that cannot be read.
    """
    if stride is None:
        stride = _geometry(fd)[1]
    key_buffer, value = Buffer(key), Buffer(stride)
    attr = _ELEM.pack(fd, 0, key_buffer.address, value.address, flags)
    result, errno, _ = bpf_errno(cmd.MAP_LOOKUP_ELEM, attr)
    if result < 0:
        if errno == ENOENT:
            return None
        raise KernelError.from_errno(f"map fd {fd}", "cannot look up", errno)
    return value.bytes


def next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key` (None: the first), None at the end. A key deleted meanwhile starts again from the first."""
    this, following = Buffer(key or b""), Buffer(key_size)
    attr = _ELEM.pack(fd, 0, this.address if key is not None else 0, following.address, 0)
    result, errno, _ = bpf_errno(cmd.MAP_GET_NEXT_KEY, attr)
    if result < 0:
        if errno == ENOENT:
            return None
        raise KernelError.from_errno(f"map fd {fd}", "cannot list keys", errno)
    return following.bytes


def update(fd: int, key: bytes, value: bytes, flags: int = ANY) -> None:
    """BPF_MAP_UPDATE_ELEM; descriptors for maps of objects, all CPUs' parts for per-cpu maps."""
    key_buffer, value_buffer = Buffer(key), Buffer(value)
    bpf(cmd.MAP_UPDATE_ELEM, _ELEM.pack(fd, 0, key_buffer.address, value_buffer.address, flags), f"map fd {fd}", "cannot update")


def delete(fd: int, key: bytes) -> None:
    """BPF_MAP_DELETE_ELEM; NotFound where the key is not there."""
    buffer = Buffer(key)
    bpf(cmd.MAP_DELETE_ELEM, _ELEM.pack(fd, 0, buffer.address, 0, 0), f"map fd {fd}", "cannot delete")


def pop(fd: int, value_size: int) -> bytes | None:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM of a queue or stack (v4.20): the next value, None where it is empty."""
    value = Buffer(value_size)
    result, errno, _ = bpf_errno(cmd.MAP_LOOKUP_AND_DELETE_ELEM, _ELEM.pack(fd, 0, 0, value.address, 0))
    if result < 0:
        if errno == ENOENT:
            return None
        raise KernelError.from_errno(f"map fd {fd}", "cannot take from", errno)
    return value.bytes


def freeze(fd: int) -> None:
    """BPF_MAP_FREEZE (v5.2): no more writes by system calls, for ever. EBUSY while mapped writable."""
    bpf(cmd.MAP_FREEZE, fd.to_bytes(4, "little"), f"map fd {fd}", "cannot freeze")


def items(fd: int, limit: int | None = None) -> Iterator[tuple[bytes, bytes | None]]:
    """(key, value) of at most `limit` elements, value None where it cannot be read. Empty slots of arrays of objects are left out.

    KernelError for a type whose keys cannot be listed (queue, stack, bloom filter, ring buffer, storage of sockets and tasks).
    """
    key_size, stride, type = _geometry(fd)
    walk = _batch_walk(fd, key_size, stride, limit) if type in BATCHED else None
    try:
        first = next(walk, None) if walk else None
    except KernelError:
        walk = None
    if walk is None:
        pairs = _key_walk(fd, key_size, stride)
    else:
        pairs = itertools.chain(() if first is None else (first,), walk)
    yield from itertools.islice(pairs, limit)


def array_values(fd: int, entries: int, stride: int) -> bytes:
    """All values of an array or per-cpu array of `entries` elements, one after the other: as `items`, without their keys."""
    following, keys, values = Buffer(8), Buffer(4 * entries), Buffer(stride * entries)
    attr = _BATCH.pack(0, following.address, keys.address, values.address, entries, fd, 0, 0)
    result, errno, after = bpf_errno(cmd.MAP_LOOKUP_BATCH, attr)
    if result < 0 and errno != ENOENT:
        raise KernelError.from_errno(f"map fd {fd}", "cannot read elements", errno)
    return values.bytes[: stride * int.from_bytes(after[32:36], "little")]


def _batch_walk(fd: int, key_size: int, stride: int, limit: int | None) -> Iterator[tuple[bytes, bytes | None]]:
    """The elements by BPF_MAP_LOOKUP_BATCH. ENOENT says that this was the last batch, ENOSPC that a bucket did not fit."""
    room = max(min(limit, _BATCH_KEYS), 64) if limit else _BATCH_KEYS
    room = max(min(room, _BATCH_BYTES // (key_size + stride)), 1)
    cursor = Buffer(max(key_size, 8))
    following = Buffer(max(key_size, 8))
    started = False
    while True:
        keys, values = Buffer(key_size * room), Buffer(stride * room)
        attr = _BATCH.pack(cursor.address if started else 0, following.address, keys.address, values.address, room, fd, 0, 0)
        result, errno, after = bpf_errno(cmd.MAP_LOOKUP_BATCH, attr)
        if result < 0 and errno == ENOSPC and room < 1 << 24:
            room *= 2
            continue
        if result < 0 and errno != ENOENT:
            raise KernelError.from_errno(f"map fd {fd}", "cannot read elements", errno)
        count = int.from_bytes(after[32:36], "little")
        got_keys, got_values = keys.bytes, values.bytes
        for at in range(count):
            yield got_keys[at * key_size : (at + 1) * key_size], got_values[at * stride : (at + 1) * stride]
        if result < 0:
            return
        started = True
        cursor, following = following, cursor


def _key_walk(fd: int, key_size: int, stride: int) -> Iterator[tuple[bytes, bytes | None]]:
    key: bytes | None = None
    while (key := next_key(fd, key, key_size)) is not None:
        try:
            value = lookup(fd, key, stride)
        except KernelError:  # a type whose values only programs see: the keys are still worth showing
            yield key, None
            continue
        if value is not None:  # else an empty slot, or deleted meanwhile
            yield key, value


def _geometry(fd: int) -> tuple[int, int, int]:
    """(key size, value stride, type) of the map behind a descriptor."""
    buffer = Buffer(_MAP_INFO_HEAD.size)
    attr = struct.pack("=IIQ", fd, buffer.size, buffer.address)
    bpf(cmd.OBJ_GET_INFO_BY_FD, attr, f"map fd {fd}", "cannot read its info")
    type, _, key_size, value_size = _MAP_INFO_HEAD.unpack(buffer.bytes)
    return key_size, value_stride(type, value_size), type
