"""Questions to z3 about two classic programs: is there a packet on which they differ, and what does it look like.

Two models are asked, each with z3 as its solver: the formula of the programs (z3_formula.py) and their decision diagrams (z3_diagram.py).
The budget is z3's own count of steps (rlimit), so the answer is the same on every machine; a number of seconds is only a ceiling.
z3 is an optional package: without it every question has the answer that it is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.symbolic import SECCOMP, Machine
from bpflens.classic.machine.interpreter import ANCILLARY
from bpflens.classic.proof.verdict import Insns
from bpflens.classic.proof.witness import Packet
from bpflens.classic.proof.z3_diagram import TooLarge, diagram_formula
from bpflens.classic.proof.z3_formula import formula
from bpflens.classic.proof.z3_world import NeedsArray, World

__all__ = ("NOT_INSTALLED", "STEPS", "Answer", "Question", "data_with", "diagrams_differ", "find_packets", "one_sided_packet",
           "program_differs", "programs_differ")  # fmt: skip

NOT_INSTALLED = "z3 is not installed"
STEPS = 30_000_000
NETWORK_OFFSETS = (14, 0)  # behind an Ethernet header; at the start of what a SOCK_DGRAM or AF_UNIX socket gets
_SHOWN_BYTES = 4096


class Question(NamedTuple):
    """What is compared: two programs on a machine, for the packets that `given` accepts; `bounds`: also those that are cut short."""

    a: Insns
    b: Insns
    machine: Machine
    given: Insns | None
    values: bool
    bounds: bool
    seconds: float


class Answer(NamedTuple):
    """`found`: "sat", "unsat", or why neither; `packet` of "sat" where one was asked for.

    `relative`: a program loads from the network or link header.
    """

    found: str
    packet: Packet | None = None
    relative: bool = False


def programs_differ(question: Question) -> Answer:
    """Whether some packet tells the programs apart, by their formulas: wherever the headers lie, and of any length."""
    return _ask(question, apart=True, build=_of_programs(question))


def diagrams_differ(question: Question, store: Store, one: int, two: int) -> Answer:
    """The same by their diagrams, to which the question's assumption has been applied."""

    def build(world: World) -> Any:
        return diagram_formula(store, one, world) != diagram_formula(store, two, world)

    return _ask(question, apart=True, build=build)


def program_differs(question: Question, store: Store, node: int) -> Answer:
    """Whether the program `a` does anything but what a diagram says: a TRUE/FALSE one, or with `values` one of return values."""

    def build(world: World) -> Any:
        z3 = world.z3
        told = diagram_formula(store, node, world)
        told = told if question.values else told != 0
        differs = formula(question.a, world, bounds=question.bounds, values=question.values) != told
        if question.given is None:
            return differs
        return z3.And(differs, formula(question.given, world, bounds=question.bounds))

    return _ask(question, apart=True, build=build)


def find_packets(question: Question) -> Iterator[Packet]:
    """Packets of usual length that tell the programs apart, for each of the places where the network header usually is."""
    for network_offset in NETWORK_OFFSETS:
        answer = _ask(question, apart=False, build=_of_programs(question), network_offset=network_offset)
        if answer.packet is not None:
            yield answer.packet
        if not answer.relative:
            return


def one_sided_packet(question: Question) -> Answer:
    """A packet that the first program accepts and the second does not."""

    def build(world: World) -> Any:
        one, two = (formula(insns, world, bounds=question.bounds) for insns in (question.a, question.b))
        assumed = formula(question.given, world, bounds=question.bounds) if question.given is not None else world.z3.BoolVal(True)
        return world.z3.And(one, world.z3.Not(two), assumed)

    return _ask(question, apart=False, build=build)


def data_with(store: Store, node: int, values: Sequence[int]) -> list[Answer]:
    """For each value data (struct seccomp_data) for which a seccomp policy's diagram has it: "unsat" where there is none."""
    try:
        import z3  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return [Answer(NOT_INSTALLED)] * len(values)
    if len(store.reachable(node)) > _MOST_NODES:
        return [Answer("too large for z3")] * len(values)
    world = World(z3, SECCOMP, False, apart=False)
    told = diagram_formula(store, node, world)
    answers = []
    for value in values:
        solver = z3.SolverFor("QF_BV")
        solver.set("rlimit", STEPS // 10)
        solver.add(told == value, *world.limits)
        found = str(solver.check())
        answers.append(Answer(found, _packet(solver.model(), world, False) if found == "sat" else None))
    return answers


_MOST_NODES = 10_000


def _of_programs(question: Question) -> Callable[[World], Any]:
    def build(world: World) -> Any:
        one, two = (formula(insns, world, bounds=question.bounds, values=question.values) for insns in (question.a, question.b))
        if question.given is None:
            return one != two
        return world.z3.And(one != two, formula(question.given, world, bounds=question.bounds))

    return build


def _ask(question: Question, apart: bool, build: Callable[[World], Any], network_offset: int = 14) -> Answer:
    try:
        import z3  # type: ignore[import-untyped,unused-ignore] # z3 has no types
    except ImportError:
        return Answer(NOT_INSTALLED)
    for arrays in (False, True):
        world = World(z3, question.machine, arrays, apart, network_offset)
        try:
            goal = build(world)
        except NeedsArray:
            continue
        except TooLarge as large:
            return Answer(f"too large for z3: {large}")
        solver = z3.Solver() if world.attributes else z3.SolverFor("QF_ABV" if arrays else "QF_BV")
        solver.set("rlimit", STEPS)
        solver.set("timeout", int(question.seconds * 1000))
        solver.add(goal, *world.limits)
        answer = str(solver.check())
        if answer == "unknown":
            return Answer(f"z3 gave up: {solver.reason_unknown()}")
        if answer == "unsat" or apart:
            return Answer(answer, None, world.relative)
        return Answer(answer, _packet(solver.model(), world, question.bounds), world.relative)
    return Answer("the program uses data that is not modelled")


def _packet(model: Any, world: World, bounds: bool) -> Packet:
    def number(term: Any) -> int:
        return int(model.eval(term, model_completion=True).as_long())

    length = number(world.length)
    data = bytearray(length if bounds else max(length, 2048))
    if world.arrays:
        for offset in range(min(len(data), _SHOWN_BYTES)):
            data[offset] = number(world.byte("packet", offset))
    else:
        for (region, offset), variable in world.bytes.items():
            if region in ("packet", "data") and offset < len(data):
                data[offset] = number(variable)
    aux: dict[str, int | None] = {
        ANCILLARY[which]: number(value) for which, value in world.known_ancillary().items() if which in ANCILLARY
    }
    if bounds and world.z3.is_false(model.eval(world.device, model_completion=True)):
        aux.update({name: None for name in ("ifindex", "hatype") if name in aux})
    return Packet(bytes(data), {**aux, "network_offset": world.network_offset or 0})
