"""Rows of the inventory as records of the manifest: objects by name and number, links with what re-creates them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bpflens.errors import KernelError
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SavedAttachment
from bpflens.formats.snapshot.schema import plain
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.isa.extended.uapi import AttachType
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel.attachments.links import LinkInfo, link_info
from bpflens.snapshot.taking.holders import Keepers, saved_holders
from bpflens.snapshot.taking.scope import map_of_row

__all__ = ("read_attachments",)

_DROPPED = frozenset({"pins", "why"})


def read_attachments(
    rows: Iterable[InventoryRow], inventory: Inventory, writer: ArchiveWriter, keep: Keepers
) -> tuple[SavedAttachment, ...]:
    """The attachments in the inventory's order; members of one struct_ops map are one attachment, that of the map."""
    found: list[SavedAttachment] = []
    done: set[int] = set()
    for row in rows:
        if row.kind == "struct_ops":
            map_id = map_of_row(row)
            if map_id in done:
                continue
            done.add(map_id)
        found.append(_attachment(row, len(found), inventory, writer, keep))
    return tuple(found)


def _attachment(row: InventoryRow, index: int, inventory: Inventory, writer: ArchiveWriter, keep: Keepers) -> SavedAttachment:
    details = {key: value for key, value in row.details.items() if key not in _DROPPED}
    link = _link(row)
    device = row.object.removeprefix("dev:") if row.object.startswith("dev:") else None
    cgroup = row.object.removeprefix("cgroup:") if row.object.startswith("cgroup:") else None
    space = inventory.namespaces.get(row.netns or 0)
    if link is not None:
        details |= {key: value for key, value in link.facts.items() if key not in ("addr", "addrs")}
    return SavedAttachment(
        kind=row.kind,
        object=row.object,
        program=None if row.kind == "struct_ops" else row.prog_id,
        map=map_of_row(row) or None,
        link=link.id if link else None,
        link_type=link.type if link else None,
        attach_type=_attach_type(row, link),
        netns=row.netns,
        netns_name=space.name if space else None,
        own_netns=row.netns is None or row.netns == os.stat("/proc/self/ns/net").st_ino,
        device=device,
        cgroup=cgroup,
        classic=writer.add(f"attachments/{index}/classic.bin", row.classic) if row.classic is not None else None,
        details=plain(details),
        pins=keep.pins.get(("link", link.id), ()) if link else (),
        holders=keep.holders.get(("link", link.id), ()) if link else saved_holders(row.holders),
    )


def _link(row: InventoryRow) -> LinkInfo | None:
    """The link of a row. Where two fit (same program, same ifindex of two namespaces), the first: they are made alike."""
    links = row.details.get("links") or ([row.details["link"]] if "link" in row.details else [])
    for id in links:
        try:
            return link_info(id)
        except KernelError:
            continue
    return None


def _attach_type(row: InventoryRow, link: LinkInfo | None) -> int | None:
    if link is not None and link.attach_type is not None:
        return link.attach_type
    from bpflens.inventory.finders.cgroups import ATTACH_TYPES
    from bpflens.inventory.finders.maps import SOCKMAP_HOOKS

    hooks = {f"cgroup/{name}": number for table in ATTACH_TYPES.values() for number, name in table.items()}
    hooks |= {f"sockmap/{name}": number for number, name in SOCKMAP_HOOKS.items()}
    hooks |= {
        "tcx/ingress": AttachType.TCX_INGRESS, "tcx/egress": AttachType.TCX_EGRESS, "netkit/primary": AttachType.NETKIT_PRIMARY,
        "netkit/peer": AttachType.NETKIT_PEER, "flow_dissector": AttachType.FLOW_DISSECTOR, "sk_lookup": AttachType.SK_LOOKUP,
    }  # fmt: skip
    if link is not None and link.type == LINK.NETFILTER:
        return AttachType.NETFILTER
    return hooks.get(row.kind)
