"""Expressions made simpler, node by node, without changing what they compute.

    (x << 48) >> 48          ──►   Zext(16, x)
    (x + 8) + -4             ──►   x + 4
    Zext(32, a) +32 b        ──►   a +32 b           (the operation takes the low halves anyway)

`simplify` looks at one node whose operands are simple already; `substitute` rebuilds an expression from its leaves. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.ir import MASK64, Binary, Compare, Const, Expr, Sext, Swap, Zext
from bpflens.decompile.types.bits import known_bits

__all__ = ("evaluate", "negate", "simplify", "substitute")

M32 = 0xFFFFFFFF
_MASKS = {0xFF: 8, 0xFFFF: 16, 0xFFFFFFFF: 32}
_RING = frozenset("+-*&|^")
_KEEPING = frozenset((32, 48, 56))  # shifts to the left by which compilers look at the low 32, 16 or 8 bits
_INVERSE = {"==": "!=", "!=": "==", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}
_SWAPPED = {"==": "==", "!=": "!=", ">": "<", "<": ">", ">=": "<=", "<=": ">=", "&": "&"}


def _unknown(_: int) -> int:
    return 64


def substitute(expr: Expr, of: Callable[[int], Expr | None], bits: Callable[[int], int] = _unknown) -> Expr:
    """The expression with variables replaced where `of` gives something, simplified on the way up."""
    if isinstance(expr, ir.Var):
        made = of(expr.id)
        return expr if made is None else made
    operands = ir.children(expr)
    if not operands:
        return expr
    changed = tuple(substitute(operand, of, bits) for operand in operands)
    if all(a is b for a, b in zip(changed, operands, strict=True)):
        return expr
    return simplify(ir.rebuild(expr, changed), bits)


def deeply(expr: Expr, bits: Callable[[int], int]) -> Expr:
    """The expression simplified from its leaves on."""
    operands = ir.children(expr)
    if not operands:
        return expr
    changed = tuple(deeply(operand, bits) for operand in operands)
    if any(a is not b for a, b in zip(changed, operands, strict=True)):
        expr = ir.rebuild(expr, changed)
    return simplify(expr, bits)


def simplify(expr: Expr, bits: Callable[[int], int] = _unknown) -> Expr:
    """One node, its operands simple already."""
    rule = _RULES.get(type(expr))
    return expr if rule is None else rule(expr, bits)


def evaluate(op: str, a: int, b: int, width: int) -> int:
    """What an arithmetic instruction computes (RFC 9669 section 4.1)."""
    mask = M32 if width == 32 else MASK64
    a, b = a & mask, b & mask
    if op == "+":
        value = a + b
    elif op == "-":
        value = a - b
    elif op == "*":
        value = a * b
    elif op == "&":
        value = a & b
    elif op == "|":
        value = a | b
    elif op == "^":
        value = a ^ b
    elif op == "<<":
        value = a << (b & width - 1)
    elif op == ">>":
        value = a >> (b & width - 1)
    elif op == "s>>":
        value = _signed(a, width) >> (b & width - 1)
    elif op == "/":
        value = a // b if b else 0
    elif op == "%":
        value = a % b if b else a
    else:
        x, y = _signed(a, width), _signed(b, width)
        quotient = 0 if not y else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        value = quotient if op == "s/" else x - quotient * y if y else x
    return value & mask


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> width - 1 else value


def _binary(expr: Binary, bits: Callable[[int], int]) -> Expr:
    op, left, right, width = expr.op, expr.left, expr.right, expr.width
    if type(left) is Const and type(right) is Const:
        return Const(evaluate(op, left.value, right.value, width))
    if type(left) is Const and op in ("+", "*", "&", "|", "^"):
        left, right = right, left
        expr = Binary(op, left, right, width)
    if width == 32:
        narrow_left, narrow_right = _narrow(left, op), _narrow(right, op)
        if narrow_left is not left or narrow_right is not right:
            return _binary(Binary(op, narrow_left, narrow_right, 32), bits)
    if type(right) is Const:
        return _with_constant(expr, op, left, right, width, bits)
    if op == "-" and left == right and type(left) is ir.Var:
        return Const(0)
    if op == "^" and left == right and type(left) is ir.Var:
        return Const(0)
    if op in ("|", "&") and left == right and type(left) is ir.Var and width == 64:
        return left
    return expr


def _narrow(operand: Expr, op: str) -> Expr:
    """An operand of a 32-bit operation without an extension that the operation undoes."""
    if type(operand) is Zext and operand.bits == 32:
        return operand.operand
    if type(operand) is Sext and operand.bits >= 32:
        return operand.operand
    return operand


def _with_constant(expr: Binary, op: str, left: Expr, right: Const, width: int, bits: Callable[[int], int]) -> Expr:
    mask = M32 if width == 32 else MASK64
    value = right.value & mask
    if op == "-":
        return _binary(Binary("+", left, Const(-value & mask), width), bits)
    if value == 0 and op in ("+", "|", "^", "<<", ">>", "s>>"):
        return left if width == 64 else simplify(Zext(32, left), bits)
    if op == "*" and value == 1:
        return left if width == 64 else simplify(Zext(32, left), bits)
    if op in ("*", "&") and value == 0:
        return Const(0)
    if op == "|" and (value + 1) & value == 0 and known_bits(left, bits) <= value.bit_length():
        return Const(value)
    if op == ">>" and min(width, known_bits(left, bits)) <= value & width - 1:
        return Const(0)
    if op == "+":
        return _plus(expr, left, value, width, bits)
    if op == "&":
        return _masked(expr, left, value, width, bits)
    if op in (">>", "s>>") and width == 64 and type(left) is Binary and left.op == "<<" and left.width == 64 and left.right == right:
        if value in (32, 48, 56):
            made = Zext(64 - value, left.left) if op == ">>" else Sext(64 - value, left.left)
            return simplify(made, bits)
        if op == ">>" and value < 64:
            return _binary(Binary("&", left.left, Const((1 << 64 - value) - 1), 64), bits)
    if op == ">>" and width == 64 and type(left) is Binary and left.op == "<<" and left.width == 64 and type(left.right) is Const:
        up = left.right.value
        if up == 32 and value > 32:  # (x << 32) >> 35: bits 3 to 31 of x
            return Binary(">>", left.left, Const(value - 32), 32)
        if up == 32 and value < 32:  # (x << 32) >> 29: x as 32 bits, times 8
            return Binary("<<", simplify(Zext(32, left.left), bits), Const(32 - value), 64)
    if op == ">>" and type(left) is Binary and left.op == ">>" and left.width == width and type(left.right) is Const:
        total = left.right.value + value
        return Binary(">>", left.left, Const(total), width) if total < width else Const(0)
    if op in ("<<", ">>") and width == 32 and type(left) is Binary and left.op == op and left.width == 32 and type(left.right) is Const:
        total = left.right.value + value
        return Binary(op, left.left, Const(total), 32) if total < 32 else Const(0)
    return expr


def _plus(expr: Binary, left: Expr, value: int, width: int, bits: Callable[[int], int]) -> Expr:
    if type(left) is Binary and left.op == "+" and left.width == width and type(left.right) is Const:
        total = left.right.value + value & (M32 if width == 32 else MASK64)
        return simplify(Binary("+", left.left, Const(total), width), bits)
    if width == 64:
        signed = _signed(value, 64)
        if type(left) is ir.FrameRef:
            return ir.FrameRef(left.offset + signed)
        if type(left) is ir.StackRef:
            return ir.StackRef(left.start, left.offset + signed)
        if type(left) is ir.DataRef:
            return ir.DataRef(left.section, left.offset + signed)
    return expr if expr.right == Const(value) else Binary("+", left, Const(value), width)


def _masked(expr: Binary, left: Expr, value: int, width: int, bits: Callable[[int], int]) -> Expr:
    if value in _MASKS:
        return simplify(Zext(_MASKS[value], left), bits)
    if type(left) is Binary and left.op == "&" and left.width == width and type(left.right) is Const:
        return _masked(Binary("&", left.left, Const(left.right.value & value), width), left.left, left.right.value & value, width, bits)
    if type(left) is Zext and value < 1 << left.bits:
        return Binary("&", left.operand, Const(value), width)
    low = known_bits(left, bits)
    if (value + 1) & value == 0 and low <= value.bit_length():
        return left
    return expr if expr.right == Const(value) else Binary("&", left, Const(value), width)


def _zext(expr: Zext, bits: Callable[[int], int]) -> Expr:
    width, inner = expr.bits, expr.operand
    if isinstance(inner, Const):
        return Const(inner.value & ((1 << width) - 1))
    if isinstance(inner, ir.Load) and inner.signed and 8 * inner.size >= width:
        return simplify(Zext(width, ir.Load(inner.size, False, inner.address, inner.place, inner.slot)), bits)
    if known_bits(inner, bits) <= width:
        return inner
    if isinstance(inner, Zext):
        return simplify(Zext(min(width, inner.bits), inner.operand), bits)
    if isinstance(inner, Sext) and inner.bits >= width:
        return simplify(Zext(width, inner.operand), bits)
    if width != 32:
        return expr
    if isinstance(inner, Binary) and inner.width == 64 and inner.op in _RING:
        return _binary(Binary(inner.op, inner.left, inner.right, 32), bits)
    if isinstance(inner, Binary) and inner.width == 64 and inner.op == "<<" and isinstance(inner.right, Const):
        count = inner.right.value & 63
        return Const(0) if count >= 32 else _binary(Binary("<<", inner.left, Const(count), 32), bits)
    return ir.Negate(inner.operand, 32) if isinstance(inner, ir.Negate) else expr


def _sext(expr: Sext, bits: Callable[[int], int]) -> Expr:
    width, inner = expr.bits, expr.operand
    if isinstance(inner, Const):
        return Const(_signed(inner.value & ((1 << width) - 1), width) & MASK64)
    if known_bits(inner, bits) < width:
        return inner
    if isinstance(inner, Zext) and inner.bits >= width:
        return simplify(Sext(width, inner.operand), bits)
    if isinstance(inner, Sext):
        return Sext(min(width, inner.bits), inner.operand)
    if isinstance(inner, ir.Load) and 8 * inner.size == width:
        return ir.Load(inner.size, True, inner.address, inner.place, inner.slot)
    return expr


def _swap(expr: Swap, bits: Callable[[int], int]) -> Expr:
    inner = expr.operand
    if type(inner) is Const:
        size = expr.bits // 8
        return Const(int.from_bytes((inner.value & (1 << expr.bits) - 1).to_bytes(size, "little"), "big"))
    if type(inner) is Zext and inner.bits >= expr.bits:
        return Swap(expr.bits, inner.operand)
    return expr


def _negate(expr: ir.Negate, bits: Callable[[int], int]) -> Expr:
    if type(expr.operand) is Const:
        return Const(-expr.operand.value & (M32 if expr.width == 32 else MASK64))
    return expr


def _compare(expr: Compare, bits: Callable[[int], int]) -> Expr:
    op, left, right, width = expr.op, expr.left, expr.right, expr.width
    if type(left) is Const and type(right) is Const:
        return Const(int(_holds(op, left.value, right.value, expr.signed, width)))
    if type(left) is Const and op in _SWAPPED:
        return simplify(Compare(_SWAPPED[op], right, left, expr.signed, width), bits)
    if width == 32:
        a, b = _narrow(left, ""), _narrow(right, "")
        if a is not left or b is not right:
            return simplify(Compare(op, a, b, expr.signed, 32), bits)
    if width == 64 and expr.signed and type(left) is Sext and left.bits == 32:
        if type(right) is Sext and right.bits == 32:
            return simplify(Compare(op, left.operand, right.operand, True, 32), bits)
        if type(right) is Const and -(1 << 31) <= _signed(right.value, 64) < 1 << 31:
            return simplify(Compare(op, left.operand, Const(right.value & M32), True, 32), bits)
    if width == 64 and op in ("==", "!=") and type(left) is Sext and type(right) is Const:
        low = right.value & (1 << left.bits) - 1
        if _signed(low, left.bits) & MASK64 == right.value:
            return Compare(op, simplify(Zext(left.bits, left.operand), bits), Const(low), False, 64)
    if width == 64 and (op in ("==", "!=") or (not expr.signed and op != "&")):
        return _unshifted(op, left, right, bits) or expr
    return expr


def _shifted(expr: Expr) -> tuple[Expr, int] | None:
    """(x, count) of x << count, where that leaves 32, 16 or 8 bits of x."""
    if isinstance(expr, Binary) and expr.op == "<<" and expr.width == 64 and isinstance(expr.right, Const) and expr.right.value in _KEEPING:
        return expr.left, expr.right.value
    return None


def _unshifted(op: str, left: Expr, right: Expr, bits: Callable[[int], int]) -> Expr | None:
    """(x << 32) == 0: the low 32 bits of x are 0. Of two that are shifted alike the low bits compare as they do."""
    one, two = _shifted(left), _shifted(right)
    if one is None:
        return None
    low, count = one
    if two is not None and two[1] == count:
        other = simplify(Zext(64 - count, two[0]), bits)
    elif isinstance(right, Const) and op in ("==", "!=") and not right.value & (1 << count) - 1:
        other = Const(right.value >> count)
    else:
        return None
    return Compare(op, simplify(Zext(64 - count, low), bits), other, False, 64)


def _holds(op: str, a: int, b: int, signed: bool, width: int) -> bool:
    mask = M32 if width == 32 else MASK64
    a, b = a & mask, b & mask
    if op == "&":
        return a & b != 0
    if signed:
        a, b = _signed(a, width), _signed(b, width)
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def _not(expr: ir.Not, bits: Callable[[int], int]) -> Expr:
    return negate(expr.operand) if type(expr.operand) in (Compare, ir.Not) and _invertible(expr.operand) else expr


def _invertible(expr: Expr) -> bool:
    return type(expr) is ir.Not or (type(expr) is Compare and expr.op in _INVERSE)


def negate(condition: Expr) -> Expr:
    """The condition that holds where this one does not."""
    if isinstance(condition, Compare) and condition.op in _INVERSE:
        return Compare(_INVERSE[condition.op], condition.left, condition.right, condition.signed, condition.width)
    if isinstance(condition, ir.Not):
        return condition.operand
    if isinstance(condition, ir.And):
        return ir.Or(negate(condition.left), negate(condition.right))
    if isinstance(condition, ir.Or):
        return ir.And(negate(condition.left), negate(condition.right))
    if isinstance(condition, Const):
        return Const(int(not condition.value))
    return ir.Not(condition)


_RULES: dict[type, Callable[..., Expr]] = {
    Binary: _binary, Zext: _zext, Sext: _sext, Swap: _swap, ir.Negate: _negate, Compare: _compare, ir.Not: _not,
}  # fmt: skip
