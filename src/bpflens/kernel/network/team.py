"""The hash functions of team devices: generic netlink "team", OPTIONS_GET, option bpf_hash_func = struct sock_filter[].

The families are listed rather than asked for by name, which would load the module. Needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.kernel.sys.netlink import GENERIC, Netlink, attribute, attribute_list, attributes

__all__ = ("hash_functions",)

_CTRL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_OPTIONS_GET, _TEAM_IFINDEX, _LIST_OPTION, _OPTION_NAME, _OPTION_DATA = 2, 1, 2, 1, 4


def hash_functions(indexes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """(ifindex, classic code) of those of the devices that have one; PermissionError without CAP_NET_ADMIN."""
    with Netlink(GENERIC) as generic:
        family = 0
        for _, body in generic.dump(_CTRL, struct.pack("<BBH", _GETFAMILY, 1, 0)):
            attrs = attributes(body, 4)
            if attrs.get(_FAMILY_NAME) == b"team\0":
                family = int.from_bytes(attrs[_FAMILY_ID], "little")
        if not family:
            return
        for index in indexes:
            request = struct.pack("<BBH", _OPTIONS_GET, 1, 0) + attribute(_TEAM_IFINDEX, struct.pack("<I", index))
            for _, body in generic.request(family, request):
                for _, item in attribute_list(attributes(body, 4).get(_LIST_OPTION, b"")):
                    option = attributes(item)
                    if option.get(_OPTION_NAME) == b"bpf_hash_func\0" and option.get(_OPTION_DATA):
                        yield index, option[_OPTION_DATA]
