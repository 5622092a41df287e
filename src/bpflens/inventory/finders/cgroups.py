"""Programs on control groups (rows 21, 22): BPF_PROG_QUERY for each cgroup and each attach type that a loaded program could have.

The loaded programs' types decide which of the 28 attach types are asked at all; where none is of a cgroup type there is no walk.
Needs CAP_NET_ADMIN. A machine with cgroup v1 only has no BPF on cgroups.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import mount_namespaces
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.isa.extended.names import ATTACH_TYPES as NAMES
from bpflens.isa.extended.uapi import AttachType as HOOK
from bpflens.isa.extended.uapi import LinkType
from bpflens.isa.extended.uapi import ProgType as PROG
from bpflens.kernel.attachments.prog_query import EFFECTIVE, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("ATTACH_TYPES", "cgroup_root", "effective", "find", "inherited")

_HOOKS = {
    PROG.CGROUP_SKB: (HOOK.CGROUP_INET_INGRESS, HOOK.CGROUP_INET_EGRESS),
    PROG.CGROUP_SOCK: (
        HOOK.CGROUP_INET_SOCK_CREATE, HOOK.CGROUP_INET4_POST_BIND, HOOK.CGROUP_INET6_POST_BIND, HOOK.CGROUP_INET_SOCK_RELEASE,
    ),
    PROG.SOCK_OPS: (HOOK.CGROUP_SOCK_OPS,),
    PROG.CGROUP_DEVICE: (HOOK.CGROUP_DEVICE,),
    PROG.CGROUP_SOCK_ADDR: (
        HOOK.CGROUP_INET4_BIND, HOOK.CGROUP_INET6_BIND, HOOK.CGROUP_INET4_CONNECT, HOOK.CGROUP_INET6_CONNECT, HOOK.CGROUP_UDP4_SENDMSG,
        HOOK.CGROUP_UDP6_SENDMSG, HOOK.CGROUP_UDP4_RECVMSG, HOOK.CGROUP_UDP6_RECVMSG, HOOK.CGROUP_INET4_GETPEERNAME,
        HOOK.CGROUP_INET6_GETPEERNAME, HOOK.CGROUP_INET4_GETSOCKNAME, HOOK.CGROUP_INET6_GETSOCKNAME, HOOK.CGROUP_UNIX_CONNECT,
        HOOK.CGROUP_UNIX_SENDMSG, HOOK.CGROUP_UNIX_RECVMSG, HOOK.CGROUP_UNIX_GETPEERNAME, HOOK.CGROUP_UNIX_GETSOCKNAME,
    ),
    PROG.CGROUP_SYSCTL: (HOOK.CGROUP_SYSCTL,),
    PROG.CGROUP_SOCKOPT: (HOOK.CGROUP_GETSOCKOPT, HOOK.CGROUP_SETSOCKOPT),
    PROG.LSM: (HOOK.LSM_CGROUP,),
}  # fmt: skip
ATTACH_TYPES = {type: {number: NAMES[number].removeprefix("cgroup_") for number in hooks} for type, hooks in _HOOKS.items()}
"""Program type -> attach type -> its name in the inventory."""
_FLAGS = {1: "override", 2: "multi"}  # BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI


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
        if link.type == LinkType.CGROUP:
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
                if error.errno == errno.EINVAL:
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
                kind = name if number == HOOK.LSM_CGROUP else f"cgroup/{name}"
                yield InventoryRow(kind, f"cgroup:{path}", None, prog_id=prog_id, details=details)


def effective(ctx: Context, path: str) -> Iterator[tuple[str, int]]:
    """(attach type's name, program id) of everything that runs for the tasks of a cgroup, inherited or its own; in order of execution."""
    root = cgroup_root(ctx)
    if root is None:
        return
    fd = os.open(root + path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, name in _asked(ctx).items():
            if number == HOOK.LSM_CGROUP:
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
