"""The record of `bpflens --json run`: a filter over a capture, schema "run/1".

    {"schema": "run/1", "program": "pcap:tcp", "capture": "x.pcap", "packets": 1000, "matches": 312, "engine": "libpcap", ...}
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.classic.hooks import hook_of
from bpflens.isa.classic.insn import SockFilter, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.machine.captures import Result
    from bpflens.program import Program
    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(program: Program, insns: Sequence[SockFilter], capture: str, model: str, result: Result) -> dict[str, Any]:
    """The run/1 line: counts; `packets` null where not counted; `returns` and `profile` where asked for."""
    hook = hook_of(program)
    line: dict[str, Any] = {
        "schema": "run/1",
        "program": program.name or program.origin.where,
        "capture": capture,
        "model": model,
        "packets": result.packets,
        "matches": result.matches,
        "engine": result.engine,
        "left_out": result.left_out,
        "hook": hook.name,
    }
    if result.returns is not None:
        line["returns"] = [
            {"value": value, "packets": count, "meaning": hook.meaning(value)} for value, count in sorted(result.returns.items())
        ]
    if result.hits is not None:
        from bpflens.isa.classic.text import format as format_insns

        lines = zip(insns, result.hits, format_insns(insns), strict=True)
        line["profile"] = [
            {"pc": pc, "bytes": encode([insn]).hex(), "text": text.partition("\t")[2], "hits": hits}
            for pc, (insn, hits, text) in enumerate(lines)
        ]
    return line


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import INTEGER, TEXT, line, listing, maybe, record

    returns = record({"value": INTEGER, "packets": INTEGER, "meaning": TEXT})
    profile = record({"pc": INTEGER, "bytes": TEXT, "text": TEXT, "hits": INTEGER})
    return {
        "run/1": line("run/1", "How many packets of a capture a filter accepts.", {
            "program": TEXT, "capture": TEXT, "model": TEXT, "packets": maybe(INTEGER), "matches": INTEGER, "engine": TEXT,
            "left_out": maybe(TEXT), "hook": TEXT,
        }, {"returns": listing(returns), "profile": listing(profile)}),
    }  # fmt: skip
