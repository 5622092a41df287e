"""The hash function of a team device (row 39): generic netlink "team", OPTIONS_GET, option bpf_hash_func = struct sock_filter[]."""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow

__all__ = ("find",)


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Team devices in load-balance mode of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    teams = {device.ifindex: device.name or "?" for device in ctx.devices() if device.kind == "team"}
    if not teams:
        return
    from bpflens.kernel.network.team import hash_functions

    try:
        for index, code in hash_functions(teams):
            yield InventoryRow("team/hash", f"dev:{teams[index]}", namespace, classic=code, details={"linktype": "EN10MB"})
    except PermissionError:
        ctx.deny("hash functions of team devices", "CAP_NET_ADMIN")
