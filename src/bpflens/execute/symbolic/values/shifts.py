"""Shifts by a variable, signed shifts, and bytes in the other order."""

from __future__ import annotations

from bpflens.execute.symbolic.values.bits import cat, ext, left, right, sext, zext
from bpflens.execute.symbolic.values.diagrams import lift
from bpflens.execute.symbolic.values.masks import mask
from bpflens.execute.symbolic.values.terms import Term, make

__all__ = ("arithmetic_right", "shift", "swap")


def arithmetic_right(a: Term, bits: int) -> Term:
    """a >> bits, signed."""
    return sext(ext(a, bits, a.width - bits), a.width) if bits else a


_BY_CONSTANT = {"shl": left, "lshr": right, "ashr": arithmetic_right}


def shift(op: str, a: Term, by: Term) -> Term:
    """ "shl", "lshr" or "ashr" of 32 or 64 bits by a variable, of which the machine uses the low 5 or 6 bits."""
    amount = ext(by, 0, 5 if a.width == 32 else 6)
    result = lift(op, lambda x, y: _shift(op, x, y), a, amount)
    return result if result is not None else _shift(op, a, amount)


def _shift(op: str, a: Term, amount: Term) -> Term:
    if amount.op == "k":
        return _BY_CONSTANT[op](a, amount.args)
    if a.op == "k" and a.args == 0:
        return a
    amount = ext(amount, 0, max(1, mask(amount).bit_length()))
    if op == "ashr" and not mask(a) >> (a.width - 1):
        op = "lshr"
    width = max(mask(a).bit_length(), 8)
    if op == "lshr" and width < a.width:
        return zext(make(op, width, (ext(a, 0, width), amount)), a.width)
    return make(op, a.width, (a, amount))


def swap(term: Term) -> Term:
    """The bytes in the other order."""
    return cat([ext(term, lo, 8) for lo in range(term.width - 8, -1, -8)])
