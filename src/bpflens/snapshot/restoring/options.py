"""How a snapshot is restored: where pins, devices, cgroups and namespaces are now, and what happens to what is there already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ("RestoreOptions", "pin_path")

BPFFS = "/sys/fs/bpf"


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """`pin_prefix`: directory of a BPF filesystem for all pins. `devices`, `cgroups`, `netns`: old name -> new name (a namespace's new
    name may be a path). `attach`: attachments too. `only`: program and map ids or names; empty for all. `reuse_maps`: a pinned map that
    is there already is used as it is, with its data. `replace`: pins and attachments that are there are replaced.
    `mount_namespaces`: pins of other mount namespaces are made where this one has the same path.
    """

    pin_prefix: str | None = None
    devices: Mapping[str, str] = field(default_factory=dict)
    cgroups: Mapping[str, str] = field(default_factory=dict)
    netns: Mapping[str, str] = field(default_factory=dict)
    attach: bool = True
    only: tuple[str, ...] = ()
    reuse_maps: bool = False
    replace: bool = False


def pin_path(path: str, options: RestoreOptions) -> str:
    """Where a pin is made. /proc/PID/root in front (the pin of another mount namespace) is taken off."""
    parts = path.split("/")
    if len(parts) > 4 and parts[1] == "proc" and parts[3] == "root":
        path = "/" + "/".join(parts[4:])
    path = os.path.normpath("/" + path.lstrip("/"))  # a snapshot's path leads nowhere above what it is put below
    if options.pin_prefix is None:
        return path
    relative = path.removeprefix(BPFFS).lstrip("/") if path.startswith(BPFFS + "/") else path.lstrip("/")
    return os.path.join(options.pin_prefix, relative)
