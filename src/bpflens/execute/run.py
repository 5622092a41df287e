"""One program run on chosen inputs: what each run gave, and what the maps hold afterwards.

    played(subject, Scene((Input(packet),), {"ports": {key: drop}}))  ──►  Played("kernel", (Outcome(retval=1, ...),), {"ports": ...})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpflens.errors import KernelError
from bpflens.execute.kernel_maps import MapState
from bpflens.execute.result import Outcome, Scene
from bpflens.execute.subject import Subject, malformed

__all__ = ("Played", "played")


@dataclass(frozen=True, slots=True)
class Played:
    """`engine` as in `Comparison`; one outcome for each input; `maps`: contents by name, raw memory for arrays, and what was recorded under
    names that start with "*". `assumed`: helpers that were modelled.
    """

    engine: str
    outcomes: tuple[Outcome, ...]
    maps: Mapping[str, MapState]
    assumed: tuple[str, ...] = ()


def played(subject: Subject, scene: Scene, *, engine: str = "auto") -> Played:
    """Run a scene. `engine`: "kernel", "interpreter", or "auto" for the kernel where it can.

    KernelError where `engine` is "kernel" and the kernel does not run the program.
    """
    wrong = malformed(subject)
    if wrong is not None:
        return Played("none", tuple(Outcome(error=wrong) for _ in scene.inputs), {})
    if engine != "interpreter":
        try:
            return _by_kernel(subject, scene)
        except KernelError:
            if engine == "kernel":
                raise
    from bpflens.execute.interpreter.engine import InterpretedProgram

    program = InterpretedProgram(subject)
    program.set(scene.maps, scene.memory)
    outcomes = tuple(program.run(input) for input in scene.inputs)
    return Played("interpreter", outcomes, program.read(), tuple(sorted(program.machine.modelled)))


def _by_kernel(subject: Subject, scene: Scene) -> Played:
    from bpflens.execute.kernel_engine import first_way
    from bpflens.execute.oracle.side_by_side import assumptions

    reasons: dict[str, None] = {}
    with first_way(subject, reasons) as found:
        if found is not None:
            way, program = found
            program.set(scene.maps, scene.memory)
            outcomes = tuple(program.run(input) for input in scene.inputs)
            return Played(way.said, outcomes, program.read(), assumptions(subject))
    raise KernelError(subject.name, next(iter(reasons), "can't be test-run"))
