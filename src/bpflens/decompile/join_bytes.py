"""Numbers that were read from the packet byte by byte, read at once: compilers take packed headers apart.

    (*(u8 *)(p + 13) << 8) | *(u8 *)(p + 12)     ──►   *(u16 *)(p + 12)
    (*(u8 *)(p + 12) << 8) | *(u8 *)(p + 13)     ──►   byte swap of it

Only for memory of the packet, which may be read at any alignment, and only on little-endian machines. Both reads are in one expression, so
that nothing is written between them. Cost: linear.
"""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Binary, Const, Expr, Load, Swap
from bpflens.decompile.lift.webs import map_inputs

__all__ = ("join_bytes",)


def join_bytes(function: Function) -> None:
    """Join the reads in every expression of a function."""
    for block in function.blocks.values():
        block.statements = [map_inputs(statement, _joined) for statement in block.statements]
        if block.condition is not None:
            block.condition = _joined(block.condition)
        if block.result is not None:
            block.result = _joined(block.result)


def _joined(expr: Expr) -> Expr:
    operands = ir.children(expr)
    if not operands:
        return expr
    changed = tuple(_joined(operand) for operand in operands)
    if any(a is not b for a, b in zip(changed, operands, strict=True)):
        expr = ir.rebuild(expr, changed)
    if isinstance(expr, Binary) and expr.op == "|":
        return _pair(expr, expr.left, expr.right) or _pair(expr, expr.right, expr.left) or expr
    return expr


def _pair(expr: Binary, upper: Expr, lower: Expr) -> Expr | None:
    """`upper` is the upper half, shifted; both are reads side by side."""
    upper = _plain(upper)
    if not isinstance(upper, Binary) or upper.op != "<<" or not isinstance(upper.right, Const):
        return None
    high, low = _read(upper.left), _read(lower)
    if high is None or low is None:
        return None
    (a, swapped), (b, also) = high, low
    bits = 8 * a.size
    if a.size != b.size or upper.right.value != bits or 2 * bits > min(expr.width, upper.width):
        return None
    if (a.size > 1 and swapped != also) or a.place.kind != "packet" or b.place.kind != "packet":
        return None
    distance = _distance(a.address, b.address)
    if distance == a.size and not swapped:
        return Load(2 * a.size, False, b.address, b.place, b.slot)
    if distance == -a.size and (swapped or a.size == 1):
        return Swap(2 * bits, Load(2 * a.size, False, a.address, a.place, a.slot))
    return None


def _plain(expr: Expr) -> Expr:
    """Without an extension that changes nothing here: of a shift that has no upper bits."""
    while isinstance(expr, ir.Zext) and expr.bits >= 32:
        expr = expr.operand
    return expr


def _read(expr: Expr) -> tuple[Load, bool] | None:
    """(the read, whether its bytes are swapped)."""
    expr = _plain(expr)
    if isinstance(expr, Swap) and isinstance(expr.operand, Load) and expr.bits == 8 * expr.operand.size:
        return expr.operand, True
    return (expr, False) if isinstance(expr, Load) and not expr.signed and expr.size < 8 else None


def _distance(a: Expr, b: Expr) -> int | None:
    """a - b in bytes, where both are counted from the same address."""
    (base, offset), (other, beside) = _split(a), _split(b)
    return offset - beside if base == other else None


def _split(address: Expr) -> tuple[Expr, int]:
    if isinstance(address, Binary) and address.op == "+" and address.width == 64 and isinstance(address.right, Const):
        value = address.right.value
        return address.left, value - (1 << 64) if value >> 63 else value
    return address, 0
