"""Maps as the interpreter has them: elements live in memory regions, so that programs write to them through pointers.

One CPU exists: a value of a per-cpu map is that CPU's. A full LRU map drops the element that was put in first; the kernel's choice differs.
Errors are those of the kernel's maps (kernel/bpf/hashtab.c, arraymap.c, lpm_trie.c, queue_stack_maps.c, Linux 6.18).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.execute.interpreter.memory import LOW, SHIFT, Memory
from bpflens.execute.kernel_maps import (
    ARRAY,
    ARRAY_OF_MAPS,
    BLOOM,
    HASH_OF_MAPS,
    HASHES,
    LPM_TRIE,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    QUEUE,
    RDONLY_PROG,
    RINGBUF,
    STACK,
    MapState,
    inner_name,
    is_global_data,
    one_value,
    read_limits,
)
from bpflens.isa.extended.uapi import MapType
from bpflens.program import Map

__all__ = ("ArrayModel", "HashModel", "LpmModel", "MapModel", "ModelError", "OuterModel", "QueueModel", "RingModel", "make_model")

_STORAGE = frozenset((
    MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE, MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE,
    MapType.CGRP_STORAGE,
))  # fmt: skip
ANY, NOEXIST, EXIST = 0, 1, 2
ENOENT, E2BIG, EEXIST, EINVAL, ENOMEM, EAGAIN = 2, 7, 17, 22, 12, 11


class ModelError(Exception):
    """An operation that a map refuses: `errno` positive."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class MapModel:
    """What all kinds share. `address`: the pointer that programs get for the map itself."""

    def __init__(self, map: Map, memory: Memory) -> None:
        self.map, self.memory = map, memory
        self.key_size, self.value_size = map.key_size, map.value_size
        self.entries = read_limits(map)
        self.address = memory.add(bytes(0))

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        """Empty the map, then put elements in."""
        raise NotImplementedError

    def lookup(self, key: bytes) -> int:
        """Address of the value, 0 where there is none."""
        return 0

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        """Put an element in; ModelError where the map refuses."""
        raise ModelError(EINVAL)

    def delete(self, key: bytes) -> None:
        """Take an element out; ModelError where the map refuses."""
        raise ModelError(EINVAL)

    def walk(self) -> list[bytes]:
        """Keys in the order of a walk."""
        return []

    def read(self) -> MapState | None:
        """The contents to compare; None where there is nothing to compare."""
        return None


class ArrayModel(MapModel):
    """ARRAY, PERCPU_ARRAY and global data: all values in one region. Slots of 8 bytes' multiple, as in the kernel."""

    def __init__(self, map: Map, memory: Memory) -> None:
        super().__init__(map, memory)
        self.stride = map.value_size + 7 & ~7
        self.read_only = bool(map.flags & RDONLY_PROG) and is_global_data(map.name)
        self.initial = (map.data or b"").ljust(self.stride * self.entries, b"\0")[: self.stride * self.entries]
        self.base = memory.add(bytearray(self.initial) if not self.read_only else bytes(self.initial))

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        if self.read_only:
            self.memory.regions[self.base >> SHIFT] = contents.get(bytes(4), self.initial).ljust(len(self.initial), b"\0")
            return
        region = self.memory.regions[self.base >> SHIFT]
        assert isinstance(region, bytearray)
        region[:] = self.initial
        for key, value in contents.items():
            at = int.from_bytes(key[:4], "little") * self.stride
            if at + self.stride <= len(region):
                region[at : at + self.value_size] = value.ljust(self.value_size, b"\0")[: self.value_size]

    def lookup(self, key: bytes) -> int:
        index = int.from_bytes(key[:4], "little")
        return self.base + index * self.stride if index < self.entries else 0

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        index = int.from_bytes(key[:4], "little")
        if flags & 3 == 3 or flags > 7:
            raise ModelError(EINVAL)
        if index >= self.entries:
            raise ModelError(E2BIG)
        if flags & NOEXIST:
            raise ModelError(EEXIST)
        self.memory.write(self.base + index * self.stride, value)

    def walk(self) -> list[bytes]:
        return [index.to_bytes(4, "little") for index in range(self.entries)]

    def read(self) -> MapState | None:
        return None if self.read_only else bytes(self.memory.regions[self.base >> SHIFT])


class HashModel(MapModel):
    """HASH, PERCPU_HASH and their LRU kinds: each value in a region of its own, which stays readable after a deletion."""

    def __init__(self, map: Map, memory: Memory) -> None:
        super().__init__(map, memory)
        self.places: dict[bytes, int] = {}
        self.lru = map.type in (LRU_HASH, LRU_PERCPU_HASH)

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        self.places.clear()
        for key, value in contents.items():
            if len(self.places) < self.entries or key in self.places:
                self._put(key, value.ljust(self.value_size, b"\0")[: self.value_size])

    def _put(self, key: bytes, value: bytes) -> None:
        self.places[key] = self.memory.add(bytearray(value))

    def lookup(self, key: bytes) -> int:
        return self.places.get(key, 0)

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        if flags & 3 == 3 or flags > 7:
            raise ModelError(EINVAL)
        present = key in self.places
        if present and flags & NOEXIST:
            raise ModelError(EEXIST)
        if not present and flags & EXIST:
            raise ModelError(ENOENT)
        if not present and len(self.places) >= self.entries:
            if not self.lru:
                raise ModelError(E2BIG)
            del self.places[next(iter(self.places))]
        if present:
            self.memory.write(self.places[key], value)
        else:
            self._put(key, value)

    def delete(self, key: bytes) -> None:
        if self.places.pop(key, None) is None:
            raise ModelError(ENOENT)

    def walk(self) -> list[bytes]:
        return sorted(self.places)

    def read(self) -> MapState | None:
        return {key: bytes(self.memory.regions[place >> SHIFT]) for key, place in self.places.items()}


class LpmModel(HashModel):
    """LPM_TRIE: keys are a length in bits and an address; the longest prefix that fits is found."""

    def _normal(self, key: bytes) -> bytes:
        bits = min(int.from_bytes(key[:4], "little"), 8 * (self.key_size - 4))
        number = int.from_bytes(key[4:], "big")
        width = 8 * (self.key_size - 4)
        return bits.to_bytes(4, "little") + (number >> width - bits << width - bits).to_bytes(self.key_size - 4, "big")

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        super().set({self._normal(key): value for key, value in contents.items()})

    def lookup(self, key: bytes) -> int:
        width = 8 * (self.key_size - 4)
        for bits in range(min(int.from_bytes(key[:4], "little"), width), -1, -1):
            place = self.places.get(self._normal(bits.to_bytes(4, "little") + key[4:]))
            if place:
                return place
        return 0

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        if flags > 2 or int.from_bytes(key[:4], "little") > 8 * (self.key_size - 4):
            raise ModelError(EINVAL)
        super().update(self._normal(key), value, flags)

    def delete(self, key: bytes) -> None:
        if int.from_bytes(key[:4], "little") > 8 * (self.key_size - 4):
            raise ModelError(EINVAL)
        super().delete(self._normal(key))


class OuterModel(HashModel):
    """ARRAY_OF_MAPS and HASH_OF_MAPS: each element is a map of its own, made from the inner map's definition."""

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        self.set_inner(contents, {})

    def set_inner(self, contents: Mapping[bytes, bytes], all: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """As `set`; `all` has the contents of the inner maps by `inner_name`."""
        self.places.clear()
        self.inner: dict[bytes, MapModel] = {}
        definition = self.map.fields.get("inner")
        for key in contents:
            if isinstance(definition, Map):
                self.inner[key] = model = make_model(definition, self.memory)
                model.set(all.get(inner_name(self.map.name, key), {}))
                self.places[key] = model.address

    def read(self) -> MapState | None:
        return {key: one_value(model.read()) for key, model in sorted(self.inner.items())}


class QueueModel(MapModel):
    """QUEUE, STACK and BLOOM_FILTER (which is modelled as an exact set)."""

    def __init__(self, map: Map, memory: Memory) -> None:
        super().__init__(map, memory)
        self.values: list[bytes] = []

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        self.values = [value.ljust(self.value_size, b"\0")[: self.value_size] for value in contents.values()]

    def push(self, value: bytes, flags: int) -> None:
        """Append; with BPF_EXIST a full map loses its first."""
        if self.map.type != BLOOM and len(self.values) >= self.entries:
            if flags != EXIST:
                raise ModelError(E2BIG)
            self.values.pop(0)
        self.values.append(value)

    def peek(self, value: bytes, take: bool) -> bytes:
        """The next value; of a bloom filter whether `value` is in it."""
        if self.map.type == BLOOM:
            if value not in self.values:
                raise ModelError(ENOENT)
            return value
        if not self.values:
            raise ModelError(ENOENT)
        at = 0 if self.map.type == QUEUE else -1
        return self.values.pop(at) if take else self.values[at]

    def read(self) -> MapState | None:
        return None if self.map.type == BLOOM else list(self.values if self.map.type == QUEUE else reversed(self.values))


class RingModel(MapModel):
    """RINGBUF and PERF_EVENT_ARRAY: the records that a program puts out."""

    def __init__(self, map: Map, memory: Memory) -> None:
        super().__init__(map, memory)
        self.records: list[bytes | int] = []
        self.used = 0

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        self.records, self.used = [], 0

    def room(self, size: int) -> bool:
        """Whether a record still fits (ring buffers only are that small)."""
        needed = -(-(size + 8) // 8) * 8
        if self.map.type == RINGBUF and self.used + needed > self.entries - 1:
            return False
        self.used += needed
        return True

    def output(self, data: bytes) -> None:
        """A whole record."""
        self.records.append(data)

    def reserve(self, size: int) -> int:
        """A record to be filled in; its address."""
        address = self.memory.add(bytearray(size))
        self.records.append(address)
        return address

    def finish(self, address: int, keep: bool) -> None:
        """Submit or discard a reserved record."""
        start = address & ~LOW
        if start in self.records:
            at = self.records.index(start)
            if keep:
                self.records[at] = bytes(self.memory.regions[start >> SHIFT])
            else:
                del self.records[at]

    def read(self) -> MapState | None:
        return [record for record in self.records if isinstance(record, bytes)]


class StorageModel(HashModel):
    """Storage of sockets, tasks, inodes and cgroups: a value for each owner, by its address; not compared, for owners have no names."""

    def set(self, contents: Mapping[bytes, bytes]) -> None:
        self.places.clear()

    def get(self, owner: int, create: bool, initial: bytes) -> int:
        """The owner's value, made where `create` says so; 0 for none."""
        key = owner.to_bytes(8, "little")
        if key not in self.places and create:
            self._put(key, initial.ljust(self.value_size, b"\0"))
        return self.places.get(key, 0)

    def read(self) -> MapState | None:
        return None


class OtherModel(HashModel):
    """Maps of things that a program can only name: programs, devices, sockets, CPUs; look-ups find what was put in."""

    def read(self) -> MapState | None:
        return None


def make_model(map: Map, memory: Memory) -> MapModel:
    """The model of a map's type."""
    type = map.type
    if type in (ARRAY, PERCPU_ARRAY, MapType.STRUCT_OPS):
        return ArrayModel(map, memory)
    if type in HASHES:
        return HashModel(map, memory)
    if type == LPM_TRIE:
        return LpmModel(map, memory)
    if type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
        return OuterModel(map, memory)
    if type in (QUEUE, STACK, BLOOM):
        return QueueModel(map, memory)
    if type in (RINGBUF, MapType.PERF_EVENT_ARRAY):
        return RingModel(map, memory)
    if type in _STORAGE:
        return StorageModel(map, memory)
    return OtherModel(map, memory)
