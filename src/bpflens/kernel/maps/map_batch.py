"""Whole maps by batches: thousands of elements for one system call, in buffers that are used again.

    for keys, values, count in read_batches(fd, 4, 8): ...     # memoryviews: valid until the next step
    write_batch(fd, keys, values, count)

BPF_MAP_LOOKUP_BATCH and BPF_MAP_UPDATE_BATCH (v5.6; LPM tries v5.13). In a hash every key that is present throughout is seen exactly once
(a bucket is copied under its lock), which a walk by GET_NEXT_KEY does not promise. Ten times faster than single calls.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterator

from bpflens.errors import KernelError
from bpflens.kernel.sys.bpf import bpf_errno, cmd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = ("deinterleave", "interleave", "read_batches", "records_in_batch", "write_batch")

_BATCH = struct.Struct("=QQQQIIQQ")  # in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags
_BYTES = 1 << 20  # of keys and values in one call
_ENOENT, _ENOSPC, _EINTR, _EAGAIN = 2, 28, 4, 11
_MOST = 1 << 24
_LANES = 64  # wider records are put together one by one
_CODES: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def records_in_batch(key_size: int, stride: int) -> int:
    """Elements that one call carries."""
    return max(_BYTES // max(key_size + stride, 1), 8)


def read_batches(fd: int, key_size: int, stride: int, flags: int = 0) -> Iterator[tuple[memoryview, memoryview, int]]:
    """(keys, values, number of elements) of every batch. KernelError where the map cannot be read so (ENOTSUPP, EINVAL: none was read)."""
    room = records_in_batch(key_size, stride)
    cursor = (ctypes.create_string_buffer(max(key_size, 8)), ctypes.create_string_buffer(max(key_size, 8)))
    keys, values = ctypes.create_string_buffer(key_size * room), ctypes.create_string_buffer(stride * room)
    turn, started = 0, False
    while True:
        attr = _BATCH.pack(
            ctypes.addressof(cursor[turn]) if started else 0, ctypes.addressof(cursor[1 - turn]),
            ctypes.addressof(keys), ctypes.addressof(values), room, fd, flags, 0,
        )  # fmt: skip
        result, errno, after = bpf_errno(cmd.MAP_LOOKUP_BATCH, attr)
        if result < 0 and errno == _ENOSPC and room < _MOST:  # a bucket has more than there is room for
            room *= 2
            keys, values = ctypes.create_string_buffer(key_size * room), ctypes.create_string_buffer(stride * room)
            continue
        if result < 0 and errno in (_EINTR, _EAGAIN):
            continue
        if result < 0 and errno != _ENOENT:
            raise KernelError.from_errno(f"map fd {fd}", "cannot read elements", errno)
        count = int.from_bytes(after[32:36], "little")
        if count:
            yield memoryview(keys).cast("B")[: count * key_size], memoryview(values).cast("B")[: count * stride], count
        if result < 0:
            return
        started, turn = True, 1 - turn


def write_batch(fd: int, keys: bytes, values: bytes, count: int, flags: int = 0) -> int:
    """BPF_MAP_UPDATE_BATCH; returns how many elements were written, fewer than `count` only with an error that is raised as KernelError."""
    key_buffer = ctypes.create_string_buffer(keys, len(keys))
    value_buffer = ctypes.create_string_buffer(values, len(values))
    done = 0
    key_size, stride = len(keys) // count, len(values) // count
    while done < count:
        attr = _BATCH.pack(
            0, 0, ctypes.addressof(key_buffer) + done * key_size, ctypes.addressof(value_buffer) + done * stride,
            count - done, fd, flags, 0,
        )  # fmt: skip
        result, errno, after = bpf_errno(cmd.MAP_UPDATE_BATCH, attr)
        if result >= 0:
            return count
        written = min(int.from_bytes(after[32:36], "little"), count - done)
        if errno not in (_EINTR, _EAGAIN):
            raise KernelError.from_errno(f"map fd {fd}", "cannot write elements", errno)
        done += written
    return count


def interleave(keys: memoryview, values: memoryview, key_size: int, stride: int) -> bytes | bytearray:
    """Key and value in turn. Copied in lanes as wide as both sizes allow, so that the cost is per lane and not per element."""
    unit = math.gcd(key_size, stride, 8)
    step = (key_size + stride) // unit
    if step > _LANES:
        pairs = zip(struct.iter_unpack(f"{key_size}s", keys), struct.iter_unpack(f"{stride}s", values), strict=True)
        return b"".join([part for (key,), (value,) in pairs for part in (key, value)])
    code = _CODES[unit]
    out = bytearray(len(keys) + len(values))
    target, first, second = memoryview(out).cast(code), keys.cast(code), values.cast(code)
    lanes = key_size // unit
    for lane in range(lanes):
        target[lane::step] = first[lane::lanes]
    for lane in range(step - lanes):
        target[lanes + lane :: step] = second[lane :: step - lanes]
    return out


def deinterleave(records: bytes, key_size: int, stride: int) -> tuple[bytes, bytes]:
    """The reverse: (all keys, all values)."""
    unit = math.gcd(key_size, stride, 8)
    step = (key_size + stride) // unit
    if step > _LANES:
        pairs = list(struct.iter_unpack(f"{key_size}s{stride}s", records))
        return b"".join([key for key, _ in pairs]), b"".join([value for _, value in pairs])
    code, lanes, count = _CODES[unit], key_size // unit, len(records) // (key_size + stride)
    source = memoryview(records).cast(code)
    keys, values = bytearray(count * key_size), bytearray(count * stride)
    first, second = memoryview(keys).cast(code), memoryview(values).cast(code)
    for lane in range(lanes):
        first[lane::lanes] = source[lane::step]
    for lane in range(step - lanes):
        second[lane :: step - lanes] = source[lanes + lane :: step]
    return bytes(keys), bytes(values)
