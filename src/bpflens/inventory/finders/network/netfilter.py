"""Netfilter programs (row 25, Linux 6.4): links, which do not say their network namespace, and the hooks of each namespace, which do.

nfnetlink_hook (CONFIG_NETFILTER_NETLINK_HOOK, Linux 5.14) lists the hooks of the namespace that asks, with the program's id. Where the
kernel lacks it, links.py lists the links without a namespace.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.links import LINK_NETFILTER, NETFILTER_HOOKS, claim
from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.netlink import NETFILTER, Netlink, attribute, attributes

__all__ = ("find",)

_GET = 12 << 8  # NFNL_SUBSYS_HOOK, NFNL_MSG_HOOK_GET
_HOOKNUM, _PRIORITY, _CHAIN_INFO = 1, 2, 6
_INFO_DESC, _INFO_TYPE, _INFO_TYPE_BPF, _DESC_ID = 1, 2, 2, 1


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs at the netfilter hooks of the namespace that the thread is in."""
    if not any(link.type == LINK_NETFILTER for link in ctx.links.values()) and ctx.programs is not None:
        return
    if not (procfs.module_present("nfnetlink") and procfs.module_present("nfnetlink_hook")):
        return
    namespace = ctx.netns.inode if ctx.netns else None
    with Netlink(NETFILTER) as netfilter:
        for family, (word, hooks) in NETFILTER_HOOKS.items():
            for number, hook in enumerate(hooks):
                request = struct.pack(">BBH", family, 0, 0) + attribute(_HOOKNUM, struct.pack(">I", number))
                try:
                    answers = netfilter.dump(_GET, request)
                except PermissionError:
                    ctx.deny("the network namespaces of netfilter programs", "CAP_NET_ADMIN")
                    return
                except OSError:
                    continue  # a kernel without it, or a hook that the family lacks
                for _, body in answers:
                    attrs = attributes(body, 4)
                    chain = attributes(attrs.get(_CHAIN_INFO, b""))
                    if int.from_bytes(chain.get(_INFO_TYPE, b""), "big") != _INFO_TYPE_BPF:
                        continue
                    prog_id = int.from_bytes(attributes(chain.get(_INFO_DESC, b"")).get(_DESC_ID, b""), "big")
                    priority = int.from_bytes(attrs.get(_PRIORITY, b""), "big", signed=True)
                    union = struct.pack("<IIi", family, number, priority)
                    details = {"priority": priority, **claim(ctx, LINK_NETFILTER, prog_id, union)}
                    yield InventoryRow("netfilter", f"hook:{word}/{hook}", namespace, prog_id=prog_id, details=details)
