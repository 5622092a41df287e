"""The record of an error with --json, on stderr: schema "error/1".

    {"schema": "error/1", "error": "id:9: no such program", "hint": null, "exit_code": 3}
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(message: str, hint: str | None, code: int) -> dict[str, Any]:
    """The error as JSON values; `code` is what the command exits with."""
    return {"schema": "error/1", "error": message, "hint": hint, "exit_code": code}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import INTEGER, TEXT, line, maybe

    return {"error/1": line("error/1", "Why the command failed.", {"error": TEXT, "hint": maybe(TEXT), "exit_code": INTEGER})}
