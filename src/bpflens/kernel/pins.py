"""Pins: paths of a BPF filesystem that keep programs, maps and links. Every pin of the machine: inventory/facts/pins.py."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from bpflens.errors import InputError, KernelError, NotFound, errno_text
from bpflens.kernel.sys.bpf import Buffer, bpf, bpf_errno, cmd

__all__ = ("fd_facts", "fd_kind", "get", "object_of", "on_bpffs", "opened_pin", "pin", "pinned_object")

_RDONLY = 1 << 3  # BPF_F_RDONLY
_EROFS = 30
_KINDS = {"bpf-prog": "prog", "bpf-map": "map", "bpf_link": "link", "btf": "btf", "bpf-link": "link"}


def pin(fd: int, path: str) -> None:
    """BPF_OBJ_PIN: make `path` of a BPF filesystem keep the object."""
    name = Buffer(os.fsencode(path) + b"\0")
    bpf(cmd.OBJ_PIN, struct.pack("=QII", name.address, fd, 0), f"pin:{path}", "cannot pin")


def get(path: str) -> int:
    """BPF_OBJ_GET: a new descriptor of a pinned object, read-only where nothing more is allowed.

    NotFound where the path does not exist, InputError where it is no pin.
    """
    if "\0" in path:
        raise InputError(repr(path), "a path has no zero bytes")
    name = Buffer(os.fsencode(path) + b"\0")
    read_only = False
    for flags in (0, _RDONLY):
        result, errno, _ = bpf_errno(cmd.OBJ_GET, struct.pack("=QII", name.address, 0, flags))
        if result >= 0:
            return result
        if errno not in (1, 13, _EROFS):
            read_only = read_only and errno == 22  # a program is only opened for writing too
            break
        read_only = errno == _EROFS
    errno = _EROFS if read_only else errno
    where = f"pin:{path}"
    if errno == 2 and not os.path.lexists(path):
        raise NotFound(where, "no such file", errno=errno)
    if errno == 2 and os.path.exists(path) and on_bpffs(path):
        hint = 'perhaps its program is hidden: "bpflens ls --audit" says which are'
        raise NotFound(where, f"the file is there, and the kernel does not give its object ({errno_text(errno)})", hint, errno)
    if os.path.isdir(path):
        raise InputError(where, "is a directory, not a pinned object")
    if errno in (13, 22, _EROFS) and os.path.exists(path) and not on_bpffs(path):
        raise InputError(where, "is not a pinned BPF object (not on a BPF filesystem)")
    raise KernelError.from_errno(where, "cannot open", errno)


def pinned_object(path: str) -> tuple[str, int] | None:
    """("prog", "map" or "link", id) of a file of a bpffs; None for anything else or where it has gone.

    PermissionError where it may not be opened, another OSError where the file is there and the kernel does not give its object.
    """
    name = Buffer(os.fsencode(path) + b"\0")
    for flags in (0, _RDONLY):
        fd, errno, _ = bpf_errno(cmd.OBJ_GET, struct.pack("=QII", name.address, 0, flags))
        if fd >= 0:
            break
    else:
        if errno in (1, 13):
            raise PermissionError(errno, "may not be opened", path)
        if os.path.lexists(path):
            raise OSError(errno, errno_text(errno), path)
        return None
    try:
        return object_of(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def object_of(fd: int) -> tuple[str, int] | None:
    """("prog", "map" or "link", id) of a descriptor; None for anything else. OSError where /proc does not say."""
    kind, info = fd_kind(fd), Buffer(16)
    if kind not in ("prog", "map", "link") or bpf_errno(cmd.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, 16, info.address))[0] < 0:
        return None
    return kind, int.from_bytes(info.bytes[4:8], "little")


@contextmanager
def opened_pin(path: str) -> Iterator[int]:
    """`get` for the length of a with statement."""
    fd = get(path)
    try:
        yield fd
    finally:
        os.close(fd)


def fd_kind(fd: int) -> str:
    """What a descriptor of this process is: "prog", "map", "link", "btf", or the text of its /proc link for anything else."""
    target = os.readlink(f"/proc/self/fd/{fd}")
    return _KINDS.get(target.removeprefix("anon_inode:").strip("[]"), target)


def fd_facts(text: bytes) -> dict[str, str]:
    """The lines "key:\\tvalue" of an fdinfo file."""
    pairs = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {key: value.strip() for key, colon, value in pairs if colon}


def on_bpffs(path: str) -> bool:
    """Whether a path that exists is on a BPF filesystem."""
    from bpflens.kernel.sys.procfs import mounts

    real = os.path.realpath(path)
    above = [(len(mount.point), number, mount.type) for number, mount in enumerate(mounts("self"))
             if real == mount.point or real.startswith(mount.point.rstrip("/") + "/")]  # fmt: skip
    return bool(above) and max(above)[2] == "bpf"  # of several on one point the last one is seen
