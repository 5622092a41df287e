"""XDP on network devices (row 17): the ids in IFLA_XDP of an RTM_GETLINK dump, for all modes. No privilege needed (Linux 4.15 [ids])."""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.links import claim
from bpflens.isa.extended.uapi import LinkType

__all__ = ("find",)


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs at the XDP hook of the devices of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    for device in ctx.devices():
        for mode, prog_id in device.xdp:
            details = {"ifindex": device.ifindex, **claim(ctx, LinkType.XDP, prog_id, device.ifindex.to_bytes(4, "little"))}
            yield InventoryRow(f"xdp/{mode}", f"dev:{device.name or '?'}", namespace, prog_id=prog_id, details=details)
