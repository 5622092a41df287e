"""An extended program in words: the head, the sentences, what is left out, and what the answer rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.decompile.summary.summary import SHOWN_LINES, Sentence, Summary

__all__ = ("summary_lines",)


def summary_lines(
    summary: Summary, surroundings: Sequence[str], proof: str, *, all: bool = False, why: bool = False, color: bool = False
) -> Iterator[str]:
    """At most ten lines, or, with `all`, every sentence. `surroundings` say where the program hangs; `proof` is the last line."""
    yield f"\x1b[1m{summary.head}\x1b[0m" if color else summary.head
    yield from (f"    {line}" for line in surroundings)
    room = SHOWN_LINES - 2 - len(surroundings) - len(summary.gaps)
    shown = summary.sentences if all or len(summary.sentences) <= room else summary.sentences[: max(room - 1, 1)]
    for sentence in shown:
        text = f"{sentence.text}{_slots(sentence) if why else ''}"
        yield f"    \x1b[31m{text}\x1b[0m" if color and sentence.kind == "alarm" else f"    {text}"
    left = len(summary.sentences) - len(shown)
    if left:
        yield f"    {left} more sentence{'s' * (left > 1)}: --all"
    yield from (f"    Not explained: {gap}." for gap in summary.gaps)
    yield f"    {proof}"


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
