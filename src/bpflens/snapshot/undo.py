"""What a save or a restore that was killed has left, put back: `bpflens restore --undo`."""

from __future__ import annotations

from bpflens.snapshot.restoring.journal import undo_journal, unfinished
from bpflens.snapshot.taking.quiesce import journals, undo

__all__ = ("undo_all",)


def undo_all() -> list[str]:
    """What was put back, in words. KernelError where something cannot be: its journal stays."""
    done = []
    for directory in journals():
        links = undo(directory)
        done += [f"link:{link} has its program again" for link in links] or [f"{directory} had nothing to put back and is removed"]
    for path in unfinished():
        done += undo_journal(path)
    return done
