"""Programs on perf events by ioctl (rows 32, 33): BPF_TASK_FD_QUERY on each perf descriptor (Linux 4.18).

It answers for tracepoints, kprobes and uprobes. For hardware and software events, and for a descriptor whose holder is in a foreign pid
namespace, the kernel gives nothing: the kernel-side reader does. A program attached by a link is found by links.py; before Linux 6.6 link
info does not say on which event, so the row is made here and the link is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.attachments.perf_events import program_of_fd

__all__ = ("event_name", "find")

_KINDS = {0: "raw_tracepoint", 1: "tracepoint", 2: "kprobe", 3: "kretprobe", 4: "uprobe", 5: "uretprobe"}  # enum bpf_task_fd_type
_TYPES = {0: "hardware", 1: "software", 2: "tracepoint", 3: "hw-cache", 4: "raw", 5: "breakpoint"}
_HARDWARE = ("cpu-cycles", "instructions", "cache-references", "cache-misses", "branches", "branch-misses", "bus-cycles",
             "stalled-cycles-frontend", "stalled-cycles-backend", "ref-cycles")  # fmt: skip
_SOFTWARE = ("cpu-clock", "task-clock", "page-faults", "context-switches", "cpu-migrations", "minor-faults", "major-faults",
             "alignment-faults", "emulation-faults", "dummy", "bpf-output", "cgroup-switches")  # fmt: skip


def event_name(type: int, config: int) -> str:
    """The event of a perf_event_attr's type and config, in perf's words."""
    names = {0: _HARDWARE, 1: _SOFTWARE}.get(type, ())
    return names[config] if config < len(names) else f"{_TYPES.get(type, f'type {type}')} config {config:#x}"


def find(ctx: Context) -> Iterable[InventoryRow]:
    """One row per program and event; the descriptors of the same event (one per CPU) are its holders."""
    rows: dict[tuple[str, str, int], list[Holder]] = {}
    for file in ctx.files:
        if file.link != "anon_inode:[perf_event]":
            continue
        try:
            prog_id, type, offset, address, name = program_of_fd(file.pid, file.fd)
        except PermissionError:
            ctx.deny("programs on perf events", "CAP_SYS_ADMIN")
            return
        except OSError:
            continue
        kind = _KINDS.get(type, f"perf type {type}")
        if kind.startswith("u"):
            object = f"{name}+{offset:#x}"
        elif kind.startswith("k"):
            object = (name or f"{address:#x}") + (f"+{offset:#x}" if offset else "")
        else:
            object = name
        if prog_id:
            rows.setdefault((kind, object, prog_id), []).append(ctx.holder(file.pid, file.fd))
    links = [link for link in ctx.links.values() if link.type == LinkType.PERF_EVENT]
    told = {link.prog_id for link in links if int.from_bytes(link.rest[:4], "little")}
    for (kind, object, prog_id), holders in rows.items():
        if prog_id in told:
            continue
        details = {}
        for link in links:
            if link.prog_id == prog_id and link.id not in ctx.claimed_links:
                ctx.claimed_links.add(link.id)
                details["link"] = link.id
                break
        yield InventoryRow(kind, object, prog_id=prog_id, holders=tuple(holders), details=details)
