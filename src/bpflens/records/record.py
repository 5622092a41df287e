"""`record/1`: the lines of `bpflens --json record`, one for each load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.snapshot.record import Kept

if TYPE_CHECKING:
    from bpflens.records.schemas import Schema

__all__ = ("kept_record", "schemas")


def kept_record(kept: Kept) -> dict[str, Any]:
    """One load."""
    load = kept.load
    return {
        "schema": "record/1",
        "id": kept.id,
        "tag": kept.tag,
        "name": load.name,
        "type": type_name(PROG_TYPES, load.type),
        "insns": load.insn_count,
        "pid": load.pid,
        "comm": load.comm,
        "kept": kept.complete,
        "new": kept.new,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the line."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, TEXT, line, maybe

    return {
        "record/1": line("record/1", "A program that was loaded while recording, and whether its original was kept.", {
            "id": maybe(INTEGER), "tag": maybe(TEXT), "name": TEXT, "type": TEXT, "insns": INTEGER, "pid": INTEGER, "comm": TEXT,
            "kept": BOOLEAN, "new": BOOLEAN,
        }),
    }  # fmt: skip
