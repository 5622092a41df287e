"""Comparisons as C, with types that make C compare as the instruction does.

    if w1 s< 0   ──►   (__s32)a < 0"""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.c_expression.arithmetic import operand
from bpflens.decompile.c_expression.names import Names
from bpflens.decompile.c_expression.types import (
    BAND,
    EQUAL,
    INT,
    POINTER,
    PRIMARY,
    RELATION,
    S32,
    U32,
    U64,
    UNARY,
    CText,
    CType,
    int_type,
    wrap,
)
from bpflens.decompile.ir import Expr
from bpflens.decompile.types.bits import known_bits

__all__ = ("compare", "test")

_RELATIONS = {"==": EQUAL, "!=": EQUAL, "<": RELATION, "<=": RELATION, ">": RELATION, ">=": RELATION, "&": BAND}


def test(scope: Names, expr: Expr) -> CText:
    """A condition where C asks only whether it is 0: `p` for `p != 0`; numbers so, too, in the kernel's style."""
    if type(expr) is not ir.Compare:
        return scope.text(expr)
    if expr.op == "&":
        return _any_bit(scope, expr)
    if expr.op not in ("==", "!=") or type(expr.right) is not ir.Const or expr.right.value != 0:
        return compare(scope, expr, 64)
    left, right = _compared(scope, expr)
    if right.text != "0" or not (left.type.pointer or scope.terse()):
        return compare(scope, expr, 64)
    if expr.op == "==":
        return CText(f"!{wrap(left, UNARY)}", UNARY, INT)
    return CText(left.text, left.level, INT)


def compare(scope: Names, expr: ir.Compare, need: int) -> CText:
    """A comparison as a number, 0 or 1."""
    width, op = expr.width, expr.op
    level = _RELATIONS[op]
    if op == "&":
        return CText(f"({_any_bit(scope, expr).text}) != 0", EQUAL, INT)
    left, right = _compared(scope, expr)
    if width == 64 and left.type.pointer and right.type.pointer and left.type != right.type:
        left = left if left.type == POINTER else CText(f"(void *){wrap(left, UNARY)}", UNARY, POINTER)
    return CText(f"{wrap(left, level + 1)} {op} {wrap(right, level + 1)}", level, INT)


def _any_bit(scope: Names, expr: ir.Compare) -> CText:
    left, right = operand(scope, expr.left, expr.width), operand(scope, expr.right, expr.width)
    if expr.width == 32:  # of two 64-bit pieces the high halves would meet; a sign would extend into the high half
        wide = left.type.bits == 64, right.type.bits == 64
        if all(wide) or (wide[0] and right.type.signed) or (wide[1] and left.type.signed):
            left, right = scope.as_type(left, U32), scope.as_type(right, U32)
    return CText(f"{wrap(left, UNARY)} & {wrap(right, UNARY)}", BAND, INT)


def _compared(scope: Names, expr: ir.Compare) -> tuple[CText, CText]:
    """Both operands of a comparison, with types that make C compare as the instruction does."""
    width = expr.width
    if expr.signed:
        type_ = int_type(width, True)
        left = _signed(scope, expr.left, type_)
        right = _signed(scope, expr.right, type_)
        return left, right
    left, right = scope.text(expr.left, width), scope.text(expr.right, width)
    if width == 64 and (left.type.pointer or right.type.pointer):
        if left.type.pointer and right.type.pointer:
            return left, right
        if type(expr.right) is ir.Const and expr.right.value == 0 and expr.op in ("==", "!="):
            return left, CText("0", PRIMARY, INT)
        return operand(scope, expr.left, 64), operand(scope, expr.right, 64)
    if width == 32 and expr.op in ("==", "!="):  # C compares an int with an unsigned by its bits
        signs = left.type == S32, right.type == S32
        if any(signs) and left.type.bits <= 32 and right.type.bits <= 32 and not (left.type.pointer or right.type.pointer):
            other = expr.right if signs[0] else expr.left
            return (left, _literal(other, right)) if signs[0] else (_literal(other, left), right)
    left, right = _unsigned(scope, expr.left, left, width), _unsigned(scope, expr.right, right, width)
    if type(expr.right) is ir.Const and expr.op in ("==", "!="):
        right = scope.beside(expr.left, expr.right.value & ((1 << width) - 1)) or right
    return left, right


def _literal(expr: Expr, made: CText) -> CText:
    """A constant beside a signed number: -1 rather than 0xffffffff."""
    if type(expr) is ir.Const and expr.value & 0xFFFFFFFF > 0xFFFFF000:
        return CText(str((expr.value & 0xFFFFFFFF) - (1 << 32)), UNARY, S32)
    return made


def _unsigned(scope: Names, expr: Expr, made: CText, width: int) -> CText:
    """A piece that C compares as an unsigned number of `width` bits."""
    if type(expr) is ir.Const:
        value = expr.value & ((1 << width) - 1)
        if value < 1 << 31:
            return made
        return CText(f"{value:#x}{'ULL' if width == 64 else 'U'}", PRIMARY, U32 if value < 1 << 32 else U64)
    if made.type.pointer:
        made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
    if not made.type.signed and (made.type.bits <= width):
        return made
    if made.type.bits == 64 and not made.type.signed and known_bits(expr, scope.bits_of) <= width:
        exact = scope.text(expr, 64)
        if not exact.type.signed and not exact.type.pointer:
            return exact
    return scope.as_type(made, U32 if width == 32 else U64)


def _signed(scope: Names, expr: Expr, type_: CType) -> CText:
    width = type_.bits
    if type(expr) is ir.Const:
        value = expr.value & ((1 << width) - 1)
        value = value - (1 << width) if value >> width - 1 else value
        if -(1 << 31) < value < 1 << 31:
            return CText(str(value) if abs(value) < 4096 else hex(value), PRIMARY if value >= 0 else UNARY, INT if value >= 0 else S32)
    made = scope.text(expr, width)
    if made.type.signed and made.type.bits <= width and not made.type.pointer:
        return made
    if not made.type.pointer and not made.type.signed and made.type.bits < width and made.type.bits < 32:
        return made
    return scope.as_type(made, type_)
