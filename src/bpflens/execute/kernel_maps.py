"""The maps of one program in the kernel: made anew, given contents, read back, emptied; gone when their descriptors are closed.

Sizes are capped, equally for all programs of a comparison. Arrays are mapped into memory where the kernel allows it, so that comparing and
resetting them costs next to nothing; hashes get a seed of zero, so that they are walked in the same order.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from bpflens.errors import BpflensError, KernelError
from bpflens.execute.loadable_btf import loadable_btf
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps import map_data
from bpflens.kernel.maps.map_memory import MappedArray, RingBuffer, map_array
from bpflens.kernel.programs.load import create_map, load_btf
from bpflens.program import Map

__all__ = ("Contents", "KernelMaps", "MapState", "inner_name", "is_global_data", "kept_flags", "one_value", "read_limits")

Contents: TypeAlias = Mapping[str, Mapping[bytes, bytes]]
"""Elements by map and key; a value of a per-cpu map has one CPU's part, which all CPUs get."""
MapState: TypeAlias = "bytes | dict[bytes, bytes] | list[bytes]"
"""Contents as read: raw memory of an array, elements of a hash, records of a queue or ring buffer."""

HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH = MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH
ARRAY, PERCPU_ARRAY, PROG_ARRAY, PERF_EVENT_ARRAY = MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY
STACK_TRACE, CGROUP_ARRAY, LPM_TRIE, ARRAY_OF_MAPS = MapType.STACK_TRACE, MapType.CGROUP_ARRAY, MapType.LPM_TRIE, MapType.ARRAY_OF_MAPS
HASH_OF_MAPS, DEVMAP, DEVMAP_HASH, SOCKMAP = MapType.HASH_OF_MAPS, MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.SOCKMAP
SOCKHASH, CPUMAP, XSKMAP = MapType.SOCKHASH, MapType.CPUMAP, MapType.XSKMAP
QUEUE, STACK, RINGBUF = MapType.QUEUE, MapType.STACK, MapType.RINGBUF
USER_RINGBUF, STRUCT_OPS, ARENA = MapType.USER_RINGBUF, MapType.STRUCT_OPS, MapType.ARENA
CGROUP_STORAGE, CGRP_STORAGE, SK_STORAGE = MapType.CGROUP_STORAGE, MapType.CGRP_STORAGE, MapType.SK_STORAGE
INODE_STORAGE, TASK_STORAGE = MapType.INODE_STORAGE, MapType.TASK_STORAGE
BLOOM = MapType.BLOOM_FILTER
MMAPABLE, ZERO_SEED, RDONLY_PROG, NO_PREALLOC = 1 << 10, 1 << 6, 1 << 7, 1
_KEPT = NO_PREALLOC | 2 | 8 | 0x10 | RDONLY_PROG | 0x100 | MMAPABLE
HASHES = frozenset({HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH})
_ANY = re.compile(rb"[^\0]")
_MAX_INNER = 64
_MAX_ENTRIES, _MAX_WALKED, _MAX_BYTES, _MAX_RING = 1 << 16, 1 << 12, 1 << 22, 1 << 20
_ARENA_ADDRESS = 1 << 44  # where user space would see an arena, as libbpf has it on x86
_SPECIAL = tuple(b"\0" + name + b"\0" for name in (
    b"bpf_timer", b"bpf_spin_lock", b"bpf_res_spin_lock", b"bpf_wq", b"bpf_list_head", b"bpf_rb_root", b"kptr", b"kptr_untrusted",
    b"bpf_refcount", b"percpu_kptr", b"uptr", b"bpf_task_work",
))  # fmt: skip


def is_global_data(name: str) -> bool:
    """The name of a section of global variables."""
    return name == ".kconfig" or (name.startswith(".") and name.split(".")[1] in ("rodata", "data", "bss"))


def inner_name(outer: str, key: bytes) -> str:
    """The name under which contents have the inner map at a key of a map of maps."""
    return f"{outer}[{key.hex()}]"


def one_value(state: MapState | None) -> bytes:
    """The contents of an inner map as one value of its outer map."""
    if isinstance(state, dict):
        return b"".join(key + value for key, value in sorted(state.items()))
    return b"".join(state) if isinstance(state, list) else state or b""


def kept_flags(map: Map) -> int:
    """The flags that change what a program sees."""
    return map.flags & (RDONLY_PROG | 0x100 | NO_PREALLOC) & ~(RDONLY_PROG if map.type in (DEVMAP, DEVMAP_HASH) else 0)


def read_limits(map: Map) -> int:
    """max_entries of the map that is made for a test: capped in number and bytes, some where the object leaves it open."""
    from bpflens.kernel.maps.map_data import possible_cpus

    entries = map.max_entries
    if map.type in (SK_STORAGE, INODE_STORAGE, TASK_STORAGE, CGRP_STORAGE, CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE):
        return 0
    if map.type in (RINGBUF, USER_RINGBUF):
        return max(4096, 1 << (min(entries, _MAX_RING).bit_length() - 1)) if entries else 4096
    if map.type == ARENA:
        return min(entries, 1000)
    if entries == 0:
        entries = possible_cpus() if map.type in (PERF_EVENT_ARRAY, PERCPU_ARRAY, CPUMAP) else 1024
    cpus = possible_cpus() if map_data.is_percpu(map.type) else 1
    most = {ARRAY: _MAX_ENTRIES, PERCPU_ARRAY: 1024}.get(map.type, _MAX_WALKED)
    return max(1, min(entries, most, _MAX_BYTES // max(8, map.key_size + (map.value_size + 7 & ~7) * cpus)))


class KernelMaps:
    """The maps that a program refers to, by name. Close it, or use it in a with statement."""

    def __init__(self, maps: Mapping[str, Map], btf: bytes = b"", open_data: frozenset[str] = frozenset()) -> None:
        """Make the maps; KernelError naming the map that the kernel refuses. `open_data`: read-only data that `set` may change."""
        self.maps = {name: replace(map, flags=map.flags & ~RDONLY_PROG) if name in open_data else map for name, map in maps.items()}
        self._open = open_data
        self.fds: dict[str, int] = {}
        self._memory: dict[str, tuple[MappedArray, int]] = {}
        self._rings: dict[str, RingBuffer] = {}
        self._templates: dict[str, KernelMaps] = {}
        self._inners: dict[str, dict[bytes, KernelMaps]] = {}
        self._btf = -1
        try:
            if btf and any(word in btf for word in _SPECIAL):
                with contextlib.suppress(KernelError):
                    self._btf = load_btf(loadable_btf(btf))
            for name, map in self.maps.items():
                self._create(name, map)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> KernelMaps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let everything go."""
        for memory, _ in self._memory.values():
            memory.close()
        for ring in self._rings.values():
            ring.close()
        for inners in self._inners.values():
            for inner in inners.values():
                inner.close()
        for template in self._templates.values():
            template.close()
        close(*self.fds.values(), *((self._btf,) if self._btf >= 0 else ()))
        self.fds.clear()
        self._templates.clear()
        self._memory.clear()
        self._rings.clear()
        self._inners.clear()
        self._btf = -1

    def _create(self, name: str, map: Map) -> None:
        entries = read_limits(map)
        key_size, value_size, flags = map.key_size, map.value_size, map.flags & _KEPT
        if map.type in (DEVMAP, DEVMAP_HASH):
            flags &= ~RDONLY_PROG  # the kernel sets it, and takes it from nobody (kernel/bpf/devmap.c, dev_map_init_map)
        options: dict[str, int] = {"map_extra": map.fields.get("map_extra", 0)}
        if map.type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
            value_size = 4
            self._templates[name] = template = KernelMaps({"inner": _inner_of(map)})
            options["inner_fd"] = template.fds["inner"]
        elif map.type in (PERF_EVENT_ARRAY, PROG_ARRAY, CGROUP_ARRAY):
            key_size = value_size = 4
        elif map.type in (RINGBUF, USER_RINGBUF, ARENA):
            key_size = value_size = 0
        elif map.type in (QUEUE, STACK, BLOOM):
            key_size = 0
        elif map.type == STACK_TRACE:
            value_size = value_size or 8 * 127
        if map.type in HASHES or map.type == HASH_OF_MAPS:
            flags |= ZERO_SEED
        if map.type in (LPM_TRIE, SK_STORAGE, INODE_STORAGE, TASK_STORAGE, CGRP_STORAGE):
            flags |= NO_PREALLOC
        if map.type == ARENA:
            flags |= MMAPABLE
            options["map_extra"] = options["map_extra"] or _ARENA_ADDRESS
        typed = self._btf >= 0 and bool(map.value_type_id) and not is_global_data(name)
        if typed:
            options |= {"btf_fd": self._btf, "key_type_id": map.key_type_id, "value_type_id": map.value_type_id}
        read_only = bool(flags & RDONLY_PROG)
        wanted = flags | MMAPABLE if map.type == ARRAY and not typed and not read_only else flags & ~MMAPABLE if read_only else flags
        fd = create_map(map.type, key_size, value_size, entries, flags=wanted, name=_kernel_name(name), **options)
        self.fds[name] = fd
        if map.type == ARRAY and wanted & MMAPABLE:
            size = (value_size + 7 & ~7) * entries
            self._memory[name] = map_array(fd, size), size
        elif map.type == RINGBUF:
            self._rings[name] = RingBuffer(fd, entries)
        if map.type == ARRAY and (map.data or read_only):
            map_data.update(fd, bytes(4), (map.data or b"").ljust(value_size, b"\0")[:value_size])
            if read_only:
                map_data.freeze(fd)

    def set(self, contents: Contents) -> None:
        """Empty all maps, give global data its initial values, and put `contents` in. What a map does not take is left out."""
        for name, map in self.maps.items():
            fd = self.fds[name]
            self._empty(name, map, fd)
            for key, value in contents.get(name, {}).items():
                with contextlib.suppress(BpflensError):
                    if map.type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
                        self._put_inner(name, map, fd, key, contents)
                    else:
                        self._put(name, map, fd, key, value)

    def _put(self, name: str, map: Map, fd: int, key: bytes, value: bytes) -> None:
        if map.flags & RDONLY_PROG and is_global_data(name):
            return
        if name in self._memory:
            memory, _ = self._memory[name]
            stride = map.value_size + 7 & ~7
            at = int.from_bytes(key[:4], "little") * stride
            if at + stride <= self._memory[name][1]:
                memory[at : at + map.value_size] = value.ljust(map.value_size, b"\0")[: map.value_size]
        elif map.type in (QUEUE, STACK, BLOOM):
            map_data.update(fd, b"", value)
        elif map_data.is_percpu(map.type):
            part = value.ljust(map.value_size + 7 & ~7, b"\0")
            map_data.update(fd, key, part * map_data.possible_cpus())
        else:
            map_data.update(fd, key, value)

    def _put_inner(self, name: str, map: Map, fd: int, key: bytes, contents: Contents) -> None:
        """A map of its own for each key; one that is there already is used again."""
        known = self._inners.setdefault(name, {})
        if key not in known and len(known) < _MAX_INNER:
            known[key] = KernelMaps({"inner": _inner_of(map)})
        if key in known:
            known[key].set({"inner": contents.get(inner_name(name, key), {})})
            map_data.update(fd, key, struct.pack("=I", known[key].fds["inner"]))

    def _empty(self, name: str, map: Map, fd: int) -> None:
        if name in self._memory:
            memory, size = self._memory[name]
            memory[:size] = (map.data or b"").ljust(size, b"\0")[:size]
        elif map.flags & RDONLY_PROG:
            return
        elif name in self._rings:
            self._rings[name].drain()
        elif map.type in (ARRAY, PERCPU_ARRAY):
            stride = map_data.value_stride(map.type, map.value_size)
            values, zero = _array(fd, map), bytes(stride)
            for index in _not_zero(values, stride):
                map_data.update(fd, index.to_bytes(4, "little"), zero)
        elif map.type in HASHES or map.type in (LPM_TRIE, ARRAY_OF_MAPS, HASH_OF_MAPS):
            for key, _ in list(map_data.items(fd)):
                with contextlib.suppress(BpflensError):
                    map_data.delete(fd, key)
        elif map.type in (QUEUE, STACK):
            _popped(fd, map)

    def read(self) -> dict[str, MapState]:
        """What the maps hold; types whose contents can't be read or compared (storage, program arrays ...) are left out. Queues, stacks
        and ring buffers are emptied by that.
        """
        found: dict[str, MapState] = {}
        for name, map in self.maps.items():
            if map.flags & RDONLY_PROG or name in self._open:
                continue
            fd = self.fds[name]
            if name in self._memory:
                memory, size = self._memory[name]
                found[name] = memory[:size]
            elif name in self._rings:
                found[name] = self._rings[name].drain()
            elif map.type in (ARRAY, PERCPU_ARRAY):
                found[name] = _array(fd, map)
            elif map.type in HASHES or map.type == LPM_TRIE:
                with contextlib.suppress(BpflensError):
                    found[name] = {key: value or b"" for key, value in map_data.items(fd)}
            elif map.type in (QUEUE, STACK):
                found[name] = _popped(fd, map)
            elif name in self._inners:
                present, inners = dict(map_data.items(fd)), self._inners[name]
                found[name] = {key: one_value(inners[key].read().get("inner")) for key in sorted(inners) if key in present}
        return found

    def memory(self, name: str) -> MappedArray:
        """The memory of an array that is mapped."""
        return self._memory[name][0]


def _inner_of(map: Map) -> Map:
    inner = map.fields.get("inner")
    return inner if isinstance(inner, Map) else Map("inner", ARRAY, 4, 8, 1)


def _array(fd: int, map: Map) -> bytes:
    return map_data.array_values(fd, read_limits(map), map_data.value_stride(map.type, map.value_size))


def _not_zero(values: bytes, stride: int) -> Iterator[int]:
    """Indexes of elements that are not all zero; stretches of zeros cost little."""
    found = _ANY.search(values)
    while found is not None:
        index = found.start() // stride
        yield index
        found = _ANY.search(values, (index + 1) * stride)


def _popped(fd: int, map: Map) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < max(map.max_entries, 1) and (value := map_data.pop(fd, map.value_size)) is not None:
        values.append(value)
    return values


def _kernel_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_." else "_" for c in name)[:15]
