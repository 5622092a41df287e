"""Programs on routes of the namespace that the calling thread is in: lightweight tunnels of type bpf, End.BPF of seg6local.

All tables of IPv4 and IPv6 and nexthop objects (Linux 5.3) are dumped. The kernel gives the id for End.BPF only; of a tunnel's program it
gives the name that the user chose. Layout: include/uapi/linux/rtnetlink.h, nexthop.h, lwtunnel.h, seg6_local.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.kernel.sys import syscalls
from bpflens.kernel.sys.netlink import ROUTE, Netlink, attributes
from bpflens.lean import NamedTuple

__all__ = ("LWT_HOOKS", "RouteProgram", "address", "lwt_name", "route_programs")

AF_INET, AF_INET6 = 2, 10
_GETROUTE, _GETNEXTHOP = 26, 106
_RTA_DST, _RTA_OIF, _RTA_MULTIPATH, _RTA_TABLE, _RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_NH_ID = 1, 4, 9, 15, 21, 22, 30
_NHA_ID, _NHA_OIF, _NHA_ENCAP_TYPE, _NHA_ENCAP = 1, 5, 7, 8
_ENCAP_BPF, _ENCAP_SEG6_LOCAL = 6, 7
_SEG6_LOCAL_BPF = 8
_PROGRAM_ID, _PROGRAM_NAME = 1, 2
LWT_HOOKS = {1: "in", 2: "out", 3: "xmit"}


class RouteProgram(NamedTuple):
    """`hook` "in", "out", "xmit" or "seg6local". Of a route: `family`, `destination`, `prefix_bits`, `table`; else `nexthop` is its id.

    `ifindex`: 0 where none is told. `prog_id`: 0 where the kernel gives only the `name`.
    """

    hook: str
    family: int
    destination: bytes
    prefix_bits: int
    table: int
    nexthop: int
    ifindex: int
    prog_id: int
    name: str | None


def route_programs() -> Iterator[RouteProgram]:
    """All of them. OSError where the kernel refuses."""
    with Netlink(ROUTE) as route:
        for family in (AF_INET, AF_INET6):
            for _, body in route.dump(_GETROUTE, struct.pack("<BBBBBBBBI", family, *bytes(7), 0)):
                yield from _of_route(body)
        try:
            nexthops = route.dump(_GETNEXTHOP, bytes(8))
        except OSError:
            nexthops = []  # before Linux 5.3
        for _, body in nexthops:
            attrs = attributes(body, 8)
            if _NHA_ENCAP in attrs:
                for hook, prog_id, name in _programs(attrs.get(_NHA_ENCAP_TYPE, b""), attrs[_NHA_ENCAP]):
                    yield RouteProgram(hook, 0, b"", 0, 0, _number(attrs[_NHA_ID]), _number(attrs.get(_NHA_OIF)), prog_id, name)


def _of_route(body: bytes) -> Iterator[RouteProgram]:
    attrs = attributes(body, 12)
    if (_RTA_ENCAP not in attrs and _RTA_MULTIPATH not in attrs) or _RTA_NH_ID in attrs:  # a nexthop object's, listed as that
        return
    family, prefix_bits, table = body[0], body[1], _number(attrs.get(_RTA_TABLE)) or body[4]
    destination = attrs.get(_RTA_DST, b"")
    if _RTA_ENCAP in attrs:
        for hook, prog_id, name in _programs(attrs.get(_RTA_ENCAP_TYPE, b""), attrs[_RTA_ENCAP]):
            yield RouteProgram(hook, family, destination, prefix_bits, table, 0, _number(attrs.get(_RTA_OIF)), prog_id, name)
    paths, offset = attrs.get(_RTA_MULTIPATH, b""), 0
    while offset + 8 <= len(paths):
        length, _, _, ifindex = struct.unpack_from("<HBBi", paths, offset)
        if length < 8:
            return
        inner = attributes(paths[: offset + length], offset + 8)
        if _RTA_ENCAP in inner:
            for hook, prog_id, name in _programs(inner.get(_RTA_ENCAP_TYPE, b""), inner[_RTA_ENCAP]):
                yield RouteProgram(hook, family, destination, prefix_bits, table, 0, ifindex, prog_id, name)
        offset += (length + 3) & ~3


def _programs(type: bytes, encap: bytes) -> Iterator[tuple[str, int, str | None]]:
    """(hook, program id or 0, name) of an encapsulation."""
    attrs, kind = attributes(encap), int.from_bytes(type[:2], "little")
    if kind == _ENCAP_BPF:
        for number, hook in LWT_HOOKS.items():
            if number in attrs:
                yield hook, 0, lwt_name(attributes(attrs[number]).get(_PROGRAM_NAME))
    elif kind == _ENCAP_SEG6_LOCAL and _SEG6_LOCAL_BPF in attrs:
        program = attributes(attrs[_SEG6_LOCAL_BPF])
        if _PROGRAM_ID in program:
            yield "seg6local", _number(program[_PROGRAM_ID]), lwt_name(program.get(_PROGRAM_NAME))


def address(family: int, raw: bytes) -> str:
    """The text of an address; the default route's is all zeros."""
    if family == AF_INET:
        return ".".join(map(str, raw.ljust(4, b"\0")[:4]))
    return syscalls.ip6_text(raw.ljust(16, b"\0")[:16])


def lwt_name(raw: bytes | None) -> str | None:
    """The user's name of a route's program."""
    return raw.rstrip(b"\0").decode(errors="replace") if raw else None


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw[:4], "little") if raw else 0
