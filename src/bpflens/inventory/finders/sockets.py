"""Socket filters (table rows 1-8): SO_ATTACH_FILTER, SO_ATTACH_BPF, PACKET_FANOUT.

Two official ways. packet_diag lists every packet socket of a network namespace with its filter (Linux 3.10); for all other families the
only way is to duplicate the descriptor (pidfd_getfd, Linux 5.6) and ask the socket itself (SO_GET_FILTER, Linux 3.8). The latter answers
EACCES where the filter is an extended program, and does not say which. Programs on a reuseport group and the bytes of a fanout group are
seen by the kernel-side reader only.

What a filter's packet begins with depends on the socket, which decides the expression that it stands for: `linktype` says it where a
DLT name exists.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Found
from bpflens.kernel.sys import netlink, procfs, syscalls

__all__ = ("SocketFacts", "find_packet", "find_sockets", "packet_context", "read_sockets", "socket_facts", "socket_kind", "type_name")

_SOCK_DIAG_BY_FAMILY = 20
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET, _AF_ALG, _AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
_STREAM, _DGRAM, _RAW = 1, 2, 3
_SO_TYPE, _SO_PROTOCOL, _SO_DOMAIN = 3, 38, 39
_UNREGISTERED = 0xFFFFFFFF  # packet_notifier: what a socket is bound to once its device has gone
_SIOCGSKNS = 0x894C
_PACKET_DIAG_INFO, _PACKET_DIAG_FANOUT, _PACKET_DIAG_FILTER = 0, 4, 7
_FANOUT_CBPF, _FANOUT_EBPF = 6, 7
_ETHERTYPES = {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp"}

FAMILIES = {
    _AF_UNIX: "unix", _AF_NETLINK: "netlink", _AF_PACKET: "packet", _AF_ALG: "alg", _AF_VSOCK: "vsock",
    29: "can", 31: "bluetooth", 41: "kcm", 44: "xdp", 15: "key", 21: "rds", 30: "tipc", 45: "mctp", 43: "smc",
}  # fmt: skip
LINKTYPES = {1: "EN10MB", 772: "EN10MB", 65534: "RAW", 519: "RAW", 768: "RAW", 769: "RAW", 776: "RAW", 778: "RAW"}  # ARPHRD_* -> DLT
_STARTS = {
    "udp": "UDP header", "tcp": "TCP header", "icmp": "ICMP header", "icmp6": "ICMPv6 header", "netlink": "struct nlmsghdr",
    "unix": "payload", "vsock": "payload",
}  # fmt: skip
_PAYLOADS = {"udp": "UDP", "tcp": "TCP", "icmp": "ICMP", "icmp6": "ICMP6", "netlink": "NETLINK", "unix": "PAYLOAD", "vsock": "PAYLOAD"}
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udplite", 1: "icmp", 58: "icmp6", 262: "mptcp"}


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


def read_sockets(ctx: Context) -> dict[int, SocketFacts]:
    """Every socket that a process holds: its filter and its namespace. What one holder does not give another may."""
    found: dict[int, SocketFacts] = {}
    refused: set[int] = set()
    pidfd, pidfd_pid = -1, 0
    if _net_cls_in_use():
        ctx.deny("filters of sockets other than packet sockets", "--deep (asking a socket would move it to this process's net_cls cgroup)")
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
                    ctx.deny("filters of sockets other than packet sockets", "Linux 5.6 (pidfd_getfd) or --deep")
                    return found
                continue
            try:
                if os.fstat(fd).st_ino == inode:
                    found[inode] = socket_facts(fd, inode, file.pid, file.fd)
                    refused.discard(inode)
            except OSError:
                continue
            finally:
                os.close(fd)
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    if refused:
        ctx.deny(f"the filters of {len(refused)} sockets", "CAP_SYS_PTRACE (and every capability that the holder has), or --deep")
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
        return ("raw" if domain == _AF_INET else "raw6") if type == _RAW else _PROTOCOLS.get(protocol, f"ip-{protocol}")
    return FAMILIES.get(domain, f"family-{domain}")


def find_sockets(ctx: Context) -> Iterable[Found]:
    """Filters on sockets of every family, as seen through their holders; packet sockets that packet_diag gave are left out."""
    for inode, facts in ctx.sockets.items():
        if facts.filter == b"" or inode in ctx.claimed_sockets:
            continue
        details: dict[str, Any] = {"type": type_name(facts.type), **filter_context(facts.kind, facts.protocol)}
        if facts.filter is None:
            details["unknown"] = "an extended program; SO_GET_FILTER does not say which"
        yield Found(
            f"socket/{facts.kind}", f"sock:{inode}", facts.netns or None, classic=facts.filter,
            holders=tuple(ctx.socket_owners.get(inode, ())), details=details,
        )  # fmt: skip


def type_name(type: int) -> str:
    return {_STREAM: "stream", _DGRAM: "dgram", _RAW: "raw", 5: "seqpacket"}.get(type, str(type))


def filter_context(kind: str, protocol: int) -> dict[str, Any]:
    """What the packets of a socket filter begin with: in words, and as the name that `explain` has for it (classic/layout.py, PAYLOADS)."""
    if kind == "raw":
        return {"linktype": "RAW", "starts_at": "IP header"}
    if kind == "raw6":
        kind = _PROTOCOLS.get(protocol, "")
    context = {}
    if kind in _STARTS:
        context["starts_at"] = _STARTS[kind]
    if kind in _PAYLOADS:
        context["linktype"] = _PAYLOADS[kind]
    return context


def find_packet(ctx: Context) -> Iterable[Found]:
    """Packet sockets of the namespace that the thread is in, by packet_diag; also those that no process holds."""
    try:
        if procfs.read("/proc/thread-self/net/packet").count(b"\n") < 2:
            return  # none: do not make the kernel load packet_diag
    except OSError:
        pass
    namespace = ctx.netns.inode if ctx.netns else None
    links: dict[int, tuple[str, int]] | None = None
    with netlink.Netlink(netlink.SOCK_DIAG) as diag:
        request = struct.pack("<BBHIIII", _AF_PACKET, 0, 0, 0, 0x3F, 0xFFFFFFFF, 0xFFFFFFFF)
        try:
            answers = diag.dump(_SOCK_DIAG_BY_FAMILY, request)
        except FileNotFoundError:
            ctx.deny("packet sockets, except by their holders", "a kernel with packet_diag (CONFIG_PACKET_DIAG)")
            return
    for _, body in answers:
        _, type, protocol, inode = struct.unpack_from("<BBHI", body)
        attributes = netlink.attributes(body, 16)
        code = attributes.get(_PACKET_DIAG_FILTER)
        facts = ctx.sockets.get(inode)
        if code == b"":  # withheld from us: the same for every socket, filter or not
            ctx.deny("the filters of packet sockets", "CAP_NET_ADMIN")
            code = None
        fanout = attributes.get(_PACKET_DIAG_FANOUT)
        extended = facts is not None and facts.filter is None
        if not code and not extended and not fanout:
            continue
        if links is None:
            links = interfaces()
        ifindex = int.from_bytes(attributes.get(_PACKET_DIAG_INFO, b"")[:4], "little")
        details = packet_context(type, protocol, ifindex, links)
        holders = tuple(ctx.socket_owners.get(inode, ()))
        if code or extended:
            ctx.claimed_sockets.add(inode)
            if extended:
                details = {**details, "unknown": "an extended program; SO_GET_FILTER does not say which"}
            yield Found("socket/packet", f"sock:{inode}", namespace, classic=code or None, holders=holders, details=details)
        if fanout:
            value = int.from_bytes(fanout[:4], "little")
            kind = value >> 16 & 0xFF
            if kind in (_FANOUT_CBPF, _FANOUT_EBPF):
                word = "a classic program, of which the kernel kept no bytes" if kind == _FANOUT_CBPF else "an extended program"
                yield Found(
                    "fanout", f"fanout:{value & 0xFFFF}", namespace, holders=holders,
                    details={"unknown": f"{word}; packet_diag gives the kind only", "sock": inode, "classic": kind == _FANOUT_CBPF},
                )  # fmt: skip


def packet_context(type: int, protocol: int, ifindex: int, links: dict[int, tuple[str, int]]) -> dict[str, Any]:
    """Details of a packet socket: device, linktype (a DLT name) and what its protocol says of every packet."""
    name, hardware = links.get(ifindex, ("(deleted)" if ifindex == _UNREGISTERED else "", 0))
    details: dict[str, Any] = {"type": type_name(type)}
    if ifindex:
        details["dev"] = name or f"ifindex {ifindex}"
    if type == _RAW:
        linktype = LINKTYPES.get(hardware)
        if linktype and ifindex:
            details["linktype"] = linktype
    else:
        details["starts_at"] = "network header"
        if protocol in (0x0800, 0x86DD):
            details["linktype"] = "RAW"
    if protocol not in (0, 3):
        details["protocol"] = _ETHERTYPES.get(protocol, f"{protocol:#06x}")
        if protocol in _ETHERTYPES:
            details["given"] = (_ETHERTYPES[protocol],)
    return details


def interfaces() -> dict[int, tuple[str, int]]:
    """ifindex -> (name, ARPHRD type) in the namespace that the thread is in."""
    found = {}
    with netlink.Netlink(netlink.ROUTE) as route:
        skip_stats = netlink.attribute(29, struct.pack("<I", 1 << 3))
        for _, body in route.dump(18, bytes(16) + skip_stats):
            hardware, ifindex = struct.unpack_from("<Hi", body, 2)
            name = netlink.attributes(body, 16).get(3, b"").rstrip(b"\0").decode(errors="replace")
            found[ifindex] = (name, hardware)
    return found
