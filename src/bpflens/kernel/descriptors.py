"""Descriptors of loaded objects by their ids, and of this process's place: what restores and journals hold on to.

The caller closes what it is given; NotFound where the object is gone.
"""

from __future__ import annotations

import os
import socket

from bpflens.errors import KernelError
from bpflens.kernel.sys.bpf import close, cmd, fd_by_id
from bpflens.kernel.sys.syscalls import setns

__all__ = ("btf_fd", "close", "device_index", "enter_namespace", "link_fd", "map_fd", "program_fd")

_CLONE_NEWNET = 0x40000000


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


def enter_namespace(path: str) -> None:
    """Move the calling thread into a network namespace; OSError where that cannot be."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, _CLONE_NEWNET)
    finally:
        os.close(fd)


def device_index(name: str, where: str) -> int:
    """The index of a network device in the namespace of the calling thread; KernelError naming `where` it is needed."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise KernelError(where, f"there is no device {name} here", "--dev OLD=NEW names another") from None
