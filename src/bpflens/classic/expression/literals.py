"""The literals that a search may use, each in both polarities, with its diagram, its cost and how much of the packets it takes.

    udp   ──►   Choice(cost 3, "udp"), Choice(cost 7, "not udp")

Values of one qualifier ("host a", "host b") are a family. A diagram's weight is its share of the packets, where each interval that some
literal tells apart counts the same.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.tree import And, Expression, Literal, Not, Or, Within
from bpflens.lean import frozen

__all__ = ("MANY_VALUES", "TINY", "Choice", "Literals", "cost_of", "group_cost", "irredundant", "natural")

TINY = 1e-15  # weights below it count as nothing
MANY_VALUES = 150  # values of one family from which on it is not tried which of them are superfluous


@frozen
class Choice:
    """A literal of either polarity with its node; `cost` in characters; `family` groups values of one qualifier."""

    cost: int
    expression: Expression
    node: int
    family: str
    negative: bool
    index: bool


class Literals:
    """The literals of one search. `universe`: the packets that matter (a context keyword may exclude the rest)."""

    def __init__(
        self,
        store: Store,
        literals: Sequence[tuple[Candidate, int]],
        universe: int = TRUE,
        target: int = TRUE,
        compile: Callable[[str], int | None] | None = None,
    ) -> None:
        """`target`: the diagram to be expressed, by which literals are chosen. `compile`: the node of a further primitive's text."""
        self.store = store
        self.universe = universe
        self.compile = compile
        self.nodes: dict[Candidate, int] = {}
        self.choices: list[Choice] = []
        support = store.support(target)
        seen: set[int] = set()
        for candidate, node in sorted(literals, key=lambda item: item[0].cost):
            node = store.conj(node, universe)
            if node in seen or node in (FALSE, universe):
                continue
            seen.add(node)
            if target != TRUE and not store.support(node) & support:
                continue
            self.nodes[candidate] = node
            literal = Literal(candidate)
            family = _family(candidate)
            index = "[" in candidate.text
            self.choices.append(Choice(candidate.cost, literal, node, family, False, index))
            self.choices.append(Choice(candidate.cost + 4, Not(literal), store.diff(universe, node), family, True, index))
        self.choices.sort(key=lambda choice: choice.cost)
        self.families: dict[tuple[str, bool], list[Choice]] = {}
        for choice in self.choices:
            self.families.setdefault((choice.family, choice.negative), []).append(choice)
        self.families = {key: members for key, members in self.families.items() if len(members) > 1}
        self._bounds: dict[int, list[int]] = {}
        self._weights: dict[int, float] = {FALSE: 0.0, TRUE: 1.0}
        self._collect_bounds([target, *(choice.node for choice in self.choices)])

    def _collect_bounds(self, nodes: Iterable[int]) -> None:
        bounds: dict[int, set[int]] = {}
        seen: set[int] = set()
        stack = list(nodes)
        store = self.store
        while stack:
            n = stack.pop()
            if n < 0 or n in seen:
                continue
            seen.add(n)
            bounds.setdefault(store.var[n], set()).update(store.starts[n][:-1])
            stack.extend(store.kids[n])
        self._bounds = {variable: sorted(values) for variable, values in bounds.items()}

    def weight(self, node: int) -> float:
        """Share of the packets in a diagram, each interval that some literal tells apart counting the same."""
        found = self._weights.get(node)
        if found is None:
            store = self.store
            starts = store.starts[node]
            bounds = self._bounds.get(store.var[node], [0])
            total = len(bounds)
            found = 0.0
            low = 0
            for i, kid in enumerate(store.kids[node]):
                high = bisect.bisect_left(bounds, starts[i + 1])
                if kid != FALSE:
                    found += max(high - low, 1e-9) / total * self.weight(kid)
                low = high
            self._weights[node] = found
        return found

    def node(self, e: Expression) -> int:
        """The diagram of an expression over this search's literals."""
        store = self.store
        if isinstance(e, Literal):
            return self.nodes[e.candidate]
        if isinstance(e, Not):
            return store.diff(self.universe, self.node(e.item))
        if isinstance(e, Or):
            return store.any(self.node(item) for item in e.items)
        if isinstance(e, And):
            result = self.universe
            for item in e.items:
                result = store.conj(result, self.node(item))
            return result
        if isinstance(e, Within):
            raise ValueError("a context has no node here")
        return self.universe if e.value else FALSE

    def known(self, e: Expression) -> bool:
        """Whether every literal has a node, compiling those that have none yet."""
        if isinstance(e, Literal):
            if e.candidate not in self.nodes:
                node = self.compile(e.candidate.text) if self.compile is not None else None
                if node is None:
                    return False
                self.nodes[e.candidate] = self.store.conj(node, self.universe)
            return True
        if isinstance(e, Not):
            return self.known(e.item)
        return all(self.known(item) for item in e.items) if isinstance(e, (And, Or)) else True


def irredundant(store: Store, group: list[Choice], lower: int) -> list[Choice]:
    """Without the members that the others make superfluous for covering lower, the dearest dropped first."""
    group = sorted(group, key=lambda choice: -choice.cost)
    if len(group) > MANY_VALUES:
        return group
    suffix = [FALSE]
    for choice in reversed(group):
        suffix.append(store.disj(suffix[-1], choice.node))
    suffix.reverse()
    kept: list[Choice] = []
    covered = FALSE
    for i, choice in enumerate(group):
        if not store.implies(lower, store.disj(covered, suffix[i + 1])):
            kept.append(choice)
            covered = store.disj(covered, choice.node)
    return sorted(kept, key=lambda choice: natural(choice.expression))


def _family(candidate: Candidate) -> str:
    words = candidate.prefix.split()
    if candidate.value and words[-1] in ("net", "portrange"):
        words[-1] = {"net": "host", "portrange": "port"}[words[-1]]
    if not candidate.value and "[" in candidate.text:
        return candidate.text.rsplit(" ", 2)[0]
    return " ".join(words) if candidate.value else "protocol"


def natural(e: Expression) -> tuple[object, ...]:
    """Addresses and numbers in their own order."""
    if not isinstance(e, Literal):
        return (1, str(e))
    value = e.candidate.value
    parts = value.replace("/", ".").replace("-", ".").split(".")
    if all(part.isdigit() for part in parts) and value:
        return (0, "", [int(part) for part in parts])
    return (0, e.candidate.text, [])


def group_cost(group: Sequence[Choice]) -> int:
    """Values of one prefix are written once with it."""
    prefixes = {choice.expression.candidate.prefix for choice in group if isinstance(choice.expression, Literal)}
    cost = sum(len(prefix) + 1 for prefix in prefixes)
    for choice in group:
        if isinstance(choice.expression, Literal) and choice.expression.candidate.value:
            cost += len(choice.expression.candidate.value) + 4
        else:
            cost += choice.cost + 4
    return cost


def cost_of(e: Expression) -> int:
    """Characters, roughly, with the surcharge of index expressions."""
    if isinstance(e, Literal):
        return e.candidate.cost
    if isinstance(e, Not):
        return cost_of(e.item) + 4
    if isinstance(e, (And, Or)):
        return sum(cost_of(item) + 5 for item in e.items) - 5
    if isinstance(e, Within):
        return len(e.keyword) + 5 + cost_of(e.inner)
    return 0
