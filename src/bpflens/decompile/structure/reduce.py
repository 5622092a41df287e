"""A smaller graph of blocks: chains joined, empty blocks skipped, two tests with one outcome in common made one condition.

    A: if (a) goto X; B: if (b) goto X; C   ──►   A: if (a || b) goto X; C

A test may have pure assignments of its own before it that are dead on the other path: they move up to the first test. Algorithm: a
worklist over blocks, predecessors kept up to date. Cost: linear in edges, up to a bound on the size of a condition.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import And, Assign, Block, Expr, Or, join_slots, size_of, variables_of
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import has_load, live_in
from bpflens.decompile.simplify import negate

__all__ = ("duplicate_tails", "reduce_graph")

_MAX_CONDITION = 60
_HOISTED = 2


def reduce_graph(function: Function) -> None:
    """Join blocks until nothing is left to join."""
    reducer = _Reducer(function)
    pending = list(reversed(list(function.blocks)))
    queued = set(pending)
    while pending:
        id = pending.pop()
        queued.discard(id)
        if id not in function.blocks:
            continue
        for touched in reducer.step(id):
            if touched in function.blocks and touched not in queued:
                queued.add(touched)
                pending.append(touched)


class _Reducer:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.blocks = function.blocks
        self.live = live_in(function.blocks, postorder(function.blocks, function.entry))

    def step(self, id: int) -> list[int]:
        """One change at a block, and the blocks to look at again."""
        block = self.blocks[id]
        if isinstance(block.condition, ir.Const) and len(block.successors) == 2:
            return self.decided(block, bool(block.condition.value))
        if len(block.successors) == 1:
            next = self.blocks[block.successors[0]]
            if next.id != id and next.id != self.function.entry and next.predecessors == [id]:
                return self.join(block, next)
            if not block.statements and id != self.function.entry and next.id != id:
                return self.skip(block, next)
        if len(block.successors) == 2:
            return self.short_circuit(block)
        return []

    def decided(self, block: Block, holds: bool) -> list[int]:
        """A condition that is a constant."""
        taken, other = block.successors[holds], block.successors[not holds]
        block.condition, block.successors = None, [taken]
        self.unlink(block.id, other)
        return [block.id, taken, other]

    def unlink(self, source: int, target: int) -> None:
        """Remove an edge, and what cannot be reached any more."""
        pending = [(source, target)]
        while pending:
            a, b = pending.pop()
            if b not in self.blocks:
                continue
            predecessors = self.blocks[b].predecessors
            if a in predecessors:
                predecessors.remove(a)
            if not predecessors and b != self.function.entry:
                pending += [(b, next) for next in self.blocks[b].successors]
                del self.blocks[b]

    def join(self, block: Block, next: Block) -> list[int]:
        block.statements = [*block.statements, *next.statements] if next.statements else block.statements
        block.successors, block.condition, block.result = next.successors, next.condition, next.result
        block.end_slots = join_slots(block.end_slots, next.end_slots)
        for after in next.successors:
            predecessors = self.blocks[after].predecessors
            predecessors[predecessors.index(next.id)] = block.id
        del self.blocks[next.id]
        return [block.id, *block.predecessors, *block.successors]

    def skip(self, block: Block, next: Block) -> list[int]:
        next.predecessors.remove(block.id)
        for source in block.predecessors:
            before = self.blocks[source]
            before.end_slots = join_slots(before.end_slots, block.end_slots) if len(before.successors) == 1 else before.end_slots
            before.successors = [next.id if s == block.id else s for s in before.successors]
            if len(before.successors) == 2 and before.successors[0] == before.successors[1]:
                before.successors, before.condition = before.successors[:1], None
            if source not in next.predecessors:
                next.predecessors.append(source)
        del self.blocks[block.id]
        return [*block.predecessors, next.id]

    def short_circuit(self, block: Block) -> list[int]:
        assert block.condition is not None
        for which in (0, 1):
            inner, other = self.blocks[block.successors[which]], block.successors[1 - which]
            if inner.id == block.id or inner.predecessors != [block.id] or len(inner.successors) != 2 or other not in inner.successors:
                continue
            if inner.condition is None or inner.id == self.function.entry or other == inner.id:
                continue
            if size_of(block.condition) + size_of(inner.condition) > _MAX_CONDITION:
                continue
            if inner.statements and not self.hoist(block, inner, other):
                continue
            self.merge(block, inner, which, other)
            return [block.id, *block.predecessors, *block.successors]
        return []

    def hoist(self, block: Block, inner: Block, other: int) -> bool:
        """Move the statements before the second test to before the first, if nobody on the other path sees it."""
        if len(inner.statements) > _HOISTED:
            return False
        assert block.condition is not None
        read = set(variables_of(block.condition))
        for s in inner.statements:
            if type(s) is not Assign or has_load(s.value) or size_of(s.value) > 4:
                return False
            if self.live.get(other, -1) >> s.var & 1 or s.var in read:
                return False
        block.statements = [*block.statements, *inner.statements]
        inner.statements = []
        return True

    def merge(self, block: Block, inner: Block, which: int, other: int) -> None:
        """`block` goes to `other` where its own test says so, or where that of `inner` does."""
        assert block.condition is not None and inner.condition is not None
        to_other: Expr = negate(block.condition) if which == 1 else block.condition
        inner_to_other = inner.condition if inner.successors[1] == other else negate(inner.condition)
        next = inner.successors[0] if inner.successors[1] == other else inner.successors[1]
        if which == 1:
            block.condition = And(negate(to_other), negate(inner_to_other))
            block.successors = [other, next]
        else:
            block.condition = Or(to_other, inner_to_other)
            block.successors = [next, other]
        block.end_slots = join_slots(block.end_slots, inner.end_slots)
        self.blocks[other].predecessors.remove(inner.id)
        predecessors = self.blocks[next].predecessors
        predecessors[predecessors.index(inner.id)] = block.id
        if next == other:
            block.successors, block.condition = [other], None
            while predecessors.count(block.id) > 1:
                predecessors.remove(block.id)
        del self.blocks[inner.id]


def duplicate_tails(
    function: Function, gotos: Callable[[Function], set[int]] | None = None, calls: int = 0, statements: int = 3, sources: int = 6
) -> None:
    """Short blocks that several paths share, once for each: those that `gotos` finds, or all. Of an ending with one of `calls` calls, which
    two paths share, one copy is made. Twice the blocks at most.
    """
    blocks = function.blocks
    budget = 2 * len(blocks) + 8
    fresh = max(blocks) + 1
    for _ in range(3):
        changed = False
        wanted = gotos(function) if gotos is not None else blocks
        for id in list(blocks):
            block = blocks.get(id) if id in wanted else None
            if block is None or id == function.entry or not 2 <= len(block.predecessors) <= sources:
                continue
            if not _is_tail(block, blocks, statements, calls):
                continue
            for source in block.predecessors[1:]:
                if budget <= 0:
                    return
                budget -= 1
                copy = Block(fresh, block.start)
                fresh += 1
                copy.statements, copy.result, copy.end_slots = block.statements, block.result, block.end_slots
                copy.successors = list(block.successors)
                copy.predecessors = [source]
                for next in copy.successors:
                    blocks[next].predecessors.append(copy.id)
                blocks[copy.id] = copy
                before = blocks[source]
                before.successors = [copy.id if s == id else s for s in before.successors]
                changed = True
            block.predecessors = block.predecessors[:1]
        if not changed:
            return
        reduce_graph(function)


def _is_tail(block: Block, blocks: dict[int, Block], statements: int, calls: int) -> bool:
    others = sum(type(s) is not Assign and type(s) is not ir.Store for s in block.statements)
    if others > (calls if not block.successors and len(block.predecessors) == 2 else 0):
        return False
    if not block.successors:
        return len(block.statements) <= statements + 1
    if len(block.successors) != 1 or len(block.statements) > statements or block.successors[0] == block.id:
        return False
    return len(blocks[block.successors[0]].predecessors) > 1
