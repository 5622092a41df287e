"""The sockets that processes hold, each asked once through a descriptor of a holder: what it is, its filter, its network namespace.

pidfd_getfd (Linux 5.6) gives a descriptor of our own, SO_GET_FILTER (Linux 3.8) the filter. The latter answers EACCES where the filter is
an extended program, and does not say which.
"""

from __future__ import annotations

import errno
import os

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Strays
from bpflens.kernel.descriptors import Duplicates
from bpflens.kernel.network.sockets import SocketFacts, in_reuseport_group, socket_facts, unix_messages_wait
from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.capabilities import to_look_into

__all__ = ("held_sockets", "socket_owners", "strays")

_LISTS = (("unix", 6), ("udp", 9), ("udp6", 9), ("udplite", 9), ("raw", 9), ("raw6", 9), ("netlink", 9),
          ("packet", 8))  # fmt: skip  # column of the inode
_MEMORY = "CAP_BPF and CAP_PERFMON"


def held_sockets(ctx: Context) -> dict[int, SocketFacts]:
    """Every socket that a process holds: its filter and its namespace. What one holder does not give another may."""
    found: dict[int, SocketFacts] = {}
    refused: set[int] = set()
    guarded: set[int] = set()
    if _net_cls_in_use():
        needs = f"{_MEMORY} (asking a socket would move it to this process's net_cls cgroup)"
        ctx.deny("filters of sockets other than packet sockets", needs, ("socket",), ("sockets",))
        return found
    with Duplicates() as duplicates:
        for file in ctx.files:
            if not file.link.startswith("socket:["):
                continue
            inode = int(file.link[8:-1])
            if inode in found:
                continue
            try:
                fd = duplicates.of(file.pid, file.fd)
            except PermissionError:
                refused.add(inode)
                guarded.add(file.pid)
                continue
            except OSError as error:
                if error.errno == errno.ENOSYS:
                    needs = f"Linux 5.6 (pidfd_getfd), or {_MEMORY}"
                    ctx.deny("filters of sockets other than packet sockets", needs, ("socket",), ("sockets",))
                    return found
                continue
            try:
                if os.fstat(fd).st_ino == inode:
                    found[inode] = socket_facts(fd, inode, file.pid, file.fd)
                    if found[inode].kind == "kcm" or in_reuseport_group(fd):
                        ctx.need("sockets")  # no interface tells the program of a reuseport group or of a KCM socket
                    refused.discard(inode)
            except OSError:
                continue
            finally:
                os.close(fd)
    if refused:
        needs = f"{to_look_into(guarded)}, or {_MEMORY}"
        ctx.deny(f"the filters of {len(refused)} sockets", needs, ("socket",), ("sockets",))
    return found


def _net_cls_in_use() -> bool:
    """Receiving a socket's descriptor writes this task's net_cls and net_prio values into it (net/core/scm.c, receive_fd)."""
    try:
        own = procfs.read("/proc/self/cgroup")
    except OSError:
        return False
    return b"net_cls" in own or b"net_prio" in own


def socket_owners(ctx: Context) -> dict[int, list[Holder]]:
    """Socket inode -> who holds it, and where."""
    owners: dict[int, list[Holder]] = {}
    for file in ctx.files:
        if file.link.startswith("socket:["):
            owners.setdefault(int(file.link[8:-1]), []).append(ctx.holder(file.pid, file.fd))
    return owners


def strays(ctx: Context) -> Strays:
    """The sockets of the thread's namespace that /proc/net has and no descriptor leads to.

    The lists of TCP are left out: they are long on a server, and what nobody holds of them has a listener that somebody holds.
    """
    owners = ctx.once(socket_owners)
    found = set()
    for name, column in _LISTS:
        try:
            lines = procfs.read(f"/proc/thread-self/net/{name}").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if name == "netlink" and words[2] == b"0":
                continue  # the kernel's own
            if len(words) > column and words[column].isdigit():
                found.add(int(words[column]))
    found.discard(0)
    return Strays(frozenset(found.difference(owners)), unix_messages_wait())
