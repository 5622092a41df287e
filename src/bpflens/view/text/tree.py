"""Objects, the programs on them, their maps and tail calls: as an indented tree and as JSON Lines (schema "tree/1")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bpflens.attachment import Holder
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.graph import MapNode, ProgNode
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.view.text.inventory import Summary, holder_text, netns_name, program_text, record

__all__ = ("json_tree", "text_tree")

Tree = Callable[[int], ProgNode]
MapHolders = dict[int, list[Holder]]


def _objects(rows: Iterable[InventoryRow]) -> dict[tuple[int | None, str], list[InventoryRow]]:
    grouped: dict[tuple[int | None, str], list[InventoryRow]] = {}
    for row in rows:
        grouped.setdefault((row.netns, row.object), []).append(row)
    return grouped


def text_tree(
    inventory: Inventory, rows: Iterable[InventoryRow], tree: Tree, holders: MapHolders, summary: Summary, now_ns: int
) -> Iterator[str]:
    """Lines: object, attachment with its program, maps, tail calls."""
    for (netns, object), attached in _objects(rows).items():
        yield object if netns is None else f"{object}  (netns {netns_name(inventory.namespaces, netns)})"
        for row in attached:
            yield f"  {row.kind}  {program_text(inventory, row, summary, now_ns)}"
            if row.holders:
                yield f"    held by {holder_text(row.holders)}"
            for path in row.details.get("pins", ()):
                yield f"    pinned at {path}"
            if row.prog_id is not None:
                yield from _maps(inventory, tree(row.prog_id).maps, holders, "    ")


def _maps(inventory: Inventory, maps: Iterable[MapNode], holders: MapHolders, indent: str) -> Iterator[str]:
    for node in maps:
        name, type = (node.head.name, type_name(MAP_TYPES, node.head.type)) if node.head else ("", "?")
        words = f"map {node.id} {name}".rstrip() + f"  {type}" + ("  (entries above)" if node.above else "")
        held = holder_text(holders.get(node.id, ()))
        yield f"{indent}{words}" + (f"  held by {held}" if held else "")
        for entry in node.entries:
            head = (inventory.programs or {}).get(entry.id)
            yield f"{indent}  [{entry.slot}] -> {entry.id} {head.name if head else ''}".rstrip() + ("  (above)" if entry.above else "")
            yield from _maps(inventory, entry.maps, holders, indent + "    ")


def json_tree(
    inventory: Inventory, rows: Iterable[InventoryRow], tree: Tree, holders: MapHolders, expression: Summary
) -> Iterator[str]:
    """One line for each object: `object`, `netns`, `attachments` (as in ls/1, with `maps`)."""
    import json

    for (netns, object), attached in _objects(rows).items():
        attachments = []
        for row in attached:
            one = record(inventory, row, expression(row))
            del one["schema"]
            one["maps"] = [_map(node, holders) for node in tree(row.prog_id).maps] if row.prog_id is not None else []
            attachments.append(one)
        yield json.dumps({"schema": "tree/1", "object": object, "netns": netns, "attachments": attachments}, ensure_ascii=False)


def _map(node: MapNode, holders: MapHolders) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.head.name if node.head else None,
        "type": type_name(MAP_TYPES, node.head.type) if node.head else None,
        "holders": [{"pid": holder.pid, "comm": holder.comm, "fd": holder.fd} for holder in holders.get(node.id, ())],
        "entries": [
            {"index": entry.slot, "program": entry.id, "above": entry.above, "maps": [_map(inner, holders) for inner in entry.maps]}
            for entry in node.entries
        ],
        "above": node.above,
    }
