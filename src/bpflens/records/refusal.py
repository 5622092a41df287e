"""`refusal/1`: why the verifier refused a program, from its log."""

from __future__ import annotations

from bpflens.analysis.refused_load import RefusedLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("refusal_record", "schemas")


def refusal_record(refused: RefusedLoad, where: str) -> dict[str, Any]:
    """One line of JSON."""
    at = refused.at
    return {
        "schema": "refusal/1",
        "program": where,
        "message": list(refused.message),
        "words": refused.words or None,
        "insn": at.slot if at else None,
        "text": at.text if at else None,
        "source": at.source or None if at else None,
        "place": at.place or None if at else None,
        "register": refused.register or None,
        "known": [{"insn": step.slot, "text": step.text, "state": known} for step, known in refused.changes],
        "remedies": list(refused.remedies),
        "processed": refused.processed,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the line."""
    from bpflens.records.schemas import INTEGER, TEXT, line, listing, maybe, record

    known = record({"insn": INTEGER, "text": TEXT, "state": TEXT})
    return {
        "refusal/1": line("refusal/1", "Why the verifier refused a program, from its log.", {
            "program": TEXT, "message": listing(TEXT), "words": maybe(TEXT), "insn": maybe(INTEGER), "text": maybe(TEXT),
            "source": maybe(TEXT), "place": maybe(TEXT), "register": maybe(TEXT), "known": listing(known),
            "remedies": listing(TEXT), "processed": maybe(INTEGER),
        }),
    }  # fmt: skip
