"""Descriptors by ids, duplicates of other processes' descriptors, and network namespaces by theirs."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from bpflens.errors import KernelError, NotFound
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel import descriptors, namespaces
from bpflens.kernel.descriptors import Duplicates
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.sys import syscalls


@pytest.mark.live
def test_by_id() -> None:
    """The same map; what is not there is not found, under its own name."""
    fd = create_map(MapType.ARRAY, 4, 8, 1)
    id = map_by_fd(fd, types=False).id
    assert id is not None
    other = descriptors.map_fd(id)
    assert map_by_fd(other, types=False).id == id and other != fd
    descriptors.close(fd, other, other)  # closed twice: no error
    for open_by_id, name in (
        (descriptors.program_fd, "id:"), (descriptors.map_fd, "map:"), (descriptors.link_fd, "link:"), (descriptors.btf_fd, "BTF "),
    ):  # fmt: skip
        with pytest.raises(NotFound, match=f"{name}{0x7FFF_FFF0}"):
            open_by_id(0x7FFF_FFF0)


@pytest.mark.live
def test_duplicates() -> None:
    """Of another process's pipe: what is written to it comes out here. A process that has gone is told from one that has no such file."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child, Duplicates() as duplicates:
        assert child.stdin is not None and child.stdout is not None
        copies = [duplicates.of(child.pid, 1), duplicates.of(child.pid, 0)]
        assert [os.fstat(copy).st_ino for copy in copies] == [os.fstat(child.stdout.fileno()).st_ino, os.fstat(child.stdin.fileno()).st_ino]
        with pytest.raises(OSError) as missing:
            duplicates.of(child.pid, 999)
        assert missing.value.errno == 9
        descriptors.close(*copies)
        child.stdin.close()
        child.wait(10)
        gone = child.pid
    with pytest.raises(ProcessLookupError):
        descriptors.duplicate(gone, 0)
    with Duplicates() as duplicates:
        for _ in "twice":
            with pytest.raises(ProcessLookupError):
                duplicates.of(gone, 0)


def test_devices() -> None:
    assert descriptors.device_index("lo", "attach") == socket.if_nametoindex("lo") == 1
    with pytest.raises(KernelError, match="attach: there is no device nosuch0 here") as caught:
        descriptors.device_index("nosuch0", "attach")
    assert caught.value.hint == "--dev OLD=NEW names another"


def here() -> int:
    """The inode of the namespace that this thread is in."""
    return int(os.readlink("/proc/thread-self/ns/net")[5:-1])


@pytest.mark.live
def test_into_a_namespace_and_back(own_netns: None) -> None:
    """By a descriptor, and by what a socket says; the thread is back also after an error."""
    first, path = here(), f"/proc/self/fd/{os.open('/proc/thread-self/ns/net', os.O_RDONLY)}"
    with socket.socket() as one:
        syscalls.unshare(0x40000000)
        second = here()
        assert second != first
        assert namespaces.namespace_inode(one.fileno()) == first
        taken = namespaces.socket_namespace(os.getpid(), one.fileno())
        assert os.fstat(taken).st_ino == first
        os.close(taken)
    with pytest.raises(ZeroDivisionError), namespaces.inside(lambda: os.open(path, os.O_RDONLY)):
        assert here() == first
        raise ZeroDivisionError
    assert here() == second
    with pytest.raises(FileNotFoundError), namespaces.inside(lambda: os.open("/proc/self/ns/nothing", os.O_RDONLY)):
        pass
    assert namespaces.has_device_here("lo") and not namespaces.has_device_here("nosuch0")
    namespaces.enter_namespace(path)
    assert here() == first
    os.close(int(path.rpartition("/")[2]))


@pytest.mark.live
def test_no_descriptor_is_left() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with namespaces.inside(lambda: os.open("/proc/self/ns/net", os.O_RDONLY)):
        pass
    with pytest.raises(OSError):
        namespaces.enter_namespace("/proc/self/ns/mnt")  # of another kind
    assert sorted(os.listdir("/proc/self/fd")) == before
