"""Schema tree/1: one object for each thing that programs hang on, with the programs, their maps and tail calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from bpflens.attachment import Holder
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.graph import MapNode, ProgNode
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.records.ls import Summarise, holder_record, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("MapHolders", "Tree", "by_object", "json_tree", "schemas")

Tree = Callable[[int], ProgNode]
MapHolders = Mapping[int, list[Holder]]


def by_object(rows: Iterable[InventoryRow]) -> dict[tuple[int | None, str], list[InventoryRow]]:
    """(network namespace, object) -> the rows on it, in their order."""
    grouped: dict[tuple[int | None, str], list[InventoryRow]] = {}
    for row in rows:
        grouped.setdefault((row.netns, row.object), []).append(row)
    return grouped


def json_tree(
    inventory: Inventory, rows: Iterable[InventoryRow], tree: Tree, holders: MapHolders, summarise: Summarise
) -> Iterator[str]:
    """One line for each object: `object`, `netns`, `attachments` (as in ls/1, with `maps`)."""
    import json

    for (netns, object), attached in by_object(rows).items():
        attachments = []
        for row in attached:
            one = record(inventory, row, summarise(row))
            del one["schema"]
            one["maps"] = [_map(node, holders, inventory) for node in tree(row.prog_id).maps] if row.prog_id is not None else []
            attachments.append(one)
        yield json.dumps({"schema": "tree/1", "object": object, "netns": netns, "attachments": attachments}, ensure_ascii=False)


def _map(node: MapNode, holders: MapHolders, inventory: Inventory) -> dict[str, Any]:
    def entry_record(entry: ProgNode) -> dict[str, Any]:
        below = [_map(inner, holders, inventory) for inner in entry.maps]
        return {"index": entry.slot, "program": entry.id, "above": entry.above, "maps": below}

    return {
        "id": node.id,
        "name": node.head.name if node.head else None,
        "type": type_name(MAP_TYPES, node.head.type) if node.head else None,
        "holders": [holder_record(holder, inventory) for holder in holders.get(node.id, ())],
        "entries": [entry_record(entry) for entry in node.entries],
        "above": node.above,
    }


def schemas() -> dict[str, Schema]:
    """What stands in the lines. Maps and the programs below them go as deep as they are."""
    from bpflens.records.ls import holder_schema, row_keys
    from bpflens.records.schemas import ANY, BOOLEAN, INTEGER, TEXT, line, listing, maybe, record

    entry = record({"index": INTEGER, "program": INTEGER, "above": BOOLEAN, "maps": listing(ANY)})
    map = record({
        "id": INTEGER, "name": maybe(TEXT), "type": maybe(TEXT), "holders": listing(holder_schema()), "entries": listing(entry),
        "above": BOOLEAN,
    })  # fmt: skip
    keys = {"object": TEXT, "netns": maybe(INTEGER), "attachments": listing(record({**row_keys(), "maps": listing(map)}))}
    return {"tree/1": line("tree/1", "What hangs on one object, with maps and tail calls.", keys)}
