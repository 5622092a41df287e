"""Programs of a network namespace itself (rows 23, 24): flow_dissector (Linux 4.20) and sk_lookup (Linux 5.9), by BPF_PROG_QUERY."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.links import claim
from bpflens.isa.extended.uapi import AttachType, LinkType, ProgType
from bpflens.kernel.attachments.prog_query import query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find",)

_HOOKS = {
    AttachType.FLOW_DISSECTOR: ("flow_dissector", ProgType.FLOW_DISSECTOR), AttachType.SK_LOOKUP: ("sk_lookup", ProgType.SK_LOOKUP),
}  # fmt: skip


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs on the namespace that the thread is in."""
    if ctx.netns is None or not ctx.may_have(*(type for _, type in _HOOKS.values())):
        return
    inode = ctx.netns.inode
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for attach_type, (name, type) in _HOOKS.items():
            if not ctx.may_have(type):
                continue
            try:
                answer = query(fd, attach_type)
            except PermissionError:
                ctx.deny("programs on network namespaces (flow_dissector, sk_lookup)", "CAP_NET_ADMIN")
                return
            except OSError:
                continue
            for position, prog_id in enumerate(answer.ids):
                details: dict[str, Any] = {"position": position} if len(answer.ids) > 1 else {}
                union = inode.to_bytes(4, "little") + attach_type.to_bytes(4, "little")
                details.update(claim(ctx, LinkType.NETNS, prog_id, union))
                yield InventoryRow(name, f"netns:{ctx.netns.name or inode}", inode, prog_id=prog_id, details=details)
    finally:
        os.close(fd)
