"""Comparisons as conditions, in a canonical form, and division, whose zero case is a condition.

    x + 5 == 7                    ──►   x == 2
    (x & 0xff00) == 0x800         ──►   ext(x, 8, 8) == 8
    x <= 7                        ──►   ext(x, 3, ..) == 0          a power of two is a test of the high bits
    data + 14 > data_end          ──►   length < 14                 a packet does not wrap around the end of memory

Only four operators are left in atoms: eq, ult and slt over values, and opaque conditions.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.execute.symbolic.values.bits import add, bitwise, cat, ext, minus, offset_by, right, slice_of, zext
from bpflens.execute.symbolic.values.diagrams import both, ite, lift, negate, variable
from bpflens.execute.symbolic.values.masks import mask
from bpflens.execute.symbolic.values.terms import ATOM, FALSE, TRUE, Term, const, count, make
from bpflens.isa.extended.uapi import HelperId

__all__ = ("STACK", "any_bits", "divide", "divide_numbers", "equal", "less", "pointer_base", "signed_less")

STACK = "fp"
SMALL = 1 << 40  # packets and offsets in them are smaller by far


def _compare(op: str, rule: Callable[[Term, Term], Term], a: Term, b: Term) -> Term:
    count("comparisons")
    result = lift(op, rule, a, b)
    return result if result is not None else _atom(op, a, b)


def _atom(op: str, a: Term, b: Term) -> Term:
    if op == "eq" and b.op != "k" and a.id > b.id:
        a, b = b, a
    return variable(make(op, ATOM, (a, b)))


# --- equality ---


def equal(a: Term, b: Term) -> Term:
    """a == b."""
    return _compare("eq", _equal, a, b)


def _equal(a: Term, b: Term) -> Term:
    if a is b:
        return TRUE
    if a.op == b.op == "k":
        return FALSE
    if a.op == "k":
        a, b = b, a
    if a.op == "cat" or b.op == "cat":
        narrowed = _equal_parts(a, b)
        if isinstance(narrowed, Term):
            return narrowed
        a, b = narrowed
    if b.op == "k":
        known = _equal_to_constant(a, b)
    elif a.op == "add" or b.op == "add":
        known = _equal_sums(a, b)
    elif a.op == b.op == "sext" and a.args[0].width == b.args[0].width:
        known = equal(a.args[0], b.args[0])
    else:
        known = None
    if known is not None:
        return known
    if a.width == 64 and b.op != "k" and _never_the_same(a, b):
        return FALSE
    return _atom("eq", a, b)


def _equal_parts(a: Term, b: Term) -> Term | tuple[Term, Term]:
    """Equal parts of joined terms are left out; the condition where that decides it or leaves one part."""
    pairs, lo = [], 0
    for hi in sorted(_ends(a) | _ends(b)):
        x, y = ext(a, lo, hi - lo), ext(b, lo, hi - lo)
        lo = hi
        if x is y:
            continue
        if x.op == y.op == "k":
            return FALSE
        if x.op == "k":
            x, y = y, x
        if y.op == "k" and y.args & ~mask(x):
            return FALSE
        pairs.append((x, y))
    if not pairs:
        return TRUE
    if len(pairs) == 1 and pairs[0][0].width == a.width:
        return a, b
    pairs.sort(key=lambda pair: (pair[0].op == "k", slice_of(pair[0])[0].id, slice_of(pair[0])[1]))
    x, y = cat([pair[0] for pair in pairs]), cat([pair[1] for pair in pairs])
    if x.width < a.width and x.op != "cat":
        return equal(x, y)
    return (y, x) if x.op == "k" else (x, y)


def _ends(term: Term) -> set[int]:
    ends, shift = {term.width}, 0
    for part in term.args if term.op == "cat" else ():
        shift += part.width
        ends.add(shift)
    return ends


def _equal_to_constant(a: Term, b: Term) -> Term | None:
    width, value, op = a.width, b.args, a.op
    if a.op == "k":
        return TRUE if a is b else FALSE
    if value & ~mask(a):
        return FALSE
    if width == 1 and value == 0:
        return negate(equal(a, const(1, 1)))
    if op == "add":
        constant, items = a.args
        if constant:
            return equal(add(width, 0, items), const(width, value - constant))
        if items[0][1] > 1 << (width - 1):  # the first coefficient is positive
            return equal(add(width, 0, [(x, -k) for x, k in items]), const(width, -value))
        if value == 0 and len(items) == 2 and items[0][1] == 1 and items[1][1] == (1 << width) - 1:
            return equal(items[0][0], items[1][0])
    elif op == "xor":
        if a.args[1].op == "k":
            return equal(a.args[0], const(width, a.args[1].args ^ value))
        if value == 0:
            return equal(a.args[0], a.args[1])
    elif op == "or" and value == 0:
        return both(equal(a.args[0], b), equal(a.args[1], b))
    elif op == "sext":
        x = a.args[0]
        if value >> (x.width - 1) not in (0, (1 << (width - x.width + 1)) - 1):
            return FALSE
        return equal(x, const(x.width, value))
    elif op == "cat" and value == 0 and any(part.op in ("or", "xor") for part in a.args):
        result = TRUE
        for part in a.args:
            result = both(result, equal(part, const(part.width, 0)))
        return result
    return None


def _equal_sums(a: Term, b: Term) -> Term | None:
    width = a.width
    if width == 64 and _never_the_same(a, b):
        return FALSE
    difference = minus(a, b)
    if difference.op == "k":
        return FALSE if difference.args else TRUE
    if difference.op == "add":
        constant, items = difference.args
        positive = [(x, k) for x, k in items if not k >> (width - 1)]
        negative = [(x, -k & ((1 << width) - 1)) for x, k in items if k >> (width - 1)]
        if constant or len(positive) != 1 or len(negative) != 1 or positive[0][1] != 1 or negative[0][1] != 1:
            return equal(difference, const(width, 0))
        x, y = positive[0][0], negative[0][0]
        return _atom("eq", x, y) if {x, y} == {a, b} else equal(x, y)
    return equal(difference, const(width, 0))


def pointer_base(term: Term) -> str:
    """ "fp", "ctx", "data", "packet" or "map" for such a pointer plus a constant, else ""."""
    if term.op == "add" and len(term.args[1]) == 1 and term.args[1][0][1] == 1:
        term = term.args[1][0][0]
    if term.op == "sym" and term.args[0] in (STACK, "ctx", "data", "packet"):
        name: str = term.args[0]
        return name
    return "map" if term.op == "ret" and term.args[0].args[0] in (HelperId.map_lookup_elem, HelperId.map_lookup_percpu_elem) else ""


def _never_the_same(a: Term, b: Term) -> bool:
    """A stack address is no address of other memory."""
    x, y = pointer_base(a), pointer_base(b)
    return bool(x and y and x != y and STACK in (x, y))


# --- order ---


def less(a: Term, b: Term) -> Term:
    """a < b, unsigned."""
    return _compare("ult", _less, a, b)


def _less(a: Term, b: Term) -> Term:
    width = a.width
    if a is b:
        return FALSE
    if a.op == b.op == "k":
        return TRUE if a.args < b.args else FALSE
    if b.op == "k" and b.args == 0:
        return FALSE
    bits = max(mask(a).bit_length(), mask(b).bit_length())
    if bits < width:
        return less(ext(a, 0, bits), ext(b, 0, bits))
    if a.op == "k":
        if a.args == (1 << width) - 1:
            return FALSE
        return negate(equal(b, a)) if a.args == 0 else negate(less(b, const(width, a.args + 1)))
    if b.op == "k":
        known = _less_than_constant(a, b.args)
        return known if known is not None else _atom("ult", a, b)
    if a.op == b.op == "cat" and a.args[0] is b.args[0]:
        low = a.args[0].width
        return less(ext(a, low, width - low), ext(b, low, width - low))
    if width == 64:
        base = packet_start(a)
        if base is not None and packet_start(b) is base:
            x, y = minus(a, base), minus(b, base)
            if mask(x) < SMALL and mask(y) < SMALL:
                return less(x, y)
    return _atom("ult", a, b)


def _less_than_constant(a: Term, value: int) -> Term | None:
    width = a.width
    if mask(a) < value:
        return TRUE
    if value == 1:
        return equal(a, const(width, 0))
    if value == (1 << width) - 1:
        return negate(equal(a, const(width, value)))
    if a.op == "add" and value > 1 << (width - 1):
        return negate(less(offset_by(a, -value), const(width, -value)))
    if value & (value - 1) == 0:
        low = value.bit_length() - 1
        return equal(ext(a, low, width - low), const(width - low, 0))
    if a.op == "cat" and a.args[0].op == "k":
        low = a.args[0].width
        high = (value >> low) + (a.args[0].args < (value & ((1 << low) - 1)))
        return TRUE if high >> (width - low) else less(ext(a, low, width - low), const(width - low, high))
    low = (value & -value).bit_length() - 1
    if low:
        return less(ext(a, low, width - low), const(width - low, value >> low))
    if a.op == "sext":
        bits = a.args[0].width
        if value <= 1 << (bits - 1) or value >= (1 << width) - (1 << (bits - 1)):
            return less(a.args[0], const(bits, value))
    return None


def packet_start(term: Term) -> Term | None:
    """The start of the packet in a pointer sum."""
    items = [x for x, k in term.args[1] if k == 1] if term.op == "add" else [term]
    for x in items:
        if x.op == "pktbase" or (x.op == "sym" and x.args[0] == "packet"):
            return x
    return None


def signed_less(a: Term, b: Term) -> Term:
    """a < b, signed."""
    return _compare("slt", _signed_less, a, b)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def _signed_less(a: Term, b: Term) -> Term:
    width = a.width
    if a is b:
        return FALSE
    if a.op == b.op == "k":
        return TRUE if _signed(a.args, width) < _signed(b.args, width) else FALSE
    may_be_negative = mask(a) >> (width - 1)
    if not may_be_negative and not mask(b) >> (width - 1):
        return less(a, b)
    if width == 1:
        return both(equal(a, const(1, 1)), equal(b, const(1, 0)))
    if a.op == "k":
        if _signed(a.args, width) == (1 << (width - 1)) - 1:
            return FALSE
        return negate(signed_less(b, const(width, a.args + 1)))
    if b.op == "k":
        known = _signed_less_than_constant(a, _signed(b.args, width), bool(may_be_negative))
        if known is not None:
            return known
    if a.op == b.op == "sext" and a.args[0].width == b.args[0].width:
        return signed_less(a.args[0], b.args[0])
    return _atom("slt", a, b)


def _signed_less_than_constant(a: Term, value: int, may_be_negative: bool) -> Term | None:
    width = a.width
    if value == 0:
        return equal(ext(a, width - 1, 1), const(1, 1))
    if value == -(1 << (width - 1)) or (not may_be_negative and value < 0):
        return FALSE
    if a.op == "cat" and a.args[0].op == "k":
        low = a.args[0].width
        high = (value >> low) + (a.args[0].args < (value & ((1 << low) - 1)))
        return TRUE if high >= 1 << (width - low - 1) else signed_less(ext(a, low, width - low), const(width - low, high))
    if a.op == "sext":
        bits = a.args[0].width
        if value > (1 << (bits - 1)) - 1:
            return TRUE
        if value < -(1 << (bits - 1)):
            return FALSE
        return signed_less(a.args[0], const(bits, value))
    return None


def any_bits(a: Term, b: Term) -> Term:
    """a & b is not zero."""
    return negate(equal(bitwise("and", a, b), const(a.width, 0)))


# --- division ---


def divide(op: str, a: Term, b: Term) -> Term:
    """ "udiv", "urem", "sdiv" or "srem" as BPF has them: x / 0 is 0, x % 0 is x (RFC 9669 section 4.1)."""
    count("divisions")
    result = lift(op, lambda x, y: _divide(op, x, y), a, b)
    return result if result is not None else _divide(op, a, b)


def _divide(op: str, a: Term, b: Term) -> Term:
    width = a.width
    by_zero = const(width, 0) if op.endswith("div") else a
    bits = max(mask(a).bit_length(), mask(b).bit_length(), 1)
    if b.op == "k":
        if b.args == 0:
            return by_zero
        if a.op == "k":
            return const(width, divide_numbers(op, a.args, b.args, width))
        if op[0] == "u" and b.args & (b.args - 1) == 0:
            low = b.args.bit_length() - 1
            return right(a, low) if op == "udiv" else zext(ext(a, 0, low), width)
    if op[0] == "u" and bits < width:
        return zext(divide(op, ext(a, 0, bits), ext(b, 0, bits)), width)
    if b.op == "k":
        return make(op, width, (a, b))
    return ite(equal(b, const(width, 0)), by_zero, make(op, width, (a, b)))


def divide_numbers(op: str, a: int, b: int, width: int) -> int:
    """The operators of `divide` on numbers."""
    if b == 0:
        return 0 if op.endswith("div") else a
    if op == "udiv":
        return a // b
    if op == "urem":
        return a % b
    a, b = _signed(a, width), _signed(b, width)
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return (quotient if op == "sdiv" else a - quotient * b) & ((1 << width) - 1)
