"""Packet sockets of the namespace that the calling thread is in, by packet_diag (Linux 3.10); also those that no process holds."""

from __future__ import annotations

import struct

from bpflens.kernel.sys import netlink, procfs
from bpflens.lean import NamedTuple

__all__ = ("PacketSocket", "packet_sockets")

_SOCK_DIAG_BY_FAMILY = 20
_AF_PACKET = 17
_PACKET_DIAG_INFO, _PACKET_DIAG_FANOUT, _PACKET_DIAG_FILTER = 0, 4, 7
_SHOW_ALL = 0x3F


class PacketSocket(NamedTuple):
    """`filter`: None none, b"" withheld from us (the same for every socket, filter or not). `fanout`: id and kind, None without a group."""

    type: int
    protocol: int
    inode: int
    ifindex: int
    filter: bytes | None
    fanout: int | None


def packet_sockets() -> list[PacketSocket]:
    """All of them; FileNotFoundError where the kernel has no packet_diag (CONFIG_PACKET_DIAG)."""
    try:
        if procfs.read("/proc/thread-self/net/packet").count(b"\n") < 2:
            return []  # none: do not make the kernel load packet_diag
    except OSError:
        pass
    with netlink.Netlink(netlink.SOCK_DIAG) as diag:
        answers = diag.dump(_SOCK_DIAG_BY_FAMILY, struct.pack("<BBHIIII", _AF_PACKET, 0, 0, 0, _SHOW_ALL, 0xFFFFFFFF, 0xFFFFFFFF))
    found = []
    for _, body in answers:
        _, type, protocol, inode = struct.unpack_from("<BBHI", body)
        attributes = netlink.attributes(body, 16)
        ifindex = int.from_bytes(attributes.get(_PACKET_DIAG_INFO, b"")[:4], "little")
        fanout = attributes.get(_PACKET_DIAG_FANOUT)
        value = int.from_bytes(fanout[:4], "little") if fanout else None
        found.append(PacketSocket(type, protocol, inode, ifindex, attributes.get(_PACKET_DIAG_FILTER), value))
    return found
