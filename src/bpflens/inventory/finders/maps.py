"""Programs in and on maps (rows 18, 28, 29, 42): devmap and cpumap entries, sockmap hooks, struct_ops members, prog_array entries."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator

from bpflens.errors import BpflensError, KernelError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.descriptors import map_fd
from bpflens.kernel.programs.loaded import MapHead

__all__ = ("SOCKMAP_HOOKS", "find", "find_prog_arrays", "inner_maps", "prog_array_entries")

_PROG_ARRAY, _DEVMAP, _SOCKMAP, _CPUMAP, _SOCKHASH, _DEVMAP_HASH, _STRUCT_OPS = 3, 14, 15, 16, 18, 25, 26
_LINK_STRUCT_OPS, _LINK_SOCKMAP = 9, 14
SOCKMAP_HOOKS = {4: "skb_stream_parser", 5: "skb_stream_verdict", 38: "skb_verdict", 7: "msg_verdict"}
_XDP, _SK_SKB, _SK_MSG, _STRUCT_OPS_PROG = 6, 14, 16, 27


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs on devmap, cpumap, sockmap and struct_ops maps."""
    for head in ctx.maps.values():
        reader = _READERS.get(head.type)
        if reader is None or not ctx.may_have(*_TYPES[head.type]):
            continue
        try:
            yield from reader(ctx, head)
        except (OSError, KernelError):
            continue  # gone, or write-only for everybody


def find_prog_arrays(ctx: Context) -> Iterable[InventoryRow]:
    """Programs that are entries of a prog_array, that is targets of tail calls."""
    for head in ctx.maps.values():
        if head.type != _PROG_ARRAY:
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
    kind = "cpumap" if head.type == _CPUMAP else "devmap"
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
                    if link.type == _LINK_SOCKMAP and link.prog_id == prog_id and link.rest.startswith(union):
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
    links = [link.id for link in ctx.links.values() if link.type == _LINK_STRUCT_OPS and link.rest.startswith(struct.pack("<I", head.id))]
    for member, (index, prog_id) in ops.programs.items():
        details: dict[str, object] = {"map_name": head.name, "member": member, "index": index, "state": STATES.get(ops.state, ops.state)}
        if links:
            details["link" if len(links) == 1 else "links"] = links[0] if len(links) == 1 else links
        yield InventoryRow("struct_ops", f"map:{head.id} {ops.struct}.{member}", prog_id=prog_id, details=details)


_READERS: dict[int, Callable[[Context, MapHead], Iterator[InventoryRow]]] = {
    _DEVMAP: _devmap, _DEVMAP_HASH: _devmap, _CPUMAP: _devmap, _SOCKMAP: _sockmap, _SOCKHASH: _sockmap, _STRUCT_OPS: _struct_ops,
}  # fmt: skip
_TYPES = {
    _DEVMAP: (_XDP,), _DEVMAP_HASH: (_XDP,), _CPUMAP: (_XDP,), _SOCKMAP: (_SK_SKB, _SK_MSG), _SOCKHASH: (_SK_SKB, _SK_MSG),
    _STRUCT_OPS: (_STRUCT_OPS_PROG,),
}  # fmt: skip
