"""Terms and conditions in tcpdump's arithmetic: `ip[2:2] - ((ip[0]&0xf)*4) > 20`.

A load has several names: byte 23 of an Ethernet frame is `ether[23]` of any frame and `ip[9]` of an IPv4 packet; libpcap adds the test of
the protocol to the latter. A `Names` picks one header for fixed places and one for places behind the IPv4 header.
"""

from __future__ import annotations

from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.linktypes import PACKET, Layout, header_base
from bpflens.classic.diagrams.term import MASK, Length, Linear, Load, Op, Term, a_term, add, leaves, linear
from bpflens.lean import NamedTuple

__all__ = ("Names", "Unspeakable", "number", "relation", "relations", "text")


class Unspeakable(Exception):
    """The arithmetic of the expression language has no words for this."""


class Names(NamedTuple):
    """`fixed`: index name for places at a fixed offset and the byte it counts from; `behind`: the same behind the IPv4 header, or None.

    Names("ip", 14, "tcp", 14) reads Ethernet byte 23 as ip[9] and the byte 13 behind the IPv4 header as tcp[13].
    """

    fixed: str
    fixed_start: int
    behind: str | None = None
    behind_start: int = 0


def number(value: int) -> str:
    """Numbers below the first ethertype in decimal, others in hexadecimal."""
    return str(value) if value < 0x600 else hex(value)


def _index(name: str, inner: str, size: int) -> str:
    return f"{name}[{inner}]" if size == 1 else f"{name}[{inner}:{size}]"


def _load(load: Load, names: Names, layout: Layout) -> str:
    base, offset, size = load
    if base == PACKET:
        if offset < names.fixed_start:
            raise Unspeakable
        return _index(names.fixed, str(offset - names.fixed_start), size)
    if base.region != "packet":
        raise Unspeakable
    plus = a_term(base.term)
    if names.behind is not None and layout.network is not None:
        rest = add(plus, a_term(header_base(layout.network).term), -1)
        if rest == 0 and offset >= names.behind_start:
            return _index(names.behind, str(offset - names.behind_start), size)
        if type(rest) is not int and _smaller(rest, plus):
            return _index(names.behind, _sum(rest, offset - names.behind_start, names, layout), size)
    return _index(names.fixed, _sum(plus, offset - names.fixed_start, names, layout), size)


def _smaller(a: Term, b: object) -> bool:
    return len(repr(a)) < len(repr(b))


def _sum(term: Term, constant: int, names: Names, layout: Layout) -> str:
    inner = text(term, names, layout, nested=True)
    if inner.startswith("(") and inner.endswith(")") and _balanced(inner[1:-1]) and not constant:
        inner = inner[1:-1]
    if inner.endswith("len") and constant < 0:
        return f"{inner} - {-constant}"  # libpcap reads "len-4" as a name
    return f"{inner}+{constant}" if constant > 0 else f"{inner}-{-constant}" if constant < 0 else inner


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if depth < 0:
            return False
    return True


_SIGNS = {"and": "&", "or": "|", "xor": "^", "lsh": "<<", "rsh": ">>", "mul": "*", "div": "/", "mod": "%"}


def text(term: Term, names: Names, layout: Layout, nested: bool = False) -> str:
    """The term; in parentheses and without spaces where it is `nested` in another. Unspeakable where it has no words."""
    if type(term) is int:
        return number(term)
    if type(term) is Load:
        return _load(term, names, layout)
    if type(term) is Length:
        return "len"
    space = "" if nested and Length() not in leaves(term) else " "  # libpcap reads "len-4" as a name
    if type(term) is Linear:
        body = ""
        parts = sorted(term.parts, key=lambda part: part[1] > MASK // 2)
        for inner, coefficient in parts:
            negative = coefficient > MASK // 2
            size = (1 << 32) - coefficient if negative else coefficient
            piece = text(inner, names, layout, nested=True)
            if size != 1:
                piece = f"{piece}*{size}" if nested and len(parts) == 1 else f"({piece}*{size})"
            if negative:
                body += f"{space}-{space}{piece}" if body else f"0{space}-{space}{piece}"
            else:
                body += f"{space}+{space}{piece}" if body else piece
        constant = term.constant
        if constant:
            body += f"{space}-{space}{number((1 << 32) - constant)}" if constant > MASK // 2 else f"{space}+{space}{number(constant)}"
        return f"({body})" if nested else body
    assert type(term) is Op
    left, right = text(term.a, names, layout, nested=True), text(term.b, names, layout, nested=True)
    if term.op == "and" and type(term.b) is int and term.b >= 10:
        right = hex(term.b)
    body = f"{left}{space}{_SIGNS[term.op]}{space}{right}"
    return f"({body})" if nested else body


_POSITIVE = {"jeq": "=", "jgt": ">", "jge": ">="}
_NEGATIVE = {"jeq": "!=", "jgt": "<=", "jge": "<"}


def relation(op: str, a: Term, b: Term, names: Names, layout: Layout, negated: bool = False) -> str:
    """The condition of a jump as a relation, or its opposite; Unspeakable where the language has none."""
    sign = (_NEGATIVE if negated else _POSITIVE).get(op)
    if op == "jset":
        left = a if type(b) is int else b
        k = b if type(b) is int else a
        if type(k) is not int:
            left, k = Op("and", a, b), MASK
        shown = text(left, names, layout, nested=True) if k != MASK else text(left, names, layout)
        masked = f"{shown} & {hex(k) if k >= 10 else k}" if k != MASK else shown
        return f"{masked} {'=' if negated else '!='} 0"
    if type(b) is int and not (op == "jeq" and type(a) is Linear):
        return f"{text(a, names, layout)} {sign} {b if type(a) is Length else number(b)}"
    if op == "jeq":
        constant, parts = linear(add(a, b, -1))
        plus = {t: c for t, c in parts.items() if c <= MASK // 2}
        minus = {t: (1 << 32) - c for t, c in parts.items() if c > MASK // 2}
        if not plus:
            plus, minus, constant = minus, plus, -constant & MASK
        shown = text(_build(0, plus), names, layout)
        if not minus:
            return f"{shown} {sign} {number(-constant & MASK)}"
        return f"{shown} {sign} {text(_build(-constant & MASK, minus), names, layout)}"
    return f"{text(a, names, layout)} {sign} {text(b, names, layout)}"


def _build(constant: int, parts: dict[Term, int]) -> Term:
    result: Term = constant
    for term, coefficient in parts.items():
        result = add(result, Linear(0, ((term, coefficient),)) if coefficient != 1 else term)
    return result


def relations(op: str, a: Term, b: Term, names: Names, layout: Layout) -> list[str]:
    """The condition and its opposite; empty where the language cannot say them."""
    try:
        return [relation(op, a, b, names, layout), relation(op, a, b, names, layout, negated=True)]
    except Unspeakable:
        return []


def bases_of(term: Term) -> set[Base]:
    """The bases of all loads in a term, and of those in their bases."""
    found: set[Base] = set()
    stack: list[object] = [term]
    while stack:
        t = stack.pop()
        if type(t) is Load:
            found.add(t.base)
            if t.base.term is not None:
                stack.append(t.base.term)
        elif type(t) is Op:
            stack += [t.a, t.b]
        elif type(t) is Linear:
            stack += [part for part, _ in t.parts]
    return found
