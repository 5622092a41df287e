"""Netfilter programs (row 25, Linux 6.4): links, which do not say their network namespace, and the hooks of each namespace, which do.

nfnetlink_hook (CONFIG_NETFILTER_NETLINK_HOOK, Linux 5.14) lists the hooks of the namespace that asks, with the program's id. Where the
kernel lacks it, links.py lists the links without a namespace.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.links import NETFILTER_HOOKS, claim
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.network.netfilter import hook_programs

__all__ = ("find",)


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs at the netfilter hooks of the namespace that the thread is in."""
    if not any(link.type == LinkType.NETFILTER for link in ctx.links.values()) and ctx.programs is not None:
        return
    namespace = ctx.netns.inode if ctx.netns else None
    words = {(family, number): f"{word}/{hook}" for family, (word, hooks) in NETFILTER_HOOKS.items() for number, hook in enumerate(hooks)}
    try:
        for family, number, priority, prog_id in hook_programs(words):
            union = struct.pack("<IIi", family, number, priority)
            details = {"priority": priority, **claim(ctx, LinkType.NETFILTER, prog_id, union)}
            yield InventoryRow("netfilter", f"hook:{words[family, number]}", namespace, prog_id=prog_id, details=details)
    except PermissionError:
        ctx.deny("the network namespaces of netfilter programs", "CAP_NET_ADMIN")
