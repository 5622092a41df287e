"""tun and tap devices by their descriptors (rows 9, 10): TUNATTACHFILTER, TUNSETFILTEREBPF, TUNSETSTEERINGEBPF.

TUNGETFILTER gives a tap's filter as a length and an address in the process that attached it: the kernel's copy is not handed out, and after
TUNDETACHFILTER the answer stays as it was. So this finds that a filter was attached; its code, and all extended programs of tun devices,
need the kernel-side reader.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.sys import procfs, syscalls

__all__ = ("find",)

_TUNGETFILTER, _TUNGETDEVNETNS = 0x801054DB, 0x54E3


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
            pidfd = syscalls.pidfd_open(file.pid)
            try:
                fd = syscalls.pidfd_getfd(pidfd, file.fd)
            finally:
                os.close(pidfd)
        except PermissionError:
            ctx.deny("filters of tap devices", "CAP_SYS_PTRACE, or CAP_BPF and CAP_PERFMON", ("tap",), ("tun",))
            continue
        except OSError:
            continue
        try:
            answer = fcntl.ioctl(fd, _TUNGETFILTER, bytes(16))
            netns = _namespace(fd)
        except OSError:
            continue  # a tun device: it has no such filter
        finally:
            os.close(fd)
        count = int.from_bytes(answer[:2], "little")
        if count and (netns, name) not in seen:
            seen.add((netns, name))
            ctx.need("tun")
            yield InventoryRow(
                "tap/filter", f"dev:{name.decode(errors='replace')}", netns, holders=(ctx.holder(file.pid, file.fd),),
                details={"linktype": "EN10MB", "len": count, "classic": True,
                         "unknown": "TUNGETFILTER gives the length of the filter last attached, not the code"},
            )  # fmt: skip


def _namespace(fd: int) -> int | None:
    try:
        namespace = fcntl.ioctl(fd, _TUNGETDEVNETNS)
    except OSError:
        return None
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)
