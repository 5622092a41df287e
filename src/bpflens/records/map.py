"""`map/1`, `map-element/1`, `map-change/1`: the lines of `bpflens --json map`."""

from __future__ import annotations

from bpflens.inventory.map_overview import MapRow
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.maps.change import Change
from bpflens.maps.differences import Difference
from bpflens.maps.parts import Element
from bpflens.program import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("change_record", "difference_record", "element_record", "row_record", "schemas")


def row_record(row: MapRow) -> dict[str, Any]:
    """A map of the list."""
    map = row.map
    return {
        "schema": "map/1",
        "id": map.id,
        "type": type_name(MAP_TYPES, map.type),
        "name": map.name,
        "key_size": map.key_size,
        "value_size": map.value_size,
        "max_entries": map.max_entries,
        "flags": map.flags,
        "memory_bytes": row.memory_bytes,
        "elements": row.elements,
        "users": list(row.users),
        "pins": list(row.pins),
        "holders": [{"pid": holder.pid, "comm": holder.comm, "fd": holder.fd} for holder in row.holders],
        "kernel": list(row.kernel),
        "orphaned": row.orphaned,
    }


def element_record(map: Map, element: Element) -> dict[str, Any]:
    """An element."""
    return {
        "schema": "map-element/1",
        "map": map.id,
        "key": element.key,
        "value": element.value,
        "sum": element.total,
        "raw_key": element.raw_key.hex(),
        "raw_value": element.raw_value.hex() if element.raw_value is not None else None,
    }


def change_record(change: Change, applied: bool) -> dict[str, Any]:
    """A change that was made, or would be."""
    what = "delete" if change.raw_value is None else "set"
    return {
        "schema": "map-change/1", "map": change.map.id, "what": what, "applied": applied, "key": change.key, "before": change.before,
        "after": change.after,
    }  # fmt: skip


def difference_record(map: Map, difference: Difference) -> dict[str, Any]:
    """A difference between two maps or times."""
    return {
        "schema": "map-change/1", "map": map.id, "what": difference.kind, "applied": True, "key": difference.key,
        "before": difference.before, "after": difference.after,
    }  # fmt: skip


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import ANY, BOOLEAN, INTEGER, TEXT, line, listing, maybe, one_of, record

    holder = record({"pid": INTEGER, "comm": TEXT, "fd": maybe(INTEGER)})
    return {
        "map/1": line("map/1", "A loaded map, with what uses and holds it.", {
            "id": maybe(INTEGER), "type": TEXT, "name": TEXT, "key_size": INTEGER, "value_size": INTEGER, "max_entries": INTEGER,
            "flags": INTEGER, "memory_bytes": maybe(INTEGER), "elements": maybe(INTEGER), "users": listing(INTEGER), "pins": listing(TEXT),
            "holders": listing(holder), "kernel": listing(TEXT), "orphaned": BOOLEAN,
        }),
        "map-element/1": line("map-element/1", "An element of a map, decoded by its types, and its bytes in hex.", {
            "map": maybe(INTEGER), "key": ANY, "value": ANY, "sum": ANY, "raw_key": TEXT, "raw_value": maybe(TEXT),
        }),
        "map-change/1": line("map-change/1", "A change of an element: made, planned, or seen.", {
            "map": maybe(INTEGER), "what": one_of("set", "delete", "new", "gone", "changed"), "applied": BOOLEAN, "key": ANY, "before": ANY,
            "after": ANY,
        }),
    }  # fmt: skip
