"""Blocks to a tree of if, loops, break, continue, and gotos where nothing else says it.

Dominator-tree recursion (Ramsey, "Beyond Relooper", 2022): a block with several predecessors comes after the block that dominates it, where
its predecessors fall out of their ifs; what jumps elsewhere is break, continue or goto. Reducible graphs need no duplication; an edge into
the middle of a loop becomes a goto. The recursion is written as generators that a loop runs, because programs nest deeper than Python does.
Cost: linear.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from bpflens.decompile.function import Function
from bpflens.decompile.structure.graph import dominators, loops
from bpflens.decompile.tree import Break, Continue, ForEver, Goto, If, Label, Node, Return, Simple, Tree, walk

__all__ = ("gotos", "structure")

_Steps: TypeAlias = Generator[Any, None, None]
_Context: TypeAlias = tuple[tuple[int, int | None], ...]  # enclosing loops, outermost first: (header, what follows it)


def structure(function: Function) -> Tree:
    """The tree of a function."""
    return _Structurer(function).run()


def gotos(function: Function) -> set[int]:
    """The blocks that gotos go to as things stand."""
    return {node.label for node in walk(structure(function)) if type(node) is Goto}


def _unroll(first: _Steps) -> None:
    """Run generators that yield generators to call."""
    stack = [first]
    while stack:
        called = next(stack[-1], None)
        if called is None:
            stack.pop()
        else:
            stack.append(called)


class _Structurer:
    def __init__(self, function: Function) -> None:
        self.blocks = function.blocks
        self.entry = function.entry
        self.tree = dominators(self.blocks, self.entry)
        found = loops(self.blocks, self.tree)
        self.bodies, self.back = found.bodies, found.back
        self.merges = {
            id for id in self.tree.order
            if sum((source, id) not in self.back for source in self.blocks[id].predecessors if source in self.tree.index) > 1
        }  # fmt: skip
        self.follow = {header: self._follow(header, body) for header, body in self.bodies.items()}
        self.emitted: set[int] = set()
        self.labels: set[int] = set()

    def _follow(self, header: int, body: set[int]) -> int | None:
        """The block after a loop: the exit that most breaks go to, the later one of equals."""
        exits: dict[int, int] = {}
        for id in body:
            for next in self.blocks[id].successors:
                if next not in body:
                    exits[next] = exits.get(next, 0) + 1
        for e in exits:  # a way out that only leads to another one
            on = self.blocks[e].successors
            if len(on) == 1 and on[0] in exits:
                exits[on[0]] += exits[e]
        ends = self.merges.__contains__
        fit = [e for e in exits if (self.tree.dominates(header, e) and (self.blocks[e].result is None or ends(e))) or len(exits) == 1]
        return max(fit, key=lambda e: (exits[e], self.tree.index[e])) if fit else None

    def run(self) -> Tree:
        out: list[Node] = []
        _unroll(self.node(self.entry, None, (), out))
        while True:  # what only gotos reach, in irreducible graphs
            missing = [id for id in self.tree.order if id in self.labels and id not in self.emitted]
            if not missing:
                break
            _unroll(self.node(missing[0], None, (), out))
        used = {node.label for node in walk(tuple(out)) if type(node) is Goto}
        return _without_labels(tuple(out), used)

    def branch(self, source: int, target: int, next: int | None, loops_: _Context, out: list[Node]) -> _Steps:
        """What an edge says."""
        slots = self.blocks[source].end_slots
        if target == next:
            return
        if (source, target) in self.back and loops_ and loops_[-1][0] == target:
            out.append(Continue(slots))
            return
        if loops_ and loops_[-1][1] == target:
            out.append(Break(slots))
            return
        if (source, target) in self.back or target in self.merges or target in self.emitted or any(f == target for _, f in loops_):
            self.labels.add(target)
            out.append(Goto(target, slots))
            return
        yield self.node(target, next, loops_, out)

    def node(self, id: int, next: int | None, loops_: _Context, out: list[Node]) -> _Steps:
        """A block and all that it dominates; `next` is what comes after it in the text."""
        self.emitted.add(id)
        out.append(Label(id))
        if id not in self.bodies:
            yield self.inner(id, next, loops_, None, out)
            return
        follow = self.follow[id]
        body: list[Node] = []
        if follow is not None and follow != next and self.tree.dominates(id, follow) and follow not in self.emitted:
            yield self.inner(id, id, (*loops_, (id, follow)), follow, body)
            out.append(ForEver(tuple(body)))
            if follow in self.emitted:
                yield self.after_loop(id, follow, loops_, out)
            else:
                yield self.node(follow, next, loops_, out)
        else:
            yield self.inner(id, id, (*loops_, (id, next if follow in (next, None) else follow)), None, body)
            out.append(ForEver(tuple(body)))
            if follow not in (next, None) and _breaks(tuple(body)):  # what comes after the loop stands elsewhere
                assert follow is not None
                yield self.after_loop(id, follow, loops_, out)

    def after_loop(self, id: int, target: int, loops_: _Context, out: list[Node]) -> _Steps:
        """To where a loop is left for, which is not what comes after it in the text."""
        slots = self.blocks[id].end_slots
        if loops_ and loops_[-1][0] == target:
            out.append(Continue(slots))
        elif loops_ and loops_[-1][1] == target:
            out.append(Break(slots))
        else:
            self.labels.add(target)
            out.append(Goto(target, slots))
        return
        yield  # a generator, as the others

    def inner(self, id: int, next: int | None, loops_: _Context, skip: int | None, out: list[Node]) -> _Steps:
        """The statements of a block, its branches, then the joins that it dominates."""
        block = self.blocks[id]
        after_loops = {skip, *(follow for _, follow in loops_)}  # those come behind their loops
        joins = sorted((c for c in self.tree.children[id] if c in self.merges and c not in after_loops), key=self.tree.index.__getitem__)
        first = joins[0] if joins else next
        out += [Simple(s) for s in block.statements]
        if block.result is not None:
            out.append(Return(block.result, block.end_slots))
        elif len(block.successors) == 1:
            yield self.branch(id, block.successors[0], first, loops_, out)
        elif len(block.successors) == 2 and block.condition is not None:
            then: list[Node] = []
            other: list[Node] = []
            yield self.branch(id, block.successors[1], first, loops_, then)
            yield self.branch(id, block.successors[0], first, loops_, other)
            out.append(If(block.condition, tuple(then), tuple(other), block.end_slots))
        for index, join in enumerate(joins):
            after = joins[index + 1] if index + 1 < len(joins) else next
            if join not in self.emitted:
                yield self.node(join, after, loops_, out)


def _breaks(tree: Tree) -> bool:
    """Is there a break of the loop that this is the body of?"""
    pending = list(tree)
    while pending:
        node = pending.pop()
        if type(node) is Break:
            return True
        if type(node) is If:
            pending += [*node.then, *node.other]
    return False


def _without_labels(tree: Tree, used: set[int]) -> Tree:
    """The tree without labels that no goto names."""
    from bpflens.decompile.structure.shape import rewrite

    return rewrite(tree, lambda nodes: tuple(n for n in nodes if type(n) is not Label or n.label in used))
