"""Socket filters (table rows 1-8): SO_ATTACH_FILTER, SO_ATTACH_BPF, PACKET_FANOUT.

Two official ways. packet_diag lists every packet socket of a network namespace with its filter (Linux 3.10); for all other families the
only way is to duplicate the descriptor (pidfd_getfd, Linux 5.6) and ask the socket itself (SO_GET_FILTER, Linux 3.8). The latter answers
EACCES where the filter is an extended program, and does not say which. Programs on a reuseport group and the bytes of a fanout group are
seen by the kernel-side reader only.

What a filter's packet begins with depends on the socket, which decides the expression that it stands for: `linktype` says it where a
DLT name exists.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.facts.sockets import held_sockets, socket_owners, strays
from bpflens.kernel.network.packet_sockets import packet_sockets
from bpflens.kernel.network.sockets import PROTOCOLS, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("LINKTYPES", "filter_context", "find_packet", "find_sockets", "find_unheld", "interfaces", "packet_context")

_RAW = 3
_UNREGISTERED = 0xFFFFFFFF  # packet_notifier: what a socket is bound to once its device has gone
_FANOUT_CBPF, _FANOUT_EBPF = 6, 7
_ETHERTYPES = {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp"}

LINKTYPES = {1: "EN10MB", 772: "EN10MB", 65534: "RAW", 519: "RAW", 768: "RAW", 769: "RAW", 776: "RAW", 778: "RAW"}  # ARPHRD_* -> DLT
_STARTS = {
    "udp": "UDP header", "tcp": "TCP header", "icmp": "ICMP header", "icmp6": "ICMPv6 header", "netlink": "struct nlmsghdr",
    "unix": "payload", "vsock": "payload",
}  # fmt: skip
_PAYLOADS = {"udp": "UDP", "tcp": "TCP", "icmp": "ICMP", "icmp6": "ICMP6", "netlink": "NETLINK", "unix": "PAYLOAD", "vsock": "PAYLOAD"}


def find_sockets(ctx: Context) -> Iterable[InventoryRow]:
    """Filters on sockets of every family, as seen through their holders; packet sockets that packet_diag gave are left out."""
    if any(file.link == "anon_inode:[io_uring]" for file in ctx.files):
        ctx.need("io_uring")
    for inode, facts in ctx.once(held_sockets).items():
        if facts.filter == b"" or inode in ctx.claimed_sockets:
            continue
        details: dict[str, Any] = {"type": type_name(facts.type), **filter_context(facts.kind, facts.protocol)}
        if facts.filter is None:
            details["unknown"] = "an extended program; SO_GET_FILTER does not say which"
            ctx.need("sockets")
        yield InventoryRow(
            f"socket/{facts.kind}", f"sock:{inode}", facts.netns or None, classic=facts.filter,
            holders=tuple(ctx.once(socket_owners).get(inode, ())), details=details,
        )  # fmt: skip


def filter_context(kind: str, protocol: int) -> dict[str, Any]:
    """What the packets of a socket filter begin with: in words, and as the name that `explain` has for it (classic/layout.py, PAYLOADS)."""
    if kind == "raw":
        return {"linktype": "RAW", "starts_at": "IP header", "given": ("ip",)}  # an IPv4 socket: nothing else comes to it
    if kind == "raw6":
        kind = PROTOCOLS.get(protocol, "")
    context = {}
    if kind in _STARTS:
        context["starts_at"] = _STARTS[kind]
    if kind in _PAYLOADS:
        context["linktype"] = _PAYLOADS[kind]
    return context


def find_packet(ctx: Context) -> Iterable[InventoryRow]:
    """Packet sockets of the namespace that the thread is in, by packet_diag; also those that no process holds."""
    namespace = ctx.netns.inode if ctx.netns else None
    links: dict[int, tuple[str, int]] | None = None
    try:
        sockets = packet_sockets()
    except FileNotFoundError:
        ctx.deny("packet sockets, except by their holders", "a kernel with packet_diag (CONFIG_PACKET_DIAG)")
        return
    for socket in sockets:
        code, inode = socket.filter, socket.inode
        facts = ctx.once(held_sockets).get(inode)
        if code == b"":  # withheld from us: the same for every socket, filter or not
            ctx.deny("the filters of packet sockets", "CAP_NET_ADMIN")
            code = None
        extended = facts is not None and facts.filter is None
        if not code and not extended and socket.fanout is None:
            continue
        if links is None:
            links = interfaces(ctx)
        details = packet_context(socket.type, socket.protocol, socket.ifindex, links)
        holders = tuple(ctx.once(socket_owners).get(inode, ()))
        if code or extended:
            ctx.claimed_sockets.add(inode)
            if extended:
                details = {**details, "unknown": "an extended program; SO_GET_FILTER does not say which"}
                ctx.need("sockets")
            yield InventoryRow("socket/packet", f"sock:{inode}", namespace, classic=code or None, holders=holders, details=details)
        if socket.fanout is not None:
            kind = socket.fanout >> 16 & 0xFF
            if kind in (_FANOUT_CBPF, _FANOUT_EBPF):
                ctx.need("sockets")
                word = "a classic program, of which the kernel kept no bytes" if kind == _FANOUT_CBPF else "an extended program"
                yield InventoryRow(
                    "fanout", f"fanout:{socket.fanout & 0xFFFF}", namespace, holders=holders,
                    details={"unknown": f"{word}; packet_diag gives the kind only", "sock": inode, "classic": kind == _FANOUT_CBPF},
                )  # fmt: skip


def find_unheld(ctx: Context) -> Iterable[InventoryRow]:
    """No rows: whether the thread's namespace has sockets that no descriptor leads to, which kernel memory is asked about."""
    if ctx.memory_read:
        return ()  # all that kernel memory has is read anyway
    found = strays(ctx)
    if ctx.netns is not None:
        ctx.strays[ctx.netns.inode] = found
    if found.inodes or found.messages:
        ctx.need("unheld sockets")
    return ()


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


def interfaces(ctx: Context) -> dict[int, tuple[str, int]]:
    """ifindex -> (name, ARPHRD type) in the namespace that the thread is in."""
    return {device.ifindex: (device.name, device.hardware) for device in ctx.devices()}
