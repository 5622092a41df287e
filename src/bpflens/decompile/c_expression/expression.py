"""Expressions as C whose value is provably the expression's.

    Binary("+", Var(u32 a), Const(1), 64)              ──►   (__u64)a + 1
    Binary("+", Var(u32 a), Const(1), 64), 32 needed   ──►   a + 1

`text(expr, need)` gives C whose value, converted to __u64, equals the expression modulo 2**need: what the reader of the value needs
(a store of 4 bytes needs 32 bits) decides which casts must be written. Each piece of C carries its type, so that the usual arithmetic
conversions of C are applied knowingly: small unsigned types become a non-negative int, signed ones extend their sign.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.c_expression.arithmetic import binary, constant, negative, operand
from bpflens.decompile.c_expression.comparison import compare, test
from bpflens.decompile.c_expression.names import Names
from bpflens.decompile.c_expression.types import AND, BAND, INT, OR, PRIMARY, U32, U64, UNARY, UNSIGNED, CText, int_type, wrap
from bpflens.decompile.ir import Expr
from bpflens.decompile.types.bits import known_bits
from bpflens.decompile.types.demand import TooNarrow

__all__ = ("Scope",)


def _variable(scope: Names, expr: ir.Var, need: int) -> CText:
    made = scope.variable(expr.id)
    if need > 32 and made.type.bits == 32:
        if scope.narrowed(expr.id):
            raise TooNarrow(expr.id)
        if made.type.signed:  # the variable holds the low half; its value has zeros above
            return scope.as_type(made, U32)
    return made


def _zext(scope: Names, expr: ir.Zext, need: int) -> CText:
    if need <= expr.bits:
        return scope.text(expr.operand, need)
    made = scope.text(expr.operand, expr.bits)
    if not made.type.signed and not made.type.pointer and made.type.bits <= expr.bits:
        return made
    if known_bits(expr.operand, scope.bits_of) <= expr.bits and not made.type.signed and not made.type.pointer:
        exact = scope.text(expr.operand, 64)
        if not exact.type.signed:
            return exact
    if expr.bits not in UNSIGNED:
        inner = scope.as_type(made, U64)
        return CText(f"{wrap(inner, UNARY)} & {(1 << expr.bits) - 1:#x}", BAND, U64)
    return scope.as_type(made, int_type(expr.bits))


def _sext(scope: Names, expr: ir.Sext, need: int) -> CText:
    if need <= expr.bits:
        return scope.text(expr.operand, need)
    return scope.number(expr.operand, int_type(expr.bits, True))


def _swap(scope: Names, expr: ir.Swap, need: int) -> CText:
    name = scope.swap_name(expr)
    made = operand(scope, expr.operand, expr.bits)
    return CText(f"{name}({made.text})", PRIMARY, int_type(expr.bits))


def _load(scope: Names, expr: ir.Load, need: int) -> CText:
    named = scope.member(expr, need)
    if named is not None:
        return named
    return CText(scope.address(expr.address, scope.raw_type(expr.size, expr.signed)), UNARY, int_type(8 * expr.size, expr.signed))


def _not(scope: Names, expr: ir.Not, need: int) -> CText:
    return CText(f"!{wrap(test(scope, expr.operand), UNARY)}", UNARY, INT)


def _both(op: str, level: int, other: int) -> Callable[[Names, Expr, int], CText]:
    def write(scope: Names, expr: Expr, need: int) -> CText:
        pieces = []
        for side in ir.children(expr):
            made = test(scope, side)
            # "&&" within "||" in parentheses: compilers warn of it, readers stumble over it
            pieces.append(f"({made.text})" if made.level < level or made.level == other or made.level == BAND else made.text)
        return CText(f" {op} ".join(pieces), level, INT)

    return write


_WRITERS: dict[type[Expr], Callable[..., CText]] = {
    ir.Const: constant,
    ir.Var: _variable,
    ir.Binary: binary,
    ir.Negate: negative,
    ir.Zext: _zext,
    ir.Sext: _sext,
    ir.Swap: _swap,
    ir.Load: _load,
    ir.MapRef: lambda scope, expr, need: scope.map(expr.name),
    ir.DataRef: lambda scope, expr, need: scope.data(expr),
    ir.FuncRef: lambda scope, expr, need: scope.function(expr.name),
    ir.SymRef: lambda scope, expr, need: scope.symbol(expr.name),
    ir.FrameRef: lambda scope, expr, need: scope.frame(expr),
    ir.StackRef: lambda scope, expr, need: scope.frame(expr),
    ir.CoreRef: lambda scope, expr, need: scope.core(expr),
    ir.Compare: compare,
    ir.Not: _not,
    ir.And: _both("&&", AND, OR),
    ir.Or: _both("||", OR, AND),
}


class Scope(Names):
    """Names with the writers of expressions: subclassed by the writers of each level."""

    def text(self, expr: Expr, need: int = 64) -> CText:
        """C of an expression that is right in its low `need` bits."""
        return _WRITERS[type(expr)](self, expr, need)

    def condition(self, expr: Expr) -> str:
        """A condition for if and while."""
        return test(self, expr).text
