"""The record of `bpflens --json doctor`: one per thing that was looked at, schema "doctor/1".

    {"schema": "doctor/1", "group": "kernel", "name": "vmlinux BTF", "present": true, "detail": "", "lost": "", "get": ""}
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.kernel.features import Finding
    from bpflens.records.schemas import Schema

__all__ = ("finding_record", "schemas")


def finding_record(finding: Finding) -> dict[str, Any]:
    """The finding as JSON values; `present` null where this process may not ask."""
    return {"schema": "doctor/1", **finding._asdict()}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import BOOLEAN, TEXT, line, maybe

    keys = {"group": TEXT, "name": TEXT, "present": maybe(BOOLEAN), "detail": TEXT, "lost": TEXT, "get": TEXT}
    return {"doctor/1": line("doctor/1", "One thing that the verbs need, and whether it is there.", keys)}
