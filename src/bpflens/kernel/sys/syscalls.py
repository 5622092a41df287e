"""The system calls beside bpf(2) that Python does not wrap, through libc. They raise OSError as os.* do."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bpflens.errors import errno_text

__all__ = (
    "Memory", "getsockopt", "ip6_text", "libc", "map_memory", "pidfd_getfd", "pidfd_open", "ptrace", "setns", "sock_filter", "socket",
    "unshare",
)  # fmt: skip

_NR_PIDFD_OPEN, _NR_PIDFD_GETFD = 434, 438  # the same number on every architecture
_SOL_SOCKET, _SO_GET_FILTER = 1, 26

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.syscall.restype = ctypes.c_long


def checked(result: int) -> int:
    """`result`, or OSError with errno where it is negative."""
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, errno_text(errno))
    return result


def pidfd_open(pid: int) -> int:
    """A descriptor of a process (Linux 5.3)."""
    return checked(libc.syscall(_NR_PIDFD_OPEN, pid, 0))


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A duplicate of another process's descriptor (Linux 5.6); needs ptrace access to it."""
    return checked(libc.syscall(_NR_PIDFD_GETFD, pidfd, fd, 0))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into a namespace; `kind` is a CLONE_NEW* flag."""
    checked(libc.setns(fd, kind))


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own; `flags` are CLONE_NEW*."""
    checked(libc.unshare(flags))


def socket(family: int, type: int, protocol: int) -> int:
    """A new close-on-exec socket's descriptor, without the import of Python's socket module."""
    return checked(libc.socket(family, type | os.O_CLOEXEC, protocol))


def ip6_text(address: bytes) -> str:
    """The text of the 16 bytes of an IPv6 address (inet_ntop(3))."""
    text = ctypes.create_string_buffer(46)  # INET6_ADDRSTRLEN
    libc.inet_ntop(10, address, text, len(text))
    return text.value.decode()


def ptrace(request: int, tid: int, addr: int = 0, data: int = 0) -> int:
    """ptrace(2); the calling thread is the tracer."""
    return checked(libc.ptrace(request, tid, addr, data))


def getsockopt(fd: int, level: int, option: int, size: int, content: bytes = b"") -> bytes:
    """getsockopt(2) with `content` as the buffer's start; returns what the kernel wrote."""
    buffer = ctypes.create_string_buffer(content, max(size, 1))
    length = ctypes.c_uint(size)
    checked(libc.getsockopt(fd, level, option, buffer, ctypes.byref(length)))
    return buffer.raw[: length.value]


def sock_filter(fd: int) -> bytes:
    """The classic filter of a socket (SO_GET_FILTER, Linux 3.8): struct sock_filter bytes, b"" where there is none.

    PermissionError where the filter is an extended program. The option's length counts instructions, not bytes
    (net/core/filter.c, sk_get_filter), so Python's socket.getsockopt overruns its buffer here.
    """
    length = ctypes.c_uint(0)
    checked(libc.getsockopt(fd, _SOL_SOCKET, _SO_GET_FILTER, None, ctypes.byref(length)))
    count = length.value
    if not count:
        return b""
    buffer = ctypes.create_string_buffer(8 * count)
    checked(libc.getsockopt(fd, _SOL_SOCKET, _SO_GET_FILTER, buffer, ctypes.byref(length)))
    return buffer.raw[: 8 * min(count, length.value)]


class Memory:
    """Mapped memory: `read` and `write` at offsets in bytes."""

    __slots__ = ("address", "size")

    def __init__(self, address: int, size: int) -> None:
        self.address, self.size = address, size

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes."""
        return ctypes.string_at(self.address + offset, size)

    def write(self, offset: int, content: bytes) -> None:
        """Put bytes there; ValueError outside of the mapping."""
        if offset < 0 or offset + len(content) > self.size:
            raise ValueError("outside of the mapping")
        ctypes.memmove(self.address + offset, content, len(content))


@contextmanager
def map_memory(fd: int, size: int, address: int, protection: int) -> Iterator[Memory]:
    """mmap(2), shared; at `address` exactly where it is not 0 (MAP_FIXED_NOREPLACE, Linux 4.17), which Python's mmap cannot."""
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    shared, fixed_noreplace, failed = 1, 0x100000, ctypes.c_void_p(-1).value
    where = libc.mmap(address or None, size, protection, shared | (fixed_noreplace if address else 0), fd, 0)
    if where == failed or where is None:
        errno = ctypes.get_errno()
        raise OSError(errno, errno_text(errno))
    try:
        yield Memory(where, size)
    finally:
        libc.munmap(where, size)
