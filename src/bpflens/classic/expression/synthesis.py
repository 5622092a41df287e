"""Synthesis: the shortest expression between two diagrams.

    lower (must match) ≤ E ≤ upper (may match), from literals whose diagrams libpcap's own compiler gave

One literal, if one fits. Else a conjunction: a literal that lower implies takes away what it excludes from the upper's complement. Else a
disjunction: a literal inside upper takes away what it covers from lower. Values of one qualifier ("host a or host b or ...") are
taken together, whether all are needed or all fit. Else the packets are split by a literal. Candidates for each step are ranked by how much
they settle per character, measured with one weight per interval that some literal tells apart. Results are memoized on (lower, upper);
the search keeps the best answer so far and stops at its deadline.
"""

from __future__ import annotations

from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.expression.first_terms import first_terms
from bpflens.classic.expression.literals import MANY_VALUES, TINY, Choice, Literals, cost_of, irredundant, natural
from bpflens.classic.expression.shorten import pruned
from bpflens.classic.expression.tree import FALSITY, TRUTH, Expression, Not, both, either, opposite

__all__ = ("Synthesis",)

_MAX_DEPTH = 40
_UNLIMITED = 1 << 40
_CALLS_BEFORE_DOUBT = 60
_LONG_LIST = 16  # values of one qualifier from which on they are taken out as a list first


class _Inseparable(Exception):
    """No combination of the literals is an answer."""


class Synthesis:
    """One search over a fixed set of literals."""

    def __init__(self, literals: Literals, deadline: float | None = None) -> None:
        self.literals = literals
        self.store = literals.store
        self.universe = literals.universe
        self.deadline = deadline if deadline is not None else self.store.clock() + 10
        self._memo: dict[tuple[int, int], tuple[int, Expression]] = {}
        self._failed: dict[tuple[int, int], int] = {}
        self._effort = 0
        self._calls = 0
        self._settled = False
        self._patience = float("inf")  # the store's clock at which the search for something better ends

    def solve(self, lower: int, upper: int, patience: float = 0.4, limit: int = _UNLIMITED) -> Expression | None:
        """An expression with lower ≤ expression ≤ upper inside the universe; None where none was found in time.

        First greedily; then `patience` seconds (of CPU) are spent on looking for a shorter one. Only what costs less than `limit` counts.
        """
        store = self.store
        lower = store.conj(lower, self.universe)
        upper = store.disj(upper, store.negate(self.universe))
        if lower == FALSE or upper == TRUE:
            return FALSITY if lower == FALSE else TRUTH
        for choice in self.literals.choices:
            if not choice.index and store.implies(lower, choice.node) and store.implies(choice.node, upper):
                if choice.cost < limit and choice.cost <= 12:
                    return choice.expression
                break
        for (family, negative), members in self.literals.families.items():
            if not negative and len(members) > _LONG_LIST and family.split()[-1] in ("host", "port", "src", "dst"):
                listed = self._solve_list(family, members, lower, upper, patience)
                return None if listed is None or cost_of(listed) >= limit else pruned(self.literals, listed, lower, upper)
        best: tuple[int, Expression] | None = None
        self._calls = 0
        self._settled = False
        for effort in (0, 1, 2):
            self._effort = effort
            self._memo.clear()
            self._failed.clear()
            if best is not None:
                if best[0] <= 12:
                    break
                self._patience = self.store.clock() + patience
            try:
                found = self._solve(lower, upper, 0, limit if best is None else best[0])
            except _Inseparable:
                return None
            if found is not None and (best is None or found[0] < best[0]):
                shorter = pruned(self.literals, found[1], lower, upper)
                best = (cost_of(shorter), shorter)
        return best[1] if best is not None else None

    def _solve_list(self, family: str, members: list[Choice], lower: int, upper: int, patience: float) -> Expression | None:
        """A long list of values (hundreds of hosts) is taken out whole: `list and rest`, `list or rest`, or `not list and rest`."""
        store = self.store
        outside = store.negate(upper)
        listed = {id(choice.expression) for choice in members}
        saved = self.literals.choices, self.literals.families
        self.literals.choices = [
            c for c in self.literals.choices if id(c.expression.item if isinstance(c.expression, Not) else c.expression) not in listed
        ]
        self.literals.families = {key: group for key, group in self.literals.families.items() if key[0] != family}
        try:
            touching = [c for c in members if not store.disjoint(c.node, lower)]
            union = store.any(c.node for c in touching)
            if touching and store.implies(lower, union):
                rest = self.solve(lower, store.disj(upper, store.negate(union)), patience)
                if rest is not None:
                    return both(rest, self._listed(touching, lower))
            inside = [c for c in touching if store.implies(c.node, upper)]
            if inside:
                union = store.any(c.node for c in inside)
                rest = self.solve(store.diff(lower, union), upper, patience)
                if rest is not None:
                    return either(self._listed(inside, lower), rest)
            excluded = [c for c in members if store.disjoint(c.node, lower) and not store.disjoint(c.node, outside)]
            if excluded:
                union = store.any(c.node for c in excluded)
                rest = self.solve(lower, store.disj(upper, union), patience)
                if rest is not None:
                    return both(rest, opposite(self._listed(excluded, store.conj(outside, union))))
        finally:
            self.literals.choices, self.literals.families = saved
        self.literals.families = {key: group for key, group in self.literals.families.items() if key[0] != family}
        return self.solve(lower, upper, patience)

    def _listed(self, group: list[Choice], covered: int) -> Expression:
        """The values in their own order, those that others cover left out as far as that is cheap to see."""
        group = irredundant(self.store, group, covered) if len(group) <= MANY_VALUES else group
        return either(*sorted((choice.expression for choice in group), key=natural))

    def _late(self) -> bool:
        return self.store.clock() > min(self.deadline, self._patience)

    def separable(self, inside: int, outside: int, budget: int = 3000) -> bool:
        """Whether some combination of the literals tells the two sets of packets apart; True also where the budget ends first.

        Both sets are cut by one literal after the other; a cell in which both are left at the end cannot be told apart.
        """
        store = self.store
        nodes = [choice.node for choice in self.literals.choices if not choice.negative]
        nodes.sort(key=lambda node: -abs(self.literals.weight(store.conj(node, inside)) - self.literals.weight(store.conj(node, outside))))
        seen: set[tuple[int, int]] = set()
        stack = [(inside, outside, 0)]
        while stack and budget:
            a, b, i = stack.pop()
            while i < len(nodes) and a != FALSE and b != FALSE:
                node = nodes[i]
                i += 1
                left = (store.conj(a, node), store.conj(b, node))
                if FALSE not in left and left not in seen:
                    budget -= 1
                    seen.add(left)
                    stack.append((*left, i))
                a, b = store.diff(a, node), store.diff(b, node)
            if a != FALSE and b != FALSE:
                return False
        return True

    def _solve(self, lower: int, upper: int, depth: int, limit: int) -> tuple[int, Expression] | None:
        """The best expression that costs less than `limit`."""
        store = self.store
        if lower == FALSE:
            return 0, FALSITY
        if upper == TRUE:
            return 0, TRUTH
        key = (lower, upper)
        known = self._memo.get(key)
        if known is not None:
            return known if known[0] < limit else None
        if self._failed.get(key, -1) >= limit or limit <= 2:
            return None
        best: tuple[int, Expression] | None = None
        above: list[Choice] = []
        below: list[Choice] = []
        implies = store.implies
        for choice in self.literals.choices:
            if implies(lower, choice.node):
                above.append(choice)
                if implies(choice.node, upper):
                    best = (choice.cost, choice.expression)
                    if not choice.index:
                        break
            elif implies(choice.node, upper) and not store.disjoint(choice.node, lower):
                below.append(choice)
            if best is not None and choice.cost >= best[0]:
                break
        self._calls += 1
        if self._calls == _CALLS_BEFORE_DOUBT and not self._settled:
            self._settled = True
            if not self.separable(lower, store.negate(upper)):
                raise _Inseparable
        late = self._late()
        if best is not None and (best[0] <= 10 or late or depth > 3 or self._effort == 0):
            return self._remember(key, best, limit)
        if late or depth > _MAX_DEPTH:
            return None
        for cost, expression, next_lower, next_upper in first_terms(self.literals, lower, upper, above, below, depth, self._effort):
            bound = limit if best is None else min(limit, best[0])
            if cost >= bound:
                continue
            rest = self._solve(next_lower, next_upper, depth + 1, bound - cost)
            if rest is None:
                continue
            total = cost + rest[0]
            if total < bound:
                joined = both(expression, rest[1]) if next_lower == lower else either(expression, rest[1])
                best = (total, joined)
        if best is None or (self._effort == 2 and depth < 3 and best[0] > 60):
            best = self._split(lower, upper, depth, best, limit)
        if best is None:
            if not late and not self._late():
                self._failed[key] = limit
            return None
        return self._remember(key, best, limit)

    def _remember(self, key: tuple[int, int], best: tuple[int, Expression], limit: int) -> tuple[int, Expression] | None:
        self._memo[key] = best
        return best if best[0] < limit else None

    def _split(self, lower: int, upper: int, depth: int, best: tuple[int, Expression] | None, limit: int) -> tuple[int, Expression] | None:
        """`literal and E1 or E2`: both sides solved on their own."""
        store, weight = self.store, self.literals.weight
        outside = store.negate(upper)
        lower_weight = max(weight(lower), TINY)
        ranked = []
        for order, choice in enumerate(self.literals.choices):
            inside = store.conj(lower, choice.node)
            if inside in (FALSE, lower):
                continue
            gain, wrong = weight(inside), weight(store.conj(outside, choice.node))
            if gain > 0:
                ranked.append((-gain / (wrong + gain) * gain / lower_weight / (choice.cost + 3), order, choice, inside))
        ranked.sort(key=lambda item: item[:2])
        for _, _, choice, inside in ranked[: 4 if depth < 2 and self._effort else 2]:
            bound = (limit if best is None else min(limit, best[0])) - choice.cost - 12
            first = self._solve(inside, store.disj(upper, store.negate(choice.node)), depth + 1, bound)
            if first is None:
                continue
            second = self._solve(store.diff(lower, choice.node), upper, depth + 1, bound - first[0])
            if second is None:
                continue
            best = (choice.cost + first[0] + second[0] + 12, either(both(choice.expression, first[1]), second[1]))
        return best
