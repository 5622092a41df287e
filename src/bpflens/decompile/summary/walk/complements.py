"""Ways to the same end of which one holds where another does not.

    A and X, A and not X   ──►   A          X and not X are the two outcomes of one comparison at one place
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpflens.decompile.summary.walk.claims import Between, Claim, Gives, HasEntry, Length, Relation
from bpflens.decompile.summary.walk.conditions import NEGATED, Condition
from bpflens.decompile.summary.walk.walk import Returned

__all__ = ("without_complements",)

_MOST_WAYS = 60


def without_complements(ways: Sequence[Returned]) -> list[Returned]:
    """The ways, two of which that differ in the outcome of one comparison are put together; those of a large function as they are."""
    out = list(ways)
    if len(out) > _MOST_WAYS:
        return out
    at = 0
    while at < len(out):
        pair = next(((n, whole) for n in range(at + 1, len(out)) if (whole := _together(out[at], out[n])) is not None), None)
        if pair is None:
            at += 1
            continue
        out[at] = pair[1]
        del out[pair[0]]
        at = 0
    return out


def _together(a: Returned, b: Returned) -> Returned | None:
    """The two ways as one; None where they differ in more, or in something else."""
    if len(a.conditions) != len(b.conditions) or (a.value, a.what) != (b.value, b.what):
        return None
    differing = [(x, y) for x, y in zip(a.conditions, b.conditions, strict=True) if not _same(x, y)]
    if len(differing) != 1 or not _opposite(*differing[0]):
        return None
    [(one, other)] = differing
    kept = tuple(x for x, y in zip(a.conditions, b.conditions, strict=True) if _same(x, y))
    slots = tuple(sorted({*a.slots, *b.slots, *one.slots, *other.slots}))
    return replace(a, conditions=kept, slots=slots, may=a.may or b.may)


def _same(a: Condition, b: Condition) -> bool:
    return a == b and a.claim == b.claim


def _opposite(a: Condition, b: Condition) -> bool:
    """One holds just where the other does not: two outcomes of the comparison that the same instructions make."""
    if not a.slots or a.slots != b.slots or a.alternatives or b.alternatives:
        return False
    if a.bits or b.bits:
        return a.bits == b.bits and a.negated != b.negated
    return a.claim is not None and _contrary(a.claim) == b.claim


def _contrary(claim: Claim) -> Claim:
    match claim:
        case Relation() | Gives():
            return claim._replace(op=NEGATED[claim.op])
        case HasEntry():
            return claim._replace(there=not claim.there)
        case Between():
            return claim._replace(inside=not claim.inside)
        case Length():
            return claim._replace(shorter=not claim.shorter)
