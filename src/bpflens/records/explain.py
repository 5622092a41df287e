"""The record of `bpflens --json explain`, schema "explain/1".

    {"schema": "explain/1", "program": "-:1", "expression": "tcp port 80", "words": [...], "proof": {"grade": "all-packets", ...}, ...}
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.explain import Explanation, Proof
    from bpflens.classic.proof.equal import Witness
    from bpflens.records.schemas import Schema

__all__ = ("explanation_record", "schemas", "witness_record", "witness_schema")


def explanation_record(e: Explanation) -> dict[str, Any]:
    """The record of schema explain/1."""
    return {
        "schema": "explain/1",
        "program": e.where,
        "name": e.name or None,
        "insns": e.insns,
        "expression": e.expression,
        "extended": e.extended,
        "words": list(e.words),
        "known": e.known,
        "accepts": e.accepts or None,
        "outcomes": [
            {
                "value": o.value,
                "expression": None if o.extended else o.expression,
                "extended": o.expression if o.extended else None,
                "words": list(o.words),
                "proof": None if o.proof is None else _proof_record(o.proof),
            }
            for o in e.outcomes
        ],
        "notes": list(e.notes),
        "hook": e.hook,
        "proof": _proof_record(e.proof),
        "seconds": round(e.seconds, 4),
    }


def _proof_record(proof: Proof) -> dict[str, Any]:
    return {
        "grade": proof.grade,
        "method": proof.method,
        "libpcap": proof.libpcap,
        "linktype": proof.linktype,
        "given": list(proof.given),
        "assumptions": list(proof.assumptions),
        "witness": witness_record(proof.witness),
        "reason": proof.reason or None,
    }


def witness_record(witness: Witness | None) -> dict[str, Any] | None:
    """A packet on which two programs differ, as JSON values."""
    if witness is None:
        return None
    record: dict[str, Any] = {"packet": witness.packet.hex(), "a": witness.a, "b": witness.b}
    if witness.aux:
        record["aux"] = dict(witness.aux)
    return record


def witness_schema() -> Schema:
    """The shape of `witness_record`."""
    from bpflens.records.schemas import INTEGER, TEXT, mapping, maybe, record

    return maybe(record({"packet": TEXT, "a": INTEGER, "b": INTEGER}, {"aux": mapping(maybe(INTEGER))}))


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, NUMBER, TEXT, line, listing, maybe, one_of, record

    grade = one_of("held", "ran", "not checked", "contradicted")
    check = record({"grade": grade, "runs": INTEGER, "turned": INTEGER, "conditions": INTEGER, "reason": TEXT})
    sentence = record({"kind": TEXT, "text": TEXT, "insns": listing(INTEGER)}, {"check": check})  # of an extended program: summary.py
    proof = record({
        "grade": one_of("all-packets", "untruncated", "none"), "method": TEXT, "libpcap": TEXT, "linktype": TEXT, "given": listing(TEXT),
        "assumptions": listing(TEXT), "witness": witness_schema(), "reason": maybe(TEXT),
    })  # fmt: skip
    outcome = record({"value": TEXT, "expression": maybe(TEXT), "extended": maybe(TEXT), "words": listing(TEXT), "proof": maybe(proof)})
    return {
        "explain/1": line("explain/1", "What a filter accepts or a program does, with its proof; sentences are of extended ones.", {
            "program": TEXT, "name": maybe(TEXT), "insns": INTEGER, "expression": maybe(TEXT), "extended": maybe(TEXT),
            "words": listing(TEXT), "known": maybe(TEXT), "accepts": maybe(TEXT), "outcomes": listing(outcome), "notes": listing(TEXT),
            "proof": proof, "seconds": NUMBER,
        }, {
            "type": TEXT, "sentences": listing(sentence), "surroundings": listing(TEXT), "complete": BOOLEAN, "gaps": listing(TEXT),
            "hook": TEXT,
        }),
    }  # fmt: skip
