"""Schema audit/1: the verdict of `ls --audit`, with the images that are not accounted for."""

from __future__ import annotations

from bpflens.inventory.audit import Verdict
from bpflens.inventory.baseline import Comparison
from bpflens.inventory.memory.judge import Judged
from bpflens.isa.extended.names import PROG_TYPES, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("audit_record", "image_record", "schemas")


def audit_record(verdict: Verdict, comparison: Comparison | None, now_ns: int) -> dict[str, Any]:
    """One object of schema audit/1. `now_ns` is CLOCK_BOOTTIME, for ages."""
    record: dict[str, Any] = {"schema": "audit/1", **verdict._asdict()}
    record["unexplained"] = [image_record(image, now_ns) for image in verdict.unexplained]
    record["baseline"] = None
    if comparison is not None:
        record["baseline"] = {
            "path": comparison.path, "taken": comparison.taken, "same_boot": comparison.same_boot, "same": comparison.same,
            "new": [image_record(image, now_ns) for image in comparison.new], "gone": comparison.gone, "written": comparison.written,
        }  # fmt: skip
    return record


def image_record(image: Judged, now_ns: int) -> dict[str, Any]:
    """One image."""
    return {
        "verdict": image.verdict,
        "address": f"{image.address:#x}",
        "size": image.size,
        "id": image.id or None,
        "type": type_name(PROG_TYPES, image.type) if image.type else None,
        "insns": image.insns,
        "load_time": image.load_time or None,
        "age_seconds": (now_ns - image.load_time) // 1_000_000_000 if image.load_time else None,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, NUMBER, TEXT, line, listing, maybe, record

    image = record({
        "verdict": TEXT, "address": TEXT, "size": INTEGER, "id": maybe(INTEGER), "type": maybe(TEXT), "insns": INTEGER,
        "load_time": maybe(INTEGER), "age_seconds": maybe(INTEGER),
    })  # fmt: skip
    baseline = record({
        "path": TEXT, "taken": NUMBER, "same_boot": BOOLEAN, "same": INTEGER, "new": listing(image), "gone": INTEGER, "written": BOOLEAN,
    })  # fmt: skip
    counts = dict.fromkeys(("images", "extended", "functions", "classic", "shims", "walks"), INTEGER)
    return {
        "audit/1": line("audit/1", "Whether all program images in the kernel are accounted for.", {
            "established": BOOLEAN, "complete": BOOLEAN, "reason": TEXT, "unexplained": listing(image), "baseline": maybe(baseline),
            **counts,
        }),
    }  # fmt: skip
