"""Candidates with ports and ranges of ports.

    the two bytes behind the IPv4 header are 53   ──►   src port 53, port 53, udp src port 53, ...
"""

from __future__ import annotations

from bpflens.classic.diagrams.linktypes import PACKET, header_base
from bpflens.classic.expression.candidates.candidate import load_of
from bpflens.classic.expression.candidates.collector import Collector

__all__ = ("ports",)

_PORT_PROTOCOLS = {6: "tcp ", 17: "udp ", 132: "sctp "}


def ports(found: Collector) -> None:
    """Ports and ranges of ports, with and without protocol and direction."""
    network = found.layout.network
    sides: list[set[tuple[int, int]]] = [set(), set()]
    if network is None:
        for test in found.tests:
            load = load_of(test.a)
            if load is not None and load.size == 2 and type(test.b) is int and load.base.term is not None:
                low = test.b + (test.op == "jgt")
                for ranges in sides:
                    ranges.add((low, low if test.op == "jeq" else 0xFFFF))
                    if test.op != "jeq" and low:
                        ranges.add((0, low - 1))
        bounds = sorted({low for low, high in sides[0] if high == 0xFFFF})
        for i, low in enumerate(bounds[:8]):
            for end in bounds[i + 1 : 8]:
                sides[0].add((low, end - 1))
                sides[1].add((low, end - 1))
    else:
        for side, ranges in enumerate(sides):
            ranges |= found.under(0x800, header_base(network), network + 2 * side, 2)
            ranges |= found.under(0x86DD, PACKET, network + 40 + 2 * side, 2)
    protocols = [""] + [name for value, name in _PORT_PROTOCOLS.items() if value in found.numbers]
    if len(protocols) == 1:
        protocols += list(_PORT_PROTOCOLS.values())
    for low, high in sorted(sides[0] | sides[1])[:300]:
        for protocol in protocols:
            for direction, present in (
                ("", True),
                ("src ", (low, high) in sides[0]),
                ("dst ", (low, high) in sides[1]),
            ):
                if not present:
                    continue
                if low == high:
                    found.add(f"{protocol}{direction}port", str(low))
                else:
                    found.add(f"{protocol}{direction}portrange", f"{low}-{high}")
                    if high - low < 16:
                        for value in range(low, high + 1):
                            found.add(f"{protocol}{direction}port", str(value))
