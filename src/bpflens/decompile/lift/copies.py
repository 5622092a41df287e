"""Copies that are no variables of their own: `b = a`, where neither changes while the other is still read, makes them one.

    a = x; b = a; use(b); use(a)     ──►   a = x; use(a); use(a)

Algorithm: liveness; a pair of a copy interferes where one of them is assigned, but for the copy itself, while the other is live. Cost:
linear in the statements per round, at most four rounds.
"""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Expr, Var
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import Webs, live_in, map_inputs, with_var, written
from bpflens.decompile.simplify import substitute

__all__ = ("join_copies",)

_ROUNDS = 4


def join_copies(function: Function, webs: Webs, kept: frozenset[int]) -> None:
    """Make one variable of each pair. `kept`: variables that stay, as arguments do."""
    for _ in range(_ROUNDS):
        pairs = _pairs(function, kept | set(webs.arguments.values()) | webs.undefined)
        pairs -= _interfering(function, pairs)
        if not pairs:
            return
        renamed: dict[int, int] = {}
        for copy, of in sorted(pairs):
            if copy not in renamed and of not in renamed and copy not in renamed.values() and of not in renamed.values():
                renamed[copy] = of
        _rename(function, renamed)
        for copy, of in renamed.items():
            webs.copies.append((copy, of))
            webs.definitions[of] = webs.definitions.get(of, 0) + webs.definitions.pop(copy, 0) - 1


def _pairs(function: Function, kept: frozenset[int] | set[int]) -> set[tuple[int, int]]:
    """(copy, what it is a copy of)."""
    return {
        (statement.var, statement.value.id)
        for block in function.blocks.values()
        for statement in block.statements
        if type(statement) is Assign and type(statement.value) is Var and not {statement.var, statement.value.id} & kept
        and statement.var != statement.value.id
    }  # fmt: skip


def _interfering(function: Function, pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The pairs that cannot be one variable."""
    partners: dict[int, set[tuple[int, int]]] = {}
    for pair in pairs:
        for web in pair:
            partners.setdefault(web, set()).add(pair)
    live = live_in(function.blocks, postorder(function.blocks, function.entry))
    out: set[tuple[int, int]] = set()
    for block in function.blocks.values():
        alive = 0
        for next in block.successors:
            alive |= live.get(next, 0)
        for end in (block.condition, block.result):
            if end is not None:
                alive |= _bits(end)
        for statement in reversed(block.statements):
            var = written(statement)
            if var is not None:
                for pair in partners.get(var, ()):
                    other = pair[0] if pair[1] == var else pair[1]
                    if alive >> other & 1 and not (type(statement) is Assign and statement.value == Var(other)):
                        out.add(pair)
                alive &= ~(1 << var)
            for expr in ir.inputs(statement):
                alive |= _bits(expr)
    return out


def _bits(expr: Expr) -> int:
    bits = 0
    for var in ir.variables_of(expr):
        bits |= 1 << var
    return bits


def _rename(function: Function, renamed: dict[int, int]) -> None:
    def of(web: int) -> Expr | None:
        return Var(renamed[web]) if web in renamed else None

    for block in function.blocks.values():
        statements = []
        for statement in block.statements:
            made = map_inputs(statement, lambda expr: substitute(expr, of))
            var = written(made)
            made = with_var(made, renamed[var]) if var in renamed else made
            if type(made) is not Assign or made.value != Var(made.var):
                statements.append(made)
        block.statements = statements
        if block.condition is not None:
            block.condition = substitute(block.condition, of)
        if block.result is not None:
            block.result = substitute(block.result, of)
