"""Memories as terms: a generation, and what the program wrote since.

    base(generation, region)                     what the region holds after the last call that could change it
    upd(memory, anchor, ((offset, byte), ...))   bytes written at anchor + offset, anchor an address without its constant
    sel(memory, anchor, offset)                  a byte read

A read looks through writes with the same anchor only: two other addresses may be the same, so nothing is assumed of them. Regions are
disjoint (regions.py says why). `canonical` joins the leaves of a memory that differ only in what was written, so that conditional writes
are conditional bytes, in whatever order branches made them.
"""

from __future__ import annotations

from bpflens.execute.symbolic.values import terms
from bpflens.execute.symbolic.values.diagrams import constrain, either, ite, leaves, negate, variable
from bpflens.execute.symbolic.values.terms import FALSE, MEM, Term, const, count, make

__all__ = ("Overlay", "base", "canonical", "select", "split")

_FULL = (1 << 64) - 1
SPREAD = 16  # a write is pushed into the leaves of a memory of up to this size
JOINED = 64  # a memory of up to this size is made canonical


def split(address: Term) -> tuple[Term | None, int]:
    """An address as (terms without the constant, constant); None for a constant address."""
    if address.op == "k":
        return None, address.args
    if address.op == "add":
        constant, items = address.args
        if not constant:
            return address, 0
        return items[0][0] if len(items) == 1 and items[0][1] == 1 else make("add", 64, (0, items)), constant
    return address, 0


def base(generation: Term, region: str) -> Term:
    """What a region holds in a generation, which may be a diagram."""
    if generation.op == "ite":
        return ite(variable(generation.args[0]), base(generation.args[1], region), base(generation.args[2], region))
    return make("base", MEM, (generation, region))


def select(memory: Term, anchor: Term | None, offset: int) -> Term:
    """The byte at anchor + offset."""
    offset &= _FULL
    while True:
        count("reads")
        if memory.op == "ite":
            test, then, other = memory.args
            return ite(variable(test), select(then, anchor, offset), select(other, anchor, offset))
        if memory.op != "upd" or memory.args[1] is not anchor:
            return make("sel", 8, (memory, anchor, offset))
        for at, byte in memory.args[2]:
            if at == offset:
                found: Term = byte
                return found
        memory = memory.args[0]


class Overlay:
    """A region while a program writes to it: `base` memory, and the bytes written since at `anchor` + offset."""

    __slots__ = ("anchor", "base", "bytes")

    def __init__(self, base: Term, anchor: Term | None = None, bytes: dict[int, Term] | None = None) -> None:
        self.base, self.anchor = base, anchor
        self.bytes: dict[int, Term] = bytes if bytes is not None else {}

    def copy(self) -> Overlay:
        """A copy that can be written to."""
        return Overlay(self.base, self.anchor, dict(self.bytes))

    def read(self, anchor: Term | None, offset: int) -> Term:
        """The byte at anchor + offset."""
        offset &= _FULL
        if self.bytes and self.anchor is not anchor:
            return select(self.freeze(), anchor, offset)
        written = self.bytes.get(offset)
        return written if written is not None else select(self.base, anchor, offset)

    def write(self, anchor: Term | None, offset: int, byte: Term) -> None:
        """Write the byte at anchor + offset."""
        if self.bytes and self.anchor is not anchor:
            self.base, self.bytes = self.freeze(), {}
        self.anchor = anchor
        self.bytes[offset & _FULL] = byte

    def freeze(self) -> Term:
        """The memory as a term, without the writes that change nothing."""
        count("writes", 1 + len(self.bytes))
        changed = {at: byte for at, byte in self.bytes.items() if byte is not select(self.base, self.anchor, at)}
        return _update(self.base, self.anchor, changed) if changed else self.base


def _update(memory: Term, anchor: Term | None, written: dict[int, Term]) -> Term:
    if memory.op == "ite" and memory.size <= SPREAD:
        test = variable(memory.args[0])

        def part(leaf: Term, condition: Term) -> Term:
            return Overlay(leaf, anchor, {at: constrain(byte, condition) for at, byte in written.items()}).freeze()

        return ite(test, part(memory.args[1], test), part(memory.args[2], negate(test)))
    return make("upd", MEM, (memory, anchor, tuple(sorted(written.items()))))


def canonical(memory: Term) -> Term:
    """The same memory with one leaf for each (base, anchor), and conditional bytes in it."""
    if memory.op != "ite" or memory.size > JOINED:
        return memory
    known = terms.memo()
    result: Term | None = known.get(("memory", memory.id))
    if result is None:
        result = known["memory", memory.id] = _joined(memory)
    return result


def _joined(memory: Term) -> Term:
    found = leaves(memory)
    anchors: dict[Term, set[Term | None]] = {}
    for _, leaf in found:
        if leaf.op == "upd":
            anchors.setdefault(leaf.args[0], set()).add(leaf.args[1])
    groups: dict[tuple[Term, Term | None], list[tuple[Term, dict[int, Term]]]] = {}
    for condition, leaf in found:
        if leaf.op == "upd":
            groups.setdefault((leaf.args[0], leaf.args[1]), []).append((condition, dict(leaf.args[2])))
        else:
            one = anchors.get(leaf, set())
            groups.setdefault((leaf, next(iter(one)) if len(one) == 1 else None), []).append((condition, {}))
    if len(groups) == len(found):
        return memory
    out: Term | None = None
    for (at, anchor), members in groups.items():
        condition, leaf = _one_leaf(at, anchor, members)
        out = leaf if out is None else ite(condition, leaf, out)
    assert out is not None
    return out


def _one_leaf(at: Term, anchor: Term | None, members: list[tuple[Term, dict[int, Term]]]) -> tuple[Term, Term]:
    condition = FALSE
    for part, _ in members:
        condition = either(condition, part)
    bytes: dict[int, Term] = {}
    for offset in sorted({offset for _, written in members for offset in written}):
        value: Term | None = None
        for part, written in members:
            count("joins of memories")
            byte = written.get(offset)
            if byte is None:
                byte = select(at, anchor, offset)
            value = byte if value is None else ite(part, byte, value)
        assert value is not None
        bytes[offset] = constrain(value, condition)
    return condition, Overlay(at, anchor, bytes).freeze()


def null_read(address: int, size_bytes: int) -> Term:
    """What a load from a constant address gives, the same for both programs: the verifier lets only null BTF pointers through."""
    return make("sym", 8 * size_bytes, ("null", const(64, address).args, size_bytes))
