"""Which bits of a term may be non-zero.

    x & 0xff00        0xff00
    u16 + u16         17 bits"""

from __future__ import annotations

from bpflens.execute.symbolic.values.terms import Term

__all__ = ("mask", "upper")


def mask(term: Term) -> int:
    """The bits that may be non-zero."""
    known = term.mask
    if known is None:
        known = term.mask = _mask(term)
    return known


def upper(term: Term) -> int:
    """A number that the term does not exceed."""
    known: dict[Term, int] = {}
    stack = [term]
    while stack:
        x = stack[-1]
        parts = [part for part in x.args[1:] if part not in known] if x.op in ("ite", "gite") else []
        if parts:
            stack += parts
        else:
            known[x] = max(known[part] for part in x.args[1:]) if x.op in ("ite", "gite") else mask(x)
            stack.pop()
    return known[term]


def _mask(term: Term) -> int:
    full, op, args = (1 << term.width) - 1, term.op, term.args
    if op == "k":
        value: int = args
        return value
    if op == "cat":
        result = shift = 0
        for part in args:
            result |= mask(part) << shift
            shift += part.width
        return result
    if op in ("ite", "gite"):
        return mask(args[1]) | mask(args[2])
    if op == "and":
        return mask(args[0]) & mask(args[1])
    if op in ("or", "xor"):
        return mask(args[0]) | mask(args[1])
    if op == "add":
        return _up_to(args[0] + sum(mask(x) * k for x, k in args[1]), full)
    if op == "mul":
        return _up_to(mask(args[0]) * mask(args[1]), full)
    if op == "urem" and args[1].op == "k" and args[1].args:
        return _up_to(min(mask(args[0]), args[1].args - 1), full)
    if op in ("udiv", "urem", "lshr"):
        return _up_to(mask(args[0]), full)
    if op == "ext":
        return mask(args[0]) >> int(args[1]) & full
    return full


def _up_to(value: int, full: int) -> int:
    """The bits of numbers up to `value`."""
    return full if value > full else (1 << value.bit_length()) - 1
