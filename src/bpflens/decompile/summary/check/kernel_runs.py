"""The same runs made by the kernel, where it test-runs the program (or one that it takes for the same, of another type)."""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.errors import BpflensError
from bpflens.execute.interpreter.recorded import Run
from bpflens.execute.subject import Subject

__all__ = ("kernel_runs", "verifier_refusal")


def kernel_runs(subject: Subject, runs: Sequence[Run]) -> tuple[str, list[int | None]]:
    """(what ran them, the return value of each; None where the kernel refused it). ("", []) with no kernel that would."""
    from bpflens.execute.kernel_engine import first_way

    try:
        with first_way(subject, {}) as found:
            if found is not None:
                way, program = found
                results: list[int | None] = []
                for run in runs:
                    program.set(run.scene.maps, run.scene.memory)
                    outcome = program.run(run.scene.inputs[-1])
                    results.append(None if outcome.error else outcome.retval)
                return way.said, results
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
