"""Programs, the maps that they use, and the programs that prog_array maps lead to (tail calls), as a tree.

    12 xdp_main
      map 8 jumps (prog_array)
        [0] 13 parse_vlan
              map 8 jumps            above: its entries are shown once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bpflens.inventory.finders.maps import prog_array_entries
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.loaded import MapHead, prog_map_ids
from bpflens.lean import NamedTuple

__all__ = ("MapNode", "ProgNode", "program_tree")

_MOST_DEPTH = 33  # MAX_TAIL_CALL_CNT


class ProgNode(NamedTuple):
    """A program and its maps; `slot` is its place in the prog_array above it. `above`: its maps are shown elsewhere in the tree."""

    id: int
    slot: int | None
    maps: tuple[MapNode, ...]
    above: bool = False


class MapNode(NamedTuple):
    """A map and, for a prog_array, the programs in it. `above`: those are shown elsewhere in the tree."""

    id: int
    head: MapHead | None
    entries: tuple[ProgNode, ...] = ()
    above: bool = False


class program_tree:
    """Builds the tree below a program; shared across programs so that each map is read once. `maps_of` and `entries_of` answer for the
    kernel, where it is not the running one: maps of a program, (index, program) of the entries of a prog_array.
    """

    def __init__(
        self, maps: Mapping[int, MapHead], maps_of: Callable[[int], tuple[int, ...]] | None = None,
        entries_of: Callable[[MapHead], list[tuple[int, int]]] | None = None,
    ) -> None:  # fmt: skip
        self._heads = maps
        self._read_maps, self._read_entries = maps_of or prog_map_ids, entries_of or prog_array_entries
        self._entries: dict[int, list[tuple[int, int]]] = {}
        self._maps_of: dict[int, tuple[int, ...]] = {}

    def below(self, id: int) -> ProgNode:
        """The tree of program `id`."""
        return self._program(id, None, set(), set(), 0)

    def _program(self, id: int, index: int | None, programs: set[int], maps: set[int], depth: int) -> ProgNode:
        if id in programs or depth > _MOST_DEPTH:
            return ProgNode(id, index, (), above=True)
        programs.add(id)
        nodes = []
        for map_id in self.map_ids(id):
            head = self._heads.get(map_id)
            if head is None or head.type != MapType.PROG_ARRAY:
                nodes.append(MapNode(map_id, head))
            elif map_id in maps:
                nodes.append(MapNode(map_id, head, above=True))
            else:
                maps.add(map_id)
                if map_id not in self._entries:
                    self._entries[map_id] = self._read_entries(head)
                entries = tuple(self._program(target, at, programs, maps, depth + 1) for at, target in self._entries[map_id])
                nodes.append(MapNode(map_id, head, entries))
        return ProgNode(id, index, tuple(nodes))

    def map_ids(self, id: int) -> tuple[int, ...]:
        """The maps of a program, in order of first use; () where it has gone or may not be read."""
        if id not in self._maps_of:
            self._maps_of[id] = self._read_maps(id)
        return self._maps_of[id]

    def users(self, programs: Iterable[int]) -> dict[int, list[int]]:
        """Map id -> the programs that use it."""
        found: dict[int, list[int]] = {}
        for id in programs:
            for map_id in self.map_ids(id):
                found.setdefault(map_id, []).append(id)
        return found
