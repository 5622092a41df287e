"""What holds where ways meet.

    if (a) { if (!b) return; }   behind it: not a, or (a and b)
    if (a) { x = 1; }            behind it: nothing that did not hold before

A way that ends inside a branch leaves a condition behind, which must be said: else "if A, it drops" would be false.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.tree import Goto, Return, Tree, walk

__all__ = ("UNSAID", "added", "leaves", "met", "shared")

_MOST_PARTS = 6
_QUIET = (Kind.BOUND, Kind.PRESENT)

UNSAID = Condition(Kind.UNKNOWN, "a computed value compares so")
"""Something must hold that is not said."""

Ways = tuple[Condition, ...]


def shared(a: Sequence[Condition], b: Sequence[Condition]) -> Ways:
    """The conditions that two ways have in common from the start."""
    out = []
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        out.append(one)
    return tuple(out)


def met(a: Ways, b: Ways) -> Ways:
    """What holds where two ways meet: what both have, and the rest of the one or of the other."""
    common = shared(a, b)
    rests = a[len(common) :], b[len(common) :]
    if not all(rests) or all(each.kind in _QUIET for rest in rests for each in rest):
        return common
    sayable = all(any(each.kind is Kind.TELLING for each in rest) for rest in rests)
    if not sayable or sum(map(_parts, rests)) > _MOST_PARTS or any(each.kind is Kind.UNKNOWN for rest in rests for each in rest):
        return (*common, UNSAID)
    return (*common, Condition(Kind.TELLING, alternatives=rests))


def _parts(conditions: Ways) -> int:
    """How many things are to be said."""
    return sum(max(1, sum(map(_parts, each.alternatives))) for each in conditions)


def added(known: Ways, here: Ways) -> Ways:
    """What `here` says beyond `known`."""
    later = here[len(shared(here, known)) :]
    return tuple(each for each in later if each not in known and not any(set(side) <= set(known) for side in each.alternatives))


def leaves(tree: Tree) -> bool:
    """A way out of a loop's body that does not lead behind the loop."""
    return any(isinstance(node, Return | Goto) for node in walk(tree))
