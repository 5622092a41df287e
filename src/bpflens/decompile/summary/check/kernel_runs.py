"""The same runs made by the kernel, where it test-runs the program (or one that it takes for the same, of another type)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from bpflens.errors import BpflensError
from bpflens.execute.interpreter.recorded import Run
from bpflens.execute.subject import Subject

__all__ = ("kernel_runs", "verifier_refusal")


def kernel_runs(subject: Subject, runs: Sequence[Run]) -> tuple[str, list[int | None]]:
    """(what ran them, the return value of each; None where the kernel refused it). ("", []) with no kernel that would."""
    from bpflens.execute.kernel_engine import Refused, load, ways, widened
    from bpflens.execute.objects import KernelObjects
    from bpflens.kernel.programs.test_run import PACKET_TYPES, one_cpu

    reasons: dict[str, None] = {}
    try:
        with one_cpu(), ExitStack() as stack:
            objects = None
            if subject.prog_type not in PACKET_TYPES:
                objects = KernelObjects()
                stack.callback(objects.close)
            for way in ways(subject.prog_type):
                fits = widened(subject, way, reasons)
                if fits is None:
                    continue
                try:
                    program = stack.enter_context(load(subject, fits, objects))
                except Refused:
                    continue
                found: list[int | None] = []
                for run in runs:
                    program.set(run.scene.maps, run.scene.memory)
                    outcome = program.run(run.scene.inputs[-1])
                    found.append(None if outcome.error else outcome.retval)
                return fits.said, found
    except (BpflensError, OSError):
        pass
    return "", []


def verifier_refusal(subject: Subject) -> str:
    """What this kernel's verifier says against the program; "" where it accepts it, or could not be asked."""
    from bpflens.execute import kernel_engine

    try:
        return kernel_engine.verifier_refusal(subject)
    except (BpflensError, OSError):
        return ""
