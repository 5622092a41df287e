"""Truth values as expressions, and tests that are not asked twice.

    v = 1; if (a <= b) v = 0;                  ──►   v = a > b
    if (x == 1) v = 0; ...; if (x == 1) A      ──►   if (x == 1) { v = 0; ...; A }
    if (!p) return p;                          ──►   if (!p) return 0;
    return -(a == b);                          ──►   if (a == b) return -1; return 0;

Compilers keep a truth value in a register and test again what they have tested; this undoes it. Algorithm: one look at each block. Only
tests without a load are taken as the same. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Block, Compare, Const, Expr, Var, join_slots, variables_of
from bpflens.decompile.lift.webs import Webs, has_load, written
from bpflens.decompile.simplify import negate, simplify, substitute

__all__ = ("known_results", "same_tests", "split_results", "truth_values")

_TESTS = (Compare, ir.Not, ir.And, ir.Or)


def truth_values(function: Function, webs: Webs) -> bool:
    """A variable that is 1 where a test holds and 0 where it does not gets the test as its value. True where there was one."""
    blocks = function.blocks
    changed = False
    for block in list(blocks.values()):
        if block.id not in blocks or block.condition is None or len(block.successors) != 2:
            continue
        for which in (0, 1):
            inner, join = blocks[block.successors[which]], block.successors[1 - which]
            if inner.predecessors != [block.id] or inner.successors != [join] or inner.id in (function.entry, join):
                continue
            if _as_value(block, inner, which, webs):
                block.condition, block.successors = None, [join]
                blocks[join].predecessors.remove(inner.id)
                del blocks[inner.id]
                changed = True
                break
    return changed


def _as_value(block: Block, inner: Block, which: int, webs: Webs) -> bool:
    """Make the test the value of what `inner` assigns 0 or 1, if the block has assigned it the other one."""
    assert block.condition is not None
    if len(inner.statements) != 1 or type(inner.statements[0]) is not Assign:
        return False
    late = inner.statements[0]
    if late.value not in (Const(0), Const(1)) or late.var in variables_of(block.condition):
        return False
    for place in range(len(block.statements) - 1, -1, -1):
        early = block.statements[place]
        if written(early) == late.var:
            break
        if any(late.var in variables_of(expr) for expr in ir.inputs(early)):
            return False
    else:
        return False
    if type(early) is not Assign or early.value not in (Const(0), Const(1)) or early.value == late.value:
        return False
    holds = (which == 1) == (late.value == Const(1))
    value = _number(block.condition if holds else negate(block.condition))
    slots = join_slots(join_slots(early.slots, late.slots), block.end_slots)
    block.statements = [*block.statements[:place], *block.statements[place + 1 :], Assign(late.var, value, slots)]
    webs.definitions[late.var] -= 1
    return True


def _number(condition: Expr) -> Expr:
    """A condition as a number, 0 or 1: `a & b` is a condition, but none."""
    if type(condition) is Compare and condition.op == "&":
        both = ir.Binary("&", condition.left, condition.right, condition.width)
        return Compare("!=", both, Const(0), False, condition.width)
    if type(condition) is ir.Not:
        return negate(_number(condition.operand))
    return condition


def same_tests(function: Function) -> bool:
    """Edges over a test whose outcome the test before it tells go on to that outcome. True where there was one."""
    blocks = function.blocks
    changed = False
    for second in list(blocks.values()):
        if second.condition is None or len(second.successors) != 2 or second.statements or has_load(second.condition):
            continue
        read = set(variables_of(second.condition))
        for source in list(second.predecessors):
            outcome = _outcome(blocks, blocks[source], second, read)
            target = None if outcome is None else second.successors[outcome]
            if target is not None and target != second.id and len(second.predecessors) > 1:
                before = blocks[source]
                before.successors = [target if s == second.id else s for s in before.successors]
                second.predecessors.remove(source)
                if source not in blocks[target].predecessors:
                    blocks[target].predecessors.append(source)
                if len(before.successors) == 2 and before.successors[0] == before.successors[1]:
                    before.successors, before.condition = before.successors[:1], None
                changed = True
    return changed


def _outcome(blocks: dict[int, Block], before: Block, second: Block, read: set[int]) -> int | None:
    """1 or 0 where the test of `second` is known to hold or not on the way from `before`, None where it is not known."""
    came = second.id
    if before.condition is None and len(before.predecessors) == 1:  # a block between the two tests
        if any(written(statement) in read for statement in before.statements):
            return None
        came, before = before.id, blocks[before.predecessors[0]]
    if before.condition is None or before.id == second.id or before.successors.count(came) != 1:
        return None
    held = before.successors.index(came)
    if before.condition == second.condition:
        return held
    return 1 - held if before.condition == negate(second.condition) else None  # type: ignore[arg-type]


def split_results(function: Function) -> None:
    """`return -(x == 5)`: a test, and a number for each of its outcomes. A test that is the result itself stays."""
    blocks = function.blocks
    for block in list(blocks.values()):
        test = None if block.result is None or type(block.result) in _TESTS else _only_test(block.result)
        if test is None or block.result is None:
            continue
        ends = []
        for holds in (0, 1):
            end = Block(max(blocks) + 1, block.start)
            end.result, end.end_slots, end.predecessors = _with_test(block.result, test, Const(holds)), block.end_slots, [block.id]
            blocks[end.id] = end
            ends.append(end.id)
        block.condition, block.result, block.successors = test, None, ends


def _only_test(expr: Expr) -> Expr | None:
    """The test that is the only thing in an expression that is no number."""
    found: Expr | None = None
    pending = [expr]
    while pending:
        node = pending.pop()
        if type(node) in _TESTS:
            if found is not None:
                return None
            found = node
        elif type(node) in (ir.Binary, ir.Negate, ir.Zext, ir.Sext):
            pending += ir.children(node)
        elif type(node) is not Const:
            return None
    return found


def _with_test(expr: Expr, test: Expr, value: Const) -> Expr:
    """An expression with a number in place of the test in it."""
    if expr is test:
        return value
    operands = ir.children(expr)
    if not operands:
        return expr
    return simplify(ir.rebuild(expr, tuple(_with_test(operand, test, value) for operand in operands)))


def known_results(function: Function, bits: Callable[[int], int]) -> bool:
    """What is returned where a test has just said its value is that value. `bits`: known bits of a web. True where there was one."""
    changed = False
    for block in function.blocks.values():
        if block.result is None or type(block.result) is Const or len(block.predecessors) != 1:
            continue
        before = function.blocks[block.predecessors[0]]
        if before.condition is None or before.successors.count(block.id) != 1:
            continue
        known = _known(before.condition, before.successors.index(block.id) == 1, bits)
        for statement in block.statements:
            if (var := written(statement)) is not None:
                known.pop(var, None)
        if known:
            made = substitute(block.result, known.get, bits)
            changed |= made is not block.result
            block.result = made
    return changed


def _known(condition: Expr, holds: bool, bits: Callable[[int], int]) -> dict[int, Expr]:
    """Variables that are one number where a condition holds, or does not."""
    out: dict[int, Expr] = {}
    pending = [(condition, holds)]
    while pending:
        node, truth = pending.pop()
        if type(node) is ir.Not:
            pending.append((node.operand, not truth))
        elif (type(node) is ir.And and truth) or (type(node) is ir.Or and not truth):
            pending += [(node.left, truth), (node.right, truth)]
        elif type(node) is Compare and node.op == ("==" if truth else "!=") and (type(node.left), type(node.right)) == (Var, Const):
            web, number = node.left.id, node.right.value  # type: ignore[union-attr]
            if node.width == 64 or bits(web) <= node.width:
                out[web] = Const(number & ((1 << node.width) - 1))
    return out
