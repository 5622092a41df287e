"""Links that no other family has claimed (rows 25, 30, 31, 34-36 and newer kinds).

A link on a device, namespace or cgroup is first claimed by the family that finds the same attachment at its object, because only there the
network namespace is known: link info gives an ifindex without saying of which namespace. What is left here is of a namespace that could not
be reached, or of a kind that only links have. The wording is kernel/attachments/link_attachment.py's, so `show link:N` says the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.errors import KernelError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.isa.extended.uapi import LinkType, ProgType
from bpflens.kernel.programs.loaded import LinkHead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("NETFILTER_HOOKS", "claim", "find")

_INET = ("prerouting", "input", "forward", "output", "postrouting")
NETFILTER_HOOKS = {
    2: ("ip", _INET), 10: ("ip6", _INET), 3: ("arp", ("input", "output", "forward")), 7: ("bridge", _INET),
    5: ("netdev", ("ingress", "egress")),
}  # fmt: skip  # NFPROTO_* -> hook numbers in order
_ADDRESSES_SHOWN = 256


def claim(ctx: Context, type: int, prog_id: int, union: bytes) -> dict[str, Any]:
    """{"link": id} of the link that is this attachment: its info starts with `union` and nobody has claimed it. {} where there is none.

    Two links of one program on the same ifindex of two namespaces cannot be told apart: then "links" has the candidates.
    """
    fits = [link.id for link in ctx.links.values() if link.type == type and link.prog_id == prog_id and link.rest.startswith(union)]
    free = [id for id in fits if id not in ctx.claimed_links]
    if not free:
        return {}
    ctx.claimed_links.add(free[0])
    return {"link": free[0]} if len(fits) == 1 else {"links": fits}


def find(ctx: Context) -> Iterable[InventoryRow]:
    """The links that are left; run after all families that claim links."""
    for link in ctx.links.values():
        if link.id not in ctx.claimed_links and link.type != LinkType.STRUCT_OPS:  # the programs of struct_ops are in the map, see maps.py
            row = _row(ctx, link)
            if row is not None:
                yield row


def _row(ctx: Context, link: LinkHead) -> InventoryRow | None:
    from bpflens.kernel.attachments.link_attachment import link_attachment
    from bpflens.kernel.attachments.links import link_info

    try:
        attachment = link_attachment(link_info(link.id))
    except KernelError:
        return None  # gone meanwhile
    details: dict[str, Any] = dict(attachment.details)
    if link.type in (LinkType.XDP, LinkType.TCX, LinkType.NETKIT) and details.get("ifindex"):
        details["why"] = "in a network namespace that was not reached"
    elif link.type == LinkType.NETFILTER:
        details["why"] = "link info does not say the network namespace"
    elif link.type == LinkType.TRACING and attachment.kind == "freplace" and details.get("target_obj_id"):
        details["function"] = _function_of_program(details["target_obj_id"], details.get("target_btf_id", 0))
    elif link.type == LinkType.KPROBE_MULTI and "addrs" in details:
        details["functions"] = _symbols(details.pop("addrs"))
    kind = attachment.kind
    if kind == "raw_tracepoint" and ctx.programs and link.prog_id in ctx.programs and ctx.programs[link.prog_id].type == ProgType.TRACING:
        kind = "tp_btf"
    object = attachment.object or f"link:{link.id}"
    return InventoryRow(kind, object, attachment.netns or None, prog_id=link.prog_id or None, details=details)


def _function_of_program(prog_id: int, type_id: int) -> str | None:
    """The name of a function of another program, from that program's BTF."""
    from bpflens.kernel.btf import func_name
    from bpflens.kernel.programs.prog_info import prog_info

    try:
        btf_id = prog_info(prog_id).btf_id
    except KernelError:
        return None
    return func_name(btf_id, type_id) if btf_id else None


def _symbols(addresses: list[int]) -> list[str]:
    from bpflens.kernel.sys.kallsyms import kallsyms

    shown = addresses[:_ADDRESSES_SHOWN]
    names = kallsyms().names(shown)
    return [names.get(address, f"{address:#x}") for address in shown]
