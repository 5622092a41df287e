"""An extended program in words: the head, the sentences, what is left out, and what the answer rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.decompile.summary.check.check import Checked, Mark
from bpflens.decompile.summary.place import Place
from bpflens.decompile.summary.summary import SHOWN_LINES, Sentence, Summary

__all__ = ("checks_text", "place_lines", "refused_text", "summary_lines")


HINT = " (explain --check runs it)"


def summary_lines(
    summary: Summary, surroundings: Sequence[str], proof: str, checks: Checked | None = None,
    *, all: bool = False, why: bool = False, color: bool = False
) -> Iterator[str]:
    """At most ten lines, or, with `all`, every sentence. `surroundings` say where the program hangs; `proof` is the last line. A sentence
    that a run contradicts comes first, and says so.
    """
    yield f"\x1b[1m{summary.head}\x1b[0m" if color else summary.head
    if checks is not None and checks.refused:
        surroundings = [refused_text(checks), *surroundings]
    yield from (f"    {line}" for line in surroundings)
    room = SHOWN_LINES - 2 - len(surroundings) - len(summary.gaps)
    marked = list(zip(summary.sentences, checks.marks if checks is not None else [None] * len(summary.sentences), strict=True))
    marked.sort(key=lambda pair: pair[1] is None or pair[1].grade.value != "contradicted")
    shown = marked if all or len(marked) <= room else marked[: max(room - 1, 1)]
    for sentence, mark in shown:
        text = f"{sentence.whole or sentence.text if all else sentence.text}{_slots(sentence) if why else ''}"
        if mark is not None:
            text = f"CONTRADICTED: a run {mark.reason}. Was said: {text}" if mark.grade.value == "contradicted" else f"{text} {_mark(mark)}"
        yield f"    \x1b[31m{text}\x1b[0m" if color and sentence.kind == "alarm" else f"    {text}"
    left = len(summary.sentences) - len(shown)
    if left:
        yield f"    {left} more sentence{'s' * (left > 1)}: --all"
    yield from (f"    Not explained: {gap}." for gap in summary.gaps)
    yield f"    {proof}"


def place_lines(place: Place, *, color: bool = False) -> Iterator[str]:
    """One instruction: what it is, in C, when it runs, what is said of it."""
    head = f"{place.function}, instruction {place.pc}: {place.insn}"
    yield f"\x1b[1m{head}\x1b[0m" if color else head
    yield from (f"    {line}" for line in place.c)
    if place.when is not None:
        yield "    Runs always." if place.when == "always" else f"    Runs if {place.when}."
    yield from (f"    Part of: {sentence.text}" for sentence in place.sentences)
    if place.when is None and not place.sentences:
        yield "    No sentence rests on it alone: it computes something for others."


def _mark(mark: Mark) -> str:
    """ "[held in 14 runs, 3 of 3 conditions turned]"."""
    runs = f"{mark.runs} run{'s' * (mark.runs != 1)}"
    match mark.grade.value:
        case "held":
            turned = f", {mark.turned} of {mark.conditions} conditions turned" if mark.conditions else ""
            return f"[held in {runs}{turned}]"
        case "ran":
            return f"[seen in {runs}]"
    return f"[not checked: {mark.reason}]"


def refused_text(checks: Checked) -> str:
    """That the program can't be loaded here, before what runs of an interpreter say of it."""
    return f"This kernel refuses to load it: {checks.refused}{'; checked in the interpreter alone' * (not checks.kernel_runs)}."


def checks_text(checks: Checked, proof: str) -> str:
    """What the answer rests on, in place of "Derived from the code ...", and what follows that."""
    if not checks.runs:
        return proof.replace(HINT, "")
    by_kernel = f", {checks.kernel_runs} of them by the {checks.kernel} too" if checks.kernel_runs else ", none of them by a kernel"
    assumed = f" Modelled: {', '.join(checks.assumed)}." if checks.assumed else ""
    rest = proof.partition(f"{HINT}.")[2]
    return f"Checked in {checks.runs} runs by the interpreter{by_kernel}: evidence for those inputs, no proof.{assumed}{rest}"


def _slots(sentence: Sentence) -> str:
    """ " [insns 3-8, 12]"."""
    runs: list[list[int]] = []
    for slot in sentence.slots:
        if runs and slot == runs[-1][1] + 1:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    text = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
    return f" [insns {text}]" if text else ""
