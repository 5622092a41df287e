"""Attaching by netlink, in the network namespace of the calling thread: XDP on devices, cls_bpf classifiers on clsact and ingress.

    set_xdp(ifindex, prog_fd, mode)             RTM_SETLINK, IFLA_XDP
    add_filter(ifindex, filter, prog_fd)        RTM_NEWTFILTER, kind "bpf"

Layouts: include/uapi/linux/{rtnetlink,if_link,pkt_sched,pkt_cls}.h. OSError with the kernel's errno where it refuses.
"""

from __future__ import annotations

import struct

from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attributes
from bpflens.lean import NamedTuple

__all__ = ("Standing", "TcFilter", "add_clsact", "add_filter", "delete_clsact", "delete_filter", "filter_at", "has_clsact", "set_xdp")

_SETLINK, _NEWQDISC, _DELQDISC, _GETQDISC, _NEWTFILTER, _DELTFILTER, _GETTFILTER = 19, 36, 37, 38, 44, 45, 46
_CREATE, _EXCL, _REPLACE = 0x400, 0x200, 0x100
_IFLA_XDP, _XDP_FD, _XDP_FLAGS, _XDP_EXPECTED_FD = 43, 1, 3, 8
_MODES = {"generic": 1 << 1, "native": 1 << 2, "offload": 1 << 3}
_UPDATE_IF_NOEXIST, _REPLACE_XDP = 1 << 0, 1 << 4
_TCMSG = struct.Struct("=BxxxiIII")
_KIND, _OPTIONS, _CHAIN = 1, 2, 11
_CLSACT, _CLSACT_PARENT, _INGRESS_PARENT = 0xFFFF0000, 0xFFFFFFF1, 0xFFFF0000
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_BPF_CLASSID, _BPF_OPS_LEN, _BPF_OPS, _BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 3, 4, 5, 6, 7, 8, 11


class TcFilter(NamedTuple):
    """Where a classifier stands: `parent` "ingress" or "egress" of clsact; `protocol` an EtherType (3: all)."""

    parent: str
    prio: int
    handle: int
    protocol: int = 3
    chain: int = 0
    name: str = ""
    direct_action: bool = False
    classid: int = 0


class Standing(NamedTuple):
    """A filter that is there. Of kind "bpf": `prog_id`, or classic `code`."""

    kind: str
    filter: TcFilter
    prog_id: int | None
    code: bytes | None


def set_xdp(ifindex: int, prog_fd: int, mode: str, *, replace: bool = False) -> None:
    """Put a program on a device, or take it off (`prog_fd` -1). `mode`: native, generic, offload. EBUSY where one is there already,
    unless `replace`.
    """
    flags = _MODES.get(mode, 0)
    if prog_fd >= 0 and not replace:
        flags |= _UPDATE_IF_NOEXIST
    nested = attribute(_XDP_FD, struct.pack("=i", prog_fd)) + attribute(_XDP_FLAGS, struct.pack("=I", flags))
    payload = struct.pack("=BxHiII", 0, 0, ifindex, 0, 0) + attribute(_IFLA_XDP | 0x8000, nested)
    with Netlink(ROUTE) as route:
        route.command(_SETLINK, payload)


def add_clsact(ifindex: int) -> bool:
    """Give a device its clsact qdisc; False where it has it, or another ingress qdisc, already."""
    payload = _TCMSG.pack(0, ifindex, _CLSACT, _CLSACT_PARENT, 0) + attribute(_KIND, b"clsact\0")
    with Netlink(ROUTE) as route:
        try:
            route.command(_NEWQDISC, payload, _CREATE | _EXCL)
        except FileExistsError:
            return False
    return True


def has_clsact(ifindex: int) -> bool:
    """Whether a device has a clsact or ingress qdisc."""
    with Netlink(ROUTE) as route:
        for _, body in route.dump(_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0)):
            if struct.unpack_from("=i", body, 4)[0] == ifindex and attributes(body, 20).get(_KIND, b"") in (b"clsact\0", b"ingress\0"):
                return True
    return False


def filter_at(ifindex: int, filter: TcFilter) -> Standing | None:
    """The filter that stands in the place: same parent, priority, chain and handle."""
    with Netlink(ROUTE) as route:
        for _, body in route.dump(_GETTFILTER, _TCMSG.pack(0, ifindex, 0, PARENTS[filter.parent], 0)):
            if len(body) < 20:
                continue
            _, _, handle, _, info = struct.unpack_from("=BxxxiIII", body)
            attrs = attributes(body, 20)
            chain = int.from_bytes(attrs.get(_CHAIN, b"")[:4], "little")
            if (handle, info >> 16, chain) == (filter.handle, filter.prio, filter.chain):
                return _standing(filter, info, attrs)
    return None


def _standing(place: TcFilter, info: int, attrs: dict[int, bytes]) -> Standing:
    kind = attrs.get(_KIND, b"").rstrip(b"\0").decode(errors="replace")
    options = attributes(attrs.get(_OPTIONS, b"")) if kind == "bpf" else {}
    filter = place._replace(
        protocol=int.from_bytes((info & 0xFFFF).to_bytes(2, "little"), "big"),
        name=options.get(_BPF_NAME, b"").rstrip(b"\0").decode(errors="replace"),
        direct_action=bool(int.from_bytes(options.get(_BPF_FLAGS, b"")[:4], "little") & 1),
        classid=int.from_bytes(options.get(_BPF_CLASSID, b"")[:4], "little"),
    )  # fmt: skip
    return Standing(kind, filter, int.from_bytes(options[_BPF_ID][:4], "little") if _BPF_ID in options else None, options.get(_BPF_OPS))


def delete_clsact(ifindex: int) -> None:
    """Take the clsact qdisc off, with all its classifiers."""
    with Netlink(ROUTE) as route:
        route.command(_DELQDISC, _TCMSG.pack(0, ifindex, _CLSACT, _CLSACT_PARENT, 0) + attribute(_KIND, b"clsact\0"))


def add_filter(ifindex: int, filter: TcFilter, prog_fd: int, classic: bytes = b"", *, replace: bool = False) -> None:
    """Add a classifier with an extended program, or with `classic` code. FileExistsError where its place is taken, unless `replace`."""
    if classic:
        options = attribute(_BPF_OPS_LEN, struct.pack("=H", len(classic) // 8)) + attribute(_BPF_OPS, classic)
    else:
        options = attribute(_BPF_FD, struct.pack("=I", prog_fd)) + attribute(_BPF_NAME, filter.name.encode() + b"\0")
    if filter.classid:
        options += attribute(_BPF_CLASSID, struct.pack("=I", filter.classid))
    if filter.direct_action:
        options += attribute(_BPF_FLAGS, struct.pack("=I", 1))
    payload = _place(ifindex, filter) + attribute(_OPTIONS | 0x8000, options)
    with Netlink(ROUTE) as route:
        route.command(_NEWTFILTER, payload, _CREATE | (_REPLACE if replace else _EXCL))


def delete_filter(ifindex: int, filter: TcFilter) -> None:
    """Take a classifier off."""
    with Netlink(ROUTE) as route:
        route.command(_DELTFILTER, _place(ifindex, filter))


def _place(ifindex: int, filter: TcFilter) -> bytes:
    protocol = int.from_bytes(filter.protocol.to_bytes(2, "big"), "little")
    head = _TCMSG.pack(0, ifindex, filter.handle, PARENTS[filter.parent], filter.prio << 16 | protocol)
    chain = attribute(_CHAIN, struct.pack("=I", filter.chain)) if filter.chain else b""
    return head + attribute(_KIND, b"bpf\0") + chain
