"""A refused load in words: what failed and where, what was known, where that came from, what helps."""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.analysis.refused_load import RefusedLoad

__all__ = ("refusal_lines",)


def refusal_lines(refused: RefusedLoad, name: str, color: bool = False) -> Iterator[str]:
    """Some ten lines."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if color else ("", "")
    yield f"{bold}The verifier refused {name or 'the program'}{plain}: {refused.message[0]}"
    yield from (f"    {line}" for line in refused.message[1:3])
    if refused.words:
        yield f"    That is: {refused.words}."
    else:
        yield "    That message has no explanation here."
    if refused.at is not None:
        yield f"    At instruction {refused.at.slot}: {refused.at.text}"
        if refused.at.source:
            yield f"        source: {refused.at.source}{f' ({refused.at.place})' if refused.at.place else ''}"
    if refused.changes:
        yield f"    What the verifier knew of {refused.register}, and since when:"
        for step, known in refused.changes:
            yield f"        {known} after {step.slot}: {step.text}"
    for remedy in refused.remedies:
        yield f"    Usual remedy: {remedy}"
    if refused.processed is not None:
        yield f"    The verifier processed {refused.processed} instructions. The explanation is a fixed text for its message."
