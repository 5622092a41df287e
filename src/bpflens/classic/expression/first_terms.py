"""The first terms worth trying between two diagrams, ranked by how much they settle per character.

    lower: packets to port 80 or 81; upper: the same   ──►   tcp and ..., (port 80 or port 81) and ..., ...

A term that lower implies takes away what it excludes from the upper's complement; a term inside upper takes away what it covers from lower.
"""

from __future__ import annotations

from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.expression.literals import MANY_VALUES, TINY, Choice, Literals, group_cost, irredundant
from bpflens.classic.expression.tree import Expression, both, either, opposite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ("first_terms",)

# rank (the lowest first), order, cost, the term, its diagram
_Ranked: TypeAlias = tuple[float, int, int, Expression, int]


def first_terms(
    literals: Literals, lower: int, upper: int, above: list[Choice], below: list[Choice], depth: int, effort: int
) -> list[tuple[int, Expression, int, int]]:
    """The most promising first terms: (cost, term, what then is lower, what then is upper)."""
    store, weight = literals.store, literals.weight
    outside = store.negate(upper)
    outside_weight, lower_weight = max(weight(outside), TINY), max(weight(lower), TINY)
    ands: list[_Ranked] = []
    ors: list[_Ranked] = []
    for order, choice in enumerate(above):
        gain = weight(store.diff(outside, choice.node))
        if gain > TINY:
            ands.append((-gain / outside_weight / (choice.cost + 3), order, choice.cost, choice.expression, choice.node))
    for order, choice in enumerate(below):
        gain = weight(store.conj(choice.node, lower))
        if gain > TINY:
            ors.append((-gain / lower_weight / (choice.cost + 3), order, choice.cost, choice.expression, choice.node))
    ands += _needed_groups(literals, lower, outside, outside_weight)
    ors += _fitting_groups(literals, lower, lower_weight, below)
    ands += _excluded_groups(literals, lower, outside, outside_weight, above)
    if not ors and depth < 12:
        ors += _cubes(literals, lower, upper, lower_weight)
    ands.sort(key=lambda item: item[:2])
    ors.sort(key=lambda item: item[:2])
    breadth = 1 if effort == 0 else 3 if depth < 2 else 2 if depth < 5 else 1
    steps = [(cost + 5, e, lower, store.disj(upper, store.negate(node))) for _, _, cost, e, node in ands[:breadth]]
    steps += [(cost + 4, e, store.diff(lower, node), upper) for _, _, cost, e, node in ors[:breadth]]
    return steps


def _needed_groups(literals: Literals, lower: int, outside: int, outside_weight: float) -> list[_Ranked]:
    """One of several values of a qualifier: their disjunction holds wherever lower does."""
    store = literals.store
    found = []
    for order, ((_, negative), members) in enumerate(literals.families.items()):
        if negative:
            continue
        group = [choice for choice in members if not store.disjoint(choice.node, lower)]
        if len(group) < 2:
            continue
        union = store.any(choice.node for choice in group)
        if union in (TRUE, literals.universe) or not store.implies(lower, union):
            continue
        group = irredundant(store, group, lower)
        union = store.any(choice.node for choice in group)
        gain = literals.weight(store.diff(outside, union))
        if gain > TINY and len(group) > 1:
            cost = group_cost(group)
            expression = either(*(choice.expression for choice in group))
            found.append((-gain / outside_weight / (cost / len(group) + 3), 1000 + order, cost, expression, union))
    return found


def _fitting_groups(literals: Literals, lower: int, lower_weight: float, below: list[Choice]) -> list[_Ranked]:
    """All values of a qualifier that fit inside upper."""
    store = literals.store
    families: dict[tuple[str, bool], list[Choice]] = {}
    for choice in below:
        families.setdefault((choice.family, choice.negative), []).append(choice)
    found = []
    for order, ((_, negative), group) in enumerate(families.items()):
        if len(group) < 2 or negative:
            continue
        union = store.any(choice.node for choice in group)
        if len(group) <= MANY_VALUES:
            group = irredundant(store, group, store.conj(lower, union))
        if len(group) < 2:
            continue
        gain = literals.weight(store.conj(union, lower))
        cost = group_cost(group)
        expression = either(*(choice.expression for choice in group))
        found.append((-gain / lower_weight / (cost / len(group) + 3), 1000 + order, cost, expression, union))
    return found


def _excluded_groups(literals: Literals, lower: int, outside: int, outside_weight: float, above: list[Choice]
) -> list[_Ranked]:
    """None of several values of a qualifier."""
    store = literals.store
    families: dict[str, list[Choice]] = {}
    for choice in above:
        if choice.negative and not store.disjoint(outside, store.diff(literals.universe, choice.node)):
            families.setdefault(choice.family, []).append(choice)
    found = []
    for order, group in enumerate(families.values()):
        if len(group) < 2:
            continue
        positives = [
            Choice(c.cost - 4, opposite(c.expression), store.diff(literals.universe, c.node), c.family, False, c.index) for c in group
        ]
        union = store.any(choice.node for choice in positives)
        positives = irredundant(store, positives, store.conj(outside, union))
        union = store.any(choice.node for choice in positives)
        gain = literals.weight(store.conj(outside, union))
        if gain > TINY and len(positives) > 1:
            cost = group_cost(positives) + 6
            expression = opposite(either(*(choice.expression for choice in positives)))
            node = store.diff(literals.universe, union)
            found.append((-gain / outside_weight / (cost / len(positives) + 3), 1000 + order, cost, expression, node))
    return found


def _cubes(literals: Literals, lower: int, upper: int, lower_weight: float) -> list[_Ranked]:
    """Two literals that together lie inside upper."""
    store, weight = literals.store, literals.weight
    active = []
    for choice in literals.choices:
        if choice.negative:
            continue
        gain = weight(store.conj(choice.node, lower))
        if TINY < gain < lower_weight * 0.999:
            active.append((-gain / (choice.cost + 10), choice))
    active.sort(key=lambda item: item[0])
    first = [choice for _, choice in active[:40]]
    found = []
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            node = store.conj(a.node, b.node)
            if node == FALSE or not store.implies(node, upper):
                continue
            gain = weight(store.conj(node, lower))
            if gain > TINY:
                cost = a.cost + b.cost + 5
                found.append((-gain / lower_weight / (cost + 3), i, cost, both(a.expression, b.expression), node))
    return found
