"""tcx (row 15, Linux 6.6) and netkit (row 16, Linux 6.7): BPF_PROG_QUERY on each device, in the order in which the programs run."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import interfaces
from bpflens.isa.extended.uapi import AttachType
from bpflens.kernel.attachments.prog_query import query

__all__ = ("find",)

_HOOKS = {
    AttachType.TCX_INGRESS: "tcx/ingress", AttachType.TCX_EGRESS: "tcx/egress", AttachType.NETKIT_PRIMARY: "netkit/primary",
    AttachType.NETKIT_PEER: "netkit/peer",
}  # fmt: skip


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs at the tcx and netkit hooks of the devices of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    hooks = dict(_HOOKS)
    for ifindex, (device, _) in interfaces(ctx).items():
        for attach_type, kind in list(hooks.items()):
            try:
                answer = query(ifindex, attach_type, links=True)
            except OSError as error:
                if error.errno == errno.EPERM:
                    ctx.deny("programs at tcx and netkit hooks", "CAP_NET_ADMIN")
                    return
                if error.errno == errno.EINVAL and kind.startswith("tcx/"):
                    del hooks[attach_type]  # this kernel has no such hook
                continue  # ENXIO: not a netkit device; EACCES: not the primary one of a netkit pair
            for position, prog_id in enumerate(answer.ids):
                details: dict[str, object] = {"ifindex": ifindex, "position": position}
                if position < len(answer.links) and answer.links[position]:
                    details["link"] = answer.links[position]
                    ctx.claimed_links.add(answer.links[position])
                yield InventoryRow(kind, f"dev:{device}", namespace, prog_id=prog_id, details=details)
