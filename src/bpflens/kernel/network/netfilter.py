"""Programs at the netfilter hooks of the namespace that the calling thread is in: nfnetlink_hook (CONFIG_NETFILTER_NETLINK_HOOK, v5.14)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.netlink import NETFILTER, Netlink, attribute, attributes
from bpflens.lean import NamedTuple

__all__ = ("HookProgram", "hook_programs")

_GET = 12 << 8  # NFNL_SUBSYS_HOOK, NFNL_MSG_HOOK_GET
_HOOKNUM, _PRIORITY, _CHAIN_INFO = 1, 2, 6
_INFO_DESC, _INFO_TYPE, _INFO_TYPE_BPF, _DESC_ID = 1, 2, 2, 1


class HookProgram(NamedTuple):
    """A program at hook `number` of protocol `family` (NFPROTO_*)."""

    family: int
    number: int
    priority: int
    prog_id: int


def hook_programs(places: Iterable[tuple[int, int]]) -> Iterator[HookProgram]:
    """The programs at hooks (family, number). Nothing where the kernel lacks the interface; PermissionError without CAP_NET_ADMIN."""
    if not (procfs.module_present("nfnetlink") and procfs.module_present("nfnetlink_hook")):
        return
    with Netlink(NETFILTER) as netfilter:
        for family, number in places:
            try:
                answers = netfilter.dump(_GET, struct.pack(">BBH", family, 0, 0) + attribute(_HOOKNUM, struct.pack(">I", number)))
            except PermissionError:
                raise
            except OSError:
                continue  # a kernel without it, or a hook that the family lacks
            for _, body in answers:
                attrs = attributes(body, 4)
                chain = attributes(attrs.get(_CHAIN_INFO, b""))
                if int.from_bytes(chain.get(_INFO_TYPE, b""), "big") == _INFO_TYPE_BPF:
                    prog_id = int.from_bytes(attributes(chain.get(_INFO_DESC, b"")).get(_DESC_ID, b""), "big")
                    yield HookProgram(family, number, int.from_bytes(attrs.get(_PRIORITY, b""), "big", signed=True), prog_id)
