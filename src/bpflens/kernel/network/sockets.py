"""Sockets as their descriptors show them: what a socket is, its filter, its network namespace.

SO_GET_FILTER (Linux 3.8) gives a classic filter. It answers EACCES where the filter is an extended program, and does not say which.
"""

from __future__ import annotations

import struct

from bpflens.kernel.namespaces import namespace_inode
from bpflens.kernel.sys import netlink, procfs, syscalls
from bpflens.lean import NamedTuple

__all__ = ("PROTOCOLS", "SocketFacts", "in_reuseport_group", "socket_facts", "socket_kind", "type_name", "unix_messages_wait")

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET, _AF_ALG, _AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
_STREAM, _DGRAM, _RAW = 1, 2, 3
_SO_TYPE, _SO_REUSEPORT, _SO_PROTOCOL, _SO_DOMAIN = 3, 15, 38, 39
_SOCK_DIAG_BY_FAMILY, _SHOW_RQLEN, _UNIX_DIAG_RQLEN = 20, 1 << 4, 4
_NOT_LISTENING = 0xFFFFFFFF & ~(1 << 10)  # bits of TCP states; 10: TCP_LISTEN

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


def socket_facts(fd: int, inode: int, pid: int, number: int) -> SocketFacts:
    """Facts of a socket of which `fd` is a descriptor of ours."""
    filter: bytes | None
    try:
        filter = syscalls.sock_filter(fd)
    except PermissionError:
        filter = None
    try:
        netns = namespace_inode(fd)
    except OSError:
        netns = 0  # needs CAP_NET_ADMIN there
    if filter == b"":
        return SocketFacts(inode, pid, number, "", filter, netns, 0, 0)
    domain, type, protocol = (_option(fd, option) for option in (_SO_DOMAIN, _SO_TYPE, _SO_PROTOCOL))
    return SocketFacts(inode, pid, number, socket_kind(domain, type, protocol), filter, netns, type, protocol)


def in_reuseport_group(fd: int) -> bool:
    """Whether a socket is in a reuseport group (or would be, once bound)."""
    return bool(_option(fd, _SO_REUSEPORT))


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


def unix_messages_wait() -> bool:
    """Whether a unix socket that does not listen has unread messages: one of them may carry descriptors (unix(7), SCM_RIGHTS)."""
    if not procfs.module_present("unix_diag"):
        return False
    with netlink.Netlink(netlink.SOCK_DIAG) as diag:
        try:
            answers = diag.dump(_SOCK_DIAG_BY_FAMILY, struct.pack("<BBHIIIII", _AF_UNIX, 0, 0, _NOT_LISTENING, 0, _SHOW_RQLEN, 0, 0))
        except OSError:
            return False
    return any(netlink.attributes(body, 16).get(_UNIX_DIAG_RQLEN, bytes(4))[:4] != bytes(4) for _, body in answers)
