"""Network namespaces by their descriptors: the way in and back, and the namespace of a socket. setns(2) needs CAP_SYS_ADMIN."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bpflens.kernel.descriptors import duplicate
from bpflens.kernel.sys.syscalls import setns

__all__ = ("enter_namespace", "has_device_here", "inside", "namespace_inode", "socket_namespace")

_CLONE_NEWNET = 0x40000000
_SIOCGSKNS = 0x894C


def enter_namespace(path: str) -> None:
    """Move the calling thread into a network namespace; OSError where that cannot be."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, _CLONE_NEWNET)
    finally:
        os.close(fd)


@contextmanager
def inside(opened: Callable[[], int]) -> Iterator[None]:
    """The calling thread inside the network namespace of which `opened()` gives a descriptor, which is closed; and back afterwards."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fd = opened()
        try:
            setns(fd, _CLONE_NEWNET)
        finally:
            os.close(fd)
        try:
            yield
        finally:
            setns(back, _CLONE_NEWNET)
    finally:
        os.close(back)


def socket_namespace(pid: int, fd: int) -> int:
    """A descriptor of the network namespace of a socket of another process; needs CAP_NET_ADMIN there."""
    taken = duplicate(pid, fd)
    try:
        return fcntl.ioctl(taken, _SIOCGSKNS)
    finally:
        os.close(taken)


def namespace_inode(fd: int, request: int = _SIOCGSKNS) -> int:
    """The inode of the namespace that an ioctl of a socket (or of a tun device) gives; OSError where it is refused."""
    namespace = fcntl.ioctl(fd, request)
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def has_device_here(name: str) -> bool:
    """Is there an interface of this name (of its own or an alternative one) in the namespace of the calling thread?"""
    import socket

    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False
