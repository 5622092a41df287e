"""Words of a command line that name a snapshot: `ls` and `tree` show what it has, in place of the running machine."""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.errors import UsageError
from bpflens.formats.snapshot.magic import is_snapshot

__all__ = ("snapshot_of",)


def snapshot_of(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """(the snapshot's file or None, the other words). UsageError for two of them."""
    files = [word for word in words if is_snapshot(word)]
    if len(files) > 1:
        raise UsageError("", f"{files[0]} and {files[1]} are two snapshots: name one", "bpflens diff A B compares them")
    return (files[0] if files else None), [word for word in words if word not in files]
