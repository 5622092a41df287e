"""Comparing two programs in the kernel: the way to run them, the inputs that the first one's blocks ask for, three copies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from random import Random

from bpflens.errors import KernelError
from bpflens.execute.inputs.guide import Guided, guided, unguided, with_edges
from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.inputs.mine import mine
from bpflens.execute.kernel_engine import KernelProgram, Refused, Way, load, load_prepared, prepared_for, refusal, ways, widened
from bpflens.execute.objects import KernelObjects, pointers
from bpflens.execute.oracle.coverage import WatchedProgram, dead_blocks, instrumented
from bpflens.execute.oracle.side_by_side import compare_runs
from bpflens.execute.oracle.states import plan, settable
from bpflens.execute.poison import ALIKE, PATTERNS, UNWRITTEN
from bpflens.execute.result import Comparison, Coverage, Scene, Verdict
from bpflens.execute.subject import Subject
from bpflens.kernel.programs.test_run import PACKET_TYPES, one_cpu

__all__ = ("compare",)


def compare(a: Subject, b: Subject, inputs: int | Sequence[Scene], seed: int, effort: float) -> Comparison:
    """`oracle.compare` with the kernel."""
    result = _compare(a, b, inputs, seed, effort, PATTERNS)
    if result.verdict is not Verdict.DIFFERENT and result.unsteady:
        alike = _compare(a, b, inputs, seed, effort, ALIKE)
        if len(alike.unsteady) < len(result.unsteady):
            return replace(alike, left_out=(*alike.left_out, UNWRITTEN))
    return result


def _compare(
    a: Subject, b: Subject, inputs: int | Sequence[Scene], seed: int, effort: float, patterns: tuple[int, int, int]
) -> Comparison:
    b = replace(b, maps={**{name: map for name, map in a.maps.items() if name not in b.maps}, **b.maps})
    try:
        with one_cpu(), ExitStack() as stack:
            objects = None
            if a.prog_type not in PACKET_TYPES:
                objects = KernelObjects()
                stack.callback(objects.close)
            loaded = _loaded(a, b, stack, objects, patterns)
            if isinstance(loaded, Comparison):
                return loaded
            way, first, second, again = loaded
            maps = plan(a, b)
            coverage: Coverage | None = None
            if isinstance(inputs, int):
                found = _inputs(a, way, inputs, seed, effort, not maps.variables, objects)
                scenes, coverage = found.scenes, found.coverage
            else:
                scenes = tuple(inputs)
            result = compare_runs(first, second, again, scenes, a, maps, engine=way.said, coverage=coverage)
    except KernelError as error:
        return Comparison(Verdict.UNDETERMINED, str(error), engine="kernel")
    notes = result.left_out if way.record else (*result.left_out, "arguments of calls")
    absent = tuple(f"helper {n} returns 0" for n in sorted(way.absent))
    return replace(result, left_out=notes, assumed=(*result.assumed, *absent))


def _loaded(
    a: Subject, b: Subject, stack: ExitStack, objects: KernelObjects | None, patterns: tuple[int, int, int]
) -> Comparison | tuple[Way, KernelProgram, KernelProgram, KernelProgram]:
    """The first way in which the kernel loads both; else why it does not."""
    reasons: dict[str, None] = {}
    for way in ways(a.prog_type, frozenset(settable(a, b))):
        fits = widened(a, way, reasons)
        fits = widened(b, fits, reasons) if fits is not None else None
        if fits is None:
            continue
        try:
            first, second, again = (
                stack.enter_context(load(subject, fits, objects, pattern)) for subject, pattern in zip((a, b, a), patterns, strict=True)
            )
        except Refused as refused:
            reasons[refused.reason] = None
            continue
        return fits, first, second, again
    for which, subject in (("first", a), ("second", b)):
        why = refusal(subject)
        if why is not None:
            said = f"the kernel refuses the {which} program: {why}"
            return Comparison(Verdict.UNDETERMINED, said, engine="kernel", refused=why if subject is b else "")
    why = next(iter(reasons), "no way to run this type")
    return Comparison(Verdict.UNDETERMINED, f"the kernel can't test-run programs of type {a.prog_type}: {why}", engine="kernel")


def _inputs(
    a: Subject, way: Way, count: int, seed: int, effort: float, global_data: bool, objects: KernelObjects | None
) -> Guided:
    """Scenes guided by the blocks of the instrumented program; without a guide where the kernel does not take that."""
    maker = InputMaker(mine(a), way.prog_type, a.prog_type, a.maps, Random(seed))
    maker.settable = settable(a, a) if way.open_data else {}
    if objects is not None:
        maker.pointers = pointers()
    for keys, branches in ((True, True), (False, True), (True, False), (False, False)):
        made = instrumented(a, keys=keys, branches=branches)
        if made is None:
            continue
        try:
            with load_prepared(prepared_for(made.subject, way), objects, way.open_data) as program:
                watched = WatchedProgram(program, made)
                found = guided(watched, maker, count, effort=effort, global_data=global_data)
                found = with_edges(watched, maker, a, found, round(effort * count))
                return replace(found, coverage=_of_live(found.coverage, a, made.uncounted))
        except Refused:
            continue
    return unguided(maker, count, global_data=global_data)


def _of_live(coverage: Coverage | None, a: Subject, uncounted: int) -> Coverage | None:
    """Coverage of the blocks that an input can reach, whatever read-only data a loader sets."""
    if coverage is None:
        return None
    dead = 0
    if coverage.reached < coverage.blocks:
        dead = dead_blocks(a, frozenset(settable(a, a))) or 0
        dead = dead if coverage.reached <= coverage.blocks - dead else 0
    return Coverage(coverage.reached, coverage.blocks - dead, dead, uncounted, coverage.unmet)
