"""Sentences checked by running the program: each gets a mark.

    checked(summary, unit, subject)  ──►  "map h4blk has an entry": held in 14 runs, 3 of 3 conditions turned
                                          "Reads: ...": not checked, for reading leaves no trace
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bpflens.decompile.summary.check.judge import Count, Judge
from bpflens.decompile.summary.check.kernel_runs import kernel_runs, verifier_refusal
from bpflens.decompile.summary.check.trials import Trials
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.summary import Summary
from bpflens.decompile.summary.words.layers import network_offset
from bpflens.decompile.unit import Code, Unit
from bpflens.execute.subject import Subject, malformed

__all__ = ("Checked", "Grade", "Mark", "checked")

_MOST_KERNEL_RUNS = 200


class Grade(Enum):
    """`HELD`: in runs, with conditions turned; `RAN`: only its instructions were seen to run; `OPEN`: not checked."""

    HELD = "held"
    RAN = "ran"
    OPEN = "not checked"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Mark:
    """What runs say of one sentence. `turned` of `conditions` were tried to the contrary; `reason` for what is open or contradicted."""

    grade: Grade
    runs: int = 0
    turned: int = 0
    conditions: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A mark for each sentence of a summary. `runs` in the interpreter, `kernel_runs` of them by `kernel` too. `refused`: what this
    kernel's verifier says against the program, "" where it says nothing, or was not asked.
    """

    marks: tuple[Mark, ...]
    runs: int
    kernel_runs: int = 0
    kernel: str = ""
    assumed: tuple[str, ...] = ()
    refused: str = ""

    @property
    def contradicted(self) -> bool:
        """A run shows that a sentence is false."""
        return any(mark.grade is Grade.CONTRADICTED for mark in self.marks)


def checked(summary: Summary, unit: Unit, subject: Subject, seed: int = 1) -> Checked:
    """Run the program and mark each sentence. Nothing that is loaded outlives the call."""
    wrong = malformed(subject)
    if wrong is not None:
        return not_checked(summary, f"the program can't be run: {wrong}")
    entry = unit.codes[summary.name]
    shifts = _shifts(unit, entry, subject)
    says = [each.says if each.says is not None and each.says.function in shifts else None for each in summary.sentences]
    trials = Trials(subject, unit.maps, network_offset(subject.prog_type), seed)
    trials.at_random()
    for each in says:
        if each is not None:
            trials.paths(each.paths, shifts[each.function])
    judge = Judge(says, unit.codes, shifts, summary.name)
    for tried in trials.tried:
        judge.hold(tried.run, {name: trials.world(tried.run, shift) for name, shift in shifts.items()})
    same = [tried.run for tried in trials.tried if tried.in_kernel and not tried.run.outcome.error]
    chosen = same[-_MOST_KERNEL_RUNS:] if judge.verdicts else []  # of what the kernel ran only the result is looked at
    kernel, results = kernel_runs(subject, chosen) if chosen else ("", [])
    for run, retval in zip(chosen, results, strict=False):
        if retval is not None:
            judge.hold(run, {name: trials.world(run, shift) for name, shift in shifts.items()}, retval)
    marks = [_mark(sentence, count, sentence.says is not None and sentence.says.function in shifts, trials, shifts)
             for sentence, count in zip(summary.sentences, judge.counts, strict=True)]  # fmt: skip
    refused = verifier_refusal(subject) if entry.program.origin.source == "elf" else ""  # what is loaded was accepted
    return Checked(tuple(marks), len(trials.tried), sum(each is not None for each in results), kernel, trials.assumed(), refused)


def not_checked(summary: Summary, reason: str) -> Checked:
    """No sentence could be checked."""
    return Checked(tuple(Mark(Grade.OPEN, reason=reason) for _ in summary.sentences), 0)


def _shifts(unit: Unit, entry: Code, subject: Subject) -> dict[str, int]:
    """Function -> what to add to its slots for those of the program that runs."""
    shifts = {entry.name: -entry.start}
    starts = {type_id: slot for slot, type_id in subject.func_info}
    for code in unit.codes.values():
        if code.name != entry.name and code.type_id in starts:
            shifts[code.name] = starts[code.type_id] - code.start
    return shifts


def _mark(sentence: Sentence, count: Count, placed: bool, trials: Trials, shifts: dict[str, int]) -> Mark:
    if count.contradiction:
        return Mark(Grade.CONTRADICTED, count.seen, reason=count.contradiction)
    if sentence.says is None:
        return Mark(Grade.OPEN, reason="nothing in it can be held against a run")
    if not placed:
        return Mark(Grade.OPEN, reason="where its function is in the running code is not known")
    if sentence.says.kind == "reads":
        wanted = {slot + shifts[sentence.says.function] for slot in sentence.slots}
        ran = sum(not wanted.isdisjoint(tried.run.slots) for tried in trials.tried)
        return Mark(Grade.RAN, ran) if ran else Mark(Grade.OPEN, reason="no run reached its instructions")
    if not count.seen:
        return Mark(Grade.OPEN, reason="no run was found that comes there")
    grade = Grade.HELD if sentence.says.kind != "map" else Grade.RAN
    return Mark(grade, count.seen, len(count.turned & count.told), len(count.told))
