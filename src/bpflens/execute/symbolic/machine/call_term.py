"""A call in the making: the term that it becomes, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field

from bpflens.execute.symbolic.values.terms import Term

__all__ = ("MAX_BUFFER", "ON_STACK", "Call")

MAX_BUFFER = 512
ON_STACK = ("fp", "buf")


@dataclass(slots=True)
class Call:
    """A call in the making: `shape` says what each term of `terms` is; `outputs`: (argument, places on the stack under
    conditions, size, all bytes written). `buffers`: bytes of frames that a callback writes."""

    helper: int | str
    shape: list[str] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    outputs: list[tuple[int, list[tuple[Term, Term]], int, bool]] = field(default_factory=list)
    buffers: list[tuple[object, int]] = field(default_factory=list)

    def add(self, shape: str, *terms: Term) -> None:
        self.shape.append(shape)
        self.terms += terms
