"""The records of `bpflens --json save`, `restore` and `verify`.

    save/1     path, digest, size, programs [{id, name, type, tag, grade}], maps [{id, name, type, entries, consistency, why_no_data}], ...
    restore/1  a record for each line of the plan ("step", "left_out", "conflict", ...); with --apply "check" records and one "done"
    verify/1   status ("same", "changed", "missing", "new"), kind, object, differences
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.snapshot.compare import Change
from bpflens.snapshot.restore import Restored
from bpflens.snapshot.restoring.proof import Check
from bpflens.snapshot.restoring.steps import Conflict, Plan
from bpflens.snapshot.save import Saved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("change_record", "file_record", "plan_records", "restored_records", "saved_record", "schemas", "undone_record")


def saved_record(saved: Saved) -> dict[str, Any]:
    """One record for the file that was written."""
    manifest = saved.manifest
    return {
        "schema": "save/1",
        "path": saved.path,
        "digest": saved.digest,
        "size": saved.size,
        "programs": [
            {"id": item.id, "name": item.name, "type": item.type_name, "tag": item.tag, "grade": item.grade} for item in manifest.programs
        ],
        "maps": [
            {
                "id": item.id,
                "name": item.name,
                "type": item.type_name,
                "entries": item.data.entries if item.data else None,
                "consistency": item.data.consistency if item.data else None,
                "why_no_data": item.why_no_data,
            }
            for item in manifest.maps
        ],
        "attachments": [
            {"kind": item.kind, "object": item.object, "program": item.program, "link": item.link} for item in manifest.attachments
        ],
        "incomplete": list(manifest.incomplete),
        "audit": manifest.audit,
    }


def plan_records(plan: Plan) -> Iterator[dict[str, Any]]:
    """The lines of a plan."""
    for step in plan.steps:
        yield {"schema": "restore/1", "record": "step", "action": step.action, "id": step.id, "text": step.text, "path": step.path or None}
    for item in plan.left_out:
        yield {"schema": "restore/1", "record": "left_out", "object": item.object, "why": item.why}
    for conflict in plan.conflicts:
        yield {"schema": "restore/1", "record": "conflict", **_there(conflict)}
    for conflict in plan.replaced:
        yield {"schema": "restore/1", "record": "replaced", **_there(conflict)}
    for item in plan.impossible:
        yield {"schema": "restore/1", "record": "impossible", "object": item.object, "why": item.why}
    for text in plan.unseen:
        yield {"schema": "restore/1", "record": "unseen", "text": text}
    for name, why in plan.needs:
        yield {"schema": "restore/1", "record": "needs", "object": name, "why": why}


def _there(conflict: Conflict) -> dict[str, Any]:
    return {"text": f"{conflict.path} exists", "path": conflict.path, "object": conflict.there, "helps": list(conflict.helps)}


def restored_records(restored: Restored) -> Iterator[dict[str, Any]]:
    """What was compared, and the new ids."""
    for check in restored.checks:
        yield check_record(check)
    yield {
        "schema": "restore/1",
        "record": "done",
        "programs": {str(old): new for old, new in restored.programs.items()},
        "maps": {str(old): new for old, new in restored.maps.items()},
        "links": {str(old): new for old, new in restored.links.items()},
        "pins": list(restored.pins),
        "notes": list(restored.notes),
    }


def check_record(check: Check) -> dict[str, Any]:
    """One comparison; `same` null where it could not be made."""
    return {
        "schema": "restore/1", "record": "check", "object": check.object, "what": check.what, "same": check.same, "detail": check.detail
    }  # fmt: skip


def change_record(change: Change) -> dict[str, Any]:
    """One object of a comparison."""
    return {
        "schema": "verify/1",
        "status": change.status,
        "kind": change.kind,
        "object": change.object,
        "differences": list(change.differences),
        "unknown": list(change.unknown),
    }


def file_record(path: str, digest: str) -> dict[str, Any]:
    """The file itself: every member is as it was written."""
    return {
        "schema": "verify/1", "status": "same", "kind": "file", "object": path, "differences": [], "unknown": [], "digest": digest
    }  # fmt: skip


def undone_record(text: str) -> dict[str, Any]:
    """What was taken away again."""
    return {"schema": "restore/1", "record": "undone", "text": text}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import ANY, BOOLEAN, INTEGER, TEXT, line, listing, mapping, maybe, one_of, record

    program = record({"id": INTEGER, "name": TEXT, "type": TEXT, "tag": TEXT, "grade": maybe(TEXT)})
    map = record({
        "id": INTEGER, "name": TEXT, "type": TEXT, "entries": maybe(INTEGER), "consistency": maybe(TEXT), "why_no_data": maybe(TEXT),
    })  # fmt: skip
    attachment = record({"kind": TEXT, "object": TEXT, "program": maybe(INTEGER), "link": maybe(INTEGER)})
    return {
        "save/1": line("save/1", "The snapshot that was written.", {
            "path": TEXT, "digest": TEXT, "size": INTEGER, "programs": listing(program), "maps": listing(map),
            "attachments": listing(attachment), "incomplete": listing(TEXT), "audit": maybe(TEXT),
        }),
        "restore/1": line("restore/1", "A step of the plan, a comparison after it, the end of it, or what was undone.", {
            "record": one_of("step", "left_out", "conflict", "replaced", "impossible", "unseen", "needs", "check", "done", "undone"),
        }, {
            "action": TEXT, "id": maybe(INTEGER), "text": TEXT, "path": maybe(TEXT), "object": TEXT, "why": TEXT, "what": TEXT,
            "helps": listing(TEXT), "same": maybe(BOOLEAN), "detail": TEXT,
            "programs": mapping(INTEGER), "maps": mapping(INTEGER), "links": mapping(INTEGER),
            "pins": listing(TEXT), "notes": listing(TEXT),
        }),
        "verify/1": line("verify/1", "An object of a snapshot beside what is there now.", {
            "status": one_of("same", "changed", "missing", "new"), "kind": TEXT, "object": TEXT, "differences": listing(TEXT),
            "unknown": listing(TEXT),
        }, {"digest": TEXT}),
        "export/1": line("export/1", "An element of a map of a snapshot: snapshot/export.py.", {
            "map": TEXT, "id": INTEGER, "key": ANY, "value": ANY, "raw_key": TEXT, "raw_value": TEXT,
        }),
    }  # fmt: skip
