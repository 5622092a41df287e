"""Pinned objects (row 43): every bpffs of every mount namespace, walked through /proc/PID/root, each file opened with BPF_OBJ_GET."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import mount_namespaces
from bpflens.kernel.sys.bpf import Buffer, bpf_errno, cmd
from bpflens.lean import NamedTuple

__all__ = ("Pin", "pins")

_RDONLY = 1 << 3  # BPF_F_RDONLY: a map pinned read-only can be opened so
_KINDS = {"anon_inode:bpf-prog": "prog", "anon_inode:bpf-map": "map", "anon_inode:bpf_link": "link"}


class Pin(NamedTuple):
    """A pinned object: `kind` "prog", "map" or "link", `id` of that kind; `path` as it can be opened from here."""

    kind: str
    id: int
    path: str


def pins(ctx: Context) -> list[Pin]:
    """Every pinned program, map and link. Files that may not be opened are reported as denied."""
    found: list[Pin] = []
    seen: set[str] = set()
    for prefix, mounts in mount_namespaces(ctx):
        for mount in mounts:
            if mount.type != "bpf" or mount.root != "/" or mount.device in seen:
                continue
            try:
                base = prefix + mount.point
                os.listdir(base)
            except OSError:
                continue  # another mount namespace may show it
            seen.add(mount.device)
            for path in _files(base):
                pin = _open(ctx, path)
                if pin is not None and pin not in found:  # one bpffs may be mounted over another
                    found.append(pin)
    return found


def _files(base: str) -> Iterator[str]:
    pending = [base]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                        yield entry.path
        except OSError:
            continue


def _open(ctx: Context, path: str) -> Pin | None:
    name = Buffer(os.fsencode(path) + b"\0")
    for flags in (0, _RDONLY):
        fd, errno, _ = bpf_errno(cmd.OBJ_GET, struct.pack("<QII", name.address, 0, flags))
        if fd >= 0:
            break
    else:
        if errno in (1, 13):
            ctx.deny(f"the pinned object {path}", "CAP_BPF and CAP_DAC_OVERRIDE")
        return None
    try:
        kind = _KINDS.get(os.readlink(f"/proc/self/fd/{fd}"))
        if kind is None:
            return None
        info = Buffer(16)
        attr = struct.pack("<IIQ", fd, 16, info.address)
        if bpf_errno(cmd.OBJ_GET_INFO_BY_FD, attr)[0] < 0:
            return None
        return Pin(kind, int.from_bytes(info.bytes[4:8], "little"), path)
    except OSError:
        return None
    finally:
        os.close(fd)
