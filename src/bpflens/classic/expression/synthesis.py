"""Synthesis: the shortest expression between two diagrams.

    lower (must match) ≤ E ≤ upper (may match), from literals whose diagrams libpcap's own compiler gave

One literal, if one fits. Else a conjunction: a literal that lower implies takes away what it excludes from the upper's complement. Else a
disjunction: a literal inside upper takes away what it covers from lower. Values of one qualifier ("host a or host b or ...") are
taken together, whether all are needed or all fit. Else the packets are split by a literal. Candidates for each step are ranked by how much
they settle per character, measured with one weight per interval that some literal tells apart. Results are memoized on (lower, upper);
the search keeps the best answer so far and stops at its deadline.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bpflens.classic.diagrams.diagram import FALSE, TRUE, Store
from bpflens.classic.expression.candidates import Candidate
from bpflens.classic.expression.tree import FALSITY, TRUTH, And, Expression, Literal, Not, Or, Within, both, either, opposite, text

__all__ = ("Choice", "Synthesis")

_TINY = 1e-15
_MAX_DEPTH = 40
_UNLIMITED = 1 << 40
_CALLS_BEFORE_DOUBT = 60
_LONG_LIST = 16  # values of one qualifier from which on they are taken out as a list first


class _Inseparable(Exception):
    """No combination of the literals is an answer."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A literal of either polarity with its node; `cost` in characters; `family` groups values of one qualifier."""

    cost: int
    expression: Expression
    node: int
    family: str
    negative: bool
    index: bool


class Synthesis:
    """One search over a fixed set of literals. `universe`: the packets that matter (a context keyword may exclude the rest)."""

    def __init__(
        self,
        store: Store,
        literals: Sequence[tuple[Candidate, int]],
        universe: int = TRUE,
        deadline: float | None = None,
        target: int = TRUE,
        compile: Callable[[str], int | None] | None = None,
    ) -> None:
        """`target`: the diagram to be expressed, by which literals are chosen. `compile`: the node of a further primitive's text."""
        self.store = store
        self.universe = universe
        self.deadline = deadline if deadline is not None else store.clock() + 10
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
        self._memo: dict[tuple[int, int], tuple[int, Expression]] = {}
        self._failed: dict[tuple[int, int], int] = {}
        self._effort = 0
        self._calls = 0
        self._settled = False
        self._patience = float("inf")  # the store's clock at which the search for something better ends
        self._collect_bounds([target, *(choice.node for choice in self.choices)])

    # measure

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

    # search

    def solve(self, lower: int, upper: int, patience: float = 0.4, limit: int = _UNLIMITED) -> Expression | None:
        """An expression with lower ≤ expression ≤ upper inside the universe; None where none was found in time.

        First greedily; then `patience` seconds (of CPU) are spent on looking for a shorter one. Only what costs less than `limit` counts.
        """
        store = self.store
        lower = store.conj(lower, self.universe)
        upper = store.disj(upper, store.negate(self.universe))
        if lower == FALSE or upper == TRUE:
            return FALSITY if lower == FALSE else TRUTH
        for choice in self.choices:
            if not choice.index and store.implies(lower, choice.node) and store.implies(choice.node, upper):
                if choice.cost < limit and choice.cost <= 12:
                    return choice.expression
                break
        for (family, negative), members in self.families.items():
            if not negative and len(members) > _LONG_LIST and family.split()[-1] in ("host", "port", "src", "dst"):
                listed = self._solve_list(family, members, lower, upper, patience)
                return None if listed is None or cost_of(listed) >= limit else self.pruned(listed, lower, upper)
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
                pruned = self.pruned(found[1], lower, upper)
                best = (cost_of(pruned), pruned)
        return best[1] if best is not None else None

    def _solve_list(self, family: str, members: list[Choice], lower: int, upper: int, patience: float) -> Expression | None:
        """A long list of values (hundreds of hosts) is taken out whole: `list and rest`, `list or rest`, or `not list and rest`."""
        store = self.store
        outside = store.negate(upper)
        listed = {id(choice.expression) for choice in members}
        saved = self.choices, self.families
        self.choices = [
            c for c in self.choices if id(c.expression.item if isinstance(c.expression, Not) else c.expression) not in listed
        ]
        self.families = {key: group for key, group in self.families.items() if key[0] != family}
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
            self.choices, self.families = saved
        self.families = {key: group for key, group in self.families.items() if key[0] != family}
        return self.solve(lower, upper, patience)

    def _listed(self, group: list[Choice], covered: int) -> Expression:
        """The values in their own order, those that others cover left out as far as that is cheap to see."""
        group = self._irredundant(group, covered) if len(group) <= 150 else group
        return either(*sorted((choice.expression for choice in group), key=_natural))

    def _late(self) -> bool:
        return self.store.clock() > min(self.deadline, self._patience)

    def separable(self, inside: int, outside: int, budget: int = 3000) -> bool:
        """Whether some combination of the literals tells the two sets of packets apart; True also where the budget ends first.

        Both sets are cut by one literal after the other; a cell in which both are left at the end cannot be told apart.
        """
        store = self.store
        nodes = [choice.node for choice in self.choices if not choice.negative]
        nodes.sort(key=lambda node: -abs(self.weight(store.conj(node, inside)) - self.weight(store.conj(node, outside))))
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
        for choice in self.choices:
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
        for cost, expression, next_lower, next_upper in self._steps(lower, upper, above, below, depth):
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

    def _steps(
        self, lower: int, upper: int, above: list[Choice], below: list[Choice], depth: int
    ) -> list[tuple[int, Expression, int, int]]:
        """The most promising first terms: (cost, term, what then is lower, what then is upper)."""
        store, weight = self.store, self.weight
        outside = store.negate(upper)
        outside_weight, lower_weight = max(weight(outside), _TINY), max(weight(lower), _TINY)
        ands: list[tuple[float, int, int, Expression, int]] = []
        ors: list[tuple[float, int, int, Expression, int]] = []
        for order, choice in enumerate(above):
            gain = weight(store.diff(outside, choice.node))
            if gain > _TINY:
                ands.append((-gain / outside_weight / (choice.cost + 3), order, choice.cost, choice.expression, choice.node))
        for order, choice in enumerate(below):
            gain = weight(store.conj(choice.node, lower))
            if gain > _TINY:
                ors.append((-gain / lower_weight / (choice.cost + 3), order, choice.cost, choice.expression, choice.node))
        ands += self._needed_groups(lower, outside, outside_weight)
        ors += self._fitting_groups(lower, lower_weight, below)
        ands += self._excluded_groups(lower, outside, outside_weight, above)
        if not ors and depth < 12:
            ors += self._cubes(lower, upper, lower_weight)
        ands.sort(key=lambda item: item[:2])
        ors.sort(key=lambda item: item[:2])
        breadth = 1 if self._effort == 0 else 3 if depth < 2 else 2 if depth < 5 else 1
        steps = [(cost + 5, e, lower, store.disj(upper, store.negate(node))) for _, _, cost, e, node in ands[:breadth]]
        steps += [(cost + 4, e, store.diff(lower, node), upper) for _, _, cost, e, node in ors[:breadth]]
        return steps

    def _needed_groups(self, lower: int, outside: int, outside_weight: float) -> list[tuple[float, int, int, Expression, int]]:
        """One of several values of a qualifier: their disjunction holds wherever lower does."""
        store = self.store
        found = []
        for order, ((_, negative), members) in enumerate(self.families.items()):
            if negative:
                continue
            group = [choice for choice in members if not store.disjoint(choice.node, lower)]
            if len(group) < 2:
                continue
            union = store.any(choice.node for choice in group)
            if union in (TRUE, self.universe) or not store.implies(lower, union):
                continue
            group = self._irredundant(group, lower)
            union = store.any(choice.node for choice in group)
            gain = self.weight(store.diff(outside, union))
            if gain > _TINY and len(group) > 1:
                cost = _group_cost(group)
                expression = either(*(choice.expression for choice in group))
                found.append((-gain / outside_weight / (cost / len(group) + 3), 1000 + order, cost, expression, union))
        return found

    def _irredundant(self, group: list[Choice], lower: int) -> list[Choice]:
        """Without the members that the others make superfluous for covering lower, the dearest dropped first."""
        store = self.store
        group = sorted(group, key=lambda choice: -choice.cost)
        if len(group) > 150:
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
        return sorted(kept, key=lambda choice: _natural(choice.expression))

    def _fitting_groups(self, lower: int, lower_weight: float, below: list[Choice]) -> list[tuple[float, int, int, Expression, int]]:
        """All values of a qualifier that fit inside upper."""
        store = self.store
        families: dict[tuple[str, bool], list[Choice]] = {}
        for choice in below:
            families.setdefault((choice.family, choice.negative), []).append(choice)
        found = []
        for order, ((_, negative), group) in enumerate(families.items()):
            if len(group) < 2 or negative:
                continue
            union = store.any(choice.node for choice in group)
            if len(group) <= 150:
                group = self._irredundant(group, store.conj(lower, union))
            if len(group) < 2:
                continue
            gain = self.weight(store.conj(union, lower))
            cost = _group_cost(group)
            expression = either(*(choice.expression for choice in group))
            found.append((-gain / lower_weight / (cost / len(group) + 3), 1000 + order, cost, expression, union))
        return found

    def _excluded_groups(
        self, lower: int, outside: int, outside_weight: float, above: list[Choice]
    ) -> list[tuple[float, int, int, Expression, int]]:
        """None of several values of a qualifier."""
        store = self.store
        families: dict[str, list[Choice]] = {}
        for choice in above:
            if choice.negative and not store.disjoint(outside, store.diff(self.universe, choice.node)):
                families.setdefault(choice.family, []).append(choice)
        found = []
        for order, group in enumerate(families.values()):
            if len(group) < 2:
                continue
            positives = [
                Choice(c.cost - 4, opposite(c.expression), store.diff(self.universe, c.node), c.family, False, c.index) for c in group
            ]
            union = store.any(choice.node for choice in positives)
            positives = self._irredundant(positives, store.conj(outside, union))
            union = store.any(choice.node for choice in positives)
            gain = self.weight(store.conj(outside, union))
            if gain > _TINY and len(positives) > 1:
                cost = _group_cost(positives) + 6
                expression = opposite(either(*(choice.expression for choice in positives)))
                node = store.diff(self.universe, union)
                found.append((-gain / outside_weight / (cost / len(positives) + 3), 1000 + order, cost, expression, node))
        return found

    def _cubes(self, lower: int, upper: int, lower_weight: float) -> list[tuple[float, int, int, Expression, int]]:
        """Two literals that together lie inside upper."""
        store, weight = self.store, self.weight
        active = []
        for choice in self.choices:
            if choice.negative:
                continue
            gain = weight(store.conj(choice.node, lower))
            if _TINY < gain < lower_weight * 0.999:
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
                if gain > _TINY:
                    cost = a.cost + b.cost + 5
                    found.append((-gain / lower_weight / (cost + 3), i, cost, both(a.expression, b.expression), node))
        return found

    def _split(self, lower: int, upper: int, depth: int, best: tuple[int, Expression] | None, limit: int) -> tuple[int, Expression] | None:
        """`literal and E1 or E2`: both sides solved on their own."""
        store, weight = self.store, self.weight
        outside = store.negate(upper)
        lower_weight = max(weight(lower), _TINY)
        ranked = []
        for order, choice in enumerate(self.choices):
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

    # after the search

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

    def pruned(self, e: Expression, lower: int, upper: int) -> Expression:
        """Without the terms whose removal leaves it between lower and upper."""
        store = self.store
        lower = store.conj(lower, self.universe)
        upper = store.disj(upper, store.negate(self.universe))
        if isinstance(e, Not):
            return opposite(self.pruned(e.item, store.diff(self.universe, upper), store.diff(self.universe, lower)))
        if not isinstance(e, (And, Or)) or len(e.items) > 40:
            return e
        items = list(e.items)
        join = both if isinstance(e, And) else either
        for item in sorted(items, key=lambda i: -cost_of(i)):
            rest = [other for other in items if other is not item]
            if rest:
                node = self.node(join(*rest))
                if store.implies(lower, node) and store.implies(node, upper):
                    items = rest
        for i, item in enumerate(items):
            others = self.node(join(*(other for j, other in enumerate(items) if j != i)))
            if isinstance(e, And):
                items[i] = self.pruned(item, lower, store.disj(upper, store.negate(others)))
            else:
                items[i] = self.pruned(item, store.diff(lower, others), upper)
        return join(*items)

    def polished(self, e: Expression) -> Expression:
        """Rewritten locally as long as that makes the text shorter and leaves the diagram as it is."""
        e = _together_negated(e)
        for _ in range(20):
            better = self._rewritten(e)
            if better is None:
                return e
            e = better
        return e

    def clarified(self, e: Expression) -> Expression:
        """`port 67 and dst port 68` as `src port 67 and dst port 68` where that is the same: it says what is meant."""
        if isinstance(e, Not):
            return opposite(self.clarified(e.item))
        if not isinstance(e, (And, Or)) or len(e.items) > 20:
            return e
        items = [self.clarified(item) for item in e.items]
        join = both if isinstance(e, And) else either
        if isinstance(e, And):
            for i, item in enumerate(items):
                for variant in _directed(item, items):
                    changed = both(*items[:i], variant, *items[i + 1 :])
                    if self._known(variant) and self.node(changed) == self.node(e):
                        items[i] = variant
                        break
        return join(*items)

    def _rewritten(self, e: Expression) -> Expression | None:
        if isinstance(e, Not):
            inner = self._rewritten(e.item)
            return None if inner is None else opposite(inner)
        if not isinstance(e, (And, Or)) or len(e.items) > 40:
            return None
        length = len(text(e))
        for variant in _variants(e):
            if len(text(variant)) < length and self._known(variant) and self.node(variant) == self.node(e):
                return variant
        for i, item in enumerate(e.items):
            inner = self._rewritten(item)
            if inner is not None:
                return (both if isinstance(e, And) else either)(*e.items[:i], inner, *e.items[i + 1 :])
        return None

    def _known(self, e: Expression) -> bool:
        """Whether every literal has a node, compiling those that have none yet."""
        if isinstance(e, Literal):
            if e.candidate not in self.nodes:
                node = self.compile(e.candidate.text) if self.compile is not None else None
                if node is None:
                    return False
                self.nodes[e.candidate] = self.store.conj(node, self.universe)
            return True
        if isinstance(e, Not):
            return self._known(e.item)
        return all(self._known(item) for item in e.items) if isinstance(e, (And, Or)) else True


def _variants(e: Expression) -> Iterable[Expression]:
    """Rewritings of the outermost operator: protocol names taken into qualifiers, common terms taken out."""
    if isinstance(e, And):
        for item in e.items:
            if not (isinstance(item, Literal) and item.candidate.text in _PROTOCOLS):
                continue
            for other in e.items:
                merged = _qualified(item.candidate.text, other)
                if merged is not None:
                    yield both(*(merged if i is other else i for i in e.items if i is not item))
                    if item.candidate.text in ("ip", "ip6"):
                        yield both(*(merged if i is other else i for i in e.items))
    if isinstance(e, Or):
        common = [x for x in _terms(e.items[0]) if all(x in _terms(item) for item in e.items)]
        if common:
            yield both(*common, either(*(both(*(x for x in _terms(item) if x not in common)) for item in e.items)))
        for i, a in enumerate(e.items):
            for b in e.items[i + 1 :]:
                shared = [x for x in _terms(a) if x in _terms(b)]
                if shared and len(e.items) > 2:
                    inner = either(both(*(x for x in _terms(a) if x not in shared)), both(*(x for x in _terms(b) if x not in shared)))
                    yield either(*(both(*shared, inner) if item is a else item for item in e.items if item is not b))


def _together_negated(e: Expression) -> Expression:
    """`not a or not b` as `not (a and b)`."""
    if isinstance(e, Not):
        return opposite(_together_negated(e.item))
    if isinstance(e, (And, Or)):
        items = [_together_negated(item) for item in e.items]
        if isinstance(e, Or) and all(isinstance(item, Not) for item in items):
            return Not(both(*(opposite(item) for item in items)))
        return (both if isinstance(e, And) else either)(*items)
    return e


def _directed(e: Expression, others: Sequence[Expression]) -> Iterable[Expression]:
    """A host or port without a direction, with the one that another term of its kind leaves."""
    if not isinstance(e, Literal) or not e.candidate.value:
        return
    words = e.candidate.prefix.split()
    if words[-1] not in ("host", "net", "port", "portrange") or {"src", "dst"} & set(words) or words[0] == "ether":
        return
    kind = {"net": "host", "portrange": "port"}.get(words[-1], words[-1])
    for mine, other in (("src", "dst"), ("dst", "src")):
        for item in others:
            if isinstance(item, Literal) and item is not e and item.candidate.value:
                theirs = item.candidate.prefix.split()
                if other in theirs and {"net": "host", "portrange": "port"}.get(theirs[-1], theirs[-1]) == kind:
                    c = e.candidate
                    yield Literal(Candidate(" ".join([*words[:-1], mine, words[-1]]), c.value, c.cost + 4))
                    break


def _terms(e: Expression) -> tuple[Expression, ...]:
    return e.items if isinstance(e, And) else (e,)


_PROTOCOLS = ("tcp", "udp", "sctp", "ip", "ip6", "arp", "rarp")


def _qualified(protocol: str, e: Expression) -> Expression | None:
    """`e` with a protocol in front of its qualifiers; None where that makes no sense."""
    if isinstance(e, Literal):
        first = e.candidate.prefix.split()[0]
        last = e.candidate.prefix.split()[-1]
        if not e.candidate.value or first in _PROTOCOLS or last not in ("host", "net", "port", "portrange"):
            return None
        if (last in ("port", "portrange")) != (protocol in ("tcp", "udp", "sctp")):
            return None
        c = e.candidate
        return Literal(Candidate(f"{protocol} {c.prefix}", c.value, c.cost + len(protocol) + 1))
    if isinstance(e, (Or, And)):
        parts = [_qualified(protocol, item) for item in e.items]
        if all(part is not None for part in parts):
            return type(e)(tuple(part for part in parts if part is not None))
    if isinstance(e, Not):
        part = _qualified(protocol, e.item)
        return None if part is None else Not(part)
    return None


def _family(candidate: Candidate) -> str:
    words = candidate.prefix.split()
    if candidate.value and words[-1] in ("net", "portrange"):
        words[-1] = {"net": "host", "portrange": "port"}[words[-1]]
    if not candidate.value and "[" in candidate.text:
        return candidate.text.rsplit(" ", 2)[0]
    return " ".join(words) if candidate.value else "protocol"


def _natural(e: Expression) -> tuple[object, ...]:
    """Addresses and numbers in their own order."""
    if not isinstance(e, Literal):
        return (1, str(e))
    value = e.candidate.value
    parts = value.replace("/", ".").replace("-", ".").split(".")
    if all(part.isdigit() for part in parts) and value:
        return (0, "", [int(part) for part in parts])
    return (0, e.candidate.text, [])


def _group_cost(group: Sequence[Choice]) -> int:
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
