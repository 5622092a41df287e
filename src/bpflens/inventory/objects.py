"""The words PREFIX:VALUE after `bpflens ls`: which rows each picks, and whether there is such a thing at all.

    dev:eth0  cgroup:/system.slice/*  pin:/sys/fs/bpf  comm:python*  map:7      rows that fit
    netns:nope                                                                  NotFound: no network namespace nope

Names take the wildcards * ? [...]; without them they are the whole name (a tag: its beginning).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from bpflens.errors import InputError, NotFound
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.kernel.sys import procfs

__all__ = ("TESTS", "Test", "cgroup_path", "name_fits", "netns_inode", "pin_fits", "require")

Test = Callable[[InventoryRow, Inventory], bool]
_KEPT = 15  # characters of a name that the kernel keeps


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def fits(pattern: str, text: str | None) -> bool:
    """Whether a text is the one that was named, or fits the wildcards."""
    return text is not None and (fnmatchcase(text, pattern) if _is_pattern(pattern) else text == pattern)


def name_fits(pattern: str, name: str, full_name: str | None = None) -> bool:
    """Whether a program or map is the one named: by the kernel's name, by the whole name, or as much of it as the kernel keeps."""
    if fits(pattern, name) or fits(pattern, full_name):
        return True
    return not _is_pattern(pattern) and full_name in (None, name) and len(name) == _KEPT and pattern[:_KEPT] == name


_DIGITS = 20


def _is_number(text: str) -> bool:
    """A decimal number; Python's int() refuses thousands of digits."""
    return text.isdecimal() and len(text) <= _DIGITS


def _number(prefix: str, text: str) -> int:
    if not _is_number(text):
        raise InputError(f"{prefix}:{text}", "is not a number")
    return int(text)


# --- rows ---


def _pid(rest: str) -> Test:
    pid = os.getpid() if rest == "self" else _number("pid", rest)

    def test(row: InventoryRow, all: Inventory) -> bool:
        if row.object == f"pid:{pid}" or any(holder.pid == pid for holder in row.holders):
            return True
        held = (id for id, holders in all.maps.holders.items() if any(holder.pid == pid for holder in holders))
        return row.prog_id is not None and any(row.prog_id in all.maps.users.get(id, ()) for id in held)

    return test


def _netns(rest: str) -> Test:
    inode = netns_inode(rest)
    return lambda row, all: row.netns is not None and row.netns == (_named(all, rest) or inode)


def _dev(rest: str) -> Test:
    name, _, place = rest.partition("@")

    def test(row: InventoryRow, all: Inventory) -> bool:
        on = row.object.startswith("dev:") and fits(name, row.object[4:])
        on = on or fits(name, row.details.get("dev")) or any(fits(name, device) for device in row.details.get("devices", ()))
        return on and (not place or (row.netns is not None and row.netns == (_named(all, place) or netns_inode(place))))

    return test


def _cgroup(rest: str) -> Test:
    path = cgroup_path(rest)
    return lambda row, all: row.object.startswith("cgroup:") and fits(path, row.object[7:])


def _map(rest: str) -> Test:
    def test(row: InventoryRow, all: Inventory) -> bool:
        ids = [int(rest)] if _is_number(rest) else [id for id, head in all.maps.heads.items() if name_fits(rest, head.name)]
        on = any(row.object == f"map:{id}" or row.object.startswith((f"map:{id}[", f"map:{id} ")) for id in ids)
        return on or (row.prog_id is not None and any(row.prog_id in all.maps.users.get(id, ()) for id in ids))

    return test


def _link(rest: str) -> Test:
    number = _number("link", rest)
    return lambda row, all: row.details.get("link") == number or number in row.details.get("links", ())


def _pin(rest: str) -> Test:
    return lambda row, all: any(pin_fits(rest, path) for path in row.details.get("pins", ()))


def pin_fits(pattern: str, path: str) -> bool:
    """Whether a pin is the one named, or below the directory named."""
    return fits(pattern, path) or path.startswith(pattern.rstrip("/") + "/")


def _id(rest: str) -> Test:
    number = _number("id", rest)
    return lambda row, all: row.prog_id == number


def _sock(rest: str) -> Test:
    number = _number("sock", rest)
    return lambda row, all: row.object == f"sock:{number}" or row.details.get("sock") == number or number in row.details.get("sockets", ())


def _name(rest: str) -> Test:
    def test(row: InventoryRow, all: Inventory) -> bool:
        info = (all.programs or {}).get(row.prog_id or 0)
        return info is not None and name_fits(rest, info.name, all.full_names.get(info.id, info.name))

    return test


def _tag(rest: str) -> Test:
    def test(row: InventoryRow, all: Inventory) -> bool:
        info = (all.programs or {}).get(row.prog_id or 0)
        return info is not None and info.tag.startswith(rest.lower().removeprefix("0x"))

    return test


def _comm(rest: str) -> Test:
    return lambda row, all: any(fits(rest, holder.comm) for holder in row.holders)


def _exe(rest: str) -> Test:
    def test(row: InventoryRow, all: Inventory) -> bool:
        return any(exe_fits(rest, all.processes[holder.pid].exe) for holder in row.holders if holder.pid in all.processes)

    return test


def exe_fits(pattern: str, exe: str | None) -> bool:
    """Whether an executable is the one named, by its path or its last part."""
    return exe is not None and (fits(pattern, exe) or fits(pattern, os.path.basename(exe)))


def _unit(rest: str) -> Test:
    def test(row: InventoryRow, all: Inventory) -> bool:
        facts = [all.processes[holder.pid] for holder in row.holders if holder.pid in all.processes]
        return any(unit_fits(rest, one.unit, one.container) for one in facts)

    return test


def unit_fits(pattern: str, unit: str | None, container: str | None) -> bool:
    """Whether a unit ("sshd" is "sshd.service") or a container ("docker:0123456789ab" or its id) is the one named."""
    names = [unit, container, *([unit.rpartition(".")[0]] if unit else ()), *([container.partition(":")[2]] if container else ())]
    return any(fits(pattern, name) for name in names)


TESTS: dict[str, Callable[[str], Test]] = {
    "dev": _dev, "pid": _pid, "sock": _sock, "cgroup": _cgroup, "netns": _netns, "map": _map, "link": _link, "pin": _pin, "id": _id,
    "name": _name, "tag": _tag, "comm": _comm, "exe": _exe, "unit": _unit,
}  # fmt: skip


# --- whether there is such a thing; asked only where no row fits ---


def _no_pid(rest: str, all: Inventory) -> str | None:
    if rest == "self" or os.path.exists(f"/proc/{int(rest)}"):
        return None
    return "no such process" if procfs.shows_all() else "no such process in this /proc, which does not show all"


def _no_netns(rest: str, all: Inventory) -> str | None:
    inode = _named(all, rest) or netns_inode(rest)
    if inode in all.namespaces:
        return None
    return "no such network namespace" if inode is None or rest.isdecimal() else "a network namespace that was not reached"


def _no_dev(rest: str, all: Inventory) -> str | None:
    from bpflens.inventory.facts.namespaces import has_device

    name, _, place = rest.partition("@")
    if place and _no_netns(place, all):
        return f"no network namespace {place}"
    if _is_pattern(name) or has_device(all.namespaces.values(), name):
        return None
    return "no such interface in any network namespace that was looked into"


def _no_cgroup(rest: str, all: Inventory) -> str | None:
    mounts = [mount for mount in procfs.mounts("self") if mount.type == "cgroup2"]
    path = cgroup_path(rest)
    if _is_pattern(rest) or not mounts:
        return None
    return None if any(os.path.isdir(_in_mount(mount, path)) for mount in mounts) else "no such cgroup"


def _in_mount(mount: procfs.Mount, path: str) -> str:
    root = mount.root.rstrip("/")
    return mount.point.rstrip("/") + path.removeprefix(root) if path.startswith(root) else ""


def _no_map(rest: str, all: Inventory) -> str | None:
    if _is_number(rest):
        return None if int(rest) in all.maps.heads else "no map with this id"
    return None if any(name_fits(rest, head.name) for head in all.maps.heads.values()) else "no map has this name"


def _no_link(rest: str, all: Inventory) -> str | None:
    from bpflens.errors import KernelError
    from bpflens.kernel.attachments.links import link_ids

    try:
        return None if int(rest) in link_ids() else "no link with this id"
    except KernelError:
        return None


def _no_pin(rest: str, all: Inventory) -> str | None:
    return None if _is_pattern(rest) or os.path.lexists(rest) else "no such file"


def _no_id(rest: str, all: Inventory) -> str | None:
    return None if all.programs is None or int(rest) in all.programs else "no program with this id"


def _no_name(rest: str, all: Inventory) -> str | None:
    programs = (all.programs or {}).values()
    if all.programs is None or any(name_fits(rest, info.name, all.full_names.get(info.id, info.name)) for info in programs):
        return None
    return "no loaded program has this name"


def _no_tag(rest: str, all: Inventory) -> str | None:
    tag = rest.lower().removeprefix("0x")
    if all.programs is None or any(info.tag.startswith(tag) for info in all.programs.values()):
        return None
    return "no loaded program has this tag"


def _no_comm(rest: str, all: Inventory) -> str | None:
    return None if any(fits(rest, procfs.comm(pid)) for pid in procfs.processes()) else "no process has this name"


def _no_exe(rest: str, all: Inventory) -> str | None:
    from bpflens.inventory.facts.processes import process

    return None if any(exe_fits(rest, process(pid).exe) for pid in procfs.processes()) else "no process runs this executable"


def _no_unit(rest: str, all: Inventory) -> str | None:
    from bpflens.inventory.facts.processes import process

    facts = (process(pid) for pid in procfs.processes())
    return None if any(unit_fits(rest, one.unit, one.container) for one in facts) else "no process is in this unit or container"


_MISSING: dict[str, Callable[[str, Inventory], str | None]] = {
    "pid": _no_pid, "netns": _no_netns, "dev": _no_dev, "cgroup": _no_cgroup, "map": _no_map, "link": _no_link, "pin": _no_pin,
    "id": _no_id, "name": _no_name, "tag": _no_tag, "comm": _no_comm, "exe": _no_exe, "unit": _no_unit,
}  # fmt: skip


def require(words: Iterable[tuple[str, str]], inventory: Inventory) -> None:
    """NotFound for the first (prefix, value) of which there is none on this machine."""
    for prefix, rest in words:
        check = _MISSING.get(prefix)
        reason = check(rest, inventory) if check is not None else None
        if reason is not None:
            raise NotFound(f"{prefix}:{rest}", reason, _near(prefix, rest, inventory))


def _near(prefix: str, rest: str, inventory: Inventory) -> str | None:
    """Names of the kind that are there and look like it."""
    import difflib

    names: list[str] = []
    if prefix == "netns":
        names = [space.name for space in inventory.namespaces.values() if space.name]
    elif prefix == "name":
        names = [info.name for info in (inventory.programs or {}).values() if info.name]
    elif prefix == "comm":
        names = [procfs.comm(pid) for pid in procfs.processes()]
    close = difflib.get_close_matches(rest, set(names), 3)
    return f"there is {', '.join(close)}" if close else None


# --- names ---


def cgroup_path(name: str) -> str:
    """The path in the cgroup hierarchy; `name` is that already, or where the cgroup's directory is in the file system."""
    path = "/" + name.strip("/")
    for mount in procfs.mounts("self"):
        if mount.type == "cgroup2" and (path + "/").startswith(mount.point.rstrip("/") + "/") and os.path.isdir(path):
            return (mount.root.rstrip("/") + path[len(mount.point.rstrip("/")) :]) or "/"
    return path


def netns_inode(name: str) -> int | None:
    """The inode of a network namespace named by its inode, a path, or a name of "ip netns"; None where it is none of these."""
    if _is_number(name):
        return int(name)
    for path in (name, f"/run/netns/{name}", f"/var/run/netns/{name}"):
        try:
            return os.stat(path).st_ino
        except OSError:
            continue
    return None


def _named(inventory: Inventory, name: str) -> int | None:
    return next((space.inode for space in inventory.namespaces.values() if space.name == name), None)
