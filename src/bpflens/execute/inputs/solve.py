"""Inputs at the edges of conditions: where a program compares, both sides are made equal, and one apart in both directions.

    if r1 == 0x1f90 with r1 = 0x0050 read from the packet   ──►   the same packet with 0x1f90, 0x1f91 and 0x1f8f in that place

The interpreter says what was compared with what. The value of one side is searched for in the packet, the context, the contents of maps
and the memory behind pointers, in both byte orders, and exchanged for the other side's; where the end of the packet is compared, the packet
gets another length. That reaches what chance does not: constants of 32 bits, and both sides of every boundary. (The idea is that of
"REDQUEEN: Fuzzing with Input-to-State Correspondence", NDSS 2019.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from bpflens.execute.inputs.packets import SMALLEST
from bpflens.execute.inputs.slope import sloped
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.interpreter.memory import SHIFT
from bpflens.execute.interpreter.packet import PACKET_REGION
from bpflens.execute.result import Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("Explored", "explored", "solved")

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_MOST_STEPS = 20_000_000  # instructions of all runs
_TRIES = 40  # of one edge of one condition
_SLOPE_SCENES, _SLOPE_RUNS = 24, 400
_ENOUGH = 4  # inputs for each edge
_EDGES = (0, 1, -1)
_MAX_PACKET = 1500
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


@dataclass(frozen=True, slots=True)
class _Compared:
    """A condition that was evaluated: the two sides, in the width of the jump."""

    slot: int
    bits: int
    left: int
    right: int

    @property
    def distance(self) -> int:
        """Of the left side from the right one, signed, in the width of the jump."""
        distance = (self.left - self.right) & (1 << self.bits) - 1
        return distance - (1 << self.bits) if distance >> self.bits - 1 else distance

    def relation(self) -> int:
        """0, 1, -1 for equal and one apart; 2 and 3 for further above and below."""
        distance = self.distance
        if distance in _EDGES:
            return distance
        return 2 if self.left > self.right else 3


@dataclass(frozen=True, slots=True)
class Explored:
    """`scenes` of one input each that reach an edge or a block which no seed does; `seeds` that reach one first; `unmet`: conditions whose
    limit none of them meets.
    """

    scenes: list[Scene]
    seeds: list[Scene]
    unmet: int


def solved(subject: Subject, seeds: list[Scene], rnd: Random, runs: int, steps: int) -> list[Scene]:
    """Scenes of one input each that reach an edge or a block which the `seeds` (scenes of one input each) do not; at most `runs` runs, and
    some more for sums.
    """
    return explored(subject, seeds, rnd, runs, steps).scenes


def explored(subject: Subject, seeds: list[Scene], rnd: Random, runs: int, steps: int) -> Explored:
    """As `solved`, with what is known of limits."""
    search = _Search(subject, steps, runs, list(seeds))
    first = [seed for seed in seeds if search.spent < _MOST_STEPS and search.play(seed)[0]]
    search.exchange(rnd)
    search.runs = min(_SLOPE_RUNS, runs // 2)
    search.descend(rnd)
    return Explored(search.kept, first, search.unmet())


class _Search:
    """Runs of a program, and what they compared. `seen`: slot -> relation -> how often; `apart`: comparisons of packet pointers, which have
    lengths that no test run has.
    """

    def __init__(self, subject: Subject, steps: int, runs: int, waiting: list[Scene]) -> None:
        self.subject, self.runs, self.waiting = subject, runs, waiting
        self.program = InterpretedProgram(subject, steps=steps, trace=True)
        self.seen: dict[int, dict[int, int]] = {}
        self.apart: set[int] = set()
        self.kept: list[Scene] = []
        self.reached = self.spent = 0

    def play(self, scene: Scene) -> tuple[bool, list[_Compared]]:
        """(is something new, what was compared) of a run."""
        program, trace = self.program, self.program.machine.trace
        self.runs = self.runs - 1 if self.spent < _MOST_STEPS else 0
        trace.clear()
        program.set(scene.maps, scene.memory)
        program.run(scene.inputs[-1])
        self.spent += program.machine.spent
        compared = [_compared(self.subject, *entry) for entry in trace[:400]]
        fresh = program.reached() > self.reached
        self.reached = max(self.reached, program.reached())
        for entry in compared:
            if PACKET_REGION in (entry.left >> SHIFT, entry.right >> SHIFT):
                self.apart.add(entry.slot)
            relations = self.seen.setdefault(entry.slot, {})
            relation = entry.relation()
            relations[relation] = relations.get(relation, 0) + 1
            fresh |= relations[relation] <= _ENOUGH
        return fresh, compared

    def exchange(self, rnd: Random) -> None:
        """Exchange one side of each condition for the other."""
        tries: dict[int, int] = {}
        at = 0
        while at < len(self.waiting) and self.runs > 0:
            scene = self.waiting[at]
            at += 1
            _, compared = self.play(scene)
            data, end = self.program.machine.data, self.program.machine.data_end
            for entry in {(c.slot, c.left, c.right): c for c in compared}.values():
                missing = [edge for edge in _EDGES if self.seen[entry.slot].get(edge, 0) < _ENOUGH]
                if not missing or tries.get(entry.slot, 0) >= _TRIES * len(_EDGES):
                    continue
                for candidate in _candidates(scene, entry, missing, data, end, rnd):
                    tries[entry.slot] = tries.get(entry.slot, 0) + 1
                    if self.play(candidate)[0]:
                        self.kept.append(candidate)
                        self.waiting.append(candidate)
                    if self.runs <= 0 or tries[entry.slot] >= _TRIES * len(_EDGES):
                        break
                if self.runs <= 0:
                    break

    def descend(self, rnd: Random) -> None:
        """Move numbers by as much as brings a condition to its limit."""
        for candidate in sloped(self.waiting[::-1][:_SLOPE_SCENES], self._measured, self._wanted, rnd):
            if self.runs > 0 and self.play(candidate)[0]:
                self.kept.append(candidate)

    def unmet(self) -> int:
        """Conditions whose limit no run met."""
        slots = self.seen.keys() - self.apart
        return sum(any(not self.seen[slot].get(edge) for edge in _limit_of(self.subject, slot)) for slot in slots)

    def _measured(self, scene: Scene) -> list[_Compared]:
        return self.play(scene)[1] if self.runs > 0 else []

    def _wanted(self, slot: int) -> list[int]:
        return [edge for edge in _limit_of(self.subject, slot) if self.seen.get(slot, {}).get(edge, 0) < _ENOUGH]


def _limit_of(subject: Subject, slot: int) -> tuple[int, ...]:
    """The two distances between which a comparison turns; () where there is no limit, or where it is the sign."""
    insn = Insn(subject.words[slot])
    operation = insn.code & 0xF0
    if operation in (op.JSGT, op.JSGE, op.JSLT, op.JSLE) and not insn.code & op.X and insn.imm in (0, -1):
        return ()
    if operation in (op.JGT, op.JLE, op.JSGT, op.JSLE):
        return (0, 1)
    return (-1, 0) if operation in (op.JGE, op.JLT, op.JSGE, op.JSLT) else ()


def _compared(subject: Subject, slot: int, left: int, right: int) -> _Compared:
    """Immediate operands come sign-extended from the trace already."""
    bits = 32 if Insn(subject.words[slot]).code & 7 == op.JMP32 else 64
    mask = (1 << bits) - 1
    return _Compared(slot, bits, left & mask, right & mask)


def _candidates(scene: Scene, entry: _Compared, edges: list[int], data: int, end: int, rnd: Random) -> Iterator[Scene]:
    input = scene.inputs[-1]
    base = PACKET_REGION << SHIFT
    for value, other, sign in ((entry.left, entry.right, 1), (entry.right, entry.left, -1)):
        if value == base + end and other >> SHIFT == PACKET_REGION:
            for edge in edges:
                yield from _resized(scene, other - base - data - sign * edge - (end - data) + len(input.packet))
            return
    for value, other, sign in ((entry.left, entry.right, 1), (entry.right, entry.left, -1)):
        if value in (len(input.packet), end - data) and other < _MAX_PACKET:
            for edge in edges:
                yield from _resized(scene, len(input.packet) + other + sign * edge - value)
        for edge in edges:
            yield from _exchanged(scene, value, other + sign * edge, entry.bits, rnd)
    for edge in edges:
        yield from _shifted(scene, entry.right + edge - entry.left, rnd)


def _resized(scene: Scene, size: int) -> Iterator[Scene]:
    input = scene.inputs[-1]
    if SMALLEST <= size <= _MAX_PACKET and size != len(input.packet):
        packet = input.packet[:size].ljust(size, b"\xa5")
        ctx = input.ctx
        if len(ctx) == 24 and int.from_bytes(ctx[4:8], "little") == len(input.packet):  # struct xdp_md
            ctx = ctx[:4] + size.to_bytes(4, "little") + ctx[8:]
        yield replace(scene, inputs=(replace(input, packet=packet, ctx=ctx),))


def _exchanged(scene: Scene, value: int, wanted: int, bits: int, rnd: Random) -> Iterator[Scene]:
    """The scene with one occurrence of a number exchanged, in each place where it is found."""
    input = scene.inputs[-1]
    signed = value - (1 << bits) if value >> bits - 1 else value
    for size in (8, 4, 2, 1):
        if size * 8 > bits or not -(1 << 8 * size - 1) <= signed < 1 << 8 * size:
            continue
        mask = (1 << 8 * size) - 1
        for order in _ORDERS[: 1 if size == 1 else 2]:
            old, new = (n.to_bytes(size, order) for n in (value & mask, wanted & mask))
            if old == new or (not value and size > 4):
                continue
            for changed in _replaced(input.packet, old, new):
                yield replace(scene, inputs=(replace(input, packet=changed),))
            for changed in _replaced(input.ctx, old, new):
                yield replace(scene, inputs=(replace(input, ctx=changed),))
            for maps in _in_maps(scene.maps, old, new):
                yield replace(scene, maps=maps)
            for changed in _replaced(scene.memory, old, new, 2 if size > 1 and value > 255 else 0):
                yield replace(scene, memory=changed)


def _shifted(scene: Scene, distance: int, rnd: Random) -> Iterator[Scene]:
    """A number in a map moved by a distance, for what is compared may be a sum with it in it."""
    if not -(1 << 40) < distance < 1 << 40 or not distance:
        return
    places = [(name, key) for name, elements in scene.maps.items() for key, value in elements.items() if len(value) in (4, 8)]
    for name, key in rnd.sample(places, min(3, len(places))):
        value = scene.maps[name][key]
        moved = int.from_bytes(value, "little") + distance & (1 << 8 * len(value)) - 1
        yield replace(scene, maps={**scene.maps, name: {**scene.maps[name], key: moved.to_bytes(len(value), "little")}})


def _replaced(data: bytes, old: bytes, new: bytes, limit: int = 4) -> Iterator[bytes]:
    """One occurrence after the other exchanged; at most `limit` of them."""
    at = data.find(old)
    while at >= 0 and limit > 0:
        yield data[:at] + new + data[at + len(old) :]
        limit -= 1
        at = data.find(old, at + 1)


def _in_maps(maps: Mapping[str, Mapping[bytes, bytes]], old: bytes, new: bytes) -> Iterator[Mapping[str, Mapping[bytes, bytes]]]:
    if len(old) == 1 and old == b"\0":
        return
    found = 0
    for name, elements in maps.items():
        for key, value in elements.items():
            for changed in _replaced(value, old, new, 1):
                yield {**maps, name: {**elements, key: changed}}
                found += 1
                if found >= 3:
                    return
