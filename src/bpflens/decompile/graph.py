"""Dominators and natural loops of a graph of blocks.

Algorithms: Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm"; loops from back edges. Cost: linear for graphs of programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpflens.decompile.ir import Block
from bpflens.decompile.regions import postorder

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
    idom = {entry: entry}
    changed = True
    while changed:
        changed = False
        for id in order[1:]:
            new = -1
            for other in blocks[id].predecessors:
                if other not in idom:
                    continue
                if new < 0:
                    new = other
                    continue
                a, b = other, new
                while a != b:
                    while index[a] > index[b]:
                        a = idom[a]
                    while index[b] > index[a]:
                        b = idom[b]
                new = a
            if idom.get(id) != new:
                idom[id] = new
                changed = True
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
