"""The bpf(2) system call: commands, one function that calls it, and the few wrappers that everything else is made of.

Constants and layouts: include/uapi/linux/bpf.h. Attributes are packed by the callers with struct; unused tail bytes are zero.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from bpflens.errors import KernelError, NotFound
from bpflens.isa.extended.uapi import Cmd as cmd
from bpflens.kernel.sys import faults

__all__ = ("Buffer", "all_ids", "bpf", "bpf_errno", "call_number", "cmd", "fd_by_id", "info_by_fd", "next_id", "opened")

_NR = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361, "i686": 357, "armv7l": 386}
_ATTR_SIZE = 256  # every kernel accepts a longer attr whose tail is zero


_OBJECTS = {
    cmd.PROG_GET_NEXT_ID: "program", cmd.PROG_GET_FD_BY_ID: "program", cmd.MAP_GET_NEXT_ID: "map", cmd.MAP_GET_FD_BY_ID: "map",
    cmd.BTF_GET_NEXT_ID: "BTF", cmd.BTF_GET_FD_BY_ID: "BTF", cmd.LINK_GET_NEXT_ID: "link", cmd.LINK_GET_FD_BY_ID: "link",
}  # fmt: skip


class Buffer:
    """Memory with a stable address to put into an attr: `Buffer(b"..")` or `Buffer(size)`; `.address`, `.bytes`."""

    __slots__ = ("_raw", "address", "size")

    def __init__(self, content: bytes | int) -> None:
        self._raw = ctypes.create_string_buffer(content, content if isinstance(content, int) else len(content))
        self.size = len(self._raw)
        self.address = ctypes.addressof(self._raw) if self.size else 0

    @property
    def bytes(self) -> bytes:
        """The content now."""
        return self._raw.raw


_number = _NR.get(os.uname().machine, 321)
_libc: ctypes.CDLL | None = None


def call_number() -> int:
    """The number of bpf(2) on this machine."""
    return _number


def bpf_errno(command: int, attr: bytes) -> tuple[int, int, bytes]:
    """bpf(2): (return value or -1, errno, attr as the kernel left it). Never raises for a refusal."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    if faults.hook is not None and (fault := faults.hook(f"bpf {command}")):
        return -1, fault, attr.ljust(_ATTR_SIZE, b"\0")
    raw = ctypes.create_string_buffer(attr, max(_ATTR_SIZE, len(attr)))
    result: int = _libc.syscall(_number, command, raw, len(raw))
    return result, (ctypes.get_errno() if result < 0 else 0), raw.raw


def bpf(command: int, attr: bytes, object: str = "bpf", what: str = "bpf(2)") -> tuple[int, bytes]:
    """bpf(2): (return value, attr afterwards); KernelError naming `object` and `what` where the kernel refuses."""
    result, errno, after = bpf_errno(command, attr)
    if result < 0:
        raise KernelError.from_errno(object, what, errno)
    return result, after


def next_id(command: int, start: int) -> int | None:
    """The next object id after `start` (a *_GET_NEXT_ID command), None at the end. KernelError without CAP_SYS_ADMIN."""
    result, errno, after = bpf_errno(command, start.to_bytes(4, "little"))
    if result < 0:
        if errno == 2:
            return None
        what = f"cannot list {_OBJECTS.get(command, 'object')} ids"
        raise KernelError.from_errno("bpf", what, errno, 'needs CAP_SYS_ADMIN; run "bpflens doctor"' if errno == 1 else None)
    return int.from_bytes(after[4:8], "little")


def all_ids(command: int) -> list[int]:
    """Every object id that a *_GET_NEXT_ID command lists, ascending. Objects may vanish before they are opened: skip NotFound then."""
    ids: list[int] = []
    while (id := next_id(command, ids[-1] if ids else 0)) is not None:
        ids.append(id)
    return ids


@contextlib.contextmanager
def opened(command: int, id: int, object: str) -> Iterator[int]:
    """`fd_by_id` for the length of a with statement."""
    fd = fd_by_id(command, id, object)
    try:
        yield fd
    finally:
        os.close(fd)


def fd_by_id(command: int, id: int, object: str) -> int:
    """A new descriptor for an object id (a *_GET_FD_BY_ID command), close-on-exec; the caller closes it."""
    result, errno, _ = bpf_errno(command, struct.pack("=I", id))
    if result < 0:
        if errno == 2:
            raise NotFound(object, f"no {_OBJECTS.get(command, 'BPF object')} with this id", errno=errno)
        raise KernelError.from_errno(object, "cannot open", errno, 'needs CAP_SYS_ADMIN; run "bpflens doctor"' if errno == 1 else None)
    return result


def info_by_fd(fd: int, info: Buffer, object: str) -> int:
    """BPF_OBJ_GET_INFO_BY_FD into `info` (filled pointers inside are honoured); returns the length the kernel wrote."""
    attr = fd.to_bytes(4, "little") + info.size.to_bytes(4, "little") + info.address.to_bytes(8, "little")
    _, after = bpf(cmd.OBJ_GET_INFO_BY_FD, attr, object, "cannot read its info")
    return int.from_bytes(after[4:8], "little")
