"""Are two classic programs equal? Proof by diagrams, by z3 where diagrams cannot tell, and a packet where they differ.

Two levels, because libpcap's own optimizer is only equal on the second (libpcap issue 430): "all-packets", and "untruncated", packets that
are long enough for every load that either program makes. A difference is only ever reported with a packet on which both programs
were run by the interpreter and answered differently.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal as OneOf

from bpflens.classic.diagrams.diagram import FALSE, TRUE, Store, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, Loop, Machine, run_in
from bpflens.classic.proof.witness import Packet, packets_to
from bpflens.errors import InputError

__all__ = ("Grade", "Verdict", "Witness", "compare", "runner")

Grade = OneOf["all-packets", "untruncated", "none"]
Insns = Sequence[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet that tells two programs apart; `a` and `b` are what they returned for it. `aux`: ancillary data that was supplied."""

    packet: bytes
    a: int
    b: int
    aux: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`grade` of the proof of equality; `method` that found it ("diagrams", "z3").

    `witness`: for "none", a packet that shows the difference, None where neither proof nor packet was found (`reason` says why); for
    "untruncated", a packet too short for some load on which they differ, where one was found.
    """

    grade: Grade
    method: str
    witness: Witness | None = None
    reason: str = ""

    @property
    def different(self) -> bool:
        """Whether a difference beyond short packets was shown."""
        return self.grade == "none" and self.witness is not None


def compare(
    a: Insns,
    b: Insns,
    machine: Machine = KERNEL,
    *,
    given: Insns | None = None,
    values: bool = False,
    timeout: float = 20.0,
) -> Verdict:
    """The strongest level on which two programs accept the same packets (with `values`: return the same).

    `given`: only packets that this program accepts count. `timeout` in seconds bounds the use of z3. Loop and InputError of either program
    are raised as they are.
    """
    store = Store(deadline=time.monotonic() + max(timeout, 5.0 + (len(a) + len(b)) / 400))
    if tuple(map(tuple, a)) == tuple(map(tuple, b)):
        return Verdict("all-packets", "identical instructions")
    run = runner(a, b, machine, given)
    reason = ""
    level: Grade
    short: Witness | None = None
    nodes: list[tuple[int, int]] = []
    for bounds, level in ((True, "all-packets"), (False, "untruncated")):
        try:
            one, two = (run_in(store, insns, machine, bounds=bounds, accept=not values) for insns in (a, b))
            assumed = _assumed(store, given, machine, bounds)
        except TooComplex as error:
            reason = str(error)
            break
        one, two = (store.ite(assumed, node, FALSE) for node in (one, two))
        if one == two:
            if level == "untruncated":
                short = _search(store, *nodes[0], run, machine)
            return Verdict(level, "diagrams", short)
        nodes.append((one, two))
    for one, two in reversed(nodes):
        found = _search(store, one, two, run, machine)
        if found is not None and (one, two) == nodes[-1] and len(nodes) == 2:
            return Verdict("none", "run", found)
        short = short or found
    from bpflens.classic.proof import z3_formula

    return z3_formula.compare(a, b, machine, given=given, values=values, timeout=timeout, run=run, short=short, reason=reason)


def _assumed(store: Store, given: Insns | None, machine: Machine, bounds: bool) -> int:
    """The packets that an assumption leaves: those that its program accepts, which a packet cut short in front of its tests is not."""
    try:
        return TRUE if given is None else run_in(store, given, machine, bounds=bounds, accept=True)
    except Loop:
        return TRUE


def runner(a: Insns, b: Insns, machine: Machine, given: Insns | None = None) -> Callable[[Packet], Witness | None]:
    """Runs both programs; the Witness where they differ, for a packet that `given` accepts."""
    from bpflens.classic.machine.interpreter import run as interpret

    model: OneOf["kernel", "libpcap"] = "libpcap" if machine.name == "libpcap" else "kernel"

    def once(packet: Packet) -> Witness | None:
        try:
            if given is not None and not interpret(given, packet.data, model=model, aux=packet.aux):
                return None
            one = interpret(a, packet.data, model=model, aux=packet.aux)
            two = interpret(b, packet.data, model=model, aux=packet.aux)
        except InputError:
            return None
        return Witness(packet.data, one, two, {k: v for k, v in packet.aux.items() if k != "network_offset"}) if one != two else None

    def run(packet: Packet) -> Witness | None:
        found = once(packet)
        if found is None:
            return None
        return _shortest(found, lambda data: once(Packet(data, packet.aux)))

    return run


def _shortest(found: Witness, run: Callable[[bytes], Witness | None]) -> Witness:
    """The witness without trailing zeros that do not matter to either answer."""
    data = found.packet
    significant = len(data.rstrip(b"\0"))
    for length in sorted({significant, *(significant + extra for extra in (1, 2, 4, 8, 20, 40, 60)), 34, 54, 64, 128, 512}):
        if significant <= length < len(data):
            shorter = run(data[:length])
            if shorter is not None and (shorter.a, shorter.b) == (found.a, found.b):
                return shorter
    return found


def _search(store: Store, one: int, two: int, run: Callable[[Packet], Witness | None], machine: Machine) -> Witness | None:
    """A packet on a path of the difference that the programs answer differently."""
    accepts = [store.map_terminals(node, lambda value: int(value != 0)) for node in (one, two)]
    differences = [store.diff(accepts[0], accepts[1]), store.diff(accepts[1], accepts[0])]
    if differences == [FALSE, FALSE]:  # both accept, but return different values
        differences = [_unequal(store, one, two)]
    for node in differences:
        if node == FALSE:
            continue
        try:
            for packet in packets_to(store, node, 1, network_offset=machine.network_offset or 14):
                padded = Packet(packet.data + bytes(max(0, 2048 - len(packet.data))), packet.aux)
                for candidate in (packet, padded):
                    witness = run(candidate)
                    if witness is not None:
                        return witness
        except RecursionError:
            continue
    return None


def _unequal(store: Store, one: int, two: int) -> int:
    """Where two diagrams have different terminals."""
    result = FALSE
    for value in store.terminals(one):
        here = store.map_terminals(one, lambda v, value=value: int(v == value))  # type: ignore[misc]
        there = store.map_terminals(two, lambda v, value=value: int(v == value))  # type: ignore[misc]
        result = store.disj(result, store.diff(here, there))
    return result
