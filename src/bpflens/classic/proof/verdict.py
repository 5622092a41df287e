"""What a comparison of two classic programs says: a grade with what it rests on, or a packet that shows the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpflens.lean import Literal, field, frozen

__all__ = ("Grade", "Insns", "Verdict", "Witness")

Grade = Literal["all-packets", "untruncated", "none"]

Insns = Sequence[tuple[int, int, int, int]]


@frozen
class Witness:
    """A packet that tells two programs apart; `a` and `b` are what they returned for it. `aux`: ancillary data that was supplied.

    None as a value of `aux` says that the packet has no device, so that a load of its properties ends the program.
    """

    packet: bytes
    a: int
    b: int
    aux: Mapping[str, int | None] = field(default_factory=dict)


@frozen
class Verdict:
    """`grade` of the proof of equality; `method`, the engines that agree on it ("diagrams", "diagrams and z3", "identical instructions").

    "diagrams" alone is only said in the fragment where they are exact (proof/fragment.py). `witness`: for "none", a packet that shows the
    difference, None where neither proof nor packet was found (`reason` says why); for "untruncated", a packet too short for some load on
    which they differ, where one was found. `assumptions`: what the grade takes for granted, in words.
    """

    grade: Grade
    method: str
    witness: Witness | None = None
    reason: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def different(self) -> bool:
        """Whether a difference was shown."""
        return self.grade == "none" and self.witness is not None
