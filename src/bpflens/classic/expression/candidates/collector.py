"""The candidates found so far, and what the diagram says of the places in a packet: which bytes matter, and which values they have."""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.linktypes import PACKET, Layout, layout_of, pieces
from bpflens.classic.expression.candidates.candidate import Candidate, Test, load_of

__all__ = ("Collector",)


class Collector:
    """Filled by the functions of protocols.py, addresses.py, ports.py and indexes.py, in the order of candidates.py."""

    def __init__(
        self, store: Store, node: int, tests: Iterable[Test], linktype: str, shift: int | None, raw: bool, inside: bool
    ) -> None:
        self.store = store
        self.node = node
        self.tests = list(tests)
        self.linktype = linktype
        layout = layout_of(linktype)
        self.layout = Layout(None if layout.network is None or shift is None else layout.network + shift, layout.protocol, layout.start)
        if shift is None:
            self.layout = Layout(None, None, layout.start)
        self.shift = shift or 0
        self.raw = raw
        self.inside = inside
        self.restricted: dict[int, int] = {}
        self.found: dict[str, Candidate] = {}
        self.constants: dict[int, set[int]] = {1: set(), 2: set(), 4: set()}
        self.wlan = linktype.startswith("IEEE802_11") or linktype in ("PRISM_HEADER", "PPI")
        for test in self.tests:
            load = load_of(test.a)
            if load is not None and type(test.b) is int:
                self.constants[load.size].add(test.b)
        self.numbers: set[int] = set()
        self.ethertypes: set[int] = set()
        self.support = store.support(node)

    def add(self, prefix: str, value: str = "", cost: int | None = None) -> None:
        candidate = Candidate(prefix, value, len(prefix) + len(value) + bool(value) if cost is None else cost)
        known = self.found.get(candidate.text)
        if known is None or candidate.cost < known.cost:
            self.found[candidate.text] = candidate

    def tests_at(self, base: Base, first: int, last: int) -> bool:
        return any(self.store.variable(base, offset) in self.support for offset in range(first, last + 1))

    def pieces(self, base: Base, offset: int, size: int) -> list[tuple[int, int]]:
        if not self.tests_at(base, offset, offset + size - 1):
            return []
        return pieces(self.store, self.node, base, offset, size, complements=size <= 2)

    def singles(self, base: Base, offset: int, size: int) -> set[int]:
        return {value for low, high in self.pieces(base, offset, size) if high - low < 8 for value in range(low, high + 1)}

    def under(self, ethertype: int, base: Base, offset: int, size: int) -> set[tuple[int, int]]:
        """The pieces of a field in the packets of one ethertype, so that bytes of other headers at the same place do not count."""
        if self.layout.protocol is None or self.inside or ethertype not in self.ethertypes:
            return set(self.pieces(base, offset, size))
        if ethertype not in self.restricted:
            at = self.layout.protocol + self.shift
            high = self.store.restrict(self.node, self.store.variable(PACKET, at), ethertype >> 8)
            self.restricted[ethertype] = self.store.restrict(high, self.store.variable(PACKET, at + 1), ethertype & 255)
        node = self.restricted[ethertype]
        if not self.tests_at(base, offset, offset + size - 1):
            return set()
        return set(pieces(self.store, node, base, offset, size, complements=size <= 2))
