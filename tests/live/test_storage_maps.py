"""Storage maps list no keys: processes, sockets and cgroups are asked for their values. Cgroups get theirs back, others are told."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.formats.snapshot.archive import Archive
from bpflens.kernel.maps.map_data import update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.maps.storage import CGRP_STORAGE, SK_STORAGE, TASK_STORAGE, storage_items
from bpflens.kernel.pins import opened_pin
from bpflens.kernel.probes import map_type
from bpflens.kernel.programs.load import create_map, load_btf
from bpflens.kernel.sys.syscalls import pidfd_open
from bpflens.maps.elements import elements
from bpflens.snapshot.export import elements_of
from bpflens.snapshot.taking.cgroups import cgroup_mount
from live.snapshot_lab import INT, INT_BTF, SnapshotLab, failures, id_of, snapshot_lab

pytestmark = pytest.mark.live
NO_PREALLOC = 1
INODE_STORAGE = 28


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    needs.root()
    with snapshot_lab(tmp_path) as made:
        yield made


def storage(lab: SnapshotLab, type: int) -> int:
    needs.kernel_feature(map_type(type) is not False, f"storage maps of type {type}")
    types = lab.fd(load_btf(INT_BTF))
    return lab.fd(create_map(type, 4, 4, 0, name="bl_store", flags=NO_PREALLOC, btf_fd=types, key_type_id=INT, value_type_id=INT))


def saved_and_restored(lab: SnapshotLab, fd: int) -> tuple[list[tuple[bytes, object]], list[str], list[tuple[bytes, bytes]]]:
    """(elements of the snapshot, what stays away, elements after the restore)."""
    saved = lab.save(f"map:{id_of(fd)}", hashes=False)
    with Archive(saved.path) as archive:
        (map,) = archive.manifest.maps
        kept = [(element.raw_key, element.value) for element in elements_of(archive, map)]
    type = map.type
    lab.unload(saved)
    restored, plan = lab.restore(saved.path)
    assert failures(restored) == []
    with opened_pin(restored.pins[0]) as now:
        return kept, [item.why for item in plan.left_out], list(storage_items(now, type, 4))


def test_values_of_processes(lab: SnapshotLab) -> None:
    fd = storage(lab, TASK_STORAGE)
    pidfd = lab.fd(pidfd_open(os.getpid()))
    update(fd, struct.pack("=i", pidfd), struct.pack("=i", 41))
    own = struct.pack("=I", os.getpid())

    (element,) = elements(map_by_fd(fd))
    assert (element.raw_key, element.key, element.value) == (own, os.getpid(), 41)
    kept, lost, after = saved_and_restored(lab, fd)
    assert kept == [(own, 41)] and after == []
    assert any("belong to processes" in why for why in lost)


def test_values_of_sockets(lab: SnapshotLab) -> None:
    fd = storage(lab, SK_STORAGE)
    with socket.socket() as one:
        update(fd, struct.pack("=i", one.fileno()), struct.pack("=i", 42))
        ((key, value),) = storage_items(fd, SK_STORAGE, 4)
        assert key == one.getsockopt(socket.SOL_SOCKET, 57, 8) and value == struct.pack("=i", 42)
        kept, lost, _ = saved_and_restored(lab, fd)
    assert kept == [(key, 42)]
    assert any("belong to sockets" in why for why in lost)


def test_values_of_inodes_are_saved_from_memory(lab: SnapshotLab, tmp_path: Path) -> None:
    """No interface lists inodes; the snapshot has device, inode and value of each, and says why they do not come back."""
    fd = storage(lab, INODE_STORAGE)
    files = [tmp_path / name for name in ("one", "two", "three")]
    for number, path in enumerate(files, 70):
        path.write_text("x")
        update(fd, struct.pack("=i", lab.fd(os.open(path, os.O_RDONLY))), struct.pack("=i", number))
    stats = [path.stat() for path in files]

    saved = lab.save(f"map:{id_of(fd)}", hashes=False, stable=True)
    with Archive(saved.path) as archive:
        (map,) = archive.manifest.maps
        kept = {element.raw_key: (element.key, element.value) for element in elements_of(archive, map)}
    assert map.data is not None and (map.data.ids_of, map.data.consistency) == ("inodes", "stable")
    assert kept == {
        struct.pack("=QQ", stat.st_dev, stat.st_ino): (f"{os.major(stat.st_dev)}:{os.minor(stat.st_dev)} inode {stat.st_ino}", number)
        for number, stat in enumerate(stats, 70)
    }
    lab.unload(saved)
    restored, plan = lab.restore(saved.path)
    assert failures(restored) == []
    assert any("by device and inode" in item.why for item in plan.left_out)


def test_values_of_cgroups_come_back(lab: SnapshotLab) -> None:
    fd = storage(lab, CGRP_STORAGE)
    mount = cgroup_mount()
    assert mount is not None
    path = f"{mount}/bpflens-storage-{os.getpid()}"
    os.mkdir(path)
    try:
        cgroup = lab.fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        update(fd, struct.pack("=i", cgroup), struct.pack("=i", 43))
        number = struct.pack("=Q", os.fstat(cgroup).st_ino)
        kept, lost, after = saved_and_restored(lab, fd)
        assert kept == [(number, 43)] and lost == []
        assert after == [(number, struct.pack("=i", 43))]
    finally:
        os.rmdir(path)
