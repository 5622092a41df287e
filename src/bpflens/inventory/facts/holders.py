"""Who holds programs, links and maps by a descriptor (rows 41, 44): /proc/PID/fdinfo. Needs CAP_SYS_PTRACE for other users' processes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Holders
from bpflens.kernel.sys import procfs

__all__ = ("holders", "map_holders")

_PROG, _LINK, _MAP = "anon_inode:bpf-prog", "anon_inode:bpf_link", "anon_inode:bpf-map"


def holders(ctx: Context, maps: bool = False) -> Holders:
    """Holders of programs and links, and of `maps`, among all visible descriptors and those that kernel memory has shown."""
    hidden = ctx.hidden_holders
    return Holders(
        _together(_by_id(ctx, _PROG, b"prog_id"), hidden.programs),
        _by_id(ctx, _LINK, b"link_id"),
        map_holders(ctx) if maps else {},
    )


def map_holders(ctx: Context) -> dict[int, list[Holder]]:
    """Holders of maps."""
    return _together(_by_id(ctx, _MAP, b"map_id"), ctx.hidden_holders.maps)


def _together(one: Mapping[int, list[Holder]], other: Mapping[int, list[Holder]]) -> dict[int, list[Holder]]:
    return {id: one.get(id, []) + other.get(id, []) for id in (*one, *other)}


def _by_id(ctx: Context, link: str, field: bytes) -> dict[int, list[Holder]]:
    found: dict[int, list[Holder]] = {}
    directory, pid = -1, 0
    label = field + b":\t"
    try:
        for file in ctx.files:
            if file.link != link:
                continue
            try:
                if file.pid != pid:
                    if directory >= 0:
                        os.close(directory)
                    directory, pid = -1, file.pid
                    directory = os.open(f"/proc/{pid}/fdinfo", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if directory < 0:
                    continue
                text = procfs.start(str(file.fd), directory)
            except PermissionError:
                ctx.deny("what the descriptors of some processes are", "CAP_SYS_PTRACE")
                continue
            except OSError:
                continue
            start = text.find(label)
            if start >= 0:
                start += len(label)
                id = int(text[start : text.find(b"\n", start)])
                found.setdefault(id, []).append(ctx.holder(file.pid, file.fd))
    finally:
        if directory >= 0:
            os.close(directory)
    return found
