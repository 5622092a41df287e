"""tun and tap devices by their descriptors (rows 9, 10): TUNATTACHFILTER, TUNSETFILTEREBPF, TUNSETSTEERINGEBPF.

TUNGETFILTER gives a tap's filter as a length and an address in the process that attached it: the kernel's copy is not handed out, and after
TUNDETACHFILTER the answer stays as it was. So this finds that a filter was attached; its code, and all extended programs of tun devices,
need the kernel-side reader.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.network.tun import attached_filter
from bpflens.kernel.sys import procfs

__all__ = ("find",)


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Taps with a classic filter."""
    seen = set()
    for file in ctx.files:
        if file.link != "/dev/net/tun":
            continue
        name = procfs.status_field(procfs.fdinfo(file.pid, file.fd), b"iff")
        if not name:
            continue
        try:
            found = attached_filter(file.pid, file.fd)
        except PermissionError:
            ctx.deny("filters of tap devices", "CAP_SYS_PTRACE, or CAP_BPF and CAP_PERFMON", ("tap",), ("tun",))
            continue
        except OSError:
            continue  # gone, or a tun device: it has no such filter
        count, netns = found
        if count and (netns, name) not in seen:
            seen.add((netns, name))
            ctx.need("tun")
            yield InventoryRow(
                "tap/filter", f"dev:{name.decode(errors='replace')}", netns, holders=(ctx.holder(file.pid, file.fd),),
                details={"linktype": "EN10MB", "len": count, "classic": True,
                         "unknown": "TUNGETFILTER gives the length of the filter last attached, not the code"},
            )  # fmt: skip
