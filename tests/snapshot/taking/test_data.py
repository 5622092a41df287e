"""Contents of maps as they are saved, by interfaces and from memory; holders and pins; what cannot be read and why."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens.attachment import Holder
from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedInner, SavedPin
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_attributes import InnerTemplate, MapAttributes
from bpflens.kernel.maps.map_data import freeze, possible_cpus, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map
from bpflens.program import Map
from bpflens.snapshot.taking.data import Contents, contents, save_data
from bpflens.snapshot.taking.holders import Keepers, saved_holders, saved_pins
from bpflens.snapshot.taking.maps import read_map, record_of_map
from bpflens.snapshot.taking.memory import KernelMemory
from inventory.memory.plain_memory import Memory
from snapshot.made import KERNEL

QUEUE, CGROUPS, ARENA = 7, 8, 9


class PlainMemory(KernelMemory):
    """Of maps that a test lays out; without a reader where there is none."""

    def __init__(self, reader: Memory | None = None, addresses: dict[int, int] | None = None) -> None:
        self.attributes = {id: MapAttributes(-1, address) for id, address in (addresses or {}).items()}
        self._plain, self.reason = reader, "needs CAP_PERFMON"

    def reader(self) -> Memory | None:
        return self._plain


@pytest.fixture
def fds() -> Iterator[list[int]]:
    kept: list[int] = []
    yield kept
    close(*kept)


def saved(path: Path, fd: int, map: Map, memory: KernelMemory | None = None, **options: bool) -> tuple[object, bytes]:
    """(the record or why there is none, the member's bytes)."""
    writer = ArchiveWriter(str(path))
    found = save_data(fd, map, writer, memory or PlainMemory(), **{"stable": False, "quiesced": False, **options})
    writer.commit(Manifest(SCHEMA, "t", "", KERNEL, members=writer.members))
    with Archive(str(path)) as archive:
        return found, archive.read(found.member) if not isinstance(found, str) else b""


def made(fds: list[int], type: int, key: int, value: int, entries: int, **options: int) -> tuple[int, Map]:
    fds.append(create_map(type, key, value, entries, name="bl_taking", **options))  # type: ignore[arg-type]
    return fds[-1], map_by_fd(fds[-1], types=False)


@pytest.mark.live
def test_records_and_values(fds: list[int], tmp_path: Path) -> None:
    """Key and value in turn; of an array the values, of all processors."""
    fd, map = made(fds, MapType.HASH, 4, 8, 10)
    for key in (5, 7):
        update(fd, struct.pack("=I", key), struct.pack("=Q", 10 * key))
    data, raw = saved(tmp_path / "h", fd, map)
    assert sorted(struct.iter_unpack("=IQ", raw)) == [(5, 50), (7, 70)]
    assert (data.layout, data.entries, data.key_size, data.value_size) == ("records", 2, 4, 8)
    assert (data.consistency, data.cpus) == ("single pass", 0)
    cpus = possible_cpus()
    fd, map = made(fds, MapType.PERCPU_ARRAY, 4, 4, 2)
    update(fd, struct.pack("=I", 1), struct.pack(f"={2 * cpus}I", *(7, 0) * cpus))
    data, raw = saved(tmp_path / "p", fd, map, stable=True)
    assert struct.unpack(f"={4 * cpus}I", raw) == (0, 0) * cpus + (7, 0) * cpus
    assert (data.layout, data.entries, data.value_size, data.cpus, data.consistency) == ("values", 2, 8 * cpus, cpus, "stable")
    assert saved(tmp_path / "q", fd, map, quiesced=True)[0].consistency == "quiesced"


@pytest.mark.live
def test_empty_maps(fds: list[int], tmp_path: Path) -> None:
    fd, map = made(fds, MapType.HASH, 4, 8, 10)
    data, raw = saved(tmp_path / "x", fd, map)
    assert (data.entries, raw) == (0, b"")


@pytest.mark.live
def test_elements_that_are_objects(fds: list[int], tmp_path: Path) -> None:
    inner, _ = made(fds, MapType.ARRAY, 4, 8, 1)
    fd, map = made(fds, MapType.ARRAY_OF_MAPS, 4, 4, 3, inner_fd=inner)
    update(fd, struct.pack("=I", 1), struct.pack("=I", inner))
    data, raw = saved(tmp_path / "x", fd, map)
    assert data.ids_of == "maps" and struct.unpack("=II", raw) == (1, map_by_fd(inner, types=False).id)


@pytest.mark.parametrize(("map", "reason"), [
    (Map("m", MapType.BLOOM_FILTER, 0, 8, 10), "a bloom filter keeps no keys"), (Map("m", MapType.XSKMAP, 4, 4, 10), "AF_XDP sockets"),
    (Map("m", MapType.HASH, 4, 8, 10, 1 << 4), "the map may not be read"),
    (Map("m", MapType.SOCKHASH, 4, 4, 10), "where values have 8 bytes"),
    (Map("m", MapType.QUEUE, 0, 4, 10), "would empty it, and needs CAP_PERFMON"),
    (Map("m", MapType.CGROUP_ARRAY, 4, 4, 10), "nowhere but in memory"),
])  # fmt: skip
def test_what_cannot_be_read(map: Map, reason: str) -> None:
    found = contents(-1, map, PlainMemory())
    assert isinstance(found, str) and reason in found


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """The file has no member of a map that could not be read to its end."""
    writer = ArchiveWriter(str(tmp_path / "x"))
    found = save_data(-1, Map("m", MapType.QUEUE, 0, 4, 10, id=QUEUE), writer, PlainMemory(Memory()), stable=False, quiesced=False)
    assert found == "reading failed: kernel memory did not hold still, or cannot be read" and writer.members == {}
    writer.abort()


# --- from memory ---


def queue(memory: Memory, head: int, tail: int, size: int = 4) -> int:
    made = memory.new()
    for name, value in (("head", head), ("tail", tail), ("size", size)):
        memory.put(made, "bpf_queue_stack", name, struct.pack("<I", value))
    memory.put(made, "bpf_queue_stack", "elements", struct.pack(f"<{size}I", *range(100, 100 + size)))
    return made


@pytest.mark.parametrize(("head", "tail", "expected"), [(2, 0, [100, 101]), (1, 3, [103, 100]), (3, 3, []), (0, 3, [103])])
def test_a_queue(head: int, tail: int, expected: list[int]) -> None:
    """The oldest first, also where it goes round."""
    reader = Memory()
    memory = PlainMemory(reader, {QUEUE: queue(reader, head, tail)})
    assert memory.queue(QUEUE, 4) == [struct.pack("<I", number) for number in expected]
    found = contents(-1, Map("m", MapType.QUEUE, 0, 4, 3, id=QUEUE), memory)
    assert isinstance(found, Contents)
    assert b"".join(bytes(piece) for piece in found.pieces()) == struct.pack(f"<{len(expected)}I", *expected)


def test_a_queue_that_does_not_hold_still() -> None:
    """It is given up in the end; positions that cannot be are not believed."""
    reader = Memory()
    address = queue(reader, 2, 0)
    memory = PlainMemory(reader, {QUEUE: address})
    plain, heads = reader.read, iter(range(1000))

    def read(at: int, size: int) -> bytes:
        return struct.pack("<I", next(heads) % 4) if at == address + reader.offset("bpf_queue_stack", "head") else plain(at, size)

    reader.read = read  # type: ignore[method-assign]
    assert memory.queue(QUEUE, 4) is None
    other = Memory()
    assert PlainMemory(other, {QUEUE: queue(other, 9, 0)}).queue(QUEUE, 4) is None
    assert PlainMemory(None).queue(QUEUE, 4) is None


def test_cgroups_and_arenas() -> None:
    reader = Memory()
    array = reader.new()
    cgroup = reader.new("cgroup", kn=reader.new("kernfs_node", id=4711))
    reader.put(array, "bpf_array", "ptrs", struct.pack("<3Q", 0, cgroup, 0))
    base = reader.new()
    area = reader.new("vm_struct", addr=base - (1 << 15) - 4096)
    arena = reader.new("bpf_arena", user_vm_start=1 << 44 | 4096, kern_vm=area)
    reader.write(base + 4096, b"second")
    memory = PlainMemory(reader, {CGROUPS: array, ARENA: arena})
    assert memory.cgroups(CGROUPS, 3) == [(1, 4711)] and memory.arena_start(ARENA) == 1 << 44 | 4096
    pages = dict(memory.arena_pages(ARENA, 20))
    assert sorted(pages) == list(range(16)), "the other pages do not exist"
    assert pages[1].startswith(b"second") and not any(pages[0])
    found = contents(-1, Map("m", MapType.ARENA, 0, 0, 20, id=ARENA), memory)
    assert isinstance(found, Contents)
    raw = b"".join(bytes(piece) for piece in found.pieces())
    assert len(raw) == found.record == 4100 and raw[:4] == struct.pack("=I", 1), "pages of zeros are left out"
    with pytest.raises(OSError, match="more than are looked through"):
        list(memory.arena_pages(ARENA, 1 << 20))
    assert PlainMemory(None).arena_start(ARENA) == 0


# --- records of maps ---


@pytest.mark.live
def test_a_record(fds: list[int], tmp_path: Path) -> None:
    """Attributes, contents, who keeps it; or why there are no contents."""
    fd, map = made(fds, MapType.ARRAY, 4, 8, 3)
    freeze(fd)
    keep = Keepers()
    keep.pins["map", map.id or 0] = (SavedPin("/x"),)
    writer = ArchiveWriter(str(tmp_path / "x"))
    told: list[str] = []
    found = read_map(map.id or 0, writer, None, keep, PlainMemory(), progress=told.append)  # type: ignore[arg-type]
    assert (found.name, found.type_name, found.key_size, found.value_size, found.max_entries) == ("bl_taking", "array", 4, 8, 3)
    assert found.frozen
    assert found.pins == (SavedPin("/x"),) and found.data is not None and found.data.entries == 3
    assert told == [f"map {map.id} bl_taking (array, 3 entries at most)"]
    without = read_map(map.id or 0, writer, None, Keepers(), PlainMemory(), data="left out on request")  # type: ignore[arg-type]
    assert without.data is None and without.why_no_data == "left out on request"
    writer.abort()


def test_flags_that_are_the_kernels_own() -> None:
    """Of a device map the one that the kernel adds; those of the descriptor that a process had; a node only where it was asked for."""
    memory = PlainMemory()
    memory.attributes = {1: MapAttributes(0, 0), 2: MapAttributes(3, 0, InnerTemplate(1, 4, 8, 16, 1))}
    devmap = record_of_map(Map("m", MapType.DEVMAP, 4, 8, 3, 1 << 7 | 1 << 3, id=1), None, memory)
    assert devmap.flags == 0 and devmap.numa_node is None and devmap.inner is None
    hash = record_of_map(Map("m", MapType.HASH, 4, 8, 3, 1 << 7 | 1 << 2, id=2), None, memory)
    assert hash.flags == 1 << 7 | 1 << 2 and hash.numa_node == 3 and hash.inner == SavedInner(1, 4, 8, 16, 1)


# --- who keeps them ---


def test_holders() -> None:
    """Another process with its executable and what that is; this one is left out."""
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            (found,) = saved_holders([Holder(child.pid, "sleep", 3), Holder(os.getpid(), "python", 4)])
            exe = os.readlink(f"/proc/{child.pid}/exe")
            assert (found.pid, found.comm, found.fd, found.exe) == (child.pid, "sleep", 3, exe)
            assert found.exe_sha256 == hashlib.sha256(Path(exe).read_bytes()).hexdigest()
            assert saved_holders([Holder(child.pid, "sleep", 3)], hashes=False)[0].exe_sha256 is None
        finally:
            child.kill()
    gone = saved_holders([Holder(1 << 22, "gone", 3)])[0]
    assert (gone.exe, gone.exe_sha256, gone.unit, gone.cgroup) == (None, None, None, None)


def test_pins(tmp_path: Path) -> None:
    """With device and inode, in the order of their paths; of one that has gone the path."""
    (tmp_path / "b").write_text("")
    status = (tmp_path / "b").stat()
    there = SavedPin(f"{tmp_path}/b", status.st_dev, status.st_ino)
    assert saved_pins([f"{tmp_path}/c", f"{tmp_path}/b"]) == (there, SavedPin(f"{tmp_path}/c"))
