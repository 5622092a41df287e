"""Comparing two programs in the interpreter: where no kernel can run them (other types, other machines, no privilege)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from bpflens.execute.inputs.guide import Guided, guided, unguided, with_edges
from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.inputs.mine import mine
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.kernel_maps import Contents
from bpflens.execute.objects import pointers
from bpflens.execute.oracle.allowance import LONGEST
from bpflens.execute.oracle.coverage import COVERAGE, Instrumented, instrumented
from bpflens.execute.oracle.side_by_side import compare_runs
from bpflens.execute.oracle.states import plan, settable
from bpflens.execute.poison import ALIKE, PATTERNS, UNWRITTEN
from bpflens.execute.result import Comparison, Coverage, Input, Outcome, Scene, Verdict
from bpflens.execute.subject import Subject

__all__ = ("ENGINE", "compare")

ENGINE = "interpreter"
_STEPS = LONGEST
_ALL = 60_000_000  # instructions of the runs that look for inputs, and again of those that are compared
_USED_UP = f"the {_ALL:,} instructions of all runs are used up"


def compare(a: Subject, b: Subject, inputs: int | Sequence[Scene], seed: int, effort: float) -> Comparison:
    """`oracle.compare` with the interpreter."""
    result = _compare(a, b, inputs, seed, effort, PATTERNS)
    if result.verdict is not Verdict.DIFFERENT and result.unsteady:
        return replace(_compare(a, b, inputs, seed, effort, ALIKE), left_out=(*result.left_out, UNWRITTEN))
    return result


class _Watched:
    """An instrumented program in the interpreter, as guides watch it."""

    def __init__(self, made: Instrumented) -> None:
        self._program = InterpretedProgram(made.subject, steps=2 * _STEPS, pattern=PATTERNS[0])
        self._seen = self._spent = 0
        self.blocks = made.blocks
        self.keys = self._program.keys

    def run(self, input: Input) -> Outcome:
        """One run, as long as there are instructions left."""
        if self._spent > _ALL:
            return Outcome(error=_USED_UP)
        outcome = self._program.run(input)
        self._spent += self._program.machine.spent
        return outcome

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects this memory; what was reached is kept."""
        self.reached()
        self._program.set(contents, memory)

    def reached(self) -> int:
        """How many blocks and branches were run since the start."""
        now = self._program.machine.maps[COVERAGE].read()
        assert isinstance(now, bytes)
        self._seen |= int.from_bytes(now, "little")
        return self._seen.bit_count()


class _Bounded:
    """A program of a comparison. All of them spend from one purse; only the first says that it is empty, so that they end together."""

    def __init__(self, program: InterpretedProgram, purse: list[int], first: bool) -> None:
        self._program, self._purse, self._first = program, purse, first
        self.set, self.read = program.set, program.read

    def run(self, input: Input) -> Outcome:
        """One run, as long as there are instructions left."""
        spent, closed = self._purse
        if self._first and spent > _ALL:
            closed = self._purse[1] = 1
        if closed:
            return Outcome(error=_USED_UP)
        outcome = self._program.run(input)
        self._purse[0] += self._program.machine.spent
        return outcome


def _inputs(a: Subject, maker: InputMaker, inputs: int, effort: float, global_data: bool) -> Guided:
    """Scenes guided by the blocks and branches of the program."""
    made = instrumented(a, keys=False)
    if made is None:
        return unguided(maker, inputs, global_data=global_data)
    watched = _Watched(made)
    found = guided(watched, maker, inputs, effort=effort, global_data=global_data)
    found = with_edges(watched, maker, a, found, round(effort * inputs))
    coverage = None if found.coverage is None else replace(found.coverage, uncounted=made.uncounted)
    return replace(found, coverage=coverage)


def _compare(
    a: Subject, b: Subject, inputs: int | Sequence[Scene], seed: int, effort: float, patterns: tuple[int, int, int]
) -> Comparison:
    b = replace(b, maps={**{name: map for name, map in a.maps.items() if name not in b.maps}, **b.maps})
    first, second, again = (
        InterpretedProgram(subject, steps=_STEPS, pattern=pattern) for subject, pattern in zip((a, b, a), patterns, strict=True)
    )
    maps = plan(a, b)
    coverage: Coverage | None = None
    if isinstance(inputs, int):
        maker = InputMaker(mine(a), a.prog_type, a.prog_type, a.maps, Random(seed))
        maker.settable = settable(a, b)
        maker.pointers = pointers()
        found = _inputs(a, maker, inputs, effort, not maps.variables)
        scenes, coverage = found.scenes, found.coverage
    else:
        scenes = tuple(inputs)
    purse = [0, 0]
    x, y, z = (_Bounded(program, purse, program is first) for program in (first, second, again))
    result = compare_runs(x, y, z, scenes, a, maps, engine=ENGINE, coverage=coverage)
    modelled = first.machine.modelled | second.machine.modelled
    if first.machine.memory.read_outside or second.machine.memory.read_outside:
        modelled.add("memory outside of the program")
    return replace(result, assumed=tuple(sorted(modelled)))
