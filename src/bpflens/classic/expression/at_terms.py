"""What tcpdump's language cannot say, in a syntax of our own that nobody can mistake for it: every such term begins with `@`.

    @pkttype != 3                       ancillary data by its kernel name (SKF_AD_PKTTYPE)
    @net[9] = 17                        byte 9 from the network header (SKF_NET_OFF)
    @link[0]                            from the link header (SKF_LL_OFF)
    @packet[4:2] = 4660                 from byte 0 of whatever the socket delivers

The node of such a term is made by the same code that runs programs, so `@` terms take part in the search like libpcap's primitives.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.diagrams.condition import test as condition
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.term import MASK, Length, Linear, Load, Op, Term, a_term, header_length_of
from bpflens.classic.expression.arithmetic import number
from bpflens.classic.expression.candidates.candidate import Candidate, Test
from bpflens.classic.machine.interpreter import ANCILLARY

__all__ = ("ANCILLARY_WORDS", "extended_literals", "marked", "needs_extension", "term_text")

EXTENSION_COST = 60
_MARK = "@extension: "


def marked(expression: str) -> str:
    """An expression with `@` terms as it is shown: behind a mark that no compiler takes, so that it says itself what it is not."""
    return f"{_MARK}{expression}"


ANCILLARY_WORDS = {
    "protocol": "the protocol of the packet as the kernel knows it (skb->protocol)",
    "pkttype": "the packet type (skb->pkt_type)",
    "ifindex": "the number of the network interface",
    "nlattr": "the offset of a netlink attribute",
    "nlattr_nest": "the offset of a nested netlink attribute",
    "mark": "the mark (skb->mark)",
    "queue": "the receive queue",
    "hatype": "the hardware type of the interface (ARPHRD)",
    "rxhash": "the receive hash",
    "cpu": "the CPU that runs the filter",
    "vlan_tag": "the VLAN tag control information that was taken off the frame",
    "vlan_tag_present": "whether a VLAN tag was taken off the frame",
    "pay_offset": "the offset of the payload",
    "random": "a random number",
    "vlan_tpid": "the protocol of the VLAN tag that was taken off the frame",
}


def needs_extension(tests: Iterable[Test]) -> bool:
    """Whether a program looks at something outside the packet's plain bytes."""
    return any(base.region != "packet" for test in tests for term in (test.a, test.b) for base in _bases(term))


def extended_literals(store: Store, tests: Iterable[Test], plain: bool) -> list[tuple[Candidate, int]]:
    """An `@` term of each polarity for every test that has one, with its node. `plain`: also for tests of plain packet bytes."""
    found: list[tuple[Candidate, int]] = []
    for op, a, b in tests:
        bases = _bases(a) | _bases(b)
        if not plain and all(base.region == "packet" for base in bases):
            continue
        node = condition(store, op, a, b)
        if node < 0:
            continue
        positive, negative = _relation(op, a, b)
        found.append((Candidate(positive, "", len(positive) + EXTENSION_COST), node))
        found.append((Candidate(negative, "", len(negative) + EXTENSION_COST), store.negate(node)))
    return found


def _bases(term: Term) -> set[Base]:
    found: set[Base] = set()
    stack: list[object] = [term]
    while stack:
        t = stack.pop()
        if type(t) is Load:
            found.add(t.base)
            if t.base.region != "ancillary":
                stack.append(t.base.term)
        elif type(t) is Op:
            stack += [t.a, t.b]
        elif type(t) is Linear:
            stack += [part for part, _ in t.parts]
    return found


_SIGNS = {"jeq": ("=", "!="), "jgt": (">", "<="), "jge": (">=", "<")}


def _relation(op: str, a: Term, b: Term) -> tuple[str, str]:
    if op == "jset":
        shown = f"{term_text(a)} & {hex(b) if type(b) is int else term_text(b)}"
        return f"{shown} != 0", f"{shown} = 0"
    left, right = term_text(a), number(b) if type(b) is int else term_text(b)
    positive, negative = _SIGNS[op]
    return f"{left} {positive} {right}", f"{left} {negative} {right}"


_INFIX = {"and": "&", "or": "|", "xor": "^", "lsh": "<<", "rsh": ">>", "mul": "*", "div": "/", "mod": "%"}


def term_text(term: Term, nested: bool = False) -> str:
    """A term with every load written out."""
    if type(term) is int:
        return number(term)
    if type(term) is Length:
        return "len"
    if type(term) is Load:
        return load_text(term)
    if type(term) is Linear:
        if header_length_of(term) is not None:
            ((inner, _),) = term.parts
            return f"4*{term_text(inner, True)}"
        parts = []
        for inner, coefficient in term.parts:
            sign, size = ("-", (1 << 32) - coefficient) if coefficient > MASK // 2 else ("+", coefficient)
            parts.append(f"{sign} {size}*{term_text(inner, True)}" if size != 1 else f"{sign} {term_text(inner, True)}")
        if term.constant:
            parts.append(f"- {(1 << 32) - term.constant}" if term.constant > MASK // 2 else f"+ {term.constant}")
        joined = " ".join(parts).removeprefix("+ ")
        return f"({joined})" if nested else joined
    assert type(term) is Op
    right = hex(term.b) if term.op == "and" and type(term.b) is int and term.b >= 10 else term_text(term.b, True)
    joined = f"{term_text(term.a, True)} {_INFIX[term.op]} {right}"
    return f"({joined})" if nested else joined


def load_text(load: Load) -> str:
    """A load as `@region[offset:size]`, or the name of ancillary data."""
    base, offset, size = load
    if base.region == "ancillary":
        name = ANCILLARY.get(offset // 4, f"ancillary_{offset // 4}")
        if isinstance(base.term, tuple):
            a, x = base.term
            return f"@{name}({term_text(a) if a is not None else 0}, {term_text(x) if x is not None else 0})"
        return f"@{name}"
    region = "@packet" if base.region == "packet" else f"@{base.region}" if base.region != "data" else "@data"
    inner = str(offset)
    if base.term is not None:
        shown = term_text(a_term(base.term), True)
        inner = f"{shown}+{offset}" if offset > 0 else f"{shown}-{-offset}" if offset < 0 else shown
    return f"{region}[{inner}]" if size == 1 else f"{region}[{inner}:{size}]"


def ancillary_words(relation: str) -> str:
    """`@pkttype = 4` in words."""
    left, sign, right = [*relation.rsplit(" ", 2), "", ""][:3]
    name, _, mask = left.removeprefix("@").partition(" & ")
    subject = ANCILLARY_WORDS.get(name.split("(")[0], f"`{left}`")
    if mask:
        subject = f"{subject}, masked with {mask},"
    words = {"=": "is", "!=": "is not", ">": "is above", "<": "is below", ">=": "is at least", "<=": "is at most"}
    value = right
    if name == "pkttype" and right.isdigit() and int(right) < len(_PACKET_TYPES):
        value = f"{right} (PACKET_{_PACKET_TYPES[int(right)]})"
    elif name in ("protocol", "vlan_tpid") and right:
        from bpflens.classic.packets.well_known import ETHERTYPES

        known = ETHERTYPES.get(int(right, 0))
        value = f"{right} ({known})" if known else right
    return f"{subject} {words.get(sign, sign)} {value}"


_PACKET_TYPES = ("HOST", "BROADCAST", "MULTICAST", "OTHERHOST", "OUTGOING", "LOOPBACK", "USER", "KERNEL")
