"""The shapes that people write: else-if instead of nesting, early return, while, for and do-while, switch.

    for (;;) { if (!c) break; body }          ──►   while (c) { body }
    i = 0; while (i < n) { body; i = i + 1 }  ──►   for (i = 0; i < n; i++) { body }
    if (x == 1) A else if (x == 2) B ...      ──►   switch (x) { case 1: A ... }

Each rule looks at one list of nodes whose children are in shape already. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Compare, Const, Expr, variables_of
from bpflens.decompile.simplify import negate
from bpflens.decompile.tree import (
    Break,
    Case,
    Continue,
    DoWhile,
    For,
    ForEver,
    Goto,
    If,
    Label,
    Node,
    Return,
    Simple,
    Switch,
    Tree,
    While,
)

__all__ = ("leaves", "rewrite", "shape")

_JUMPS = (Return, Goto, Break, Continue)
_MIN_CASES = 3


def _same(tree: Tree) -> Tree:
    return tree


def rewrite(tree: Tree, rule: Callable[[Tree], Tree], before: Callable[[Tree], Tree] = _same) -> Tree:
    """Apply a rule to every list of nodes, innermost first; `before`, outermost first, comes before it. Uses its own stack."""
    # each frame: nodes, which is next, the lists of it that are done, and all of them
    result: list[Tree] = []
    stack: list[list[object]] = [[list(before(tree)), 0, [], None]]
    while stack:
        frame = stack[-1]
        nodes, index, done, parts = frame
        assert isinstance(nodes, list) and isinstance(index, int) and isinstance(done, list)
        if result:
            done.append(result.pop())
        if index < len(nodes):
            node = nodes[index]
            if not isinstance(parts, tuple):
                frame[3] = parts = _lists_of(node)
            if len(done) < len(parts):
                stack.append([list(before(parts[len(done)])), 0, [], None])
                continue
            if parts:
                nodes[index] = _with_lists(node, done)
            frame[1:] = [index + 1, [], None]
            continue
        stack.pop()
        made = rule(tuple(nodes))
        if stack:
            result.append(made)
        else:
            return made
    return tree


def _lists_of(node: Node) -> tuple[Tree, ...]:
    if isinstance(node, If):
        return node.then, node.other
    if isinstance(node, (ForEver, While, DoWhile, For)):
        return (node.body,)
    if isinstance(node, Switch):
        return tuple(case.body for case in node.cases)
    return ()


def _with_lists(node: Node, lists: list[Tree]) -> Node:
    if isinstance(node, If):
        return If(node.condition, lists[0], lists[1], node.slots)
    if isinstance(node, Switch):
        return replace(node, cases=tuple(Case(case.values, body) for case, body in zip(node.cases, lists, strict=True)))
    return replace(node, body=lists[0]) if isinstance(node, (ForEver, While, DoWhile, For)) else node


def shape(tree: Tree) -> Tree:
    """The tree in shape."""
    return rewrite(tree, _shape_list, _switches)


def _shape_list(nodes: Tree) -> Tree:
    """The rules for one list; what an else brings up into it comes last, because it is in shape already."""
    nodes = _without_idle(nodes)
    nodes = tuple(_loop(node) if type(node) is ForEver else node for node in nodes)
    return _early_exits(_for_loops(nodes))


def leaves(nodes: Tree) -> bool:
    """Does control never reach the end of a list of nodes?"""
    while nodes:
        last = nodes[-1]
        if type(last) in _JUMPS:
            return True
        if type(last) is If and last.then and last.other:
            if not leaves(last.then):
                return False
            nodes = last.other
            continue
        if type(last) is Switch:
            return any(not case.values for case in last.cases) and all(leaves(case.body) for case in last.cases)
        return type(last) is ForEver and not _has_own(last.body, Break)
    return False


def _has_own(nodes: Tree, kind: type) -> bool:
    """Is there a break or continue of this loop, not of one inside?"""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if type(node) is kind:
            return True
        if type(node) is If:
            pending += [*node.then, *node.other]
        elif type(node) is Switch:
            pending += [inner for case in node.cases for inner in case.body]
    return False


def _without_idle(nodes: Tree) -> Tree:
    """No ifs that do nothing; nothing after a jump up to the next label."""
    out: list[Node] = []
    for node in nodes:
        if out and type(out[-1]) in _JUMPS and type(node) is not Label:
            continue
        if type(node) is If and not node.then:
            if not node.other:
                continue
            node = If(negate(node.condition), node.other, (), node.slots)
        out.append(node)
    return tuple(out)


def _early_exits(nodes: Tree) -> Tree:
    """`if (c) { ...; return } else { rest }` without the else; the side that leaves, or the shorter one, comes first."""
    out: list[Node] = []
    for node in nodes:
        if type(node) is If and node.other:
            then, other = node.then, node.other
            condition: Expr = node.condition
            then_leaves, other_leaves = leaves(then), leaves(other)
            swap = other_leaves and (not then_leaves or (len(other) == 1 and type(other[0]) in _JUMPS and not (
                len(then) == 1 and type(then[0]) in _JUMPS)))  # fmt: skip
            if swap:
                then, other, condition = other, then, negate(condition)
                then_leaves = True
            if then_leaves:
                out.append(If(condition, then, (), node.slots))
                out += other
                continue
            node = If(condition, then, other, node.slots)
        out.append(node)
    return tuple(out)


def _loop(node: ForEver) -> Node:
    """while and do-while."""
    body = node.body
    while body and type(body[-1]) is Continue:
        body = body[:-1]
    if not body:
        return ForEver(body, node.slots)
    first = body[0]
    if type(first) is If and not first.other and len(first.then) == 1 and type(first.then[0]) is Break:
        return While(negate(first.condition), body[1:], first.slots)
    if type(first) is If and len(body) >= 1 and not first.other and leaves(first.then) and len(body) == 2 and type(body[1]) is Break:
        inner = first.then[:-1] if type(first.then[-1]) is Continue else first.then
        if not _has_own(inner, Break):
            return While(first.condition, inner, first.slots)
    last = body[-1]
    if type(last) is If and not last.other and len(last.then) == 1 and type(last.then[0]) is Break and not _has_own(body, Continue):
        return DoWhile(negate(last.condition), body[:-1], last.slots)
    if (
        type(last) is Break
        and len(body) >= 2
        and type(body[-2]) is If
        and not body[-2].other
        and len(body[-2].then) == 1
        and type(body[-2].then[0]) is Continue
        and not _has_own(body[:-2], Continue)
    ):
        return DoWhile(body[-2].condition, body[:-2], body[-2].slots)
    return ForEver(body, node.slots)


def _for_loops(nodes: Tree) -> Tree:
    """`i = a; while (c(i)) { ...; i = i + s }`."""
    out: list[Node] = []
    for node in nodes:
        if isinstance(node, While) and (step := _step_of(node)) is not None:
            before = _assignment(out[-1]) if out else None
            first = before if before is not None and before.var == step.var else None
            if first is not None:
                out.pop()
            node = For(first, node.condition, step, node.body[:-1], node.slots)
        out.append(node)
    return tuple(out)


def _assignment(node: Node) -> Assign | None:
    return node.statement if isinstance(node, Simple) and isinstance(node.statement, Assign) else None


def _step_of(loop: While) -> Assign | None:
    """The assignment at the end of a loop's body that changes what its condition looks at."""
    step = _assignment(loop.body[-1]) if loop.body and not _has_own(loop.body, Continue) else None
    return step if step is not None and _is_step(step) and step.var in variables_of(loop.condition) else None


def _is_step(step: Assign) -> bool:
    value = step.value
    if type(value) is ir.Zext:
        value = value.operand
    if type(value) is not ir.Binary or value.op not in ("+", "-", "<<", ">>"):
        return False
    return step.var in variables_of(value) and type(value.right) is Const


def _switches(nodes: Tree) -> Tree:
    """Ladders of comparisons of one value with constants; what is left of a ladder stands behind the switch, where all its cases leave."""
    out: list[Node] = []
    for node in nodes:
        out += _switch(node) if type(node) is If else (node,)
    return tuple(out)


def _switch(node: If) -> Tree:
    cases: list[Case] = []
    subject: Expr | None = None
    seen: set[int] = set()
    slots: list[int] = []
    rest: Tree = (node,)
    while len(rest) == 1 and type(rest[0]) is If:
        step = rest[0]
        found = _case_values(step.condition)
        if found is None and (found := _case_values(negate(step.condition))) is not None:
            step = If(negate(step.condition), step.other, step.then, step.slots)
        if found is None or (subject is not None and found[0] != subject) or seen & set(found[1]) or _has_own(step.then, Break):
            break
        subject = found[0]
        seen.update(found[1])
        cases.append(Case(found[1], step.then))
        slots += step.slots
        rest = step.other
    if subject is None or len(cases) < _MIN_CASES:
        return (node,)
    where = tuple(sorted(set(slots)))
    if not rest or all(leaves(case.body) for case in cases):
        return (Switch(subject, tuple(cases), where), *rest)
    if _has_own(rest, Break):
        return (node,)
    return (Switch(subject, (*cases, Case((), rest)), where),)


def _case_values(condition: Expr) -> tuple[Expr, tuple[int, ...]] | None:
    """x == 1 || x == 2  ->  x, (1, 2)."""
    values: list[int] = []
    subject: Expr | None = None
    pending = [condition]
    while pending:
        part = pending.pop()
        if type(part) is ir.Or:
            pending += [part.right, part.left]
            continue
        if type(part) is not Compare or part.op != "==" or type(part.right) is not Const:
            return None
        value = part.left if part.width == 64 else ir.Zext(32, part.left)
        if type(part.left) is not ir.Var or (subject is not None and subject != value):
            return None
        subject = value
        values.append(part.right.value)
    return (subject, tuple(values)) if subject is not None else None
