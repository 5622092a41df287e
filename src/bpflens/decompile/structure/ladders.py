"""Switches that were compiled to a binary search: a ladder of equalities again, which later becomes a switch.

    if (x > 4) { if (x == 5) A else if (x == 9) B else D } else if (x == 1) C else D
        ──►   if (x == 1) C else if (x == 5) A else if (x == 9) B else D

Only where all blocks but the first do nothing than compare the variable with constants, or give constants to others, and every number
that has no case of its own goes to the same place. Algorithm: intervals of the variable are followed through the tests. Cost: linear in
the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Block, Compare, Const, Expr, Var
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import live_in

__all__ = ("unroll_searches",)

_MIN_CASES = 3
_MAX_TESTS = 1024
_MAX_RETRIED = 64


def unroll_searches(function: Function) -> bool:
    """Make ladders of binary searches. True where there was one."""
    changed = False
    live: dict[int, int] | None = None
    hopeless: set[int] = set()
    for id in list(function.blocks):
        block = function.blocks.get(id) if id not in hopeless else None
        if block is not None and block.condition is not None and _test(block.condition) is not None:
            if live is None:
                live = live_in(function.blocks, postorder(function.blocks, function.entry))
            changed |= _unroll(function, block, live, hopeless)
    return changed


def _test(condition: Expr) -> tuple[int, int, str, int, bool] | None:
    """(variable, width, operator, constant, signed) of a comparison with a constant."""
    if type(condition) is not Compare or type(condition.left) is not Var or type(condition.right) is not Const or condition.op == "&":
        return None
    mask = (1 << condition.width) - 1
    return condition.left.id, condition.width, condition.op, condition.right.value & mask, condition.signed


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Where the tests end: constants given to variables on the way, then a block, or a result that is returned."""

    given: tuple[tuple[int, int], ...]
    target: int
    result: Expr | None = None


@dataclass(slots=True)
class _Search:
    """What is found on the way from the first test on."""

    function: Function
    web: int
    width: int
    live: Mapping[int, int]
    cases: dict[int, _Leaf] = field(default_factory=dict)
    defaults: dict[_Leaf, None] = field(default_factory=dict)
    inside: dict[int, None] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)  # values that an equality has sorted out
    ordered: bool = False  # is there a test for more or less?

    def follow(self, first: Block) -> bool:
        """All ways through the tests; False where they are no search."""
        pending: list[tuple[int, int, int, dict[int, int]]] = [(first.id, 0, (1 << self.width) - 1, {})]
        steps = 0
        while pending:
            id, low, high, given = pending.pop()
            steps += 1
            if (id == first.id and self.inside) or steps > 4 * _MAX_TESTS:  # a loop; two intervals may come to one test
                return False
            block = self.function.blocks[id]
            if id != first.id:
                more = self.passes(block)
                if more is None or len(self.inside) >= _MAX_TESTS:
                    self.end(id, None, low, high, given)
                    continue
                given = {**given, **more} if more else given
            self.inside[id] = None
            if block.result is not None:
                self.end(-1, block.result, low, high, given)
            elif len(block.successors) == 1:
                self.end(block.successors[0], None, low, high, given)
            else:
                test = _test(block.condition)  # type: ignore[arg-type]
                parts = _split(test, low, high) if test is not None else None
                if test is None or parts is None:
                    return False
                self.ordered |= test[2] not in ("==", "!=")
                for which, from_, to in reversed(parts):
                    while from_ <= to and from_ in self.taken:  # what tests before have sorted out
                        from_ += 1
                    while from_ <= to and to in self.taken:
                        to -= 1
                    if from_ <= to:
                        pending.append((block.successors[which], from_, to, given))
                if test[2] in ("==", "!=") and low <= test[3] <= high:
                    self.taken.add(test[3])
        return True

    def passes(self, block: Block) -> dict[int, int] | None:
        """What a block gives to variables, where it does nothing else than that and perhaps the next test; None where it does more."""
        if len(block.predecessors) != 1 or block.id == self.function.entry:
            return None
        given: dict[int, int] = {}
        for s in block.statements:
            if type(s) is not Assign or type(s.value) is not Const or s.var == self.web:
                return None
            given[s.var] = s.value.value
        if block.result is not None:
            return given if type(block.result) in (Const, Var) else None
        if len(block.successors) == 2:
            test = _test(block.condition) if block.condition is not None else None
            return given if test is not None and test[:2] == (self.web, self.width) else None
        return given

    def end(self, target: int, result: Expr | None, low: int, high: int, given: Mapping[int, int]) -> None:
        """A way that leaves the tests."""
        if result is not None:
            if type(result) is Var and result.id in given:
                result = Const(given[result.id])
            leaf = _Leaf((), -1, result)
        else:
            alive = self.live.get(target, -1)
            leaf = _Leaf(tuple(sorted((web, value) for web, value in given.items() if alive >> web & 1)), target)
        if low == high:
            self.cases[low] = leaf
        else:
            self.defaults[leaf] = None


def _unroll(function: Function, first: Block, live: Mapping[int, int], hopeless: set[int]) -> bool:
    """Make a ladder of the search that begins at a block. `hopeless`: tests that need not be looked at again as beginnings."""
    head = _test(first.condition)  # type: ignore[arg-type]
    assert head is not None
    found = _Search(function, head[0], head[1], live)
    if not found.follow(first) or not found.ordered or len(found.defaults) != 1:
        if not found.ordered or len(found.inside) > _MAX_RETRIED:
            hopeless.update(found.inside)
        return False
    (default,) = found.defaults
    cases = {value: leaf for value, leaf in found.cases.items() if leaf != default}
    if len(cases) < _MIN_CASES or {leaf.target for leaf in [*cases.values(), default]} & set(found.inside):
        return False
    _rebuild(function, first, found, cases, default)
    return True


def _split(test: tuple[int, int, str, int, bool], low: int, high: int) -> list[tuple[int, int, int]] | None:
    """(which successor, from, to) for the parts of an interval of unsigned numbers; None where they are none. What an equality sorts out of
    the middle stays in the other part."""
    _, width, op, value, signed = test
    if op in ("==", "!="):
        hit = 1 if op == "==" else 0
        if not low <= value <= high:
            return [(1 - hit, low, high)]
        if low == high:
            return [(hit, low, high)]
        return [(1 - hit, low + (low == value), high - (high == value)), (hit, value, value)]
    if signed:
        half = 1 << width - 1
        if value >= half:
            return None
        if high >= half:  # numbers below 0 are the upper half: one side of the test has them
            if low >= half:
                return [(int(op in ("<", "<=")), low, high)]
            below = int(op in ("<", "<="))
            inner = _split((test[0], width, op, value, False), low, half - 1)
            return None if inner is None else [*inner, (below, half, high)]
    edge = value if op in ("<", ">=") else value + 1  # from here on the other outcome
    below = int(op in ("<", "<="))
    parts = [(below, low, min(edge - 1, high)), (1 - below, max(edge, low), high)]
    return [part for part in parts if part[1] <= part[2]]


def _rebuild(function: Function, first: Block, found: _Search, cases: Mapping[int, _Leaf], default: _Leaf) -> None:
    """One test for each case, those of one end together, in the order of the values."""
    blocks = function.blocks
    slots: ir.Slots = ()
    for id in found.inside:
        slots = ir.join_slots(slots, blocks[id].end_slots)
    leaves: dict[_Leaf, list[int]] = {}
    for value in sorted(cases):
        leaves.setdefault(cases[value], []).append(value)
    ends = {leaf: _end(blocks, leaf, first.start, slots) for leaf in [*leaves, default]}
    ladder = [(value, ends[leaf]) for leaf, values in leaves.items() for value in values]
    block = first
    for number, (value, target) in enumerate(ladder):
        block.condition = Compare("==", Var(found.web), Const(value), False, found.width)
        block.end_slots = slots
        following = ends[default]
        if number < len(ladder) - 1:
            following = max(blocks) + 1
            blocks[following] = Block(following, first.start)
        block.successors = [following, target]
        block = blocks[following]
    _reconnect(function)


def _end(blocks: dict[int, Block], leaf: _Leaf, start: int, slots: ir.Slots) -> int:
    """The block of an end: its target, or a new one that assigns or returns first."""
    if leaf.result is None and not leaf.given:
        return leaf.target
    made = Block(max(blocks) + 1, start)
    made.statements = [Assign(web, Const(value), slots) for web, value in leaf.given]
    made.result, made.end_slots = leaf.result, slots
    made.successors = [leaf.target] if leaf.result is None else []
    blocks[made.id] = made
    return made.id


def _reconnect(function: Function) -> None:
    """Drop what is not reached any more, and find all predecessors anew."""
    blocks = function.blocks
    reached = postorder(blocks, function.entry)
    for id in set(blocks) - set(reached):
        del blocks[id]
    for block in blocks.values():
        block.predecessors = []
    for id in reached:
        for next in dict.fromkeys(blocks[id].successors):
            blocks[next].predecessors.append(id)
