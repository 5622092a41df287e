"""The state of a program at one point, and the merge of two states that reach the same point."""

from __future__ import annotations

from typing import Any

from bpflens.execute.symbolic.machine.memory import Overlay, base, select
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.values.bits import ext
from bpflens.execute.symbolic.values.diagrams import constrain, either, ite
from bpflens.execute.symbolic.values.terms import TRUE, Term, count, memo, symbol

__all__ = ("Cell", "State", "choose", "done_where", "happens", "merge", "uninitialised")

Cell = tuple[Term, int]
"""A byte of a frame: byte number `index` of a value."""


class State:
    """`registers` 0..10; `guard`: the condition under which the point is reached; `frames`: cells by (frame, offset); `memories` by region;
    `world`: history of effects; `generation`: the last call that may have changed memory; `packet`: (start, end, meta)."""

    __slots__ = ("frames", "generation", "guard", "memories", "packet", "registers", "world")

    def __init__(self, world: Term, packet: tuple[Term, Term, Term]) -> None:
        self.registers: list[Term | None] = [None] * 11
        self.guard = TRUE
        self.frames: dict[tuple[Any, int], Cell] = {}
        self.memories: dict[str, Overlay] = {}
        self.world = self.generation = world
        self.packet = packet

    def copy(self) -> State:
        """A state that goes another way."""
        count("copies", 1 + (len(self.frames) + len(self.memories)) // 16)
        other = State(self.world, self.packet)
        other.registers = list(self.registers)
        other.guard, other.generation = self.guard, self.generation
        other.frames = dict(self.frames)
        other.memories = {region: overlay.copy() for region, overlay in self.memories.items()}
        return other

    def memory(self, region: str) -> Overlay:
        """The overlay of a region."""
        known = self.memories.get(region)
        if known is None:
            known = self.memories[region] = Overlay(base(self.generation, region))
        return known


def uninitialised(side: str, frame: Any, offset: int) -> Term:
    """A byte of a frame that was never written: of unknown value, and another one for each program; one for all where `side` is ""."""
    if isinstance(frame, int):
        return symbol(8, "uninitialised", side, frame, offset) if side else symbol(8, "uninitialised")
    return symbol(8, "given", frame, offset)  # the callback's view of what the caller handed over: the same for both


def happens(effect: Term, guard: Term) -> None:
    """A call or event is done where `guard` holds."""
    key = ("done where", effect.id)
    known = memo()
    known[key] = either(known[key], guard) if key in known else guard


def done_where(effect: Term) -> Term:
    """The condition under which one of the programs does a call or event; what it gives means nothing elsewhere."""
    found: Term = memo().get(("done where", effect.id), TRUE)
    return found


def choose(condition: Term, then: Term, other: Term) -> Term:
    """if then else of equal widths."""
    if then.width != other.width:
        raise Refused("merge: widths differ")
    return ite(condition, then, other)


def merge(a: State, b: State, side: str) -> State:
    """The state that is `a` or `b`, which exclude each other; both are used up."""
    guard = either(a.guard, b.guard)
    which = constrain(a.guard, guard)
    known: dict[tuple[Term, Term], Term] = {}

    def pick(x: Term, y: Term) -> Term:
        if x is y:
            return x
        result = known.get((x, y))
        if result is None:
            result = known[x, y] = choose(which, x, y)
        return result

    packet = (pick(a.packet[0], b.packet[0]), pick(a.packet[1], b.packet[1]), pick(a.packet[2], b.packet[2]))
    out = State(pick(a.world, b.world), packet)
    out.guard, out.generation = guard, pick(a.generation, b.generation)
    out.registers = [pick(x, y) if x is not None and y is not None else None for x, y in zip(a.registers, b.registers, strict=True)]
    for at in {**a.frames, **b.frames}:
        count("merges")
        x, y = a.frames.get(at), b.frames.get(at)
        if x == y and x is not None:
            out.frames[at] = x
        elif x is not None and y is not None and x[1] == y[1] and x[0].width == y[0].width:
            out.frames[at] = (pick(x[0], y[0]), x[1])
        else:
            out.frames[at] = (pick(_byte(x, side, at), _byte(y, side, at)), 0)
    for region in sorted(a.memories.keys() | b.memories.keys()):
        out.memories[region] = _merge_memory(a.memory(region), b.memory(region), pick)
    return out


def _byte(cell: Cell | None, side: str, at: tuple[Any, int]) -> Term:
    return ext(cell[0], 8 * cell[1], 8) if cell is not None else uninitialised(side, *at)


def _merge_memory(x: Overlay, y: Overlay, pick: Any) -> Overlay:
    anchor = x.anchor if x.bytes else y.anchor
    if x.base is not y.base or (x.bytes and y.bytes and x.anchor is not y.anchor):
        return Overlay(pick(x.freeze(), y.freeze()))
    bytes: dict[int, Term] = {}
    for offset in sorted(x.bytes.keys() | y.bytes.keys()):
        count("merges")
        one = x.bytes.get(offset)
        two = y.bytes.get(offset)
        bytes[offset] = pick(
            one if one is not None else select(x.base, anchor, offset), two if two is not None else select(x.base, anchor, offset)
        )
    return Overlay(x.base, anchor, bytes)
