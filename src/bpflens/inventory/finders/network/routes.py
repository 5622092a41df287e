"""Programs on routes (rows 19, 20): lightweight tunnels of type bpf, and End.BPF of seg6local, in all tables and in nexthop objects.

The kernel gives the id for End.BPF only. Of an LWT program it gives the name that the user chose when the route was made: which program it
is, the kernel-side reader tells.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import interfaces
from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.network.routes import RouteProgram, address, route_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find",)

LWT_TYPES = {ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL}


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Routes and nexthops with programs in the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    devices = {index: name for index, (name, _) in interfaces(ctx).items()}
    for found in route_programs():
        object = f"nexthop:{found.nexthop}" if found.nexthop else f"route:{address(found.family, found.destination)}/{found.prefix_bits}"
        details = _details(found, devices)
        if found.hook == "seg6local":
            yield InventoryRow("seg6local", object, namespace, prog_id=found.prog_id, details={**details, "name": found.name})
            continue
        ctx.need("routes")
        unknown = "the kernel gives only the name chosen when the route was made"
        yield InventoryRow(f"lwt/{found.hook}", object, namespace, details={**details, "name": found.name, "unknown": unknown})


def _details(found: RouteProgram, devices: dict[int, str]) -> dict[str, Any]:
    device = devices.get(found.ifindex, f"ifindex {found.ifindex}") if found.ifindex else None
    return {"dev": device} if found.nexthop else {"table": found.table, "dev": device}
