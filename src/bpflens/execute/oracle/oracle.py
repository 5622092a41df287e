"""Two programs compared by running them: the same inputs on the same maps, a second copy of the first beside them.

    compare(original, candidate)  ──►  Comparison(EQUAL, inputs=2000, coverage=31 of 31 blocks)
                                  or   Comparison(DIFFERENT, difference=Difference("return value", "1", "2", scene))

Each program has maps of its own with the same contents. What a run depends on beside its input (time, chance, CPU, caller) is fixed for
both, what it does outside is recorded and compared (effects.py); what a second copy of the first program does not repeat is not held
against the other. Agreement is evidence for the inputs that were run, and no more: the result says how many and what they covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpflens.execute.oracle.states import declared_differently
from bpflens.execute.result import Comparison, Difference, Scene, Verdict
from bpflens.execute.subject import Subject, malformed

__all__ = ("INPUTS", "compare")

INPUTS = 2000


def compare(
    a: Subject, b: Subject, *, inputs: int | Sequence[Scene] = INPUTS, seed: int = 1, engine: str = "auto", effort: float = 2.0
) -> Comparison:
    """Run both programs and compare what can be seen. `inputs`: how many to make, or the scenes to run. `engine`: "kernel", "interpreter",
    or "auto" for the kernel where it can.

    Nothing that is loaded outlives the call. Never raises for what a program or the kernel does: the reason is in the result.
    """
    for which, subject in (("first", a), ("second", b)):
        wrong = malformed(subject)
        if wrong is not None:
            return Comparison(Verdict.UNDETERMINED, f"the {which} program is malformed: {wrong}")
    told = declared_differently(a, b)
    if told is not None:
        return Comparison(Verdict.DIFFERENT, f"a map is declared differently: {told}", difference=Difference("declaration", told, told))
    from bpflens.execute.oracle.allowance import LONGEST, allowance, spins

    few: tuple[str, ...] = ()
    if isinstance(inputs, int):
        allowed = allowance(a, inputs, seed)
        few, inputs = allowed.left_out(inputs), allowed.inputs
    if engine != "interpreter" and any(spins(subject, seed) for subject in (a, b)):
        said = f"runs of more than {LONGEST:,} instructions are not made by the kernel, which could not end them"
        if engine == "kernel":
            return Comparison(Verdict.UNDETERMINED, said, engine="kernel")
        engine, few = "interpreter", (*few, said)
    result = _compared(a, b, inputs, seed, engine, effort)
    return replace(result, left_out=(*result.left_out, *few))


def _compared(a: Subject, b: Subject, inputs: int | Sequence[Scene], seed: int, engine: str, effort: float) -> Comparison:
    from bpflens.execute.oracle import interpreted_compare, kernel_compare

    if engine == "interpreter":
        return interpreted_compare.compare(a, b, inputs, seed, effort)
    result = kernel_compare.compare(a, b, inputs, seed, effort)
    if engine == "kernel" or result.verdict is not Verdict.UNDETERMINED or result.refused:
        return result
    other = interpreted_compare.compare(a, b, inputs, seed, effort)
    return replace(other, reason=f"{other.reason} ({result.reason})")
