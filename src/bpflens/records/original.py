"""The record of `bpflens --json original`: one per program, schema "original/1".

    {"schema": "original/1", "id": 12, "tag": "6deef7...", "grade": "exact", "insns": "b700...", "reason": "its tag ...", ...}
"""

from __future__ import annotations

from bpflens.isa.extended.names import PROG_TYPES, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.original.result import Original
    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(original: Original) -> dict[str, Any]:
    """The record of one program. `insns`: hex of all instructions; map references hold the id of the map (and the offset for
    values), which the tag does not cover. `rewrites`: [instruction, first slot of the image, slots, name]. `image`: its slots that were
    altered, and those that nothing covers.
    """
    image = original.image
    out: dict[str, Any] = {
        "schema": "original/1",
        "id": image.id or None,
        "name": image.name,
        "type": type_name(PROG_TYPES, image.prog_type),
        "tag": image.tag,
        "grade": str(original.grade),
        "insns": original.code.hex(),
        "reason": original.reason,
        "insn_count": len(original.code) // 8,
        "xlated_insn_count": len(image),
        "hash": original.algorithm or None,
        "source": original.source or None,
        "tags_tried": original.tags_tried,
    }
    if original.check is not None:
        check = original.check
        out["image"] = {"altered": list(check.altered), "not_covered": {"maps": list(check.maps), "numbers": list(check.unchecked)}}
    if original.unsure:
        out["unsure"] = list(original.unsure)
    if original.attributes is not None:
        out["expected_attach_type"] = original.attributes.expected_attach_type
        out["prog_flags"] = original.attributes.flags
    if original.layout is not None:
        out["rewrites"] = [[index, slot, group.length, group.rewrite] for slot, index, group in original.layout.groups if group.rewrite]
    if original.removed:
        out["removed"] = {
            "maps": list(original.removed.maps),
            "functions": list(original.removed.functions),
            "lines": [list(line) for line in original.removed.lines],
            "jumps_over_nothing": list(original.removed.jumps),
            "verified_insns": list(original.removed.verified_insns) if original.removed.verified_insns else None,
        }
    return out


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import ANY, INTEGER, TEXT, line, listing, maybe, one_of, record

    removed = record({
        "maps": listing(INTEGER), "functions": listing(TEXT), "lines": listing(listing(ANY)), "jumps_over_nothing": listing(INTEGER),
        "verified_insns": maybe(listing(INTEGER)),
    })  # fmt: skip
    image = record({"altered": listing(INTEGER), "not_covered": record({"maps": listing(INTEGER), "numbers": listing(INTEGER)})})
    return {
        "original/1": line("original/1", "A program as it was loaded, with the proof.", {
            "id": maybe(INTEGER), "name": TEXT, "type": TEXT, "tag": TEXT, "insns": TEXT, "reason": TEXT,
            "grade": one_of("exact", "equivalent", "recorded", "unproven"), "insn_count": INTEGER, "xlated_insn_count": INTEGER,
            "hash": maybe(TEXT), "source": maybe(TEXT), "tags_tried": INTEGER,
        }, {
            "unsure": listing(INTEGER), "expected_attach_type": INTEGER, "prog_flags": INTEGER, "rewrites": listing(listing(ANY)),
            "removed": removed, "image": image,
        }),
    }  # fmt: skip
