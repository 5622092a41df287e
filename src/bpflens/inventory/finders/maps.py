"""Programs in and on maps (rows 18, 28, 29, 42): devmap and cpumap entries, sockmap hooks, struct_ops members, prog_array entries."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator

from bpflens.errors import BpflensError, KernelError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.descriptors import map_fd
from bpflens.kernel.programs.loaded import MapHead

__all__ = ("SOCKMAP_HOOKS", "find", "find_prog_arrays", "inner_maps", "prog_array_entries")

SOCKMAP_HOOKS = {
    AttachType.SK_SKB_STREAM_PARSER: "skb_stream_parser", AttachType.SK_SKB_STREAM_VERDICT: "skb_stream_verdict",
    AttachType.SK_SKB_VERDICT: "skb_verdict", AttachType.SK_MSG_VERDICT: "msg_verdict",
}  # fmt: skip


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs on devmap, cpumap, sockmap and struct_ops maps."""
    for head in ctx.maps.values():
        reader, types = _READERS.get(head.type, (None, ()))
        if reader is None or not ctx.may_have(*types):
            continue
        try:
            yield from reader(ctx, head)
        except (OSError, KernelError):
            continue  # gone, or write-only for everybody


def find_prog_arrays(ctx: Context) -> Iterable[InventoryRow]:
    """Programs that are entries of a prog_array, that is targets of tail calls."""
    for head in ctx.maps.values():
        if head.type != MapType.PROG_ARRAY:
            continue
        for index, prog_id in prog_array_entries(head):
            details = {"map_name": head.name, "index": index}
            yield InventoryRow("prog_array", f"map:{head.id}[{index}]", prog_id=prog_id, details=details)


def prog_array_entries(head: MapHead) -> list[tuple[int, int]]:
    """[(index, program id)] of the filled slots of a prog_array; empty where it has gone."""
    return [(struct.unpack("<I", key)[0], int.from_bytes(value[:4], "little")) for key, value in _entries(head)]


def inner_maps(head: MapHead) -> set[int]:
    """The ids of the maps that are elements of an array or hash of maps; empty where it has gone."""
    return {int.from_bytes(value[:4], "little") for _, value in _entries(head)} - {0}


def _entries(head: MapHead) -> Iterator[tuple[bytes, bytes]]:
    from bpflens.kernel.maps.map_data import items

    try:
        fd = map_fd(head.id)
    except KernelError:
        return
    try:
        for key, value in items(fd):
            if value is not None:
                yield key, value
    except KernelError:
        return
    finally:
        os.close(fd)


def _devmap(ctx: Context, head: MapHead) -> Iterator[InventoryRow]:
    """struct bpf_devmap_val: ifindex, program id. Entries without the second half have no program."""
    if head.value_bytes < 8:
        return
    kind = "cpumap" if head.type == MapType.CPUMAP else "devmap"
    for key, value in _entries(head):
        target, prog_id = struct.unpack_from("<II", value)
        if prog_id:
            index = int.from_bytes(key[:4], "little")
            details = {"map_name": head.name, "key": index, ("qsize" if kind == "cpumap" else "ifindex"): target}
            yield InventoryRow(f"xdp/{kind}", f"map:{head.id}[{index}]", prog_id=prog_id, details=details)


def _sockmap(ctx: Context, head: MapHead) -> Iterator[InventoryRow]:
    fd = map_fd(head.id)
    try:
        for attach_type, hook in SOCKMAP_HOOKS.items():
            try:
                ids = query(fd, attach_type).ids
            except PermissionError:
                ctx.deny("programs on sockmaps", "CAP_NET_ADMIN")
                return
            except OSError:
                continue
            for prog_id in ids:
                details: dict[str, object] = {"map_name": head.name}
                union = struct.pack("<II", head.id, attach_type)
                for link in ctx.links.values():
                    if link.type == LinkType.SOCKMAP and link.prog_id == prog_id and link.rest.startswith(union):
                        details["link"] = link.id
                        ctx.claimed_links.add(link.id)
                yield InventoryRow(f"sockmap/{hook}", f"map:{head.id}", prog_id=prog_id, details=details)
    finally:
        os.close(fd)


def _struct_ops(ctx: Context, head: MapHead) -> Iterator[InventoryRow]:
    from bpflens.kernel.maps.struct_ops import STATES, struct_ops

    try:
        ops = struct_ops(head.id)
    except BpflensError:
        return  # gone, or no BTF
    union = struct.pack("<I", head.id)
    links = [link.id for link in ctx.links.values() if link.type == LinkType.STRUCT_OPS and link.rest.startswith(union)]
    for member, (index, prog_id) in ops.programs.items():
        details: dict[str, object] = {"map_name": head.name, "member": member, "index": index, "state": STATES.get(ops.state, ops.state)}
        if links:
            details["link" if len(links) == 1 else "links"] = links[0] if len(links) == 1 else links
        yield InventoryRow("struct_ops", f"map:{head.id} {ops.struct}.{member}", prog_id=prog_id, details=details)


_READERS: dict[int, tuple[Callable[[Context, MapHead], Iterator[InventoryRow]], tuple[int, ...]]] = {
    MapType.DEVMAP: (_devmap, (ProgType.XDP,)),
    MapType.DEVMAP_HASH: (_devmap, (ProgType.XDP,)),
    MapType.CPUMAP: (_devmap, (ProgType.XDP,)),
    MapType.SOCKMAP: (_sockmap, (ProgType.SK_SKB, ProgType.SK_MSG)),
    MapType.SOCKHASH: (_sockmap, (ProgType.SK_SKB, ProgType.SK_MSG)),
    MapType.STRUCT_OPS: (_struct_ops, (ProgType.STRUCT_OPS,)),
}
"""Type of a map -> its reader, and the types of programs that can be there."""
