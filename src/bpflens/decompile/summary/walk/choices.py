"""Variables that have one of several values, each under conditions, and what is left of that where ways meet."""

from __future__ import annotations

from typing import TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.conditions import Condition
from bpflens.decompile.summary.walk.joins import added

__all__ = ("MOST_CHOICES", "Choice", "Choices", "computed", "joined", "put", "same")

MOST_CHOICES = 64
_M64 = (1 << 64) - 1
Choice: TypeAlias = tuple[tuple[int | None, tuple[Condition, ...]], ...]
Choices: TypeAlias = dict[int, Choice]
"""Variable with several assignments -> the values that it may have here (None: computed), each with the conditions under which."""


def joined(a: Choices, b: Choices, at_a: tuple[Condition, ...] = (), at_b: tuple[Condition, ...] = ()) -> Choices:
    """The values that variables may have where two ways meet; one that only one way has assigned is unknown on the other."""
    out: Choices = {}
    for var in a.keys() & b.keys():
        values = tuple(dict.fromkeys((*under(a[var], at_a), *under(b[var], at_b)))) if a[var] != b[var] else a[var]
        if len(values) <= MOST_CHOICES:
            out[var] = values
    return out


def put(expr: ir.Expr, var: int, number: int) -> ir.Expr:
    """The expression with a number for a variable."""
    if isinstance(expr, ir.Var):
        return ir.Const(number) if expr.id == var else expr
    return ir.rebuild(expr, tuple(put(part, var, number) for part in ir.children(expr)))


def same(a: dict[int, ir.Expr], b: dict[int, ir.Expr]) -> dict[int, ir.Expr]:
    return {var: value for var, value in a.items() if b.get(var) == value}


def under(values: Choice, conditions: tuple[Condition, ...]) -> Choice:
    """The same values, under what else holds on this way."""
    return tuple(
        (value, known + added(known, conditions)) for value, known in values
    )


def computed(expr: ir.Expr) -> int | None:
    """The number that an expression over numbers is; None where something else is in it, or for operations that are rare in verdicts."""
    match expr:
        case ir.Const():
            return expr.value
        case ir.Zext() | ir.Sext() | ir.Negate() | ir.Not():
            inner = computed(expr.operand)
            return None if inner is None else _unary(expr, inner)
        case ir.Binary():
            left, right = computed(expr.left), computed(expr.right)
            return None if left is None or right is None else _binary(expr, left, right)
    return None


def _unary(expr: ir.Zext | ir.Sext | ir.Negate | ir.Not, inner: int) -> int:
    if isinstance(expr, ir.Not):
        return int(not inner)
    if isinstance(expr, ir.Negate):
        return -inner & (1 << expr.width) - 1
    low = inner & (1 << expr.bits) - 1
    if isinstance(expr, ir.Sext) and low >> expr.bits - 1:
        low -= 1 << expr.bits
    return low & _M64


def _binary(expr: ir.Binary, left: int, right: int) -> int | None:
    mask = (1 << expr.width) - 1
    left, right = left & mask, right & mask
    match expr.op:
        case "+":
            return left + right & mask
        case "-":
            return left - right & mask
        case "*":
            return left * right & mask
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "<<":
            return left << right % expr.width & mask
        case ">>":
            return left >> right % expr.width
    return None
