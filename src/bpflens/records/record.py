"""`record/1`: the lines of `bpflens --json record`, one for each load."""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.snapshot.record import Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("kept_record", "load_record", "schemas")


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
        "how": kept.how,
        "reason": kept.reason or None,
    }


def load_record(load: Mapping[str, Any]) -> dict[str, Any]:
    """One load of a store."""
    return {"schema": "recorded/1", **load}


def schemas() -> dict[str, Schema]:
    """What stands in the line."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, TEXT, line, maybe

    return {
        "record/1": line("record/1", "A program that was loaded while recording, and whether its original was kept.", {
            "id": maybe(INTEGER), "tag": maybe(TEXT), "name": TEXT, "type": TEXT, "insns": INTEGER, "pid": INTEGER, "comm": TEXT,
            "kept": BOOLEAN, "new": BOOLEAN, "how": TEXT, "reason": maybe(TEXT),
        }),
        "recorded/1": line("recorded/1", "A load in a store: who loaded what, when (`time`: s since 1970, `load_time`: ns since boot).", {
            "tag": TEXT, "id": maybe(INTEGER), "name": TEXT, "load_time": INTEGER, "time": INTEGER, "insns": INTEGER, "pid": INTEGER,
            "uid": INTEGER, "comm": TEXT,
        }, {"exe": TEXT, "cmd": TEXT, "unit": TEXT, "container": TEXT, "boot_id": TEXT, "kernel": TEXT}),
    }  # fmt: skip
