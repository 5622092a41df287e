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
    if isinstance(expr, ir.Const):
        return max(1, expr.value.bit_length())
    if isinstance(expr, ir.Var):
        return of(expr.id)
    if isinstance(expr, ir.Load):
        return 64 if expr.signed else 8 * expr.size
    if isinstance(expr, ir.Zext):
        return min(expr.bits, known_bits(expr.operand, of))
    if isinstance(expr, ir.Swap):
        return expr.bits
    if isinstance(expr, ir.Binary):
        return _binary(expr, of)
    if isinstance(expr, ir.Negate):
        return expr.width
    return 1 if isinstance(expr, (ir.Compare, ir.Not, ir.And, ir.Or)) else 64


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
