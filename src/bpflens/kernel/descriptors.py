"""Descriptors of loaded objects by their ids, and of this process's place: what restores and journals hold on to.

The caller closes what it is given; NotFound where the object is gone.
"""

from __future__ import annotations

import os

from bpflens.errors import KernelError
from bpflens.kernel.sys.bpf import cmd, fd_by_id
from bpflens.kernel.sys.syscalls import pidfd_getfd, pidfd_open

__all__ = ("Duplicates", "btf_fd", "close", "device_index", "duplicate", "link_fd", "map_fd", "program_fd")


def program_fd(id: int) -> int:
    """A descriptor of program `id`."""
    return fd_by_id(cmd.PROG_GET_FD_BY_ID, id, f"id:{id}")


def map_fd(id: int) -> int:
    """A descriptor of map `id`."""
    return fd_by_id(cmd.MAP_GET_FD_BY_ID, id, f"map:{id}")


def link_fd(id: int) -> int:
    """A descriptor of link `id`."""
    return fd_by_id(cmd.LINK_GET_FD_BY_ID, id, f"link:{id}")


def btf_fd(id: int) -> int:
    """A descriptor of BTF object `id`."""
    return fd_by_id(cmd.BTF_GET_FD_BY_ID, id, f"BTF {id}")


class Duplicates:
    """Duplicates of other processes' descriptors (pidfd_getfd, Linux 5.6); those of one process are best asked for one after the other."""

    def __init__(self) -> None:
        self._pidfd, self._pid = -1, 0

    def __enter__(self) -> Duplicates:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def of(self, pid: int, fd: int) -> int:
        """A descriptor of ours for descriptor `fd` of a process. PermissionError without ptrace access, OSError where one has gone."""
        if pid != self._pid:
            if self._pidfd >= 0:
                os.close(self._pidfd)
            self._pidfd, self._pid = -1, pid
            self._pidfd = pidfd_open(pid)
        if self._pidfd < 0:
            raise ProcessLookupError(3, "the process has gone")
        return pidfd_getfd(self._pidfd, fd)


def duplicate(pid: int, fd: int) -> int:
    """One of `Duplicates`."""
    with Duplicates() as duplicates:
        return duplicates.of(pid, fd)


def device_index(name: str, where: str) -> int:
    """The index of a network device in the namespace of the calling thread; KernelError naming `where` it is needed."""
    import socket

    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise KernelError(where, f"there is no device {name} here", "--dev OLD=NEW names another") from None


def close(*fds: int) -> None:
    """Close descriptors, ignoring those already gone."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass
