"""Every map type: created with unusual attributes and types, filled, saved, removed, restored, compared. docs/snapshot.md has the table."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.isa.extended.names import MAP_TYPES
from bpflens.kernel import pins
from bpflens.kernel.maps.map_data import freeze, items, lookup, possible_cpus, update, value_stride
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.probes import map_type
from bpflens.kernel.programs.load import create_map, load_btf
from live.snapshot_lab import INT, INT_BTF, LONG, SnapshotLab, failures, id_of, snapshot_lab

pytestmark = pytest.mark.live

NO_PREALLOC, NO_COMMON_LRU, NUMA, ZERO_SEED, RDONLY_PROG, WRONLY_PROG, MMAPABLE, PRESERVE, INNER = (
    1, 2, 4, 1 << 6, 1 << 7, 1 << 8, 1 << 10, 1 << 11, 1 << 12,
)  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    needs.root()
    with snapshot_lab(tmp_path) as made:
        yield made


class Case(NamedTuple):
    """A map to be kept: `entries` to put in, as (key, value) for one CPU; `kept`: whether its contents come back."""

    type: int
    key: int
    value: int
    size: int
    flags: int = 0
    entries: int = 0
    kept: bool = True
    options: dict[str, Any] = {}  # noqa: RUF012
    typed: bool = False


CASES = {
    "hash": Case(1, 4, 8, 300, NO_PREALLOC | NUMA | ZERO_SEED, 200, typed=True),
    "hash of odd sizes": Case(1, 5, 7, 100, 0, 90),
    "hash of large values": Case(1, 4, 3000, 40, 0, 40),
    "array": Case(2, 4, 8, 50, MMAPABLE, 50, typed=True),
    "array for reading programs": Case(2, 4, 8, 5, RDONLY_PROG, 5),
    "percpu_hash": Case(5, 4, 12, 64, NO_PREALLOC, 40),
    "percpu_array": Case(6, 4, 8, 9, WRONLY_PROG, 9),
    "lru_hash": Case(9, 4, 8, 4000, ZERO_SEED, 300, typed=True),
    "lru_percpu_hash": Case(10, 4, 8, 4000, NO_COMMON_LRU, 100),
    "lpm_trie": Case(11, 8, 4, 70, NO_PREALLOC, 60),
    "queue": Case(22, 0, 6, 10, 0, 7),
    "stack": Case(23, 0, 8, 10, 0, 10),
    "perf_event_array": Case(4, 4, 4, 3, PRESERVE, 0, kept=False),
    "stack_trace": Case(7, 4, 16, 4, 0, 0, kept=False),
    "devmap": Case(14, 4, 8, 4),
    "devmap_hash": Case(25, 4, 8, 4),
    "cpumap": Case(16, 4, 8, 2),
    "sockmap": Case(15, 4, 8, 4, 0, 0, kept=False),
    "sockhash": Case(18, 6, 8, 4, 0, 0, kept=False),
    "reuseport_sockarray": Case(20, 4, 8, 4, 0, 0, kept=False),
    "xskmap": Case(17, 4, 4, 4, 0, 0, kept=False),
    "cgroup_array": Case(8, 4, 4, 4),
    "cgroup_storage": Case(19, 16, 8, 0, 0, 0, kept=False),
    "percpu_cgroup_storage": Case(21, 16, 8, 0, 0, 0, kept=False),
    "ringbuf": Case(27, 0, 0, 8192, 0, 0, kept=False),
    "user_ringbuf": Case(31, 0, 0, 4096, 0, 0, kept=False),
    "bloom_filter": Case(30, 0, 5, 100, ZERO_SEED, 0, kept=False, options={"map_extra": 4}),
    "sk_storage": Case(24, 4, 4, 0, NO_PREALLOC, 0, kept=False, typed=True),
    "inode_storage": Case(28, 4, 4, 0, NO_PREALLOC, 0, kept=False, typed=True),
    "task_storage": Case(29, 4, 4, 0, NO_PREALLOC, 0, kept=False, typed=True),
    "cgrp_storage": Case(32, 4, 4, 0, NO_PREALLOC, 0, typed=True),
    "rhash": Case(35, 4, 8, 300, NO_PREALLOC, 100),
}


def make(lab: SnapshotLab, case: Case, name: str) -> int:
    needs.kernel_feature(map_type(case.type) is not False, f"maps of type {MAP_TYPES.get(case.type, case.type)}")
    options: dict[str, Any] = dict(case.options)
    if case.typed:
        options["btf_fd"] = lab.fd(load_btf(INT_BTF))
        options["key_type_id"], options["value_type_id"] = INT, LONG if case.value == 8 else INT
    return lab.fd(create_map(case.type, case.key, case.value, case.size, name=name, flags=case.flags, **options))


def fill(fd: int, case: Case) -> None:
    for number in range(case.entries):
        if case.type == 11:  # LPM: prefix length, then an address
            key = struct.pack("=I", 1 + number % 32) + number.to_bytes(4, "big")
        else:
            key = (number * (1 if case.type in (2, 6) else 7)).to_bytes(case.key, "little") if case.key else b""
        stride = value_stride(case.type, case.value)
        parts = possible_cpus() if stride != case.value else 1
        value = b"".join(
            bytes((number * 3 + cpu + at) & 0xFF for at in range(case.value)).ljust(stride // parts, b"\0") for cpu in range(parts)
        )
        update(fd, key, value)


def attributes(fd: int) -> tuple[object, ...]:
    map = map_by_fd(fd)
    kept = {key: value for key, value in map.fields.items() if key not in ("btf_id", "memlock")}
    return (map.name, map.type, map.key_size, map.value_size, map.max_entries, map.flags, map.key, map.value, kept)


@pytest.mark.parametrize("name", CASES)
def test_map(name: str, lab: SnapshotLab) -> None:
    case = CASES[name]
    fd = make(lab, case, name.replace(" ", "_")[:15])
    fill(fd, case)
    then, contents = attributes(fd), readable(fd, case)
    saved = lab.save(f"map:{id_of(fd)}")
    lab.unload(saved)

    restored, plan = lab.restore(saved.path)

    assert failures(restored) == []
    with pins.opened_pin(restored.pins[0]) as now:
        assert attributes(now) == then
        assert readable(now, case) == contents
    lost = [item for item in plan.left_out if item.object.startswith("contents")]
    assert bool(lost) != case.kept, lost
    assert all(item.why for item in lost)


def readable(fd: int, case: Case) -> object:
    """The contents by the plain interface, in an order of its own; queues are emptied."""
    if case.type in (22, 23):
        return pop_all(fd, case.value)
    try:
        return sorted((key, value) for key, value in items(fd) if value is not None)
    except KernelError:
        return None


def pop_all(fd: int, size: int) -> list[bytes]:
    from bpflens.kernel.sys.bpf import Buffer, bpf_errno, cmd

    found = []
    while True:
        value = Buffer(size)
        result, _, _ = bpf_errno(cmd.MAP_LOOKUP_AND_DELETE_ELEM, struct.pack("=IIQQQ", fd, 0, 0, value.address, 0))
        if result < 0:
            break
        found.append(value.bytes)
    back = reversed(found) if map_by_fd(fd).type == 23 else found
    for element in back:
        update(fd, b"", element)
    return found


def test_frozen_map_of_global_data(lab: SnapshotLab) -> None:
    fd = lab.fd(create_map(2, 4, 16, 1, name="x.rodata", flags=RDONLY_PROG | MMAPABLE))
    update(fd, bytes(4), b"constants of it!")
    freeze(fd)
    saved = lab.save(f"map:{id_of(fd)}")
    assert saved.manifest.maps[0].frozen
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []
    with pins.opened_pin(restored.pins[0]) as now:
        assert lookup(now, bytes(4), 16) == b"constants of it!"
        with pytest.raises(KernelError):
            update(now, bytes(4), bytes(16))


@pytest.mark.parametrize("type", [12, 13], ids=["array_of_maps", "hash_of_maps"])
def test_maps_of_maps(lab: SnapshotLab, type: int) -> None:
    inner = [lab.fd(create_map(1, 4, 8, 10 + number, name=f"inner{number}", flags=NO_PREALLOC)) for number in range(2)]
    outer = lab.fd(create_map(type, 4, 4, 5, name="outer", inner_fd=inner[0]))
    for number, fd in enumerate(inner):
        update(fd, struct.pack("=I", number), struct.pack("=Q", 100 + number))
        update(outer, struct.pack("=I", 3 * number), struct.pack("=I", fd))
    saved = lab.save(f"map:{id_of(outer)}")
    assert len(saved.manifest.maps) == 3
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []
    ids = {map.id: map.name for map in saved.manifest.maps}
    (outer_id,) = [new for old, new in restored.maps.items() if ids[old] == "outer"]
    with pins.opened_pin(next(path for path in restored.pins if "outer" in path)) as now:
        assert id_of(now) == outer_id
        found = {int.from_bytes(key, "little"): int.from_bytes(value or b"", "little") for key, value in items(now)}
    assert {slot: next(ids[old] for old, new in restored.maps.items() if new == id) for slot, id in found.items()} == {
        0: "inner0", 3: "inner1"
    }  # fmt: skip


def test_inner_maps_that_differ_from_their_template(lab: SnapshotLab) -> None:
    """The template is gone; the inner map that is there has more entries than it had."""
    template = lab.fd(create_map(1, 4, 8, 5, name="template"))
    inner = lab.fd(create_map(1, 4, 8, 50, name="inner"))
    outer = lab.fd(create_map(13, 4, 4, 5, name="outer", inner_fd=template))
    update(outer, struct.pack("=I", 1), struct.pack("=I", inner))
    saved = lab.save(f"map:{id_of(outer)}")
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []


def test_empty_map_of_maps_keeps_its_template(lab: SnapshotLab) -> None:
    inner = lab.fd(create_map(2, 4, 24, 6, flags=INNER))
    outer = lab.fd(create_map(12, 4, 4, 5, name="empty", inner_fd=inner))
    saved = lab.save(f"map:{id_of(outer)}")
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []
    template = saved.manifest.maps[0].inner
    assert template is not None
    assert (template.type, template.value_size, template.max_entries, template.flags) == (2, 24, 6, INNER)


def test_devices_are_restored_by_name(lab: SnapshotLab) -> None:
    fd = lab.fd(create_map(25, 4, 4, 4, name="ports"))
    update(fd, struct.pack("=I", 9), struct.pack("=I", socket.if_nametoindex("lo")))
    saved = lab.save(f"map:{id_of(fd)}")
    lab.unload(saved)

    restored, _ = lab.restore(saved.path, devices={"lo": "lo"})
    assert failures(restored) == []

    with pytest.raises(KernelError, match="there is no device nosuch here"):
        lab.restore(saved.path, devices={"lo": "nosuch"}, pin_prefix=f"{lab.prefix}/other")
    assert not os.path.exists(f"{lab.prefix}/other")


def test_cgroups_are_restored_by_path(lab: SnapshotLab) -> None:
    from bpflens.snapshot.taking.cgroups import cgroup_mount

    mount = cgroup_mount()
    needs.kernel_feature(mount is not None, "a cgroup2 mount")
    fd = lab.fd(create_map(8, 4, 4, 4, name="groups"))
    root = os.open(mount or "/", os.O_RDONLY)
    try:
        update(fd, struct.pack("=I", 2), struct.pack("=I", root))
    finally:
        os.close(root)
    saved = lab.save(f"map:{id_of(fd)}")
    data = saved.manifest.maps[0].data
    assert data is not None
    assert data.entries == 1
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []


def test_arena(lab: SnapshotLab) -> None:
    from bpflens.kernel.maps.mapped_maps import PAGE, write_pages

    needs.kernel_feature(map_type(33) is not False, "arenas")
    address = 0x7E00_0000_0000
    fd = lab.fd(create_map(33, 0, 0, 16, name="arena", flags=MMAPABLE, map_extra=address))
    write_pages(fd, 16 * PAGE, address, [(2, b"two".ljust(PAGE, b"\0")), (7, b"seven".ljust(PAGE, b"\0"))])
    saved = lab.save(f"map:{id_of(fd)}")
    data = saved.manifest.maps[0].data
    assert data is not None
    assert (data.layout, data.entries) == ("pages", 2)
    lab.unload(saved)

    restored, _ = lab.restore(saved.path)

    assert failures(restored) == []


def test_unread_records_of_a_ring_buffer_are_saved(lab: SnapshotLab) -> None:
    from bpflens.isa.extended.asm import assemble
    from bpflens.kernel.programs.load import load_program, run_program

    fd = lab.fd(create_map(27, 0, 0, 4096, name="ring"))
    code = assemble(
        f"""
        *(u64 *)(r10 - 8) = 0x11223344
        r1 = map[fd:{fd}]
        r2 = r10
        r2 += -8
        r3 = 8
        r4 = 0
        call bpf_ringbuf_output#130
        r0 = 0
        exit
        """,
        "kernel",
    )
    program = lab.fd(load_program(code, 5))  # tracepoint programs cannot be test-run: a scheduler classifier can
    os.close(program)
    lab.fds.remove(program)
    program = lab.fd(load_program(code, 3))
    run_program(program, bytes(64))
    saved = lab.save(f"map:{id_of(fd)}")
    data = saved.manifest.maps[0].data

    assert data is not None
    from bpflens.formats.snapshot.archive import Archive

    with Archive(saved.path) as archive:
        content = archive.read(data.member)
    assert struct.pack("=Q", 0x11223344) in content


