"""Pinned objects (row 43): every bpffs of every mount namespace, walked through /proc/PID/root, each file opened with BPF_OBJ_GET."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import mount_namespaces
from bpflens.kernel.pins import pinned_object
from bpflens.lean import NamedTuple

__all__ = ("Pin", "pins")


class Pin(NamedTuple):
    """A pinned object: `kind` "prog", "map" or "link", `id` of that kind; `path` as it can be opened from here."""

    kind: str
    id: int
    path: str


def pins(ctx: Context) -> list[Pin]:
    """Every pinned program, map and link. Files that may not be opened are denied; those without an object are `ctx.unopened`."""
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
    try:
        found = pinned_object(path)
    except PermissionError:
        ctx.deny(f"the pinned object {path}", "CAP_BPF and CAP_DAC_OVERRIDE")
        return None
    except OSError as error:
        ctx.unopened[path] = error.strerror or str(error)
        return None
    return None if found is None else Pin(*found, path)
