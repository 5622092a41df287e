"""The record of `bpflens --json asm`, schema "asm/1".

    {"schema": "asm/1", "isa": "extended", "insns": 2, "code": "b7000000010000009500000000000000"}
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(code: bytes, isa: str) -> dict[str, Any]:
    """The assembled code as JSON values: little-endian slots in hexadecimal."""
    return {"schema": "asm/1", "isa": isa, "insns": len(code) // 8, "code": code.hex()}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import INTEGER, TEXT, line, one_of

    keys = {"isa": one_of("classic", "extended"), "insns": INTEGER, "code": TEXT}
    return {"asm/1": line("asm/1", "A program that was assembled.", keys)}
