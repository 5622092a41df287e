"""What a target or a word of `ls` that begins so could be, with what is there now: for completion in a shell.

    candidates("dev:e")   ──►   [("dev:eth0", ""), ("dev:eth1", "")]
    candidates("id:")     ──►   [("id:12", "xdp xdp_main"), ...]

Never raises: what may not be looked at has no candidates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

__all__ = ("candidates",)

Found = Iterable[tuple[str, str]]


def candidates(word: str) -> list[tuple[str, str]]:
    """(whole word, what it is) of everything that begins like `word`, which has one of the prefixes; at most 1,000."""
    prefix, colon, rest = word.partition(":")
    lister = _LISTERS.get(prefix) if colon else None
    if lister is None:
        return []
    try:
        found = {f"{prefix}:{value}": text for value, text in lister(rest) if value.startswith(rest)}
    except Exception:  # a shell that completes a word must never see a traceback
        return []
    return list(found.items())[:1000]


def _programs() -> list[tuple[int, str, str, str]]:
    from bpflens.isa.extended.names import PROG_TYPES, type_name
    from bpflens.kernel.programs.loaded import prog_heads

    return [(info.id, info.name, type_name(PROG_TYPES, info.type), info.tag) for info in prog_heads().values()]


def _ids(rest: str) -> Found:
    return ((str(id), f"{type} {name}") for id, name, type, _ in _programs())


def _names(rest: str) -> Found:
    return ((name, type) for _, name, type, _ in _programs() if name)


def _tags(rest: str) -> Found:
    return ((tag, f"{type} {name}") for _, name, type, tag in _programs())


def _maps(rest: str) -> Found:
    from bpflens.isa.extended.names import MAP_TYPES, type_name
    from bpflens.kernel.programs.loaded import map_heads

    heads = map_heads().values()
    yield from ((str(head.id), f"{type_name(MAP_TYPES, head.type)} {head.name}") for head in heads)
    yield from ((head.name, type_name(MAP_TYPES, head.type)) for head in heads if head.name)


def _links(rest: str) -> Found:
    from bpflens.isa.extended.names import LINK_TYPES, type_name
    from bpflens.kernel.programs.loaded import link_heads

    return ((str(head.id), f"{type_name(LINK_TYPES, head.type)} of program {head.prog_id}") for head in link_heads().values())


def _devices(rest: str) -> Found:
    return ((name, "") for name in sorted(os.listdir("/sys/class/net")))


def _namespaces(rest: str) -> Found:
    return ((name, "") for name in sorted(os.listdir("/run/netns")))


def _below(directory: str, rest: str, only_directories: bool) -> Found:
    """Paths one step below what is written already: directories with a slash at the end."""
    base = rest[: rest.rfind("/") + 1]
    with os.scandir(directory + base) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield f"{base}{entry.name}/", ""
            elif not only_directories:
                yield f"{base}{entry.name}", ""


def _pins(rest: str) -> Found:
    from bpflens.kernel.sys import procfs

    mounts = [mount.point for mount in procfs.mounts("self") if mount.type == "bpf"]
    if not any(rest.startswith(point + "/") for point in mounts):
        return ((f"{point}/", "") for point in mounts)
    return _below("", rest, only_directories=False)


def _cgroups(rest: str) -> Found:
    from bpflens.kernel.sys import procfs

    root = next(mount.point for mount in procfs.mounts("self") if mount.type == "cgroup2")
    return _below(root, rest or "/", only_directories=True)


def _processes(rest: str) -> Found:
    from bpflens.kernel.sys import procfs

    return ((str(pid), procfs.comm(pid)) for pid in procfs.processes())


def _comms(rest: str) -> Found:
    from bpflens.kernel.sys import procfs

    return ((procfs.comm(pid), "") for pid in procfs.processes())


def _units(rest: str) -> Found:
    from bpflens.inventory.facts.processes import process
    from bpflens.kernel.sys import procfs

    for pid in procfs.processes():
        facts = process(pid)
        yield from ((name, "") for name in (facts.unit, facts.container) if name)


_LISTERS: dict[str, Callable[[str], Found]] = {
    "id": _ids, "name": _names, "tag": _tags, "map": _maps, "link": _links, "dev": _devices, "netns": _namespaces, "pin": _pins,
    "cgroup": _cgroups, "pid": _processes, "comm": _comms, "unit": _units,
}  # fmt: skip
