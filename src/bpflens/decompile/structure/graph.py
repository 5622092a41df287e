"""Dominators and natural loops of a graph of blocks.

Algorithms: lowest common ancestors in one pass for reducible graphs, Cooper, Harvey and Kennedy's iteration for others; loops from back
edges. Cost: n log n for reducible graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpflens.decompile.ir import Block
from bpflens.decompile.lift.regions import postorder

__all__ = ("Dominators", "Loops", "dominators", "loops")


@dataclass(slots=True)
class Dominators:
    """`order`: blocks in reverse postorder; `index` in it; `idom` the immediate dominator (the entry's is itself); `children` of the tree.
    `enter` and `leave` number the tree, so that dominance is a comparison.
    """

    order: list[int]
    index: dict[int, int]
    idom: dict[int, int]
    children: dict[int, list[int]]
    enter: dict[int, int]
    leave: dict[int, int]

    def dominates(self, a: int, b: int) -> bool:
        """Does every path to `b` go through `a`?"""
        return self.enter[a] <= self.enter[b] and self.leave[b] <= self.leave[a]


def dominators(blocks: Mapping[int, Block], entry: int) -> Dominators:
    """The dominator tree."""
    order = postorder(blocks, entry)
    index = {id: at for at, id in enumerate(order)}
    idom = _in_one_pass(blocks, order, index)
    children: dict[int, list[int]] = {id: [] for id in order}
    for id in order[1:]:
        children[idom[id]].append(id)
    enter, leave, clock = {}, {}, 0
    pending = [(entry, iter(children[entry]))]
    enter[entry] = 0
    while pending:
        id, rest = pending[-1]
        child = next(rest, None)
        clock += 1
        if child is None:
            leave[id] = clock
            pending.pop()
        else:
            enter[child] = clock
            pending.append((child, iter(children[child])))
    return Dominators(order, index, idom, children, enter, leave)


def _in_one_pass(blocks: Mapping[int, Block], order: list[int], index: Mapping[int, int]) -> dict[int, int]:
    """Immediate dominators: the lowest common ancestor, in the tree so far, of the predecessors that come first.

    In a reducible graph the other predecessors are back edges, which change nothing. In another graph the tree is made to fit afterwards:
    whoever is jumped into from outside of what dominates it moves up, until nothing changes. Ancestors are found by jump pointers (Myers
    1983), so that long chains cost a logarithm.
    """
    entry = order[0]
    idom, depth, jump = {entry: entry}, {entry: 0}, {entry: entry}

    def common(a: int, b: int) -> int:
        while a != b:
            if depth[a] < depth[b]:
                a, b = b, a
            if depth[a] > depth[b]:
                a = jump[a] if depth[jump[a]] >= depth[b] else idom[a]
            elif jump[a] != jump[b]:
                a, b = jump[a], jump[b]
            else:
                a, b = idom[a], idom[b]
        return a

    for id in order[1:]:
        new = -1
        for other in blocks[id].predecessors:
            if other in idom:
                new = other if new < 0 else common(new, other)
        idom[id], depth[id] = new, depth[new] + 1
        over = jump[new]
        jump[id] = jump[over] if depth[new] - depth[over] == depth[over] - depth[jump[over]] else new
    if all(index[p] < index[id] or p not in idom or common(id, p) == id for id in order for p in blocks[id].predecessors):
        return idom
    return _iterated(blocks, order, index, idom)


def _iterated(blocks: Mapping[int, Block], order: list[int], index: Mapping[int, int], idom: dict[int, int]) -> dict[int, int]:
    """Cooper, Harvey and Kennedy's iteration, for irreducible graphs."""
    changed = True
    while changed:
        changed = False
        for id in order[1:]:
            new = -1
            for other in blocks[id].predecessors:
                if other not in idom:
                    continue
                a, b = other, other if new < 0 else new
                while a != b:
                    while index[a] > index[b]:
                        a = idom[a]
                    while index[b] > index[a]:
                        b = idom[b]
                new = a
            if idom[id] != new:
                idom[id] = new
                changed = True
    return idom


@dataclass(slots=True)
class Loops:
    """`bodies`: blocks of each natural loop by its header; `back`: its back edges (from, header)."""

    bodies: dict[int, set[int]]
    back: set[tuple[int, int]]


def loops(blocks: Mapping[int, Block], tree: Dominators) -> Loops:
    """The natural loops. Edges that go back without being dominated by their target (irreducible) are none."""
    back = set()
    bodies: dict[int, set[int]] = {}
    for id in tree.order:
        for next in blocks[id].successors:
            if tree.index[next] <= tree.index[id] and tree.dominates(next, id):
                back.add((id, next))
                body = bodies.setdefault(next, {next})
                pending = [id]
                while pending:
                    at = pending.pop()
                    if at not in body:
                        body.add(at)
                        pending += blocks[at].predecessors
    return Loops(bodies, back)
