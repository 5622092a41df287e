"""Programs on routes (rows 19, 20): lightweight tunnels of type bpf, and End.BPF of seg6local, in all tables and in nexthop objects.

The kernel gives the id for End.BPF only. Of an LWT program it gives the name that the user chose when the route was made: which program it
is, the kernel-side reader tells.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import interfaces
from bpflens.kernel.sys import syscalls
from bpflens.kernel.sys.netlink import ROUTE, Netlink, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("address", "find", "lwt_name")

_GETROUTE, _GETNEXTHOP = 26, 106
_RTA_DST, _RTA_OIF, _RTA_MULTIPATH, _RTA_TABLE, _RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_NH_ID = 1, 4, 9, 15, 21, 22, 30
_NHA_ID, _NHA_OIF, _NHA_ENCAP_TYPE, _NHA_ENCAP = 1, 5, 7, 8
_ENCAP_BPF, _ENCAP_SEG6_LOCAL = 6, 7
_SEG6_LOCAL_BPF = 8
LWT_HOOKS = {1: "in", 2: "out", 3: "xmit"}
LWT_TYPES = {10, 11, 12, 19}  # lwt_in, lwt_out, lwt_xmit, lwt_seg6local


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Routes and nexthops with programs in the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    devices = {index: name for index, (name, _) in interfaces().items()}
    with Netlink(ROUTE) as route:
        for family in (2, 10):
            for _, body in route.dump(_GETROUTE, struct.pack("<BBBBBBBBI", family, *bytes(7), 0)):
                yield from _route(ctx, body, namespace, devices)
        try:
            nexthops = route.dump(_GETNEXTHOP, bytes(8))
        except OSError:
            nexthops = []  # before Linux 5.3
        for _, body in nexthops:
            attrs = attributes(body, 8)
            if _NHA_ENCAP in attrs:
                id = int.from_bytes(attrs[_NHA_ID][:4], "little")
                details = {"dev": _device(attrs.get(_NHA_OIF), devices)}
                yield from _encap(ctx, attrs.get(_NHA_ENCAP_TYPE, b""), attrs[_NHA_ENCAP], f"nexthop:{id}", namespace, details)


def _route(ctx: Context, body: bytes, namespace: int | None, devices: dict[int, str]) -> Iterator[InventoryRow]:
    attrs = attributes(body, 12)
    if (_RTA_ENCAP not in attrs and _RTA_MULTIPATH not in attrs) or _RTA_NH_ID in attrs:  # a nexthop object's, listed as that
        return
    family, prefix_bits, table = body[0], body[1], body[4]
    table = int.from_bytes(attrs.get(_RTA_TABLE, b"")[:4], "little") or table
    object = f"route:{address(family, attrs.get(_RTA_DST, b''))}/{prefix_bits}"
    details = {"table": table, "dev": _device(attrs.get(_RTA_OIF), devices)}
    if _RTA_ENCAP in attrs:
        yield from _encap(ctx, attrs.get(_RTA_ENCAP_TYPE, b""), attrs[_RTA_ENCAP], object, namespace, details)
    paths, offset = attrs.get(_RTA_MULTIPATH, b""), 0
    while offset + 8 <= len(paths):
        length, _, _, ifindex = struct.unpack_from("<HBBi", paths, offset)
        if length < 8:
            return
        inner = attributes(paths[: offset + length], offset + 8)
        if _RTA_ENCAP in inner:
            path = {"table": table, "dev": devices.get(ifindex, f"ifindex {ifindex}")}
            yield from _encap(ctx, inner.get(_RTA_ENCAP_TYPE, b""), inner[_RTA_ENCAP], object, namespace, path)
        offset += (length + 3) & ~3


def _device(raw: bytes | None, devices: dict[int, str]) -> str | None:
    if not raw:
        return None
    index = int.from_bytes(raw[:4], "little")
    return devices.get(index, f"ifindex {index}")


def _encap(ctx: Context, type: bytes, encap: bytes, object: str, namespace: int | None, details: dict[str, Any]) -> Iterator[InventoryRow]:
    attrs = attributes(encap)
    kind = int.from_bytes(type[:2], "little")
    if kind == _ENCAP_BPF:
        for number, hook in LWT_HOOKS.items():
            if number in attrs:
                name = lwt_name(attributes(attrs[number]).get(2))
                ctx.need("routes")
                yield InventoryRow(
                    f"lwt/{hook}", object, namespace,
                    details={**details, "name": name, "unknown": "the kernel gives only the name chosen when the route was made"},
                )  # fmt: skip
    elif kind == _ENCAP_SEG6_LOCAL and _SEG6_LOCAL_BPF in attrs:
        program = attributes(attrs[_SEG6_LOCAL_BPF])
        if 1 in program:
            prog_id = int.from_bytes(program[1][:4], "little")
            yield InventoryRow("seg6local", object, namespace, prog_id=prog_id, details={**details, "name": lwt_name(program.get(2))})


def lwt_name(raw: bytes | None) -> str | None:
    """The user's name of a route's program."""
    return raw.rstrip(b"\0").decode(errors="replace") if raw else None


def address(family: int, raw: bytes) -> str:
    """The text of an address; the default route's is all zeros."""
    if family == 2:
        return ".".join(map(str, raw.ljust(4, b"\0")[:4]))
    return syscalls.ip6_text(raw.ljust(16, b"\0")[:16])
