"""Operators on bit vectors, in a canonical form: slices, joins, linear sums, bitwise operators and shifts.

    (x & 0xff00) >> 8      ──►   cat(ext(x, 8, 8), 0)          a mask and a shift are a slice
    bswap16(bswap16(x))    ──►   ext(x, 0, 16)
    (x + 3) + (y - x)      ──►   add(3, y)                     sums modulo 2^width
    (u32)(x + y)           ──►   add32(ext(x, 0, 32), ...)     low parts are pushed inward

Every function returns a term with the same value for all inputs; tests/execute/symbolic compares them with integer arithmetic.
`mask` (possible bits) bounds what may be non-zero; a division by zero is what BPF makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.execute.symbolic.values.diagrams import ite, lift
from bpflens.execute.symbolic.values.masks import mask
from bpflens.execute.symbolic.values.terms import Term, const, count, make

__all__ = (
    "add", "bitwise", "cat", "ext", "left", "minus", "multiply", "offset_by", "plus", "right", "sext", "slice_of", "sum_of", "zext",
)  # fmt: skip

Items = Sequence[tuple[Term, int]]


# --- joins and slices ---


def cat(parts: Sequence[Term]) -> Term:
    """Parts joined, from low to high."""
    result = lift("cat", _cat, *parts)
    return result if result is not None else _cat(*parts)


def _cat(*parts: Term) -> Term:
    out: list[Term] = []
    count("joins", len(parts))
    for whole in parts:
        for part in whole.args if whole.op == "cat" else (whole,):
            if part.width == 0:
                continue
            if out:
                low = out[-1]
                if low.op == "k" and part.op == "k":
                    out[-1] = const(low.width + part.width, low.args | part.args << low.width)
                    continue
                base, lo, width = slice_of(low)
                other, at, more = slice_of(part)
                if base is other and lo + width == at:
                    out[-1] = _ext(base, lo, width + more)
                    continue
            out.append(part)
    return out[0] if len(out) == 1 else make("cat", sum(part.width for part in out), tuple(out))


def slice_of(term: Term) -> tuple[Term, int, int]:
    """(whole, first bit, width) of a slice; any other term is a slice of itself."""
    return (term.args[0], term.args[1], term.width) if term.op == "ext" else (term, 0, term.width)


def ext(term: Term, lo: int, width: int) -> Term:
    """Bits lo .. lo+width-1."""
    if lo == 0 and width == term.width:
        return term
    result = lift(("ext", lo, width), lambda x: _ext(x, lo, width), term)
    return result if result is not None else _ext(term, lo, width)


def _ext(term: Term, lo: int, width: int) -> Term:
    if lo == 0 and width == term.width:
        return term
    if width == 0:
        return const(0, 0)
    op, args = term.op, term.args
    if op == "k":
        return const(width, args >> lo)
    if op == "ext":
        return _ext(args[0], args[1] + lo, width)
    if op == "cat":
        return _ext_of_cat(args, lo, width)
    if op == "sext":
        x = args[0]
        if lo + width <= x.width:
            return _ext(x, lo, width)
        low = min(lo, x.width - 1)
        return sext(_ext(x, low, x.width - low), width)
    if op in ("and", "or", "xor"):
        return bitwise(op, _ext(args[0], lo, width), _ext(args[1], lo, width))
    if op in ("add", "mul") and lo:
        if lo + width < term.width:  # what lies above the slice has no influence on it
            return _ext(_ext(term, 0, lo + width), lo, width)
    elif op == "add":
        return add(width, args[0], [(ext(x, 0, width), k) for x, k in args[1]])
    elif op == "mul":
        return multiply(ext(args[0], 0, width), ext(args[1], 0, width))
    if op == "shl" and lo == 0 and width >= 8:
        return make("shl", width, (ext(args[0], 0, width), args[1]))
    if op == "gite":
        return ite(args[0], ext(args[1], lo, width), ext(args[2], lo, width))
    if not mask(term) >> lo & ((1 << width) - 1):
        return const(width, 0)
    return make("ext", width, (term, lo))


def _ext_of_cat(parts: Sequence[Term], lo: int, width: int) -> Term:
    out, shift = [], 0
    for part in parts:
        start, end = max(lo, shift), min(lo + width, shift + part.width)
        if start < end:
            out.append(_ext(part, start - shift, end - start))
        shift += part.width
    return _cat(*out)


def zext(term: Term, width: int) -> Term:
    """Zero-extended."""
    return term if term.width == width else cat((term, const(width - term.width, 0)))


def sext(term: Term, width: int) -> Term:
    """Sign-extended."""
    if term.width == width:
        return term
    result = lift(("sext", width), lambda x: _sext(x, width), term)
    return result if result is not None else _sext(term, width)


def _sext(term: Term, width: int) -> Term:
    if term.op == "k":
        return const(width, term.args | (-(term.args >> (term.width - 1)) << term.width))
    if term.op == "sext":
        return _sext(term.args[0], width)
    if not mask(term) >> (term.width - 1):
        return zext(term, width)
    return make("sext", width, (term,))


# --- sums and products ---


def add(width: int, constant: int, items: Items) -> Term:
    """constant + sum of coefficient * term."""
    if not items:
        return const(width, constant)
    factors = tuple(k for _, k in items)
    result = lift(
        ("add", width, constant, factors), lambda *xs: sum_of(width, constant, list(zip(xs, factors, strict=True))), *[x for x, _ in items]
    )
    return result if result is not None else sum_of(width, constant, items)


def sum_of(width: int, constant: int, items: Items) -> Term:
    """As `add`, without a look into diagrams."""
    full = (1 << width) - 1
    sums: dict[Term, int] = {}
    count("sums", len(items))
    for term, k in items:
        if term.op == "k":
            constant += term.args * k
        elif term.op == "add":
            constant += term.args[0] * k
            for x, inner in term.args[1]:
                sums[x] = sums.get(x, 0) + k * inner
        else:
            sums[term] = sums.get(term, 0) + k
    constant &= full
    found = tuple(sorted(((x, k & full) for x, k in sums.items() if k & full), key=lambda item: item[0].id))
    if not found:
        return const(width, constant)
    if len(found) == 1:
        x, k = found[0]
        if k == 1 and constant == 0:
            return x
        if constant == 0 and k & (k - 1) == 0:
            return left(x, k.bit_length() - 1)
        if k == 1 and not mask(x) & constant and x.op == "cat":
            return bitwise("or", x, const(width, constant))
        if k == full and constant == full:  # -1 - x is ~x
            return bitwise("xor", x, const(width, full))
    if len(found) == 2 and constant == 0 and found[0][1] == found[1][1] == 1 and not mask(found[0][0]) & mask(found[1][0]):
        return bitwise("or", found[0][0], found[1][0])
    return make("add", width, (constant, found))


def plus(a: Term, b: Term) -> Term:
    """a + b."""
    return add(a.width, 0, [(a, 1), (b, 1)])


def minus(a: Term, b: Term) -> Term:
    """a - b."""
    return add(a.width, 0, [(a, 1), (b, -1)])


def offset_by(a: Term, constant: int) -> Term:
    """a + constant."""
    return add(a.width, constant, [(a, 1)])


def multiply(a: Term, b: Term) -> Term:
    """a * b."""
    result = lift("mul", _multiply, a, b)
    return result if result is not None else make("mul", a.width, _ordered(a, b))


def _multiply(a: Term, b: Term) -> Term:
    if b.op == "k":
        a, b = b, a
    if a.op != "k":
        return make("mul", a.width, _ordered(a, b))
    return const(a.width, a.args * b.args) if b.op == "k" else add(a.width, 0, [(b, a.args)])


def _ordered(a: Term, b: Term) -> tuple[Term, Term]:
    return (a, b) if a.id <= b.id else (b, a)


# --- bitwise ---


def bitwise(op: str, a: Term, b: Term) -> Term:
    """a op b for "and", "or", "xor"."""
    result = lift(op, lambda x, y: _bitwise(op, x, y), a, b)
    return result if result is not None else make(op, a.width, _ordered(a, b))


def _bitwise(op: str, a: Term, b: Term) -> Term:
    width = a.width
    if a.op == b.op == "k":
        x, y = a.args, b.args
        return const(width, x & y if op == "and" else x | y if op == "or" else x ^ y)
    if a is b:
        return const(width, 0) if op == "xor" else a
    cuts = (_cuts(a) | _cuts(b)) - {width}
    if cuts:
        parts, lo = [], 0
        for hi in [*sorted(cuts), width]:
            parts.append(bitwise(op, ext(a, lo, hi - lo), ext(b, lo, hi - lo)))
            lo = hi
        return cat(parts)
    if b.op == "k":
        a, b = b, a
    if a.op == "k":
        return _with_constant(op, b, a)
    return _flat(op, a, b)


def _cuts(term: Term) -> set[int]:
    """Where a bitwise operator falls apart: ends of joined parts, and ends of runs of equal bits of constants."""
    cuts: set[int] = set()
    if term.op == "k":
        runs = _runs(term.args, term.width)
        if len(runs) <= 8:
            cuts.update(runs)
    elif term.op == "cat":
        shift = 0
        for part in term.args:
            if part.op == "k":
                runs = _runs(part.args, part.width)
                if len(runs) <= 6:
                    cuts.update(shift + run for run in runs)
            shift += part.width
            cuts.add(shift)
    return cuts


def _runs(value: int, width: int) -> list[int]:
    """The ends of the runs of equal bits."""
    changes = (value ^ value >> 1) & ((1 << (width - 1)) - 1)
    out = []
    while changes:
        lowest = changes & -changes
        out.append(lowest.bit_length())
        changes ^= lowest
    return [*out, width]


def _with_constant(op: str, x: Term, constant: Term) -> Term:
    width, value = x.width, constant.args
    ones = (1 << width) - 1
    if value == 0:
        return constant if op == "and" else x
    if value == ones and op != "xor":
        return x if op == "and" else constant
    if op == "xor" and x.op == "xor" and x.args[1].op == "k":
        return bitwise("xor", x.args[0], const(width, x.args[1].args ^ value))
    if op == "xor" and x.op == "add" and value == ones:
        return add(width, -1, [(x, -1)])
    return make(op, width, (x, constant))


def _flat(op: str, a: Term, b: Term) -> Term:
    """An n-ary operator: sorted operands without repetition (in pairs for xor), a constant last."""
    operands: list[Term] = []
    stack = [b, a]
    while stack:
        x = stack.pop()
        count("operands")
        if x.op == op:
            stack += (x.args[1], x.args[0])
        else:
            operands.append(x)
    unique: set[Term] = set()
    for x in operands:
        unique = unique ^ {x} if op == "xor" else unique | {x}
    rest = sorted((x for x in unique if x.op != "k"), key=lambda x: x.id)
    constants = [x for x in unique if x.op == "k"]
    if not rest and not constants:
        return const(a.width, 0)
    result = rest[0] if rest else constants.pop()
    for x in rest[1:]:
        result = make(op, a.width, (result, x))
    for x in constants:
        result = _bitwise(op, result, x) if result.op == "k" else make(op, a.width, (result, x))
    return result


# --- shifts ---


def left(a: Term, bits: int) -> Term:
    """a << bits, a constant below the width."""
    return cat((const(bits, 0), ext(a, 0, a.width - bits))) if bits else a


def right(a: Term, bits: int) -> Term:
    """a >> bits, unsigned."""
    return cat((ext(a, bits, a.width - bits), const(bits, 0))) if bits else a
