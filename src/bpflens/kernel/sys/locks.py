"""Locks of files: one process at a time writes."""

from __future__ import annotations

import fcntl
import os

__all__ = ("lock",)


def lock(path: str | os.PathLike[str]) -> int:
    """A descriptor that holds the lock until it is closed; BlockingIOError where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
