"""Decision diagrams: what a classic program answers, as a canonical graph over the bytes that it reads.

    ldh [12]; jeq #0x800, 1, 0; ret #0; ret #65535

    packet[12] ─ 0..7 ──────────────► 0
               ─ 8 ─► packet[13] ─ 0 ─► 65535
               │                 └ 1..255 ─► 0
               └ 9..255 ────────────► 0

A node is an int. Inner nodes (>= 0) test one variable and have intervals on their edges; terminals are negative: the terminal of the
return value v is ~v, so FALSE is the terminal of 0 and TRUE that of 1. Nodes are hash-consed in a `Store` and variables have one
fixed order, so two nodes of one store denote the same function exactly when they are the same int.

Variables are single bytes of what the program can load (so that overlapping loads of any size agree), and 32-bit lengths. A
`Field` names them: base (region, term of X added), byte offset, width in bits. nodes.py makes
them, operations.py combines them, and what is asked of them is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.diagrams.operations import Operations
from bpflens.lean import frozen

__all__ = ("Diagram", "Store")

_MOST_PIECES = 4096  # of one field; a policy with more rules is not read


@frozen
class Diagram:
    """A node together with its store."""

    store: Store
    node: int

    def terminals(self) -> frozenset[int]:
        """Every return value that can occur."""
        return self.store.terminals(self.node)

    def evaluate(self, read: Callable[[Field], int]) -> int:
        """The return value where `read` gives the value of each variable asked for (a byte, a length, an atom)."""
        return self.store.evaluate(self.node, read)

    def paths(self) -> Iterator[tuple[dict[Field, tuple[int, int]], int]]:
        """Every path: variable -> (lowest, highest) value, and the return value at its end."""
        return self.store.paths(self.node)

    def select(self, wanted: Callable[[int], bool]) -> Diagram:
        """The TRUE/FALSE diagram of "the return value satisfies `wanted`"."""
        return Diagram(self.store, self.store.map_terminals(self.node, wanted))


class Store(Operations):
    """Nodes, the operations on them, and what can be asked of a diagram."""

    def __init__(self, max_nodes: int = 4_000_000, deadline: float | None = None, ceiling_s: float | None = None) -> None:
        super().__init__(max_nodes, deadline, ceiling_s)
        self._restrict: dict[tuple[int, int, int], int] = {}

    def map_terminals(self, node: int, change: Callable[[int], int]) -> int:
        """The diagram whose return values are change(value)."""
        memo: dict[int, int] = {}

        def walk(n: int) -> int:
            if n < 0:
                return ~int(change(~n))
            found = memo.get(n)
            if found is None:
                starts: list[int] = []
                kids: list[int] = []
                for start, kid in zip(self.starts[n], self.kids[n], strict=False):
                    r = walk(kid)
                    if not kids or r != kids[-1]:
                        starts.append(start)
                        kids.append(r)
                found = memo[n] = self.node(self.var[n], starts, kids)
            return found

        return walk(node)

    def where(self, node: int, value: int) -> int:
        """The TRUE/FALSE diagram of "the return value is `value`"."""
        return self.map_terminals(node, lambda found: found == value)

    def restrict(self, node: int, variable: int, value: int) -> int:
        """The diagram with one variable fixed."""
        if node < 0 or self.var[node] > variable:
            return node
        if self.var[node] == variable:
            return self._child(node, value)
        key = (node, variable, value)
        found = self._restrict.get(key)
        if found is None:
            starts: list[int] = []
            kids: list[int] = []
            for start, kid in zip(self.starts[node], self.kids[node], strict=False):
                r = self.restrict(kid, variable, value)
                if not kids or r != kids[-1]:
                    starts.append(start)
                    kids.append(r)
            found = self._restrict[key] = self.node(self.var[node], starts, kids)
        return found

    def _child(self, node: int, value: int) -> int:
        import bisect

        return self.kids[node][bisect.bisect_right(self.starts[node], value) - 1]

    def split(self, node: int, field: Field) -> list[tuple[int, int, int]]:
        """The values of a field as inclusive ranges with the diagram that remains in each: [(low, high, node)], ascending, all values.

        Neighbouring ranges differ in their node. With the field `struct seccomp_data.nr` this is the table of a policy.
        TooComplex where they are more than anybody reads, as those of `nr & 0xff`.
        """
        pieces: list[tuple[int, int, int]] = [(0, 0, node)]
        width = 32 if field.base.region in ("length", "room") else 8
        for variable in self.variables(field):
            longer: list[tuple[int, int, int]] = []
            for low, high, rest in pieces:
                if rest < 0 or not self.depends(rest, variable):
                    longer.append((low << width, (high + 1 << width) - 1, rest))
                    continue
                if high - low > 4096:
                    raise TooComplex("low bits of a field matter whatever the high ones are: too many ranges")
                for prefix in range(low, high + 1):  # one prefix unless the level above did not matter
                    cuts = self.cuts(rest, variable)
                    for start, end in zip(cuts, [*cuts[1:], 1 << width], strict=True):
                        longer.append((prefix << width | start, prefix << width | end - 1, self.restrict(rest, variable, start)))
                if len(longer) > _MOST_PIECES:
                    raise TooComplex(f"low bits of a field matter: over {_MOST_PIECES:,} ranges")
            pieces = _join(longer)
        return pieces

    def cuts(self, node: int, variable: int) -> list[int]:
        """Where the diagram may change along one variable: the starts of its intervals, from 0."""
        found = {0}
        for n in self.reachable(node):
            if self.var[n] == variable:
                found.update(self.starts[n][:-1])
        return sorted(found)

    def depends(self, node: int, variable: int) -> bool:
        """Whether the diagram tests the variable."""
        return any(self.var[n] == variable for n in self.reachable(node))

    def reachable(self, node: int) -> list[int]:
        """All inner nodes below (and with) `node`."""
        seen: set[int] = set()
        stack = [node]
        while stack:
            n = stack.pop()
            if n >= 0 and n not in seen:
                seen.add(n)
                stack.extend(self.kids[n])
        return list(seen)

    def support(self, node: int) -> frozenset[int]:
        """The variables that the diagram tests."""
        return frozenset(self.var[n] for n in self.reachable(node))

    def terminals(self, node: int) -> frozenset[int]:
        """Every return value that can occur."""
        if node < 0:
            return frozenset((~node,))
        return frozenset(~kid for n in self.reachable(node) for kid in self.kids[n] if kid < 0)

    def evaluate(self, node: int, read: Callable[[Field], int]) -> int:
        """The return value where `read` gives the value of each variable asked for."""
        while node >= 0:
            node = self._child(node, read(self.field_of(self.var[node])))
        return ~node

    def evaluate_variables(self, node: int, values: Mapping[int, int]) -> int:
        """As `evaluate`, from variable -> value; absent ones are 0."""
        while node >= 0:
            node = self._child(node, values.get(self.var[node], 0))
        return ~node

    def paths(self, node: int) -> Iterator[tuple[dict[Field, tuple[int, int]], int]]:
        """Every path to every terminal, in order of the variables. Two edges to one child are two paths."""
        trail: list[tuple[int, int, int]] = []

        def walk(n: int) -> Iterator[tuple[dict[Field, tuple[int, int]], int]]:
            if n < 0:
                yield {self.field_of(v): (low, high) for v, low, high in trail}, ~n
                return
            variable, starts = self.var[n], self.starts[n]
            last = (1 << self.field_of(variable).width) - 1
            for i, kid in enumerate(self.kids[n]):
                trail.append((variable, starts[i], min(starts[i + 1] - 1, last)))
                yield from walk(kid)
                trail.pop()

        return walk(node)

    def path_to(self, node: int, wanted: Callable[[int], bool]) -> dict[int, tuple[int, int]] | None:
        """One path to a terminal with `wanted(value)`: variable -> (low, high); None where there is none. Cost: size of the diagram."""
        dead: set[int] = set()
        trail: list[tuple[int, int, int]] = []

        def walk(n: int) -> bool:
            if n < 0:
                return wanted(~n)
            if n in dead:
                return False
            variable, starts = self.var[n], self.starts[n]
            for i, kid in enumerate(self.kids[n]):
                trail.append((variable, starts[i], starts[i + 1] - 1))
                if walk(kid):
                    return True
                trail.pop()
            dead.add(n)
            return False

        return {v: (low, high) for v, low, high in trail} if walk(node) else None


def _join(pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined = pieces[:1]
    for low, high, node in pieces[1:]:
        if node == joined[-1][2]:
            joined[-1] = (joined[-1][0], high, node)
        else:
            joined.append((low, high, node))
    return joined
