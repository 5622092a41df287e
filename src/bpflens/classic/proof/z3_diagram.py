"""A decision diagram as a formula for z3: what its variables mean, written down a second time.

    packet[12] ─ 8 ─► TRUE, else FALSE      ──►   packet12 == 8

A diagram takes its variables for independent. Where they are not (conditions on the same bytes, two addresses that meet) its difference
from another may be one that no packet has: as a formula over the packet's bytes z3 can tell. And a diagram may be checked against the
formula of the program that it was made from (z3_formula.py): so answers outside of the diagrams' exact fragment get their second key.
"""

from __future__ import annotations

from typing import Any

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.symbolic import value_terms
from bpflens.classic.diagrams.term import Length, Linear, Load, Op, Term, a_term
from bpflens.classic.proof.z3_world import World
from bpflens.isa.classic.table import SKF_LL_OFF, SKF_NET_OFF, Ad

__all__ = ("MAX_NODES", "TooLarge", "diagram_formula")

MAX_NODES = 60_000
_POSITIVE = 1 << 31
_NLATTR = (Ad.NLATTR, Ad.NLATTR_NEST)


class TooLarge(Exception):
    """The diagram has too many nodes for a formula."""


def diagram_formula(store: Store, node: int, world: World) -> Any:
    """The return value of a diagram as a 32-bit formula; NeedsArray where the world has none and an offset is computed."""
    nodes = store.reachable(node)
    if len(nodes) > MAX_NODES:
        raise TooLarge(f"the diagram has {len(nodes)} nodes")
    return _Translation(store, world).node(node)


class _Translation:
    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world
        self.z3 = world.z3
        self.values = value_terms(store)
        self.memo: dict[int, Any] = {}
        self.terms: dict[Term, Any] = {}

    def node(self, n: int) -> Any:
        found = self.memo.get(n)
        if found is None:
            found = self.memo[n] = self._terminal(~n) if n < 0 else self._inner(n)
        return found

    def _terminal(self, value: int) -> Any:
        term = self.values.get(value)
        return self.z3.BitVecVal(value, 32) if term is None else self.term(term)

    def _inner(self, n: int) -> Any:
        z3, store = self.z3, self.store
        field = store.field_of(store.var[n])
        starts, kids = store.starts[n], store.kids[n]
        if field.base.region == "atom":
            return z3.If(self._atom(field.base.term), self.node(kids[1]), self.node(kids[0]))
        value = self._variable(field)
        result = self.node(kids[-1])
        for i in range(len(kids) - 2, -1, -1):
            result = z3.If(z3.ULT(value, z3.BitVecVal(starts[i + 1], value.size())), self.node(kids[i]), result)
        return result

    def _atom(self, condition: Any) -> Any:
        match condition:
            case ("device",):
                return self.world.device
            case ("zero", term):
                return self.term(term) == 0
            case ("gt", left, right):
                return self.z3.UGT(self.term(left), self.term(right))
        raise AssertionError(f"unknown condition {condition!r}")

    def _variable(self, field: Field) -> Any:
        base, offset, _ = field
        if base.region == "length":
            return self.world.length
        if base.region == "room":
            assert isinstance(base.term, Base)
            return self._room(base.term)
        return self._byte(base, offset)

    def _byte(self, base: Base, offset: int) -> Any:
        """The byte `offset` behind the address that a base names."""
        z3, world = self.z3, self.world
        if base.region == "ancillary":
            high = 8 * (4 - offset % 4) - 1
            return z3.Extract(high, high - 7, self._ancillary(base, offset // 4))
        if base.term is None:
            return world.byte(base.region, offset)
        address = self.term(a_term(base.term))
        near = world.byte_at("packet", address + offset)
        if not world.kernel:
            return near
        net, link = (world.byte_at(region, address - start + offset) for region, start in (("net", SKF_NET_OFF), ("link", SKF_LL_OFF)))
        return z3.If(z3.UGE(address, SKF_NET_OFF), net, z3.If(z3.UGE(address, SKF_LL_OFF), link, near))

    def _room(self, base: Base) -> Any:
        """How many bytes can be loaded from a base's address on."""
        z3, world = self.z3, self.world

        def left(region: str, offset: Any) -> Any:
            room = world.room(region)
            return z3.If(z3.ULE(offset, room), room - offset, z3.BitVecVal(0, 32))

        if base.term is None:
            return world.room(base.region)
        address = self.term(a_term(base.term))
        if not world.kernel:
            return left("packet", address)
        near = z3.If(z3.ULT(address, _POSITIVE), left("packet", address), z3.BitVecVal(0, 32))
        link = z3.If(z3.UGE(address, SKF_LL_OFF), left("link", address - SKF_LL_OFF), near)
        return z3.If(z3.UGE(address, SKF_NET_OFF), left("net", address - SKF_NET_OFF), link)

    def _ancillary(self, base: Base, number: int) -> Any:
        if number in _NLATTR:
            assert isinstance(base.term, tuple)  # A and X, None where they do not matter
            a, x = (self.term(0 if t is None else a_term(t)) for t in base.term)
            return self.world.attribute(number, a, x)
        pc = base.term if number == Ad.RANDOM else None
        assert pc is None or isinstance(pc, int)
        return self.world.ancillary(number, pc)

    def term(self, term: Term) -> Any:
        """A term as 32 bits."""
        found = self.terms.get(term)
        if found is None:
            found = self.terms[term] = self._term(term)
        return found

    def _term(self, term: Term) -> Any:
        z3 = self.z3
        if type(term) is int:
            return z3.BitVecVal(term, 32)
        if type(term) is Length:
            return self.world.length
        if type(term) is Load:
            parts = [self._byte(term.base, term.offset + i) for i in range(term.size)]
            value = parts[0] if len(parts) == 1 else z3.Concat(*parts)
            return z3.ZeroExt(32 - 8 * term.size, value) if term.size < 4 else value
        if type(term) is Linear:
            total = z3.BitVecVal(term.constant, 32)
            for inner, coefficient in term.parts:
                total = total + self.term(inner) * z3.BitVecVal(coefficient, 32)
            return total
        assert type(term) is Op
        a, b = self.term(term.a), self.term(term.b)
        match term.op:
            case "and":
                return a & b
            case "or":
                return a | b
            case "xor":
                return a ^ b
            case "mul":
                return a * b
            case "lsh":
                return a << b
            case "rsh":
                return z3.LShR(a, b)
            case "div":
                return z3.UDiv(a, b)
            case "mod":
                return z3.URem(a, b)
        raise AssertionError(f"unknown operation {term.op}")
