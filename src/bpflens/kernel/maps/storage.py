"""Storage maps: values that hang on processes, sockets and cgroups. They have no keys to list; each owner is asked for its value.

    task_storage     key: pid of a process, through a pidfd               (kernel/bpf/bpf_task_storage.c, v5.11)
    sk_storage       key: socket cookie, through copies of descriptors    (net/core/bpf_sk_storage.c, v5.2)
    cgrp_storage     key: id of a cgroup, through its directory           (kernel/bpf/bpf_cgrp_storage.c, v6.2)

Not found are values of other threads than a process's first, of sockets that no process holds, and all of inode_storage: the kernel
lists no inodes.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from bpflens.errors import KernelError
from bpflens.kernel.maps.map_data import lookup, update
from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.syscalls import getsockopt, pidfd_getfd, pidfd_open

__all__ = ("CGRP_STORAGE", "OWNERS", "SK_STORAGE", "TASK_STORAGE", "set_cgroup_value", "storage_items")

SK_STORAGE, TASK_STORAGE, CGRP_STORAGE = 24, 29, 32
OWNERS = {SK_STORAGE: ("sockets", 8), TASK_STORAGE: ("processes", 4), CGRP_STORAGE: ("cgroups", 8)}
"""Map type -> what has the values, bytes of the keys that stand for them here."""
_SOL_SOCKET, _SO_COOKIE = 1, 57


def storage_items(fd: int, type: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
    """(number of the owner, value) of every owner that can be found and has one."""
    source = {SK_STORAGE: _sockets, TASK_STORAGE: _processes, CGRP_STORAGE: _cgroups}[type]
    for key, owner in source():
        try:
            value = lookup(fd, struct.pack("=i", owner), value_size)
        except KernelError:
            continue  # gone, or of a kind that has no storage
        if value is not None:
            yield key, value


def set_cgroup_value(fd: int, directory: str, value: bytes) -> None:
    """Give a cgroup its value. OSError where the directory is not there, KernelError where the kernel refuses."""
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        update(fd, struct.pack("=i", cgroup), value)
    finally:
        os.close(cgroup)


def _processes() -> Iterator[tuple[bytes, int]]:
    for pid in procfs.processes():
        with contextlib.suppress(OSError):
            pidfd = pidfd_open(pid)
            try:
                yield struct.pack("=I", pid), pidfd
            finally:
                os.close(pidfd)


def _cgroups() -> Iterator[tuple[bytes, int]]:
    mount = next((mount.point for mount in procfs.mounts("self") if mount.type == "cgroup2"), None)
    for directory, _, _ in os.walk(mount) if mount else ():
        with contextlib.suppress(OSError):
            cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield struct.pack("=Q", os.fstat(cgroup).st_ino), cgroup
            finally:
                os.close(cgroup)


def _sockets() -> Iterator[tuple[bytes, int]]:
    seen: set[str] = set()
    for pid in procfs.processes():
        with contextlib.suppress(OSError):
            pidfd = pidfd_open(pid)
            try:
                for name in os.listdir(f"/proc/{pid}/fd"):
                    yield from _socket(pid, pidfd, name, seen)
            finally:
                os.close(pidfd)


def _socket(pid: int, pidfd: int, name: str, seen: set[str]) -> Iterator[tuple[bytes, int]]:
    with contextlib.suppress(OSError):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if not target.startswith("socket:[") or target in seen:
            return
        seen.add(target)
        copy = pidfd_getfd(pidfd, int(name))
        try:
            yield getsockopt(copy, _SOL_SOCKET, _SO_COOKIE, 8).ljust(8, b"\0"), copy
        finally:
            os.close(copy)
