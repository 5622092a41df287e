"""Two filters compared: equal, with proof, or what only one of them accepts: expression, words, packet.

    diff(old, new)   ──►   different; only the first: tcp port 80 and host 10.0.0.2, packet 0a00...

The difference of two diagrams is a diagram, so the same search that explains a program explains the difference.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import LAYOUTS, linktype_name
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP, Loop, Machine, loops, run_in
from bpflens.classic.explain_filter import CEILING
from bpflens.classic.expression.at_terms import extended_literals, marked
from bpflens.classic.expression.candidates.candidate import tests_of
from bpflens.classic.expression.find import Compiler, find
from bpflens.classic.hooks import LENGTH, Hook, hook_of, tells_hook
from bpflens.classic.proof import equal as prove
from bpflens.classic.proof import z3_check
from bpflens.classic.proof.run_both import runner
from bpflens.classic.proof.witness import Packet, packets_to
from bpflens.classic.verdicts import by_outcome
from bpflens.classic.words.sentences import describe
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter, decode
from bpflens.lean import replace
from bpflens.program import Isa, Program

__all__ = ("Difference", "Side", "diff")

_CEILING_S = 60.0  # for one question to z3, which counts steps


@dataclass(frozen=True, slots=True)
class Side:
    """What only one program accepts (or for which the values differ): `title`, expression, words, a confirmed packet and its decoding."""

    title: str
    expression: str | None
    words: tuple[str, ...]
    witness: prove.Witness | None
    decoded: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """`equal` with its `grade`, or not equal with `witness` and `sides`; neither where nothing was decided (`reason`).

    `assumptions`: what the grade takes for granted. `hook`: what a return value means. `note`: what was not compared.
    """

    equal: bool
    grade: prove.Grade
    method: str
    witness: prove.Witness | None
    names: tuple[str, str]
    linktype: str
    given: tuple[str, ...]
    libpcap: str
    sides: tuple[Side, ...] = ()
    reason: str = ""
    decoded: str = ""
    assumptions: tuple[str, ...] = ()
    hook: Hook = LENGTH
    note: str = ""


def _other_values(verdict: prove.Verdict, one: Sequence[SockFilter], two: Sequence[SockFilter], values: bool) -> str:
    """That filters which accept the same return different lengths, where that is seen at once."""
    returned = [sorted({insn.k for insn in insns if insn.code == 0x06} - {0}) for insns in (one, two)]
    if values or verdict.grade == "none" or returned[0] == returned[1]:
        return ""
    shown = [", ".join(map(str, found)) or "a computed value" for found in returned]
    return f"they return different lengths: {shown[0]} and {shown[1]} (--values compares them)"


def diff(
    a: Program,
    b: Program,
    given: Sequence[str] = (),
    linktype: str | None = None,
    deadline: float = 10.0,
    values: bool = False,
    names: tuple[str, str] | None = None,
) -> Difference:
    """Compare two classic programs for the packets of one link type that satisfy `given`.

    With `values` they must return the same, not only accept the same. `names` of the two for the result. Raises InputError for extended
    programs, unknown assumptions, and hooks that give values different meanings, of which `values` compares the numbers.
    """
    for program in (a, b):
        if program.isa is not Isa.CLASSIC:
            raise InputError(program.origin.where, "is an extended (eBPF) program; diff compares classic filters")
    linktype = linktype_name(linktype or a.origin.linktype or b.origin.linktype or "EN10MB")
    assumed = tuple(given) or tuple(dict.fromkeys(a.origin.given + b.origin.given))
    names = names or (a.origin.where, b.origin.where)
    if names[0] == names[1]:
        names = (f"{names[0]} (first)", f"{names[1]} (second)")
    store = Store(deadline=2 * deadline + 5, ceiling_s=CEILING * deadline)
    compiler = Compiler(store, linktype)
    from bpflens.formats.pcap import libpcap

    def result(verdict: prove.Verdict, sides: tuple[Side, ...] = ()) -> Difference:
        if hook.kind == "verdict" and verdict.witness is not None:
            verdict = replace(verdict, witness=_as_returned(verdict.witness, a, b))
        shown = _decoded(verdict.witness, linktype)
        equal = verdict.grade != "none"
        version = libpcap.version()
        return Difference(
            equal, verdict.grade, verdict.method, verdict.witness, names, linktype, assumed, version, sides, verdict.reason, shown,
            (*verdict.assumptions, *taken), hook, _other_values(verdict, one, two, values),
        )  # fmt: skip

    hook, taken = _common_hook(a, b, values)
    taken += _beginnings(a, b)
    one, two = decode(a.code), decode(b.code)
    if hook.kind == "verdict" and not values:  # values with one meaning are one
        one, two = by_outcome(one, hook), by_outcome(two, hook)
    values = values or hook.kind in ("verdict", "number")
    machine = _machine(a, b, one, two)
    compiler.machine = machine
    assumption = compiler.program(" and ".join(f"({text})" for text in assumed)) if assumed else None
    try:
        verdict = prove.compare(one, two, machine, given=assumption, values=values)
    except Loop as loop:
        return result(prove.Verdict("none", "", None, f"{loop}: only identical instructions could be called equal"))
    if verdict.grade != "none" or verdict.witness is None or hook.kind in ("verdict", "number"):
        return result(verdict)
    try:
        sides = _sides(store, compiler, one, two, machine, assumed, names, linktype, store.clock() + deadline, verdict)
    except TooComplex:
        sides = ()
    return result(verdict, sides)


def _common_hook(a: Program, b: Program, values: bool) -> tuple[Hook, tuple[str, ...]]:
    """(what a value means for both, what was assumed): a program whose source does not tell is taken to hang where the other does."""
    one, two = hook_of(a), hook_of(b)
    if one == two:
        return one, ()
    for hook, other in ((one, b), (two, a)):
        if not tells_hook(other):
            taken = f"{other.origin.where} hangs on the same hook ({hook.name})"
            return hook, () if values or hook.kind == "match" else (taken,)
    if values:
        return LENGTH, ()
    if {one.kind, two.kind} <= {"match", "length"}:
        return one if one.kind == "match" else two, ()
    reason = f"hang on different hooks ({one.name}, {two.name}): a value means something else on each"
    raise InputError(f"{a.origin.where} and {b.origin.where}", reason, "--values compares the numbers")


def _beginnings(a: Program, b: Program) -> tuple[str, ...]:
    """What is assumed where the packets of the two begin with different headers: places are compared as numbers."""
    one, two = a.origin.linktype, b.origin.linktype
    if one is None or two is None or one == two:
        return ()
    return (f"both see the same bytes, though the packets of {a.origin.where} begin as {one} and those of {b.origin.where} as {two}",)


def _as_returned(witness: prove.Witness, a: Program, b: Program) -> prove.Witness:
    """The witness with the values that the programs return, where those of one meaning were compared as one."""
    from bpflens.classic.machine.interpreter import run

    one, two = (run(decode(program.code), witness.packet, aux=witness.aux) for program in (a, b))
    return replace(witness, a=one, b=two)


def _machine(a: Program, b: Program, one: tuple[SockFilter, ...], two: tuple[SockFilter, ...]) -> Machine:
    """The kernel, or libpcap where only that runs both; InputError where nothing runs one of them."""
    from bpflens.isa.classic.check import check, runs_in_libpcap

    machine = KERNEL
    for program, insns in ((a, one), (b, two)):
        refusals = check(insns, "socket")
        if refusals and not runs_in_libpcap(insns) and not loops(insns):
            raise InputError(program.origin.where, f"is not a valid classic program: {refusals[0]}")
        if refusals:
            machine = LIBPCAP
    return machine


def _sides(
    store: Store,
    compiler: Compiler,
    one: tuple[SockFilter, ...],
    two: tuple[SockFilter, ...],
    machine: Machine,
    given: tuple[str, ...],
    names: tuple[str, str],
    linktype: str,
    deadline: float,
    verdict: prove.Verdict,
) -> tuple[Side, ...]:
    nodes = [run_in(store, insns, machine, bounds=False, accept=True) for insns in (one, two)]
    tests = tests_of(store)
    universe = TRUE
    for text in given:
        node = compiler.node(text)
        universe = universe if node is None else store.conj(universe, node)
    sides = []
    assumption = compiler.program(" and ".join(f"({text})" for text in given)) if given else None
    layout = LAYOUTS.get(linktype)
    network = layout.network if layout is not None and layout.network is not None else 14
    strict = [run_in(store, insns, machine, bounds=True, accept=True) for insns in (one, two)]
    for i, part in enumerate((store.diff(nodes[0], nodes[1]), store.diff(nodes[1], nodes[0]))):
        part = store.conj(part, universe)
        if part == FALSE:
            continue
        share = store.clock() + max(0.3, (deadline - store.clock()) / (2 - i))
        upper = store.disj(part, store.negate(universe))
        run = runner(one, two, machine, assumption, side=i)
        candidates = itertools.chain(
            packets_to(store, part, 1, network_offset=network),
            packets_to(store, store.conj(store.diff(strict[i], strict[1 - i]), universe), 1, network_offset=network),
            [Packet(verdict.witness.packet, dict(verdict.witness.aux))] if verdict.witness is not None else [],
        )
        witness = next((shown for packet in candidates if (shown := run(packet)) is not None), None)
        if witness is None:  # the diagrams may be wrong about conditions that exclude each other
            sides_of = (one, two) if i == 0 else (two, one)
            answer = z3_check.one_sided_packet(z3_check.Question(*sides_of, machine, assumption, False, True, _CEILING_S))
            if answer.found == "unsat":
                continue
            witness = run(answer.packet) if answer.packet is not None else None
        found = find(compiler, part, upper, tests, share, extended_literals(store, tests, plain=True))
        words = describe(found.expression, compiler, universe) if found is not None else ()
        told = None if found is None else marked(found.text) if found.extended else found.text
        sides.append(Side(f"only {names[i]}", told, words, witness, _decoded(witness, linktype)))
    return tuple(sides)


def _decoded(witness: prove.Witness | None, linktype: str) -> str:
    """The packet in one line, where a decoder is at hand."""
    if witness is None:
        return ""
    from bpflens.classic.packets.one_line import one_line

    return one_line(witness.packet, linktype)
