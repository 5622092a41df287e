"""Are two extended programs equal for all inputs?

    prove_equal(original, recompiled)  ──►  Equality(grade="proved", method="terms", ...)

Both are executed symbolically over one table of terms (machine.py). Where return value, history of effects and memories are the same
terms, they are equal. Where not: random inputs look for a difference, then the terms are walked side by side (align.py), with z3 for small
parts where it is installed. Every loop counts steps of one budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bpflens.execute.symbolic.align import Alignment
from bpflens.execute.symbolic.comparable import Comparable, comparable, with_constants
from bpflens.execute.symbolic.concrete import NotRun, World, constants_of, run
from bpflens.execute.symbolic.interpretation import Interpretation
from bpflens.execute.symbolic.machine.access import Setting
from bpflens.execute.symbolic.machine.calls import handle_call
from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.memory import base, canonical
from bpflens.execute.symbolic.machine.regions import Ambiguous, Refused
from bpflens.execute.symbolic.machine.state import State
from bpflens.execute.symbolic.relocated import answers, same_offsets
from bpflens.execute.symbolic.result import ASSUMPTIONS, Difference, Equality
from bpflens.execute.symbolic.values.bits import ext, plus, zext
from bpflens.execute.symbolic.values.terms import WORLD, OutOfSteps, Term, all_terms, count, session, spent, symbol
from bpflens.isa.extended.contexts import context_struct
from bpflens.isa.extended.uapi import ProgType
from bpflens.program import Program

__all__ = ("STEPS", "Pair", "prove_equal")

STEPS = 600_000
ROUNDS = 24  # interpretations that look for a difference before z3 is asked
RUNS, SEARCH = 24, 96  # runs that a proof must agree with; runs that look for a difference
# TRACING, STRUCT_OPS, EXT, LSM: trampolines and callers see all 64 bits of r0; other types return unsigned int (struct bpf_prog, bpf_func).
_TRACING = 26
_WIDE_RESULT = frozenset((ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM))

Pair = tuple[str, Term, Term]
"""(what is observed, term of one program, term of the other)."""
Runs = Callable[[], "Difference | None"]
"""Runs both programs on inputs of the caller's choice: a difference that was seen, or None."""


def prove_equal(
    a: Program,
    b: Program,
    *,
    others_a: Sequence[Program] = (),
    others_b: Sequence[Program] = (),
    entry_a: str | None = None,
    entry_b: str | None = None,
    steps: int = STEPS,
    z3: bool = True,
    run_both: Runs | None = None,
) -> Equality:
    """Compare two programs of the same type, each with what it calls.

    `a` and `b` hold the entry function (`entry_a`, `entry_b` by name; else slot 0); `others_a` and `others_b` the other sections of their
    objects. Maps, global data and helpers are matched by name. `run_both` is a second key: it is asked to run both where
    something is proved or the terms differ. An evaluator of our own (concrete.py) does that too, unless `run_both` found a difference.
    """
    asked = _Asked(a, b, tuple(others_a), tuple(others_b), entry_a, entry_b, steps, z3, run_both)
    choice, result = _first_proof(asked)
    if result.proved and asked.relocated():
        again = _with_budget(asked, choice._replace(apart=True))
        steps = result.steps + again.steps
        if again.reason.startswith("differs") or again.grade == "different":
            return Equality("unknown", reason="core: equal only while two fields lie at one offset", steps=steps)
        result = replace(result, steps=steps)
        if not again.proved:
            result = replace(result, assumptions=(*result.assumptions, ASSUMPTIONS["places"]))
    return result


class _Choice(NamedTuple):
    """`any_constants`: whatever read-only data that both have hold; else what the files have. `any_answers`: whatever CO-RE says of
    sizes and of what is there. `apart`: fields of two names that have one offset have two.
    """

    any_constants: bool = True
    any_answers: bool = True
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments of prove_equal."""

    a: Program
    b: Program
    others_a: tuple[Program, ...]
    others_b: tuple[Program, ...]
    entry_a: str | None
    entry_b: str | None
    steps: int
    z3: bool
    run_both: Runs | None

    def relocated(self) -> bool:
        """Does CO-RE change numbers of one of the programs?"""
        return any(relocation.kind == "core" for program in (self.a, *self.others_a) for relocation in program.relocations)

    def codes(self, choice: _Choice) -> tuple[Code, Code]:
        """Both programs, with the same numbers for what CO-RE names in both."""
        kept = context_struct(self.a.type or 0) if choice.apart else None
        (a, *others_a), (b, *others_b) = same_offsets((self.a, *self.others_a), (self.b, *self.others_b), kept)
        open_answers = answers if choice.any_answers else None
        return Code(a, others_a, self.entry_a, open_answers), Code(b, others_b, self.entry_b, open_answers)


def _first_proof(asked: _Asked) -> tuple[_Choice, Equality]:
    """The answer that rests on the fewest conditions, and the choice that gave it.

    A budget that ends, on a loop up to a setting say, is followed by one with the values of the files.
    """
    choice = _Choice()
    first = result = _with_budget(asked, choice)
    steps = result.steps
    if result.reason.startswith("budget"):
        choice = choice._replace(any_constants=False)
        result = _with_budget(asked, choice)
        steps += result.steps
    if result.grade == "unknown" and any(answers(program) for program in (asked.a, *asked.others_a)):
        choice = choice._replace(any_answers=False)
        result = _with_budget(asked, choice)
        steps += result.steps
    return choice, replace(result if result.grade != "unknown" else first, steps=steps)


def _with_budget(asked: _Asked, choice: _Choice) -> Equality:
    with session(asked.steps):
        try:
            result = _compare(*asked.codes(choice), asked.z3, asked.run_both, choice)
        except Refused as refused:
            result = Equality("unknown", reason=str(refused))
        except OutOfSteps as end:
            result = Equality("unknown", reason=f"budget: {end.where}")
        except RecursionError:
            result = Equality("unknown", reason="budget: terms are nested too deeply")
        return replace(result, steps=spent())


def _compare(a: Code, b: Code, z3: bool, run_both: Runs | None, choice: _Choice) -> Equality:
    shared = comparable(a, b)
    if not choice.any_constants:
        free, shared = shared, with_constants(shared, a, b)
        if shared is free:
            return Equality("unknown", reason="constants: there are none to fix")
    result, settings = _attempt(a, b, shared, z3, same_garbage=False)
    same_garbage = result.grade == "unknown" and any(term.op == "sym" and term.args[0] == "uninitialised" for term in all_terms())
    if same_garbage:  # bytes of the stack that no one wrote are read: a second attempt with one value for all of them
        result, settings = _attempt(a, b, shared, z3, same_garbage)
    assumed = {"verifier", "regions", "alone", "helpers", "little", *shared.assumed, *settings[0].assumed, *settings[1].assumed}
    if same_garbage:
        assumed.add("garbage")
    if not choice.any_answers:
        assumed.add("answers")
    words = tuple(text for key, text in ASSUMPTIONS.items() if key in assumed)
    functions = (tuple(settings[0].functions), tuple(settings[1].functions))
    result = replace(result, assumptions=words if result.grade != "unknown" else (), functions=functions)
    return _second_key(result, a, b, same_garbage, run_both)


def _attempt(a: Code, b: Code, shared: Comparable, z3: bool, same_garbage: bool) -> tuple[Equality, tuple[Setting, Setting]]:
    try:
        settings = _settings(a, b, shared, _gets_values_of_maps(a.program), same_garbage)
        states = [_execute(setting) for setting in settings]
    except Ambiguous:
        settings = _settings(a, b, shared, True, same_garbage)
        states = [_execute(setting) for setting in settings]
    return _decide(observables(a, *states), z3), settings


def _gets_values_of_maps(program: Program) -> bool:
    """The context of an iterator over a map's elements has a pointer to a value of a map (struct bpf_iter__bpf_map_elem)."""
    section = program.section or ""
    return program.type is None or section.startswith(("iter/", "iter.s/")) or (program.type == _TRACING and not section)


def _settings(a: Code, b: Code, shared: Comparable, one: bool, same_garbage: bool) -> tuple[Setting, Setting]:
    def setting(code: Code, side: str) -> Setting:
        return Setting(code, side, one, shared.inlined, shared.apart, booleans=shared.booleans, garbage="" if same_garbage else side)

    return setting(a, "a"), setting(b, "b")


def _execute(setting: Setting) -> State:
    """The program's state at its end."""
    start = symbol(64, "packet")
    state = State(symbol(WORLD, "start"), (start, plus(start, zext(symbol(32, "length"), 64)), symbol(64, "meta")))
    state.registers[1], state.registers[10] = symbol(64, "ctx"), symbol(64, "fp", 0)
    end = Machine(setting, handle_call).run(setting.code.entry, state, 0)
    if end is None:
        raise Refused("input: the program never ends")
    return end


def observables(code: Code, a: State, b: State) -> list[Pair]:
    """What can be seen of a run: result, effects, and the memories outside of the stack."""
    found: list[Pair] = []
    x, y = a.registers[0], b.registers[0]
    if (x is None) != (y is None):
        raise Refused("input: only one of the programs sets its result")
    if x is not None and y is not None:
        bits = result_bits(code.program)
        found.append(("return value", ext(x, 0, bits), ext(y, 0, bits)))
    found.append(("effects", a.world, b.world))
    found.append(("last call", a.generation, b.generation))
    for region in sorted(a.memories.keys() | b.memories.keys()):
        one = canonical(a.memories[region].freeze()) if region in a.memories else base(a.generation, region)
        two = canonical(b.memories[region].freeze()) if region in b.memories else base(b.generation, region)
        found.append((region, one, two))
    return found


def result_bits(program: Program) -> int:
    """How many bits of r0 can be seen."""
    return 64 if program.type in _WIDE_RESULT or program.type is None else 32


def _decide(pairs: list[Pair], z3: bool) -> Equality:
    """Proved, or unknown with a reason."""
    left = [pair for pair in pairs if pair[1] is not pair[2]]
    if not left:
        return Equality("proved", "terms")
    for seed in range(ROUNDS):
        numbers = Interpretation(seed)
        for what, one, two in left:
            if numbers(one) != numbers(two):
                return Equality("unknown", reason=f"differs: {what}, in a model of the helpers")
    if not z3:
        return Equality("unknown", reason="terms: not the same; z3 was not asked")
    try:
        alignment = Alignment()
    except ImportError:
        return Equality("unknown", reason="terms: not the same, and z3 is not installed")
    histories = next((pair for pair in left if pair[0] == "effects"), None)
    if histories is not None:
        alignment.match_calls(histories[1], histories[2])
    for what, one, two in left:
        if not alignment.equal(one, two):
            why = "budget: questions" if alignment.exhausted else f"terms: {what} could not be aligned"
            return Equality("unknown", reason=why, queries=alignment.queries)
    return Equality("proved", "alignment", queries=alignment.queries)


def _second_key(result: Equality, a: Code, b: Code, same_garbage: bool, run_both: Runs | None) -> Equality:
    """Run both: what is proved must agree, what differs must do so in a run."""
    if result.grade == "unknown" and not result.reason.startswith(("differs", "terms")):
        return result
    found = run_both() if run_both is not None else None
    agreed = 0
    if found is None:
        found, agreed = _run_both(a, b, result.proved and not same_garbage, RUNS if result.proved else SEARCH)
    if result.proved:
        if found is not None:
            return Equality("unknown", reason=f"contradiction: proved by {result.method}, but a run differs in the {found.what}")
        return replace(result, checked_by=f"{agreed} runs of the evaluator" if agreed else "")
    return Equality("different", difference=found) if found is not None else result


def _run_both(a: Code, b: Code, own_garbage: bool, runs: int) -> tuple[Difference | None, int]:
    """(a run that differs, how many agreed) under worlds of numbers; runs with results that no kernel may give do not show a difference.

    `own_garbage`: bytes of the stack that were never written differ between the programs.
    """
    bits = result_bits(a.program)
    pool = sorted({*constants_of(a), *constants_of(b)})
    agreed = 0
    for seed in range(runs):
        world = World(seed, pool)
        try:
            one, two = (run(code, world, side if own_garbage else "") for code, side in ((a, "a"), (b, "b")))
        except NotRun:
            continue
        count("runs", one.steps + two.steps)
        what = one.differs(two, bits)
        if not what:
            agreed += 1
        elif not (one.unusual or two.unusual):
            values = (f"{one.result:#x}", f"{two.result:#x}") if what == "return value" else ("", "")
            return Difference(what, *values, "the evaluator", {"seed": seed, "packet": world.packet()}), agreed
    return None, agreed
