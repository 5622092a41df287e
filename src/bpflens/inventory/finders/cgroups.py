"""Programs on control groups (rows 21, 22): BPF_PROG_QUERY for each cgroup and each attach type that a loaded program could have.

The loaded programs' types decide which of the 28 attach types are asked at all; where none is of a cgroup type there is no walk.
Needs CAP_NET_ADMIN. A machine with cgroup v1 only has no BPF on cgroups.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import mount_namespaces
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.kernel.attachments.prog_query import EFFECTIVE, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("ATTACH_TYPES", "cgroup_root", "effective", "find", "inherited")

_SKB, _SOCK, _SOCK_OPS, _DEVICE, _ADDR, _SYSCTL, _SOCKOPT, _LSM = 8, 9, 13, 15, 18, 23, 25, 29
ATTACH_TYPES = {
    _SKB: {0: "inet_ingress", 1: "inet_egress"},
    _SOCK: {2: "inet_sock_create", 12: "inet4_post_bind", 13: "inet6_post_bind", 34: "inet_sock_release"},
    _SOCK_OPS: {3: "sock_ops"},
    _DEVICE: {6: "device"},
    _ADDR: {
        8: "inet4_bind", 9: "inet6_bind", 10: "inet4_connect", 11: "inet6_connect", 14: "udp4_sendmsg", 15: "udp6_sendmsg",
        19: "udp4_recvmsg", 20: "udp6_recvmsg", 29: "inet4_getpeername", 30: "inet6_getpeername", 31: "inet4_getsockname",
        32: "inet6_getsockname", 49: "unix_connect", 50: "unix_sendmsg", 51: "unix_recvmsg", 52: "unix_getpeername", 53: "unix_getsockname",
    },
    _SYSCTL: {18: "sysctl"},
    _SOCKOPT: {21: "getsockopt", 22: "setsockopt"},
    _LSM: {43: "lsm_cgroup"},
}  # fmt: skip
_FLAGS = {1: "override", 2: "multi"}
_LINK_CGROUP = 3


def cgroup_root(ctx: Context) -> str | None:
    """Where the whole cgroup v2 tree is mounted, in this mount namespace or through a process of another; None where nowhere."""
    part = None
    for prefix, mounts in mount_namespaces(ctx):
        for mount in mounts:
            if mount.type == "cgroup2":
                path = prefix + mount.point
                if mount.root == "/":
                    return path
                part = part or path
    return part


def _asked(ctx: Context) -> dict[int, str]:
    return {number: name for type, hooks in ATTACH_TYPES.items() if ctx.may_have(type) for number, name in hooks.items()}


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs on every cgroup, in the order in which they were attached."""
    hooks = _asked(ctx)
    if not hooks:
        return
    root = cgroup_root(ctx)
    if root is None:
        if ctx.programs:
            ctx.note("no cgroup2 mount is visible: programs on cgroups were not looked for")
        return
    links: dict[tuple[int, int, int], list[int]] = {}
    for link in ctx.links.values():
        if link.type == _LINK_CGROUP:
            key = (int.from_bytes(link.rest[:8], "little"), int.from_bytes(link.rest[8:12], "little"), link.prog_id)
            links.setdefault(key, []).append(link.id)
    unasked: set[int] = set()
    for path, fd in _walk(root):
        inode = 0
        for number, name in hooks.items():
            if number in unasked:
                continue
            try:
                answer = query(fd, number)
            except PermissionError:
                ctx.deny("programs on cgroups", "CAP_NET_ADMIN")
                return
            except OSError as error:
                if error.errno == 22:
                    unasked.add(number)  # this kernel does not have the attach type
                continue
            if not answer.ids:
                continue
            inode = inode or os.fstat(fd).st_ino
            for position, prog_id in enumerate(answer.ids):
                details: dict[str, Any] = {"position": position, "cgroup_id": inode}
                if answer.flags in _FLAGS:
                    details["attach_flags"] = _FLAGS[answer.flags]
                held = links.get((inode, number, prog_id))
                if held:
                    details["link"] = held.pop(0)
                    ctx.claimed_links.add(details["link"])
                kind = name if number == 43 else f"cgroup/{name}"
                yield InventoryRow(kind, f"cgroup:{path}", None, prog_id=prog_id, details=details)


def effective(ctx: Context, path: str) -> Iterator[tuple[str, int]]:
    """(attach type's name, program id) of everything that runs for the tasks of a cgroup, inherited or its own; in order of execution."""
    root = cgroup_root(ctx)
    if root is None:
        return
    fd = os.open(root + path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, name in _asked(ctx).items():
            if number == 43:
                continue  # lsm_cgroup cannot be asked for its effective set as a whole
            try:
                for prog_id in query(fd, number, EFFECTIVE).ids:
                    yield name, prog_id
            except OSError:
                continue
    finally:
        os.close(fd)


def inherited(inventory: Inventory, path: str) -> list[InventoryRow]:
    """Rows of what a cgroup inherits from those above it; InputError where there is no such cgroup."""
    from bpflens.errors import InputError

    try:
        running = list(effective(Context(), path))
    except OSError as error:
        raise InputError(f"cgroup:{path}", error.strerror or "cannot be opened") from None
    own = [(row.kind, row.prog_id) for row in inventory.rows if row.object == f"cgroup:{path}"]
    rows = []
    for name, prog_id in reversed(running):  # what is above runs first
        kind = f"cgroup/{name}"
        if (kind, prog_id) in own:
            own.remove((kind, prog_id))  # once: the same program may be inherited too
        else:
            above = [row.object for row in inventory.rows if (row.kind, row.prog_id) == (kind, prog_id) and _is_above(row.object[7:], path)]
            rows.append(InventoryRow(kind, f"cgroup:{path}", prog_id=prog_id, details={"inherited_from": above}))
    return rows[::-1]


def _is_above(ancestor: str, path: str) -> bool:
    return path.startswith(ancestor.rstrip("/") + "/")


def _walk(root: str) -> Iterator[tuple[str, int]]:
    """(path from the root, descriptor that is open until the next step) of every cgroup, parents first."""
    pending = [""]
    while pending:
        path = pending.pop()
        try:
            fd = os.open(root + path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # removed meanwhile
        try:
            yield path or "/", fd
            if os.fstat(fd).st_nlink != 2:  # a leaf has no subdirectory
                with os.scandir(fd) as entries:
                    pending += sorted((f"{path}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)), reverse=True)
        except OSError:
            continue
        finally:
            os.close(fd)
