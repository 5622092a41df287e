"""What the variables of a diagram are for one concrete packet, so that a diagram can be evaluated as if it were the program."""

from __future__ import annotations

from bpflens.classic.diagrams.condition import evaluate
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.symbolic import value_terms
from bpflens.classic.diagrams.term import Length, Load, Term, leaves

NETWORK = 14


class Reader:
    """Reads fields of a packet as the kernel's loads do; bytes that are not there are 0 (the diagram tests for them itself)."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet

    def value(self, store: Store, node: int) -> int:
        """The return value that the diagram gives for the packet."""
        found = store.evaluate(node, self.field)
        terms = value_terms(store)
        return self.term(terms[found]) if found in terms else found

    def field(self, field: Field) -> int:
        base = field.base
        if base.region == "length":
            return len(self.packet)
        if base.region == "room":
            assert isinstance(base.term, Base)
            origin = self.origin(base.term)
            return 0 if origin is None else max(0, len(self.packet) - origin)
        if base.region == "atom":
            return int(self.atom(base.term))
        return self.bytes(base, field.offset, field.width // 8)

    def atom(self, atom: object) -> bool:
        kind, *rest = atom  # type: ignore[misc]
        if kind == "zero":
            return self.term(rest[0]) == 0
        assert kind == "gt"
        return self.term(rest[0]) > self.term(rest[1])

    def origin(self, base: Base) -> int | None:
        """The byte of the packet that offsets of a base count from; an address wraps at 2^32, and a negative one counts from a header."""
        if base.term is None:
            return {"packet": 0, "link": 0, "net": NETWORK}[base.region]
        at = self.term(base.term)  # type: ignore[arg-type]
        if at >= 0xFFF00000:
            return at - 0xFFF00000 + NETWORK
        if at >= 0xFFE00000:
            return at - 0xFFE00000
        return at if at < 1 << 31 else None

    def bytes(self, base: Base, offset: int, size: int) -> int:
        origin = self.origin(base)
        if origin is None or origin + offset + size > len(self.packet):
            return 0
        return int.from_bytes(self.packet[origin + offset : origin + offset + size], "big")

    def term(self, term: Term) -> int:
        values: dict[Load | Length, int] = {}
        for leaf in leaves(term):
            if type(leaf) is Load:
                values[leaf] = self.bytes(leaf.base, leaf.offset, leaf.size)
            else:
                values[leaf] = len(self.packet)
        return evaluate(term, values)
