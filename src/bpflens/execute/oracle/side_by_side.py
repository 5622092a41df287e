"""Two programs run side by side on scenes, with a second copy of the first, until they part.

A difference counts when it shows every time on fresh maps and the copy of the first program agrees with the first. What the copy does not
repeat is unsteady, and is not held against the second program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bpflens.execute.effects import FIXED, REPLACED
from bpflens.execute.kernel_maps import Contents, MapState
from bpflens.execute.oracle.states import MapPlan, first_difference
from bpflens.execute.result import Comparison, Coverage, Difference, Input, Outcome, Scene, Verdict
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.insn import Insn

__all__ = ("Runs", "assumptions", "compare_runs")

_REPEATS = 3  # runs that must show a difference before it counts
_MAX_RETVALS = 16


class Runs(Protocol):
    """A program that can be run, whatever runs it."""

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects that contexts point to this memory."""

    def run(self, input: Input) -> Outcome:
        """One run."""

    def read(self) -> dict[str, MapState]:
        """What the maps hold now."""


def compare_runs(
    a: Runs,
    b: Runs,
    again: Runs | None,
    scenes: Sequence[Scene],
    subject: Subject,
    maps: MapPlan,
    *,
    engine: str,
    coverage: Coverage | None,
) -> Comparison:
    """Run the scenes on three programs, `again` being a second copy of `a`; the first confirmed difference ends it.

    `again` None: the engine repeats itself exactly.
    """
    state = _State(a, b, again, subject, maps)
    for scene in scenes:
        found = state.play(scene)
        if found is not None:
            break
    else:
        found = None
    result = Comparison(
        Verdict.DIFFERENT if found else Verdict.EQUAL,
        "",
        engine=engine,
        inputs=state.counted,
        coverage=coverage,
        difference=found,
        unsteady=tuple(sorted(state.unsteady)),
        left_out=maps.left_out,
        assumed=assumptions(subject),
        retvals=tuple(sorted(state.retvals)[:_MAX_RETVALS]),
    )
    if found is not None:
        return replace(result, reason=f"{found.what}: {found.a} and {found.b}")
    if not state.counted:
        error = next(iter(state.errors), "no input was given")
        return replace(result, verdict=Verdict.UNDETERMINED, reason=f"no input could be run: {error}")
    if not state.steady:
        return replace(result, verdict=Verdict.UNDETERMINED, reason="the first program does not repeat its own results")
    return replace(result, reason=f"no difference on {state.counted} inputs")


def assumptions(subject: Subject) -> tuple[str, ...]:
    """The helpers of a program whose results are fixed, or that are not called but recorded."""
    found = set()
    slot = 0
    while slot < len(subject.words):
        insn = Insn(subject.words[slot])
        if insn.code == op.CALL_CODE and not insn.src and (insn.imm in FIXED or insn.imm in REPLACED):
            how = "fixed" if insn.imm in FIXED else "recorded, not called"
            found.add(f"{helper_name(insn.imm)} {how}")
        slot += 2 if insn.code == op.LD_IMM64 else 1
    return tuple(sorted(found))


@dataclass
class _State:
    """The three programs, and what was seen so far."""

    a: Runs
    b: Runs
    again: Runs | None
    subject: Subject
    maps: MapPlan
    counted: int = 0
    steady: int = 0
    unsteady: set[str] = field(default_factory=set)
    retvals: set[int] = field(default_factory=set)
    errors: dict[str, None] = field(default_factory=dict)

    def play(self, scene: Scene) -> Difference | None:
        """Run a scene; its first difference, confirmed."""
        self._set(scene)
        for number, input in enumerate(scene.inputs):
            x, y, z = self._run(input)
            if x.error and x.error == y.error == z.error:
                self.errors[x.error] = None
                continue
            self.counted += 1
            self.retvals.add(x.retval)
            if x == y == z:
                self.steady += 1
                continue
            if x != z:
                self.unsteady.update(name for name, p, q in _parts(x, z) if p != q)
            for what, p, q in _parts(x, y):
                if p != q and what not in self.unsteady:
                    found = self._shown(scene, number, what)
                    if found is not None:
                        return found
                    self.unsteady.add(what)
        return self._maps(scene)

    def _set(self, scene: Scene) -> None:
        self.a.set(scene.maps, scene.memory)
        self.b.set(scene.maps, scene.memory)
        if self.again is not None:
            self.again.set(scene.maps, scene.memory)

    def _run(self, input: Input) -> tuple[Outcome, Outcome, Outcome]:
        """Outcomes of the first program, the second, and the copy of the first."""
        x, y = self.a.run(input), self.b.run(input)
        return x, y, self.again.run(input) if self.again is not None else x

    def _read(self) -> tuple[dict[str, MapState], dict[str, MapState], dict[str, MapState]]:
        a, b = self.a.read(), self.b.read()
        return a, b, self.again.read() if self.again is not None else a

    def _maps(self, scene: Scene) -> Difference | None:
        """Compare the maps after a scene that was played to its end."""
        a, b, again = self._read()
        while True:
            other = first_difference(self.maps_of_a, self.subject.maps, a, again, frozenset(self.unsteady))
            if other is None:
                break
            self.unsteady.add(other[0])
        while True:
            found = first_difference(self.maps, self.subject.maps, a, b, frozenset(self.unsteady))
            if found is None:
                return None
            shown = self._shown_by_maps(scene, found[0])
            if shown is not None:
                return shown
            self.unsteady.add(found[0])

    @property
    def maps_of_a(self) -> MapPlan:
        """The plan for the first program beside its copy: every variable lies where it lies."""
        variables = {name: (place, place, size) for name, (place, _, size) in self.maps.variables.items()}
        return self.maps._replace(variables=variables)

    def _shown(self, scene: Scene, number: int, what: str) -> Difference | None:
        """The shortest of the obvious scenes that shows a difference of this kind every time: the input alone, or all up to it."""
        for inputs in ((scene.inputs[number],), scene.inputs[: number + 1]):
            shorter = replace(scene, inputs=inputs)
            found = [self._last(shorter, what) for _ in range(_REPEATS)]
            if all(found) and found[0] is not None:
                return Difference(what, *found[0], shorter)
        return None

    def _last(self, scene: Scene, what: str) -> tuple[str, str] | None:
        """How the last input of a scene parts the programs, where the copy repeats it."""
        self._set(scene)
        x = y = z = Outcome()
        for input in scene.inputs:
            x, y, z = self._run(input)
        for (name, p, q), (_, _, r) in zip(_parts(x, y), _parts(x, z), strict=True):
            if name == what and p != q and p == r:
                return p, q
        return None

    def _shown_by_maps(self, scene: Scene, name: str) -> Difference | None:
        """One input after which the maps differ, or the shortest run of inputs that does it."""
        for input in scene.inputs:
            found = self._after(replace(scene, inputs=(input,)), name)
            if found is not None and self._after(replace(scene, inputs=(input,)), name) is not None:
                return replace(found, scene=replace(scene, inputs=(input,)))
        low, high = 1, len(scene.inputs)
        whole = self._after(scene, name)
        if whole is None:
            return None
        while low < high:
            middle = (low + high) // 2
            if self._after(replace(scene, inputs=scene.inputs[:middle]), name) is not None:
                high = middle
            else:
                low = middle + 1
        shorter = replace(scene, inputs=scene.inputs[:high])
        found = self._after(shorter, name)
        return replace(found, scene=shorter) if found is not None else replace(whole, scene=scene)

    def _after(self, scene: Scene, name: str) -> Difference | None:
        self._set(scene)
        for input in scene.inputs:
            self._run(input)
        a, b, again = self._read()
        if first_difference(self.maps_of_a, self.subject.maps, a, again, frozenset(self.unsteady)) is not None:
            return None
        found = first_difference(self.maps, self.subject.maps, a, b, frozenset(self.unsteady))
        return Difference(*found[1:]) if found is not None and found[0] == name else None


def _parts(x: Outcome, y: Outcome) -> list[tuple[str, str, str]]:
    return [
        ("run", x.error or "ran", y.error or "ran"),
        ("return value", str(x.retval), str(y.retval)),
        ("packet", x.packet.hex(), y.packet.hex()),
        ("context", x.ctx.hex(), y.ctx.hex()),
    ]
