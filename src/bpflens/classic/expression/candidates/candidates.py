"""Candidates: every primitive of the expression language that could be part of the answer.

    tests of 0x800, 17, 68 at the right places   ──►   ip, udp, ip proto 17, udp dst port 68, dst port 68, ...

Constants come from the diagram (value sets of the address and port fields) and from the program's own tests. What a primitive means is
never written here: libpcap compiles it, so its rules about fragments, IPv6 and VLANs hold for the version at hand.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import PAYLOADS
from bpflens.classic.expression.candidates.addresses import addresses, ethernet_addresses
from bpflens.classic.expression.candidates.candidate import Candidate, Test
from bpflens.classic.expression.candidates.collector import Collector
from bpflens.classic.expression.candidates.indexes import indexes, lengths
from bpflens.classic.expression.candidates.ports import ports
from bpflens.classic.expression.candidates.protocols import cooked, protocols, wlan_types

__all__ = ("candidates",)


def candidates(
    store: Store,
    node: int,
    tests: Iterable[Test],
    linktype: str,
    shift: int | None = 0,
    raw: bool = False,
    inside: bool = False,
    own: bool = False,
) -> list[Candidate]:
    """Candidates for a diagram of a program with these tests, cheapest first.

    `shift`: bytes by which an enclosing keyword (vlan, mpls, pppoes) moves the network header, None where it moves by a varying number
    (geneve). `raw`: also index expressions for tests that named primitives cover. `inside`: within such a keyword.
    `own`: only protocols, lengths and index expressions, one for each test of the program.
    """
    found = Collector(store, node, tests, linktype, shift, raw, inside)
    if linktype in PAYLOADS:
        found.raw = True
        lengths(found)
        indexes(found)
        return sorted(found.found.values(), key=lambda c: (c.cost, c.text))
    protocols(found)
    if own:
        lengths(found)
        indexes(found)
        return sorted(found.found.values(), key=lambda c: (c.cost, c.text))
    addresses(found)
    ethernet_addresses(found)
    wlan_types(found)
    cooked(found)
    ports(found)
    lengths(found)
    indexes(found)
    return sorted(found.found.values(), key=lambda c: (c.cost, c.text))
