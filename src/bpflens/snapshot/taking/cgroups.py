"""Cgroup ids and paths: the id of a cgroup is the inode of its directory (kernfs, 64-bit hosts)."""

from __future__ import annotations

import os

from bpflens.kernel.sys.procfs import mounts

__all__ = ("cgroup_directory", "cgroup_mount", "cgroup_paths")


def cgroup_mount() -> str | None:
    """Where cgroup v2 is mounted here."""
    return next((mount.point for mount in mounts("self") if mount.type == "cgroup2"), None)


def cgroup_directory(path: str) -> str | None:
    """The directory of a path in the hierarchy, None without a cgroup2 mount."""
    mount = cgroup_mount()
    return None if mount is None else mount.rstrip("/") + "/" + path.strip("/")


def cgroup_paths() -> dict[int, str]:
    """Id -> path in the hierarchy of every cgroup."""
    mount = cgroup_mount()
    found: dict[int, str] = {}
    if mount is None:
        return found
    for directory, _, _ in os.walk(mount):
        try:
            found[os.stat(directory).st_ino] = "/" + os.path.relpath(directory, mount).removeprefix(".").lstrip("/")
        except OSError:
            continue
    return found
