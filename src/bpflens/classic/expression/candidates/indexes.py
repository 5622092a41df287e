"""Candidates with arithmetic: lengths, and loads under every name that their place has.

    byte 23 & 0x80 != 0   ──►   ether[23] & 0x80 != 0, ip[9] & 0x80 != 0
"""

from __future__ import annotations

from bpflens.classic.diagrams.fields import LENGTH, Base
from bpflens.classic.diagrams.linktypes import PACKET, header_base
from bpflens.classic.diagrams.term import Length, Load, a_term, linear
from bpflens.classic.expression.arithmetic import Names, bases_of, relations
from bpflens.classic.expression.candidates.candidate import Test, load_of
from bpflens.classic.expression.candidates.collector import Collector

__all__ = ("indexes", "lengths")

INDEX_COST = 25  # what `ip[9] = 17` must save, in characters, to be preferred to a named primitive


def lengths(found: Collector) -> None:
    """Tests of the packet's length."""
    if found.store.variable(LENGTH.base, 0) not in found.support:
        return
    for test in found.tests:
        if type(test.a) is Length and type(test.b) is int:
            for text in relations(test.op, test.a, test.b, Names("ether", 0), found.layout):
                found.add(text)
            if test.op != "jeq":
                found.add("less", str(test.b - (test.op == "jge")))


def indexes(found: Collector) -> None:
    """Arithmetic on loads, under every name that a place has."""
    layout = found.layout
    start = layout.start
    places: list[Names] = []
    behind = [name for value, name in ((6, "tcp"), (17, "udp"), (1, "icmp"), (132, "sctp"), (2, "igmp")) if value in found.numbers]
    if layout.network is not None:
        fixed = ["ip"]
        if 0x86DD in found.ethertypes or layout.protocol is None:
            fixed.append("ip6")
        if 0x806 in found.ethertypes:
            fixed.append("arp")
        if 0x8035 in found.ethertypes:
            fixed.append("rarp")
        for name in fixed:
            places.append(Names(name, layout.network))
        if 58 in found.numbers:
            places.append(Names("icmp6", layout.network + 40))
        places += [Names("ip", layout.network, name, layout.network) for name in behind or ("tcp", "udp", "icmp")]
    places.append(Names(start, 0))
    header = header_base(layout.network) if layout.network is not None else None
    for test in found.tests:
        if type(test.a) is Length and type(test.b) is int:
            continue
        if not found.raw and _explained(found, test):
            continue
        bases = bases_of(test.a) | bases_of(test.b)
        if any(base.region != "packet" for base in bases):
            continue
        for names in places:
            if names.behind is not None and (header is None or not _mentions(bases, header)):
                continue
            for text in relations(test.op, test.a, test.b, names, layout):
                extra = INDEX_COST + (8 if names.fixed == start else 0)
                found.add(text, "", len(text) + extra)


def _explained(found: Collector, test: Test) -> bool:
    """Whether the named primitives say this test already: an ethertype, protocol, address, port, MAC or fragment test."""
    load = load_of(test.a)
    if load is None or type(test.b) is not int:
        return False
    layout, offset, size = found.layout, load.offset, load.size
    masked = type(test.a) is not Load
    if load.base == PACKET:
        if layout.network is None:
            return False
        if size == 2 and layout.protocol is not None and offset == layout.protocol + found.shift and not masked:
            return True
        inside = offset - layout.network
        if size == 1 and inside in (6, 9) and not masked and test.op == "jeq":
            return True
        if size == 2 and inside == 6 and test == Test("jset", load, 0x1FFF):
            return True
        if size == 4 and inside in (12, 16) and test.op == "jeq":
            return True
        if size == 4 and inside in (8, 12, 16, 20, 24, 28, 32, 36) and 0x86DD in found.ethertypes and test.op == "jeq":
            return True
        if size == 4 and inside in (14, 24) and {0x806, 0x8035} & found.ethertypes and test.op == "jeq":
            return True
        if size == 2 and inside in (40, 42) and 0x86DD in found.ethertypes and not masked:
            return True
        return found.linktype == "EN10MB" and offset + size <= 12 and size > 1 and test.op == "jeq" and not masked
    if layout.network is not None and load.base == header_base(layout.network):
        return size == 2 and offset - layout.network in (0, 2) and not masked and test.op != "jset"
    return False


def _mentions(bases: set[Base], header: Base) -> bool:
    """Whether one of the bases is the end of the IPv4 header or counts from there."""
    (part,) = linear(a_term(header.term))[1].items()
    return any(base.term is not None and part in linear(a_term(base.term))[1].items() for base in bases)
