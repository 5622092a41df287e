"""Arithmetic as C: sums, products, shifts, divisions, with the casts that keep C's own conversions from changing the value.

    (u32)(a + b) << 4      r1 /= r2   ──►   bpf_div64(a, b), because C says nothing about a division by zero"""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.c_expression.names import Names
from bpflens.decompile.c_expression.types import (
    ADD,
    BAND,
    BOR,
    INT,
    MUL,
    POINTER,
    PRIMARY,
    S32,
    S64,
    SHIFT,
    U32,
    U64,
    UNARY,
    XOR,
    CText,
    common,
    int_type,
    promoted,
    wrap,
)
from bpflens.decompile.ir import Expr
from bpflens.decompile.types.bits import known_bits

__all__ = ("binary", "constant", "negative", "operand")

_LEVEL = {
    "*": MUL, "/": MUL, "%": MUL, "s/": MUL, "s%": MUL, "+": ADD, "-": ADD, "<<": SHIFT, ">>": SHIFT, "s>>": SHIFT, "&": BAND, "^": XOR,
    "|": BOR,
}  # fmt: skip


def constant(scope: Names, expr: ir.Const, need: int) -> CText:
    value = expr.value & ((1 << need) - 1)
    if value < 1 << 31:
        return CText(str(value) if value < 4096 else hex(value), PRIMARY, INT)
    if value >> need - 1 and need in (32, 64) and (1 << need) - value < 4096:
        return CText(f"-{(1 << need) - value}", UNARY, S32)
    if value < 1 << 32:
        return CText(f"{value:#x}", PRIMARY, U32)
    if value >> 63:
        return CText(f"{value:#x}ULL", PRIMARY, U64)
    return CText(f"{value:#x}ULL", PRIMARY, U64)


def binary(scope: Names, expr: ir.Binary, need: int) -> CText:
    op = expr.op
    if op in ("+", "-", "*", "&", "|", "^"):
        return _ring(scope, expr, need)
    if op in ("<<", ">>", "s>>"):
        return _shift(scope, expr, need)
    return _division(scope, expr, need)


def _ring(scope: Names, expr: ir.Binary, need: int) -> CText:
    """Operations whose low bits depend only on the low bits of their operands."""
    op, level = expr.op, _LEVEL[expr.op]
    wanted = min(need, expr.width)
    if expr.width == 64 and op == "+" and type(expr.right) is ir.CoreRef:
        base = scope.unnamed(expr.left)
        found = scope.core_address(expr.right, base if base.type.bits == 64 else scope.as_type(base, U64))
        if found is not None:
            return found
    if expr.width == 64 and need == 64 and op in ("+", "-"):
        moved = _pointer_sum(scope, expr)
        if moved is not None:
            return moved
    left, right = operand(scope, expr.left, wanted), operand(scope, expr.right, wanted)
    if type(expr.right) is ir.Const and op == "+":
        negative = -expr.right.value & ((1 << expr.width) - 1)
        if 0 < negative < 1 << expr.width - 1 and (negative < 1 << 31):
            op, level = "-", ADD
            right = constant(scope, ir.Const(negative), wanted)
    if wanted > 32 and left.type.bits < 64 and right.type.bits < 64:
        exact = op in ("&", "|", "^") and not left.type.signed and not right.type.signed
        if not exact and not _fits(scope, expr, left, right):
            left = scope.as_type(left, U64)
    elif op not in ("&", "|", "^") and (common(left.type, right.type).signed or common(left.type, right.type) == INT):
        # C's signed arithmetic must not overflow: only sums of small numbers stay signed
        tiny = left.type.bits <= 16 and not left.type.signed and (right.type.bits <= 16 or _small(expr.right)) and not right.type.signed
        if not (tiny and op == "+"):
            left = scope.as_type(left, U64 if 64 in (left.type.bits, right.type.bits) else U32)
    result = common(left.type, right.type)
    made = CText(f"{wrap(left, level)} {op} {wrap(right, level + 1)}", level, result)
    if level in (BAND, BOR, XOR):  # compilers warn of & within |, readers stumble
        made = CText(f"{wrap(left, UNARY if left.level != level else level)} {op} {wrap(right, UNARY)}", level, result)
    if expr.width == 32 and need > 32:
        return _cut(scope, made, expr)
    return made


def _small(expr: Expr) -> bool:
    return type(expr) is ir.Const and expr.value < 1 << 30


def _fits(scope: Names, expr: ir.Binary, left: CText, right: CText) -> bool:
    """Does a 64-bit operation on narrower C operands give the same in C's own 32 bits?"""
    if left.type.signed or right.type.signed or expr.op == "-":
        return False
    a, b = known_bits(expr.left, scope.bits_of), known_bits(expr.right, scope.bits_of)
    limit = 32 if 32 in (left.type.bits, right.type.bits) else 31
    total = max(a, b) + 1 if expr.op == "+" else a + b
    return total <= limit


def _cut(scope: Names, made: CText, expr: Expr) -> CText:
    """The result of a 32-bit operation, extended with zeros: what C has where the type is 32 bits unsigned already."""
    if made.type in (U32, INT) or (not made.type.signed and not made.type.pointer and made.type.bits <= 32):
        return made
    return scope.as_type(made, U32)


def operand(scope: Names, expr: Expr, need: int) -> CText:
    """An operand of arithmetic: a pointer as its number."""
    made = scope.text(expr, need)
    if made.type.pointer:
        return CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
    return made


def _pointer_sum(scope: Names, expr: ir.Binary) -> CText | None:
    """pointer + number, as C's arithmetic on void *; None where no operand is a pointer."""
    left = scope.text(expr.left)
    right = scope.text(expr.right)
    if expr.op == "+" and right.type.pointer and not left.type.pointer:
        left, right = right, left
        number: Expr = expr.left
    elif left.type.pointer and not right.type.pointer:
        number = expr.right
    else:
        return None
    base = left if left.type.pointer == "void *" else CText(f"(void *){wrap(left, UNARY)}", UNARY, POINTER)
    op = expr.op
    if type(number) is ir.Const:
        signed = number.value - (1 << 64) if number.value >> 63 else number.value
        if op == "-":
            signed = -signed
        op = "-" if signed < 0 else "+"
        return CText(f"{wrap(base, ADD)} {op} {abs(signed) if abs(signed) < 4096 else hex(abs(signed))}", ADD, POINTER)
    return CText(f"{wrap(base, ADD)} {op} {wrap(right, ADD + 1)}", ADD, POINTER)


def _shift(scope: Names, expr: ir.Binary, need: int) -> CText:
    op, width = expr.op, expr.width
    count = expr.right
    if type(count) is ir.Const:
        amount = CText(str(count.value & width - 1), PRIMARY, INT)
    elif _below(count, width):
        amount = scope.text(count)
    else:
        inner = operand(scope, count, 32)
        amount = CText(f"{wrap(inner, UNARY)} & {width - 1}", BAND, INT)
    if op == "<<":
        wanted = min(need, width)
        if width == 64 and not (type(count) is ir.Const and count.value & 63 < 32):
            wanted = 64  # a shift by 32 or more is none of 32 bits
        left = operand(scope, expr.left, wanted)
        if wanted > 32:
            if left.type.signed or (left.type.bits < 64 and not _shift_fits(scope, expr, left)):
                left = scope.as_type(left, U64)
        elif left.type.signed:
            left = scope.as_type(left, U32)
        elif left.type.bits < 32:
            left = scope.as_type(left, U32) if not _shift_fits(scope, expr, left) else left
        made = CText(f"{wrap(left, SHIFT)} << {wrap(amount, SHIFT + 1)}", SHIFT, promoted(left.type))
        return _cut(scope, made, expr) if width == 32 and need > 32 else made
    if op == ">>":
        left = scope.text(expr.left, width)
        bits = known_bits(expr.left, scope.bits_of)
        if not (bits <= 32 and not left.type.signed and not left.type.pointer and left.type.bits <= 32) or left.type.bits == 64:
            left = scope.as_type(left, U32 if width == 32 else U64)
        if width == 64 and left.type.bits < 64 and not (type(count) is ir.Const and count.value & 63 < 32):
            left = scope.as_type(left, U64)
        return CText(f"{wrap(left, SHIFT)} >> {wrap(amount, SHIFT + 1)}", SHIFT, promoted(left.type))
    left = scope.number(expr.left, S32 if width == 32 else S64)
    made = CText(f"{wrap(left, SHIFT)} >> {wrap(amount, SHIFT + 1)}", SHIFT, left.type)
    return scope.as_type(made, U32) if width == 32 and need > 32 else made


def _shift_fits(scope: Names, expr: ir.Binary, left: CText) -> bool:
    """Does a shift to the left stay within what C computes in?"""
    if type(expr.right) is not ir.Const or left.type.signed or left.type.pointer:
        return False
    limit = 32 if left.type.bits == 32 else 31
    return known_bits(expr.left, scope.bits_of) + (expr.right.value & expr.width - 1) <= limit


def _below(expr: Expr, limit: int) -> bool:
    return type(expr) is ir.Binary and expr.op == "&" and type(expr.right) is ir.Const and expr.right.value < limit


def _division(scope: Names, expr: ir.Binary, need: int) -> CText:
    op, width = expr.op, expr.width
    signed = op[0] == "s"
    sign = op[-1]
    type_ = int_type(width, signed)
    left, right = scope.number(expr.left, type_), scope.number(expr.right, type_)
    divisor = expr.right.value & ((1 << width) - 1) if isinstance(expr.right, ir.Const) else 0
    if signed:
        name = f"bpf_s{'div' if sign == '/' else 'mod'}{width}"  # clang has no signed division below -mcpu=v4
        made = CText(f"{scope.macro(name)}({left.text}, {right.text})", PRIMARY, type_)
        return scope.as_type(made, U32) if width == 32 and need > 32 else made
    if divisor:
        plain = scope.text(expr.left, width)
        if not plain.type.signed and not plain.type.pointer and (plain.type.bits <= 32 or width == 64):
            left = plain
        right = constant(scope, ir.Const(divisor), 64)
        if right.type.signed:
            right = CText(f"{divisor:#x}{'ULL' if width == 64 else 'U'}", PRIMARY, type_)
        return CText(f"{wrap(left, MUL)} {sign} {wrap(right, MUL + 1)}", MUL, common(left.type, right.type))
    name = f"bpf_{'div' if sign == '/' else 'mod'}{width}"
    return CText(f"{scope.macro(name)}({left.text}, {right.text})", PRIMARY, type_)


def negative(scope: Names, expr: ir.Negate, need: int) -> CText:
    wanted = min(need, expr.width)
    inner = scope.number(expr.operand, U64 if wanted > 32 else U32)
    text = wrap(inner, UNARY)
    return CText(f"-({text})" if text.startswith("-") else f"-{text}", UNARY, inner.type)
