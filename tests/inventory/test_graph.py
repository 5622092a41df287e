"""Programs with their maps and tail calls as a tree."""

from __future__ import annotations

import pytest

from bpflens.inventory import graph
from bpflens.inventory.graph import MapNode, ProgNode, program_tree
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.loaded import MapHead


def head(id: int, type: int = MapType.PROG_ARRAY) -> MapHead:
    return MapHead(id, type, 4, 4, 8, 0, f"m{id}", 0)


class Machine:
    """Program -> its maps; prog_array -> its entries; how often each was asked for."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, maps_of: dict[int, tuple[int, ...]], entries: dict[int, list[tuple[int, int]]]
    ) -> None:
        self.asked: list[tuple[str, int]] = []

        def prog_map_ids(id: int) -> tuple[int, ...]:
            self.asked.append(("prog", id))
            return maps_of.get(id, ())

        def prog_array_entries(map: MapHead) -> list[tuple[int, int]]:
            self.asked.append(("map", map.id))
            return entries[map.id]

        monkeypatch.setattr(graph, "prog_map_ids", prog_map_ids)
        monkeypatch.setattr(graph, "prog_array_entries", prog_array_entries)


def test_the_tree_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prog_array leads to a program that uses it again: its entries are shown once."""
    Machine(monkeypatch, {12: (7, 8, 9), 13: (8,)}, {8: [(0, 13), (3, 14)]})
    heads = {7: head(7, MapType.HASH), 8: head(8)}
    assert program_tree(heads).below(12) == ProgNode(12, None, (
        MapNode(7, heads[7]),
        MapNode(8, heads[8], (ProgNode(13, 0, (MapNode(8, heads[8], above=True),)), ProgNode(14, 3, ()))),
        MapNode(9, None),
    ))  # fmt: skip


def test_a_program_that_calls_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, {12: (8,)}, {8: [(0, 12)]})
    assert program_tree({8: head(8)}).below(12) == ProgNode(12, None, (MapNode(8, head(8), (ProgNode(12, 0, (), above=True),)),))


def test_a_chain_ends_where_the_kernel_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """33 tail calls: no program runs behind them."""
    Machine(monkeypatch, {id: (100 + id,) for id in range(60)}, {100 + id: [(0, id + 1)] for id in range(60)})
    node, depth = program_tree({id: head(id) for id in range(100, 160)}).below(0), 0
    while node.maps:
        (map,) = node.maps
        (node,), depth = map.entries, depth + 1
    assert (depth, node.id, node.above) == (34, 34, True)


def test_what_was_read_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all trees: each program and each map is asked for once."""
    machine = Machine(monkeypatch, {12: (8, 9), 13: (8,)}, {8: [(0, 13)]})
    tree = program_tree({8: head(8)})
    assert tree.below(12) == tree.below(12) and tree.below(13).maps[0].entries[0].above
    assert tree.users((12, 13, 14)) == {8: [12, 13], 9: [12]}
    assert len(machine.asked) == len(set(machine.asked))
