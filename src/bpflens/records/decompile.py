"""The records of `bpflens --json decompile`: one per function, schema "decompile/1", and one for the rest of the file.

    {"schema": "decompile/1", "program": "x.o", "function": "xdp_main", "section": "xdp", "level": "structured", "badge": "unchecked",
     "lines": [{"text": "return 2;", "slots": [4, 5]}, ...], "slots": {"4": [11], "5": [11]}, ...}

`slots` of a line are the instructions that it says, as `dis` numbers them; the `slots` of the function give the lines (from 0) of each.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.decompile.result import Decompiled, DecompiledFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("records", "schemas")


def records(made: Decompiled) -> Iterator[dict[str, Any]]:
    """The head of the file, then each function."""
    yield {
        "schema": "decompile-file/1",
        "program": made.where,
        "before": [line.text for line in made.before],
        "after": [line.text for line in made.after],
        "functions": [function.name for function in made.functions],
        "notes": list(made.notes),
    }
    for function in made.functions:
        yield _function(made.where, function)


def _function(where: str, function: DecompiledFunction) -> dict[str, Any]:
    by_slot: dict[str, list[int]] = {}
    for index, line in enumerate(function.lines):
        for slot in line.slots:
            by_slot.setdefault(str(slot), []).append(index)
    return {
        "schema": "decompile/1",
        "program": where,
        "function": function.name,
        "section": function.section,
        "role": function.role,
        "start": function.start,
        "end": function.end,
        "level": str(function.level),
        "badge": str(function.badge),
        "reason": function.reason,
        "refused": list(function.refused),
        "lines": [{"text": line.text, "slots": list(line.slots)} for line in function.lines],
        "slots": by_slot,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import INTEGER, TEXT, line, listing, mapping, maybe, record

    of_c = record({"text": TEXT, "slots": listing(INTEGER)})
    return {
        "decompile-file/1": line("decompile-file/1", "What stands before and after the functions of a C file.", {
            "program": TEXT, "before": listing(TEXT), "after": listing(TEXT), "functions": listing(TEXT), "notes": listing(TEXT),
        }),
        "decompile/1": line("decompile/1", "A function as C, with the instructions that each line says.", {
            "program": TEXT, "function": TEXT, "section": maybe(TEXT), "role": TEXT, "start": INTEGER, "end": INTEGER, "level": TEXT,
            "badge": TEXT, "reason": TEXT, "refused": listing(TEXT), "lines": listing(of_c), "slots": mapping(listing(INTEGER)),
        }),
    }  # fmt: skip
