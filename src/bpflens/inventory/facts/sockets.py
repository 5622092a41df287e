"""The sockets that processes hold, each asked once through a descriptor of a holder: what it is, its filter, its network namespace.

pidfd_getfd (Linux 5.6) gives a descriptor of our own, SO_GET_FILTER (Linux 3.8) the filter. The latter answers EACCES where the filter is
an extended program, and does not say which.
"""

from __future__ import annotations

import fcntl
import os
import struct

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Strays
from bpflens.kernel.sys import netlink, procfs, syscalls
from bpflens.lean import NamedTuple

__all__ = ("PROTOCOLS", "SocketFacts", "held_sockets", "socket_facts", "socket_kind", "socket_owners", "strays", "type_name")

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET, _AF_ALG, _AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
_STREAM, _DGRAM, _RAW = 1, 2, 3
_SO_TYPE, _SO_REUSEPORT, _SO_PROTOCOL, _SO_DOMAIN = 3, 15, 38, 39
_SIOCGSKNS = 0x894C
_LISTS = (("unix", 6), ("udp", 9), ("udp6", 9), ("udplite", 9), ("raw", 9), ("raw6", 9), ("netlink", 9),
          ("packet", 8))  # fmt: skip  # column of the inode
_SOCK_DIAG_BY_FAMILY, _SHOW_RQLEN, _UNIX_DIAG_RQLEN = 20, 1 << 4, 4
_NOT_LISTENING = 0xFFFFFFFF & ~(1 << 10)  # bits of TCP states; 10: TCP_LISTEN
_MEMORY = "CAP_BPF and CAP_PERFMON"

FAMILIES = {
    _AF_UNIX: "unix", _AF_NETLINK: "netlink", _AF_PACKET: "packet", _AF_ALG: "alg", _AF_VSOCK: "vsock",
    29: "can", 31: "bluetooth", 41: "kcm", 44: "xdp", 15: "key", 21: "rds", 30: "tipc", 45: "mctp", 43: "smc",
}  # fmt: skip
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udplite", 1: "icmp", 58: "icmp6", 262: "mptcp"}


class SocketFacts(NamedTuple):
    """A socket as one of its holders' descriptors shows it. `filter`: b"" none, None an extended program."""

    inode: int
    pid: int
    fd: int
    kind: str
    filter: bytes | None
    netns: int
    type: int
    protocol: int


def held_sockets(ctx: Context) -> dict[int, SocketFacts]:
    """Every socket that a process holds: its filter and its namespace. What one holder does not give another may."""
    found: dict[int, SocketFacts] = {}
    refused: set[int] = set()
    pidfd, pidfd_pid = -1, 0
    if _net_cls_in_use():
        needs = f"{_MEMORY} (asking a socket would move it to this process's net_cls cgroup)"
        ctx.deny("filters of sockets other than packet sockets", needs, ("socket",), ("sockets",))
        return found
    try:
        for file in ctx.files:
            if not file.link.startswith("socket:["):
                continue
            inode = int(file.link[8:-1])
            if inode in found:
                continue
            try:
                if file.pid != pidfd_pid:
                    if pidfd >= 0:
                        os.close(pidfd)
                    pidfd, pidfd_pid = -1, file.pid
                    pidfd = syscalls.pidfd_open(file.pid)
                if pidfd < 0:
                    continue
                fd = syscalls.pidfd_getfd(pidfd, file.fd)
            except PermissionError:
                refused.add(inode)
                continue
            except OSError as error:
                if error.errno == 38:
                    needs = f"Linux 5.6 (pidfd_getfd), or {_MEMORY}"
                    ctx.deny("filters of sockets other than packet sockets", needs, ("socket",), ("sockets",))
                    return found
                continue
            try:
                if os.fstat(fd).st_ino == inode:
                    found[inode] = socket_facts(fd, inode, file.pid, file.fd)
                    if found[inode].kind == "kcm" or _option(fd, _SO_REUSEPORT):
                        ctx.need("sockets")  # no interface tells the program of a reuseport group or of a KCM socket
                    refused.discard(inode)
            except OSError:
                continue
            finally:
                os.close(fd)
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    if refused:
        needs = f"CAP_SYS_PTRACE (and every capability that the holder has), or {_MEMORY}"
        ctx.deny(f"the filters of {len(refused)} sockets", needs, ("socket",), ("sockets",))
    return found


def _net_cls_in_use() -> bool:
    """Receiving a socket's descriptor writes this task's net_cls and net_prio values into it (net/core/scm.c, receive_fd)."""
    try:
        own = procfs.read("/proc/self/cgroup")
    except OSError:
        return False
    return b"net_cls" in own or b"net_prio" in own


def socket_facts(fd: int, inode: int, pid: int, number: int) -> SocketFacts:
    """Facts of a socket of which `fd` is a descriptor of ours."""
    filter: bytes | None
    try:
        filter = syscalls.sock_filter(fd)
    except PermissionError:
        filter = None
    netns = 0
    try:
        namespace = fcntl.ioctl(fd, _SIOCGSKNS)
        netns = os.fstat(namespace).st_ino
        os.close(namespace)
    except OSError:
        pass  # needs CAP_NET_ADMIN there
    if filter == b"":
        return SocketFacts(inode, pid, number, "", filter, netns, 0, 0)
    domain, type, protocol = (_option(fd, option) for option in (_SO_DOMAIN, _SO_TYPE, _SO_PROTOCOL))
    return SocketFacts(inode, pid, number, socket_kind(domain, type, protocol), filter, netns, type, protocol)


def _option(fd: int, option: int) -> int:
    try:
        return int.from_bytes(syscalls.getsockopt(fd, 1, option, 4), "little")
    except OSError:
        return 0


def socket_kind(domain: int, type: int, protocol: int) -> str:
    """The word after "socket/": the protocol for IP sockets, the family for others. Raw sockets of IPv6 are not given the IP header."""
    if domain in (_AF_INET, _AF_INET6):
        return ("raw" if domain == _AF_INET else "raw6") if type == _RAW else PROTOCOLS.get(protocol, f"ip-{protocol}")
    return FAMILIES.get(domain, f"family-{domain}")


def type_name(type: int) -> str:
    """The word for a socket type."""
    return {_STREAM: "stream", _DGRAM: "dgram", _RAW: "raw", 5: "seqpacket"}.get(type, str(type))


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
    return Strays(frozenset(found.difference(owners)), _unix_messages_wait())


def _unix_messages_wait() -> bool:
    """Whether a unix socket that does not listen has unread messages: one of them may carry descriptors (unix(7), SCM_RIGHTS)."""
    if not procfs.module_present("unix_diag"):
        return False
    with netlink.Netlink(netlink.SOCK_DIAG) as diag:
        try:
            answers = diag.dump(_SOCK_DIAG_BY_FAMILY, struct.pack("<BBHIIIII", _AF_UNIX, 0, 0, _NOT_LISTENING, 0, _SHOW_RQLEN, 0, 0))
        except OSError:
            return False
    return any(netlink.attributes(body, 16).get(_UNIX_DIAG_RQLEN, bytes(4))[:4] != bytes(4) for _, body in answers)
