"""The record of `bpflens --json ls --watch`: one per change, schema "watch/1"."""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(seconds: float, event: str, id: int, attachments: Sequence[dict[str, Any]], missed: int | None) -> dict[str, Any]:
    """One change. `seconds` since the epoch; `missed`: how many programs came and went unseen before it; `attachments` as in ls/1."""
    return {"schema": "watch/1", "time": seconds, "event": event, "id": id, "missed": missed, "attachments": list(attachments)}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.ls import row_schema
    from bpflens.records.schemas import INTEGER, NUMBER, line, listing, maybe, one_of

    keys = {
        "time": NUMBER, "event": one_of("loaded", "unloaded", "changed"), "id": INTEGER, "missed": maybe(INTEGER),
        "attachments": listing(row_schema()),
    }  # fmt: skip
    return {"watch/1": line("watch/1", "A program that came or went.", keys)}
