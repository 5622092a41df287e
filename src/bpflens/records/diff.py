"""The record of `bpflens --json diff` for two classic filters, schema "diff/1".

    {"schema": "diff/1", "equal": false, "grade": "none", "witness": {"packet": "0011...", "a": 0, "b": 262144}, ...}
"""

from __future__ import annotations

from bpflens.records.explain import witness_record, witness_schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.diff import Difference
    from bpflens.records.schemas import Schema

__all__ = ("difference_record", "schemas")


def difference_record(d: Difference) -> dict[str, Any]:
    """The record of schema diff/1."""
    return {
        "schema": "diff/1",
        "equal": d.equal if d.equal or d.witness is not None else None,
        "grade": d.grade,
        "method": d.method,
        "witness": witness_record(d.witness),
        "a": d.names[0],
        "b": d.names[1],
        "linktype": d.linktype,
        "given": list(d.given),
        "libpcap": d.libpcap,
        "sides": [
            {
                "title": side.title,
                "expression": side.expression,
                "words": list(side.words),
                "witness": witness_record(side.witness),
                "decoded": side.decoded or None,
            }
            for side in d.sides
        ],
        "reason": d.reason or None,
        "assumptions": list(d.assumptions),
        "hook": d.hook.name,
        "note": d.note or None,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import BOOLEAN, TEXT, line, listing, maybe, one_of, record

    side = record({"title": TEXT, "expression": maybe(TEXT), "words": listing(TEXT), "witness": witness_schema(), "decoded": maybe(TEXT)})
    return {
        "diff/1": line("diff/1", "Whether two classic filters return the same for every packet.", {
            "equal": maybe(BOOLEAN), "grade": one_of("all-packets", "untruncated", "none"), "method": TEXT, "witness": witness_schema(),
            "a": TEXT, "b": TEXT, "linktype": TEXT, "given": listing(TEXT), "libpcap": TEXT, "sides": listing(side), "reason": maybe(TEXT),
            "assumptions": listing(TEXT), "hook": TEXT, "note": maybe(TEXT),
        }),
    }  # fmt: skip
