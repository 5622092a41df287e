"""The hash function of a team device (row 39): generic netlink "team", OPTIONS_GET, option bpf_hash_func = struct sock_filter[].

The families are listed rather than asked for by name, which would load the module.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.sys.netlink import GENERIC, ROUTE, Netlink, attribute, attribute_list, attributes

__all__ = ("find",)

_CTRL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_OPTIONS_GET, _TEAM_IFINDEX, _LIST_OPTION, _OPTION_NAME, _OPTION_DATA = 2, 1, 2, 1, 4
_IFNAME, _LINKINFO, _INFO_KIND = 3, 18, 1


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Team devices in load-balance mode of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    teams: dict[int, str] = {}
    with Netlink(ROUTE) as route:
        for _, body in route.dump(18, bytes(16) + attribute(29, struct.pack("<I", 1 << 3))):
            attrs = attributes(body, 16)
            if attributes(attrs.get(_LINKINFO, b"")).get(_INFO_KIND, b"").rstrip(b"\0") == b"team":
                teams[struct.unpack_from("<i", body, 4)[0]] = attrs.get(_IFNAME, b"?").rstrip(b"\0").decode(errors="replace")
    if not teams:
        return
    with Netlink(GENERIC) as generic:
        family = 0
        for _, body in generic.dump(_CTRL, struct.pack("<BBH", _GETFAMILY, 1, 0)):
            attrs = attributes(body, 4)
            if attrs.get(_FAMILY_NAME) == b"team\0":
                family = int.from_bytes(attrs[_FAMILY_ID], "little")
        if not family:
            return
        for ifindex, device in teams.items():
            request = struct.pack("<BBH", _OPTIONS_GET, 1, 0) + attribute(_TEAM_IFINDEX, struct.pack("<I", ifindex))
            try:
                answers = generic.request(family, request)
            except PermissionError:
                ctx.deny("hash functions of team devices", "CAP_NET_ADMIN")
                return
            for _, body in answers:
                for _, item in attribute_list(attributes(body, 4).get(_LIST_OPTION, b"")):
                    option = attributes(item)
                    if option.get(_OPTION_NAME) == b"bpf_hash_func\0" and option.get(_OPTION_DATA):
                        details = {"linktype": "EN10MB"}
                        yield InventoryRow("team/hash", f"dev:{device}", namespace, classic=option[_OPTION_DATA], details=details)
