"""All maps of the machine in a row each: type, size, memory, elements, programs that use them, pins, holders; the orphans among them.

Beside programs, pins and descriptors the kernel itself holds maps: a registered struct_ops, a link, and a map in which they are elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended.uapi import LinkType, MapType
from bpflens.lean import frozen
from bpflens.program import Holder, Map

__all__ = ("ORDERS", "MapRow", "overview")

_COUNTED_UP_TO = 100_000
_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_LINKS_ON_MAPS = (LinkType.ITER, LinkType.STRUCT_OPS, LinkType.SOCKMAP)
_IN_USE = "in use"


@frozen
class MapRow:
    """A map. `elements` None where they cannot be counted; `kernel`: what of the kernel holds it, such as "tcp_congestion_ops, in use",
    "link 3", "element of map 7"; `orphaned`: nothing that was found uses or holds it.
    """

    map: Map
    memory_bytes: int | None
    elements: int | None
    users: tuple[int, ...]
    pins: tuple[str, ...]
    holders: tuple[Holder, ...]
    kernel: tuple[str, ...] = ()

    @property
    def orphaned(self) -> bool:
        """Held by nothing that is known."""
        return not (self.users or self.pins or self.holders or self.kernel)


ORDERS: dict[str, Callable[[MapRow], int | str]] = {
    "id": lambda row: row.map.id or 0, "name": lambda row: row.map.name, "type": lambda row: row.map.type,
    "memory": lambda row: row.memory_bytes or 0, "elements": lambda row: row.elements or 0,
}  # fmt: skip
"""What rows may be sorted by."""


def overview(maps: Sequence[Map] | None = None, count: bool = False) -> tuple[list[MapRow], tuple[tuple[str, str], ...]]:
    """(rows by id, what was not looked at and needs); `count` walks the elements of each map."""
    from bpflens.inventory.around import surroundings
    from bpflens.kernel.maps.maps import map_ids, read_map_info

    if maps is None:
        maps = []
        for id in map_ids():
            try:
                maps.append(read_map_info(id, types=False))
            except KernelError:
                continue  # gone meanwhile
    ids = {map.id for map in maps if map.id is not None}
    around = surroundings((), ids, attachments=False)
    kept = _kept_by_kernel(maps)
    rows = [
        MapRow(
            map, _memory(map), _count(map) if count else None, around.map_users.get(map.id or 0, ()), around.map_pins.get(map.id or 0, ()),
            around.map_holders.get(map.id or 0, ()), tuple(kept.get(map.id or 0, ())),
        )
        for map in maps
    ]  # fmt: skip
    return rows, around.denied


def _kept_by_kernel(maps: Sequence[Map]) -> dict[int, list[str]]:
    """By map id: registrations, links and maps that hold it. What cannot be read (gone, not permitted) is left out."""
    from bpflens.inventory.finders.maps import inner_maps
    from bpflens.kernel.attachments.links import link_ids, link_info
    from bpflens.kernel.maps.struct_ops import STATES, struct_ops
    from bpflens.kernel.programs.loaded import map_heads

    kept: dict[int, list[str]] = {}
    for map in maps:
        if map.type == MapType.STRUCT_OPS and map.id is not None:
            with suppress(BpflensError):
                ops = struct_ops(map.id)
                if STATES.get(ops.state) == _IN_USE:
                    kept.setdefault(map.id, []).append(f"{ops.struct}, {_IN_USE}")
    with suppress(BpflensError):
        for id in link_ids():
            with suppress(BpflensError):
                link = link_info(id)
                if link.type in _LINKS_ON_MAPS and isinstance(map_id := link.facts.get("map_id"), int):
                    kept.setdefault(map_id, []).append(f"link {id}")
    with suppress(OSError):
        for head in map_heads().values():
            for inner in sorted(inner_maps(head)) if head.type in _OF_MAPS else ():
                kept.setdefault(inner, []).append(f"element of map {head.id}")
    return kept


def _memory(map: Map) -> int | None:
    found = map.fields.get("memlock")
    return found if isinstance(found, int) else None


def _count(map: Map) -> int | None:
    from bpflens.kernel.maps.map_data import items
    from bpflens.kernel.maps.maps import open_map

    try:
        with open_map(map.id or 0) as fd:
            return sum(1 for _ in items(fd, _COUNTED_UP_TO))
    except KernelError:
        return None
