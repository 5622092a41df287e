"""Schema ls/1: one object for each row of the inventory (docs/inventory.md has the keys)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bpflens.attachment import Holder
from bpflens.classic.summary import Summary
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.isa.extended.names import PROG_TYPES, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("Summarise", "holder_record", "holder_schema", "json_rows", "record", "row_keys", "row_schema", "schemas")

Summarise = Callable[[InventoryRow], "Summary | None"]
_NOTHING = Summary("")


def record(inventory: Inventory, row: InventoryRow, summary: Summary | None) -> dict[str, Any]:
    """One object of schema ls/1."""
    namespace = inventory.namespaces.get(row.netns or 0)
    said = summary or _NOTHING
    return {
        "schema": "ls/1",
        "kind": row.kind,
        "object": row.object,
        "netns": row.netns,
        "netns_name": namespace.name if namespace else None,
        "classic": row.classic is not None or row.image is not None or bool(row.details.get("classic")),
        "program": _program(inventory, row.prog_id),
        "insns": row.classic.hex() if row.classic is not None else None,
        "image": row.image.hex() if row.image is not None else None,
        "expression": said.expression,
        "reason": said.reason,
        "known": said.known,
        "warning": said.warning or None,
        "assumptions": list(said.assumptions),
        "outcomes": [{"packets": packets, "verdict": verdict} for packets, verdict in said.outcomes],
        "holders": [holder_record(holder, inventory) for holder in row.holders],
        "details": dict(row.details),
    }


def holder_record(holder: Holder, inventory: Inventory) -> dict[str, Any]:
    """Who holds it: the process's name, which it chooses, and what it is."""
    facts = inventory.processes.get(holder.pid)
    return {
        "pid": holder.pid,
        "comm": holder.comm,
        "fd": holder.fd,
        "tid": holder.tid,
        "exe": facts.exe if facts else None,
        "deleted": facts.deleted if facts else False,
        "unit": facts.unit if facts else None,
        "container": facts.container if facts else None,
    }


def _program(inventory: Inventory, id: int | None) -> dict[str, Any] | None:
    if id is None:
        return None
    head = (inventory.programs or {}).get(id)
    if head is None:
        return {"id": id, "type": None, "name": None, "tag": None}
    return {
        "id": id, "type": type_name(PROG_TYPES, head.type), "name": head.name, "full_name": inventory.full_names.get(id, head.name),
        "tag": head.tag, "load_time": head.load_time, "uid": head.uid, "run_cnt": head.run_cnt, "run_time_ns": head.run_time_ns,
        "xlated_len": head.xlated_len,
    }  # fmt: skip


def json_rows(inventory: Inventory, rows: Iterable[InventoryRow], summarise: Summarise, detach: bool = False) -> Iterator[str]:
    """Lines of JSON. `detach`: with `how_to_detach`, commands that take the attachment away."""
    import json

    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
    for row in rows:
        one = record(inventory, row, summarise(row))
        if detach:
            from bpflens.inventory.detach import how_to_detach

            one["how_to_detach"] = list(how_to_detach(row, inventory))
        yield encode(one)


def holder_schema() -> Schema:
    """The shape of `holder_record`."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, TEXT, maybe, record

    return record({
        "pid": INTEGER, "comm": TEXT, "fd": maybe(INTEGER), "tid": maybe(INTEGER), "exe": maybe(TEXT), "deleted": BOOLEAN,
        "unit": maybe(TEXT), "container": maybe(TEXT),
    })  # fmt: skip


def row_keys() -> dict[str, Schema]:
    """What a row of the inventory has, but for the name of its schema."""
    from bpflens.records.schemas import ANY, BOOLEAN, INTEGER, TEXT, listing, mapping, maybe, record

    facts = dict.fromkeys(("load_time", "uid", "run_cnt", "run_time_ns", "xlated_len"), INTEGER)
    program = record({"id": INTEGER, "type": maybe(TEXT), "name": maybe(TEXT), "tag": maybe(TEXT)}, {"full_name": TEXT, **facts})
    outcome = record({"packets": TEXT, "verdict": TEXT})
    return {
        "kind": TEXT, "object": TEXT, "netns": maybe(INTEGER), "netns_name": maybe(TEXT), "classic": BOOLEAN, "program": maybe(program),
        "insns": maybe(TEXT), "image": maybe(TEXT), "expression": maybe(TEXT), "reason": maybe(TEXT), "known": maybe(TEXT),
        "warning": maybe(TEXT), "assumptions": listing(TEXT), "outcomes": listing(outcome),
        "holders": listing(holder_schema()), "details": mapping(ANY),
    }  # fmt: skip


def row_schema() -> Schema:
    """A row within another line."""
    from bpflens.records.schemas import TEXT, record

    return record(row_keys(), {"schema": TEXT})


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import TEXT, line, listing

    return {"ls/1": line("ls/1", "A program on something: one row of the inventory.", row_keys(), {"how_to_detach": listing(TEXT)})}
