"""`explain/1` of an extended program: what it does in sentences, each with its instructions."""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.decompile.summary.check.check import Checked, Mark
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.summary import Summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("summary_record",)


def summary_record(
    summary: Summary, surroundings: list[str], proof: str, checks: Checked | None = None, overview: Sequence[Sentence] = ()
) -> dict[str, Any]:
    """One line of JSON; `expression` is null, as extended programs have none. `checks` adds a mark to each sentence."""
    marks = [*[None] * len(overview), *(checks.marks if checks is not None else [None] * len(summary.sentences))]
    sentences = [*overview, *summary.sentences]
    return {
        "schema": "explain/1",
        "program": summary.where,
        "name": summary.name or None,
        "insns": summary.insn_count,
        "expression": None,
        "extended": None,
        "words": [summary.head, *(sentence.text for sentence in sentences)],
        "known": None,
        "accepts": None,
        "outcomes": [],
        "notes": [f"this kernel refuses to load it: {checks.refused}"] if checks is not None and checks.refused else [],
        "type": summary.type,
        "sentences": [
            {"kind": each.kind, "text": each.text, "insns": list(each.slots), **({"check": _mark(mark)} if mark is not None else {})}
            for each, mark in zip(sentences, marks, strict=True)
        ],
        "surroundings": surroundings,
        "complete": summary.complete,
        "gaps": list(summary.gaps),
        "proof": {
            "grade": "none", "method": "structure" if checks is None else "runs",
            "libpcap": "", "linktype": "", "given": [], "assumptions": [], "witness": None,
            "reason": proof,
        },
        "seconds": 0.0,
    }


def _mark(mark: Mark) -> dict[str, Any]:
    return {"grade": mark.grade.value, "runs": mark.runs, "turned": mark.turned, "conditions": mark.conditions, "reason": mark.reason}
