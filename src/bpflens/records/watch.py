"""The record of `bpflens --json ls --watch`: one per change, schema "watch/1"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpflens.records.schemas import Schema

__all__ = ("schemas",)


def schemas() -> dict[str, Schema]:
    """What stands in the lines: cli/verbs/ls_watch.py."""
    from bpflens.records.ls import row_schema
    from bpflens.records.schemas import INTEGER, NUMBER, TEXT, line, listing, maybe

    keys = {"time": NUMBER, "event": TEXT, "id": INTEGER, "missed": maybe(INTEGER), "attachments": listing(row_schema())}
    return {"watch/1": line("watch/1", "A program that came or went.", keys)}
