"""Limits of this process that loading runs into."""

from __future__ import annotations

import resource

__all__ = ("raise_memlock",)


def raise_memlock() -> None:
    """Let maps and programs take memory: before Linux 5.11 they count against RLIMIT_MEMLOCK (64 KiB), and are refused with EPERM.

    Where the limit may not be raised nothing happens; later kernels charge the memory cgroup and do not look at it.
    """
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        pass
