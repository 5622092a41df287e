"""Terms: what A, X and M[] hold during symbolic execution, in a normal form.

    ldb [14]; and #0xf; lsh #2; add #8   ──►   8 + 4*(packet[14] & 15)

A term is an int (a constant), a `Load`, `LEN`, an `Op` of two terms, or a `Linear` sum: constant plus coefficient times term,
modulo 2^32. Sums, differences, negation, multiplication and left shift by constants all become `Linear`, masks are pushed below
right shifts, so terms that are equal by simple algebra are equal as values. Everything is unsigned 32 bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpflens.classic.diagrams.fields import Base
from bpflens.isa.classic.table import Ad
from bpflens.lean import NamedTuple

__all__ = (
    "ANCILLARY_BYTES", "LEN", "Length", "Linear", "Load", "Op", "Term", "a_term", "binary", "header_length_of", "is_larger", "leaves",
    "linear", "upper_bound",
)  # fmt: skip

MASK = 0xFFFFFFFF
ANCILLARY_BYTES = {
    Ad.PROTOCOL: 2, Ad.PKTTYPE: 1, Ad.QUEUE: 2, Ad.HATYPE: 2, Ad.VLAN_TAG: 2, Ad.VLAN_TAG_PRESENT: 1, Ad.VLAN_TPID: 2,
}  # fmt: skip
"""SKF_AD_ number -> bytes that the value can fill: convert_bpf_extensions() of net/core/filter.c, Linux 6.18, loads that much."""
_ANCILLARY_TOP = {Ad.PKTTYPE: 7, Ad.VLAN_TAG_PRESENT: 1}  # skb->pkt_type has 3 bits; VLAN_TAG_PRESENT is 0 or 1


class Load(NamedTuple):
    """`size` bytes (1, 2, 4) at `offset` from `base`, big-endian, zero-extended."""

    base: Base
    offset: int
    size: int


class Length(NamedTuple):
    """The length of the packet (skb->len, or the length on the wire)."""

    name: str = "len"


class Op(NamedTuple):
    """`op` is the kernel's mnemonic: and, or, xor, lsh, rsh, mul, div, mod."""

    op: str
    a: Term
    b: Term


class Linear(NamedTuple):
    """constant + sum of coefficient * term, modulo 2^32; parts sorted, at least one, coefficients not 0."""

    constant: int
    parts: tuple[tuple[Term, int], ...]


Term = int | Load | Length | Op | Linear
LEN = Length()


def a_term(value: object) -> Term:
    """What a base or a condition holds, as the term that it is: fields.py stands below this file and cannot name it."""
    assert isinstance(value, int | Load | Length | Op | Linear), value
    return value


def linear(term: Term) -> tuple[int, dict[Term, int]]:
    """A term as (constant, {term: coefficient})."""
    if type(term) is int:
        return term, {}
    if type(term) is Linear:
        return term.constant, dict(term.parts)
    return 0, {term: 1}


def _sum(constant: int, parts: dict[Term, int]) -> Term:
    kept = {t: c & MASK for t, c in parts.items() if c & MASK}
    if not kept:
        return constant & MASK
    if constant & MASK == 0 and len(kept) == 1:
        ((only, coefficient),) = kept.items()
        if coefficient == 1:
            return only
    return Linear(constant & MASK, tuple(sorted(kept.items(), key=repr)))


def add(a: Term, b: Term, sign: int = 1) -> Term:
    """a + b, or a - b with sign -1."""
    ca, pa = linear(a)
    cb, pb = linear(b)
    for term, coefficient in pb.items():
        pa[term] = pa.get(term, 0) + sign * coefficient
    return _sum(ca + sign * cb, pa)


def scale(a: Term, factor: int) -> Term:
    """a * factor."""
    constant, parts = linear(a)
    return _sum(constant * factor, {t: c * factor for t, c in parts.items()})


def upper_bound(term: Term) -> int:
    """A value that the term never exceeds."""
    if type(term) is int:
        return term
    if type(term) is Load:
        if term.base.region == "ancillary":
            return _ANCILLARY_TOP.get(term.offset // 4, (1 << 8 * term.size) - 1)
        return (1 << 8 * term.size) - 1
    if type(term) is Op:
        bound = upper_bound(term.a)
        if term.op == "and":
            return min(bound, upper_bound(term.b))
        if term.op == "rsh" and type(term.b) is int:
            return bound >> term.b
        if term.op == "div" and type(term.b) is int:
            return bound // term.b
        if term.op == "mod" and type(term.b) is int:
            return min(bound, term.b - 1)
        if term.op == "or" or term.op == "xor":
            return (1 << max(bound, upper_bound(term.b)).bit_length()) - 1
    if type(term) is Linear:
        total = term.constant + sum(upper_bound(t) * c for t, c in term.parts)
        return total if total <= MASK else MASK
    return MASK


def mask(a: Term, k: int) -> Term:
    """a & k."""
    bound = upper_bound(a)
    reach = (1 << bound.bit_length()) - 1
    if k & reach == reach:
        return a
    if k & reach == 0:
        return 0
    if type(a) is Op:
        if a.op == "and" and type(a.b) is int:
            return mask(a.a, a.b & k)
        if a.op == "rsh" and type(a.b) is int:
            return shift_right(mask(a.a, k << a.b & MASK), a.b)
    if type(a) is Linear and a.constant == 0 and len(a.parts) == 1:
        ((inner, coefficient),) = a.parts
        if coefficient & (coefficient - 1) == 0:  # (t << s) & k
            shift = coefficient.bit_length() - 1
            return scale(mask(inner, k >> shift), coefficient)
    return Op("and", a, k & reach)


def shift_right(a: Term, k: int) -> Term:
    """a >> k, k below 32."""
    if type(a) is int:
        return a >> k
    if k == 0:
        return a
    if upper_bound(a) >> k == 0:
        return 0
    if type(a) is Op and a.op == "rsh" and type(a.b) is int:
        return shift_right(a.a, a.b + k) if a.b + k < 32 else 0
    if type(a) is Op and a.op == "and" and type(a.b) is int and a.b & ((1 << k) - 1):
        return shift_right(mask(a.a, a.b & ~((1 << k) - 1)), k)
    if type(a) is Linear and a.constant == 0 and len(a.parts) == 1:
        ((inner, coefficient),) = a.parts
        shift = coefficient.bit_length() - 1
        if coefficient == 1 << shift and upper_bound(inner) << shift <= MASK:  # (t << s) >> k, nothing lost on the left
            return scale(shift_right(inner, k - shift), 1) if shift <= k else scale(inner, 1 << shift - k)
    return Op("rsh", a, k)


_FOLD: dict[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "lsh": lambda a, b: a << b if b < 32 else 0,
    "rsh": lambda a, b: a >> b if b < 32 else 0,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
}


def binary(op: str, a: Term, b: Term) -> Term:
    """The term of `a op b`; constant shifts must be below 32, constant divisors not 0 (the caller knows what its machine does then)."""
    if type(a) is int and type(b) is int:
        return _FOLD[op](a, b) & MASK
    if op == "add":
        return add(a, b)
    if op == "sub":
        return add(a, b, -1)
    if op == "mul":
        if type(b) is int:
            return scale(a, b)
        if type(a) is int:
            return scale(b, a)
    elif op == "and":
        if type(b) is int:
            return mask(a, b)
        if type(a) is int:
            return mask(b, a)
        if a == b:
            return a
    elif op in ("or", "xor"):
        if b == 0:
            return a
        if a == 0:
            return b
        if a == b:
            return a if op == "or" else 0
    elif type(b) is int:
        if op == "lsh":
            return scale(a, 1 << b)
        if op == "rsh":
            return shift_right(a, b)
        if op == "div" and b & (b - 1) == 0:
            return shift_right(a, b.bit_length() - 1)
        if op == "mod" and b & (b - 1) == 0:
            return mask(a, b - 1)
    if op in ("and", "or", "xor", "mul") and (type(a) is int or (type(b) is not int and repr(a) > repr(b))):
        a, b = b, a
    return Op(op, a, b)


def leaves(term: Term) -> Iterator[Load | Length]:
    """The loads and lengths inside a term, with repetition; not those inside the base of a load."""
    stack: list[Term] = [term]
    while stack:
        t = stack.pop()
        if type(t) is Load or type(t) is Length:
            yield t
        elif type(t) is Op:
            stack += [t.a, t.b]
        elif type(t) is Linear:
            stack += [part for part, _ in t.parts]


def is_larger(term: Term, limit: int) -> bool:
    """Whether a term has more than `limit` parts, those inside the bases of loads included."""
    stack: list[object] = [term]
    count = 0
    while stack:
        t = stack.pop()
        count += 1
        if count > limit:
            return True
        if type(t) is Op:
            stack += [t.a, t.b]
        elif type(t) is Linear:
            stack += [part for part, _ in t.parts]
        elif type(t) is Load and t.base.term is not None:
            stack += t.base.term if type(t.base.term) is tuple else [t.base.term]
    return False


def header_length_of(term: Term) -> Load | None:
    """The byte P where the term is 4 * (P & 15), the IPv4 header length idiom (ldx 4*([k]&0xf)); else None."""
    if type(term) is Linear and term.constant == 0 and len(term.parts) == 1:
        ((inner, coefficient),) = term.parts
        if coefficient == 4 and type(inner) is Op and inner.op == "and" and inner.b == 15:
            load = inner.a
            if type(load) is Load and load.size == 1:
                return load
    return None
