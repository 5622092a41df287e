"""The record of `bpflens --json packets`: one per packet, schema "packets/1".

    {"schema": "packets/1", "program": "pcap:tcp", "kind": "accept", "note": "...", "value": 262144, "data": "0011...", "aux": {}}
"""

from __future__ import annotations

from bpflens.classic.hooks import LENGTH, Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.packets.solve import GeneratedPacket
    from bpflens.records.schemas import Schema

__all__ = ("record", "schemas")


def record(packet: GeneratedPacket, where: str, hook: Hook = LENGTH) -> dict[str, Any]:
    """A packet that was made for a program, as JSON values; `meaning` of the value for the hook."""
    told = {"data": packet.data.hex(), "hook": hook.name, "meaning": hook.meaning(packet.value)}
    return {"schema": "packets/1", "program": where, **packet._asdict(), **told}


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import INTEGER, TEXT, line, mapping, maybe

    keys = {"program": TEXT, "kind": TEXT, "note": TEXT, "value": INTEGER, "data": TEXT, "aux": mapping(maybe(INTEGER))}
    keys |= {"hook": TEXT, "meaning": TEXT}
    return {"packets/1": line("packets/1", "A packet for which a filter returns a value.", keys)}
