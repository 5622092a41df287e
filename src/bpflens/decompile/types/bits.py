"""How many low bits of a value may be set: what makes zero extensions and casts unnecessary.

    *(u8 *)p << 4          12 bits
    v & 0xfff              12 bits

Cost: linear in the expression.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.ir import Expr

__all__ = ("known_bits",)


def known_bits(expr: Expr, of: Callable[[int], int]) -> int:
    """All bits from this one on are 0, 1 to 64; `of` says it of a variable."""
    kind = type(expr)
    if kind is ir.Const:
        return max(1, expr.value.bit_length())  # type: ignore[union-attr]
    if kind is ir.Var:
        return of(expr.id)  # type: ignore[union-attr]
    if kind is ir.Load:
        return 64 if expr.signed else 8 * expr.size  # type: ignore[union-attr]
    if kind is ir.Zext:
        return min(expr.bits, known_bits(expr.operand, of))  # type: ignore[union-attr]
    if kind is ir.Swap:
        return expr.bits  # type: ignore[union-attr]
    if kind is ir.Binary:
        return _binary(expr, of)  # type: ignore[arg-type]
    if kind is ir.Negate:
        return expr.width  # type: ignore[union-attr]
    if kind in (ir.Compare, ir.Not, ir.And, ir.Or):
        return 1
    return 64


def _binary(expr: ir.Binary, of: Callable[[int], int]) -> int:
    op, width = expr.op, expr.width
    if op[0] == "s":
        return width
    left = min(width, known_bits(expr.left, of))
    if op in (">>", "/", "%"):
        if op == ">>" and type(expr.right) is ir.Const:
            return max(1, left - (expr.right.value & width - 1))
        return left
    if op == "<<":
        return min(width, left + (expr.right.value & width - 1)) if type(expr.right) is ir.Const else width
    right = min(width, known_bits(expr.right, of))
    if op == "&":
        return min(left, right)
    if op in ("|", "^"):
        return max(left, right)
    if op == "+":
        return min(width, max(left, right) + 1)
    if op == "*":
        return min(width, left + right)
    return width
