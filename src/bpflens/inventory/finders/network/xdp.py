"""XDP on network devices (row 17): the ids in IFLA_XDP of an RTM_GETLINK dump, for all modes. No privilege needed (Linux 4.15 [ids])."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.links import claim
from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attributes

__all__ = ("find",)

_GETLINK, _IFLA_IFNAME, _IFLA_EXT_MASK, _IFLA_XDP = 18, 3, 29, 43
_SKIP_STATS = 1 << 3
_XDP_ATTACHED, _XDP_PROG_ID = 2, 4
_MODES = {5: "native", 6: "generic", 7: "offload"}  # IFLA_XDP_{DRV,SKB,HW}_PROG_ID
_ATTACHED = {1: "native", 2: "generic", 3: "offload"}
_LINK_XDP = 6


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs at the XDP hook of the devices of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    with Netlink(ROUTE) as route:
        answers = route.dump(_GETLINK, bytes(16) + attribute(_IFLA_EXT_MASK, struct.pack("<I", _SKIP_STATS)))
    for _, body in answers:
        attrs = attributes(body, 16)
        xdp = attributes(attrs.get(_IFLA_XDP, b""))
        if not xdp.get(_XDP_ATTACHED, b"\0")[0]:
            continue
        ifindex = struct.unpack_from("<i", body, 4)[0]
        device = attrs.get(_IFLA_IFNAME, b"?").rstrip(b"\0").decode(errors="replace")
        ids = {mode: xdp[number] for number, mode in _MODES.items() if number in xdp}
        if not ids and _XDP_PROG_ID in xdp:
            ids = {_ATTACHED.get(xdp[_XDP_ATTACHED][0], "multi"): xdp[_XDP_PROG_ID]}
        for mode, raw in ids.items():
            prog_id = int.from_bytes(raw[:4], "little")
            details = {"ifindex": ifindex, **claim(ctx, _LINK_XDP, prog_id, ifindex.to_bytes(4, "little"))}
            yield InventoryRow(f"xdp/{mode}", f"dev:{device}", namespace, prog_id=prog_id, details=details)
