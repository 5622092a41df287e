"""The network namespace and the device of links, from kernel memory (rows 15-17, 25): link info has an ifindex, or nothing at all."""

from __future__ import annotations

from bpflens.errors import BpflensError
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.memory.reader import Reader

__all__ = ("DETACHED", "link_places")

DETACHED = "(detached)"
_TYPES = {
    LinkType.XDP: ("bpf_xdp_link", "dev"), LinkType.NETFILTER: ("bpf_nf_link", "net"), LinkType.TCX: ("tcx_link", "dev"),
    LinkType.NETKIT: ("netkit_link", "dev"),
}  # fmt: skip


def link_places(reader: Reader) -> dict[int, tuple[int, str | None]]:
    """Link id -> (inode of the network namespace, device name where it is on one; DETACHED: netfilter has taken the link off its hook)."""
    if not reader.can_read_memory:
        return {}
    offset = reader.offset
    try:
        links = reader.pointers("bpf_link", "link")
    except BpflensError:
        return {}  # before Linux 5.19
    found: dict[int, tuple[int, str | None]] = {}
    for link in links:
        try:
            kind = reader.u32(link + offset("bpf_link", "type"))
            if kind not in _TYPES or not reader.has(_TYPES[kind][0], _TYPES[kind][1]):
                continue
            target = reader.u64(link + offset(*_TYPES[kind]))
            if not target:
                continue
            name = None
            if kind == LinkType.NETFILTER:
                dead = reader.has("bpf_nf_link", "dead") and reader.u32(link + offset("bpf_nf_link", "dead"))
                name = DETACHED if dead else None
            else:
                name = reader.text(target + offset("net_device", "name"))
                target = reader.u64(target + offset("net_device", "nd_net.net"))
            found[reader.u32(link + offset("bpf_link", "id"))] = (reader.u32(target + offset("net", "ns.inum")), name)
        except OSError:
            continue
    return found
