"""Objects, the programs on them, their maps and tail calls, as an indented tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.graph import MapNode
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.records.ls import Summarise
from bpflens.records.tree import MapHolders, Tree, by_object
from bpflens.view.style.printable import printable
from bpflens.view.text.inventory import holder_text, netns_name, object_text, program_cell

__all__ = ("text_tree",)


def text_tree(
    inventory: Inventory, rows: Iterable[InventoryRow], tree: Tree, holders: MapHolders, summarise: Summarise, now_ns: int,
    color: bool = False,
) -> Iterator[str]:  # fmt: skip
    """Lines: object, attachment with its program, maps, tail calls."""
    for (netns, object), attached in by_object(rows).items():
        place = "" if netns is None else f"  (netns {netns_name(inventory.namespaces, netns)})"
        yield f"\033[1m{printable(object + place)}\033[0m" if color else printable(object + place)
        for row in attached:
            more = object_text(row)[len(row.object) :]
            cell = program_cell(inventory, row, summarise, now_ns)
            text = printable(cell.text)
            yield printable(f"  {row.kind}{more}  ") + (f"\033[{cell.style}m{text}\033[0m" if color and cell.style else text)
            if row.holders:
                yield printable(f"    held by {holder_text(row.holders, inventory.processes)}")
            if "link" in row.details:
                yield f"    by link {row.details['link']}"
            for path in row.details.get("pins", ()):
                yield printable(f"    pinned at {path}")
            if row.prog_id is not None:
                for line in _maps(inventory, tree(row.prog_id).maps, holders, "    "):
                    yield printable(line)


def _maps(inventory: Inventory, maps: Iterable[MapNode], holders: MapHolders, indent: str) -> Iterator[str]:
    for node in maps:
        name, type = (node.head.name, type_name(MAP_TYPES, node.head.type)) if node.head else ("", "?")
        words = f"map {node.id} {name}".rstrip() + f"  {type}" + ("  (entries above)" if node.above else "")
        held = holder_text(holders.get(node.id, ()), inventory.processes)
        yield f"{indent}{words}" + (f"  held by {held}" if held else "")
        for entry in node.entries:
            head = (inventory.programs or {}).get(entry.id)
            name = inventory.full_names.get(entry.id, head.name if head else "")
            yield f"{indent}  [{entry.slot}] -> {entry.id} {name}".rstrip() + ("  (above)" if entry.above else "")
            yield from _maps(inventory, entry.maps, holders, indent + "    ")
