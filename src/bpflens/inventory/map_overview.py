"""All maps of the machine in a row each: type, size, memory, elements, programs that use them, pins, holders; the orphans among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpflens.errors import KernelError
from bpflens.program import Holder, Map

__all__ = ("MapRow", "overview")

_COUNTED_UP_TO = 100_000


@dataclass(frozen=True, slots=True)
class MapRow:
    """A map. `elements` None where they cannot be counted; `orphaned`: nothing that was found uses or holds it."""

    map: Map
    memory_bytes: int | None
    elements: int | None
    users: tuple[int, ...]
    pins: tuple[str, ...]
    holders: tuple[Holder, ...]

    @property
    def orphaned(self) -> bool:
        """Held by nothing that is known."""
        return not (self.users or self.pins or self.holders)


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
    rows = [
        MapRow(
            map, _memory(map), _count(map) if count else None, around.map_users.get(map.id or 0, ()), around.map_pins.get(map.id or 0, ()),
            around.map_holders.get(map.id or 0, ()),
        )
        for map in maps
    ]  # fmt: skip
    return rows, around.denied


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
