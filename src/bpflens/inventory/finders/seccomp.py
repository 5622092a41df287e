"""Seccomp filters of tasks (row 11): PTRACE_SECCOMP_GET_FILTER for each thread that has filters.

Filters belong to threads; those of one process mostly share theirs, but need not. A process's threads with the same filters are one row
per filter. ptrace stops a thread for an instant, so the kernel-side reader is preferred where it is in use (it stops nothing).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.seccomp import filters_of_thread
from bpflens.kernel.sys import procfs

__all__ = ("LISTENER", "filtered_threads", "find", "rows")

LISTENER = "anon_inode:seccomp notify"
_MEMORY = "CAP_BPF and CAP_PERFMON"


def filtered_threads(ctx: Context) -> Iterator[tuple[int, int, int]]:
    """(pid, tid, number of filters) of each thread in filter mode."""
    refused = 0
    for pid in ctx.pids:
        for tid in procfs.thread_ids(pid):
            try:
                status = procfs.read(f"/proc/{pid}/task/{tid}/status")
            except PermissionError:
                refused += 1
                continue
            except OSError:
                continue
            if b"\nSeccomp:\t2" in status:
                yield pid, tid, int(procfs.status_field(status, b"Seccomp_filters") or b"-1")
    if refused:
        ctx.deny(f"the seccomp state of {refused} threads", "CAP_SYS_PTRACE", ("seccomp",))


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Rows by ptrace."""
    if ctx.memory_read:
        return ()
    if any(file.link == LISTENER for file in ctx.files):
        ctx.need("seccomp")  # a filter whose tasks have gone may hang on a listener
    filters: dict[tuple[int, int], list[tuple[bytes, int]]] = {}
    unread: dict[int, list[int]] = {}
    for pid, tid, _ in filtered_threads(ctx):
        try:
            filters[pid, tid] = filters_of_thread(tid)
        except PermissionError:
            own = procfs.status_field(procfs.read("/proc/thread-self/status"), b"Seccomp") == b"2"
            needs = "a caller without a seccomp filter of its own" if own else "CAP_SYS_ADMIN and CAP_SYS_PTRACE"
            ctx.deny("the code of seccomp filters", f"{needs}, or {_MEMORY}", ("seccomp",), ("seccomp",))
            unread.setdefault(pid, []).append(tid)
        except TimeoutError:
            ctx.deny(f"the seccomp filters of thread {tid}, which does not stop", _MEMORY, ("seccomp",), ("seccomp",))
            unread.setdefault(pid, []).append(tid)
        except OSError as error:
            if error.errno == 5:
                ctx.deny("the code of seccomp filters", "a kernel with CONFIG_CHECKPOINT_RESTORE", ("seccomp",))
                unread.setdefault(pid, []).append(tid)
    found = rows(ctx, filters)
    for pid, tids in unread.items():
        found.append(
            InventoryRow("seccomp", f"pid:{pid}", None, holders=tuple(ctx.holder(pid, None, tid) for tid in tids),
                  details={"unknown": "its seccomp filters could not be read", "classic": True})
        )  # fmt: skip
    return found


def rows(ctx: Context, filters: dict[tuple[int, int], list[tuple[bytes, int]]]) -> list[InventoryRow]:
    """One row per process and filter, from (pid, tid) -> [(code, flags)] oldest first; threads that have it are its holders."""
    grouped: dict[tuple[int, int, bytes, int], list[int]] = {}
    for (pid, tid), chain in filters.items():
        for index, (code, flags) in enumerate(chain):
            grouped.setdefault((pid, index, code, flags), []).append(tid)
    found = []
    for (pid, index, code, flags), tids in grouped.items():
        details = {"filter": index, "arch": os.uname().machine, **({"log": True} if flags & 2 else {})}
        holders = tuple(ctx.holder(pid, None, tid) for tid in tids)
        found.append(InventoryRow("seccomp", f"pid:{pid}", None, classic=code, holders=holders, details=details))
    return found
