"""The network namespaces of the machine and the way into them.

A namespace lives as long as something refers to it: a process or thread, a mount in any mount namespace ("ip netns add"), an open
descriptor, or merely a socket or tun device (found by asking the socket, see sockets.py). setns(2) needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import NetNamespace
from bpflens.inventory.facts.sockets import held_sockets
from bpflens.inventory.families import OF_NAMESPACES
from bpflens.kernel.namespaces import has_device_here, inside, socket_namespace
from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.capabilities import to_look_into

__all__ = ("entered", "mount_namespaces", "net_namespaces")

_WAYS = 8  # paths that are tried for one namespace


def net_namespaces(ctx: Context) -> dict[int, NetNamespace]:
    """Every network namespace that can be named, by inode; the own one first."""
    own = ctx.own_netns
    mounted: dict[int, list[str]] = {}  # a mount lasts longer than a process, but another may be mounted over it
    paths: dict[int, list[str]] = {own: ["/proc/thread-self/ns/net"]}
    names: dict[int, str] = {}
    owners: dict[int, str] = {}
    for pid, inode in _of_processes(ctx):
        paths.setdefault(inode, []).append(f"/proc/{pid}/ns/net")
        owners.setdefault(inode, f"pid:{pid}")
    for root, mounts in mount_namespaces(ctx):
        for mount in mounts:
            if mount.type == "nsfs" and mount.root.startswith("net:["):
                inode = int(mount.root[5:-1])
                mounted.setdefault(inode, []).append(root + mount.point)
                name = os.path.basename(mount.point)
                if inode not in names and name not in names.values():
                    names[inode] = name
    for file in ctx.files:
        if file.link.startswith("net:["):
            paths.setdefault(int(file.link[5:-1]), []).append(f"/proc/{file.pid}/fd/{file.fd}")
    for socket in ctx.once(held_sockets).values():
        if socket.netns and socket.netns not in paths:
            paths[socket.netns] = [f"socket {socket.pid}/{socket.fd}"]
    found = {}
    for inode in dict.fromkeys((*paths, *mounted)):
        ways = (*mounted.get(inode, ())[:_WAYS], *paths.get(inode, ())[:_WAYS])
        found[inode] = NetNamespace(inode, ways, names.get(inode) or (None if inode == own else owners.get(inode)), inode == own)
    return found


def _of_processes(ctx: Context) -> Iterator[tuple[str, int]]:
    readlink = os.readlink
    refused = []
    for pid in ctx.pids:
        try:
            link = readlink(f"/proc/{pid}/ns/net")
        except PermissionError:
            refused.append(pid)
            continue
        except OSError:
            continue
        yield str(pid), int(link[5:-1])
        threads = procfs.thread_ids(pid)
        if len(threads) < 2:
            continue
        for tid in threads:
            try:
                thread_link = readlink(f"/proc/{pid}/task/{tid}/ns/net")
            except OSError:
                continue
            if thread_link != link:
                yield f"{pid}/task/{tid}", int(thread_link[5:-1])
    if refused:
        ctx.hidden_namespaces += refused
        ctx.deny(f"the namespaces of {ctx.who(refused)}", to_look_into(refused), OF_NAMESPACES, ("namespaces",))


def mount_namespaces(ctx: Context) -> Iterator[tuple[str, list[procfs.Mount]]]:
    """(prefix that leads into it, its mounts) of each mount namespace once; the own one first, with the prefix ""."""
    seen = set()
    try:
        seen.add(os.readlink("/proc/self/ns/mnt"))
    except OSError:
        pass
    yield "", procfs.mounts("self")
    for pid in ctx.pids:
        try:
            link = os.readlink(f"/proc/{pid}/ns/mnt")
        except OSError:
            continue
        if link not in seen:
            seen.add(link)
            yield f"/proc/{pid}/root", procfs.mounts(pid)


@contextmanager
def entered(namespace: NetNamespace) -> Iterator[None]:
    """The calling thread inside a network namespace, and back. OSError where it cannot be entered or has gone, FileExistsError where
    another one stands in its place at every path."""
    if namespace.own:
        yield
        return
    with inside(lambda: _open_one(namespace)):
        yield


def has_device(namespaces: Iterable[NetNamespace], name: str) -> bool:
    """Is there an interface of this name (of its own or an alternative one) in any of the namespaces that can be entered?"""
    import threading

    found = []

    def look() -> None:
        for namespace in namespaces:
            try:
                with entered(namespace):
                    if has_device_here(name):
                        found.append(namespace)
            except OSError:
                continue

    thread = threading.Thread(target=look)  # setns() moves a thread, and must not move the caller's
    thread.start()
    thread.join()
    return bool(found)


def _open_one(namespace: NetNamespace) -> int:
    error: OSError = ProcessLookupError(3, "the namespace has gone")
    for path in namespace.paths:
        try:
            fd = _open(path)
        except OSError as refused:
            if not isinstance(error, FileExistsError):
                error = refused
            continue
        if os.fstat(fd).st_ino == namespace.inode:
            return fd
        os.close(fd)
        if _is_mounted(namespace.inode, path):
            error = FileExistsError(17, "another mount hides the namespace")
    raise error


def _is_mounted(inode: int, path: str) -> bool:
    """Whether the namespace is still mounted in the mount namespace that a path leads through, and so merely hidden."""
    _, _, pid, part, *_ = [*path.split("/", 4), "", "", ""]
    seen_by = pid if path.startswith("/proc/") and part == "root" else "self"
    return any(mount.root == f"net:[{inode}]" and path.endswith(mount.point) for mount in procfs.mounts(seen_by))


def _open(path: str) -> int:
    if not path.startswith("socket "):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pid, _, number = path[7:].partition("/")
    return socket_namespace(int(pid), int(number))
