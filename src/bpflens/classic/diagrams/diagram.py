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
`Field` names them: base (region, term of X added), byte offset, width in bits. Algorithm: Bryant's apply on multi-terminal diagrams with
interval edges (as in Strehl and Thiele's interval decision diagrams); cost of an operation: product of the sizes, less where they share.
"""

# Operations compare one by one, not `in` a tuple: they are the hot path.
# ruff: noqa: SIM109

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bpflens.classic.diagrams.fields import Base, Field
from bpflens.lean import frozen

__all__ = ("FALSE", "STEPS_PER_SECOND", "TRUE", "Diagram", "Store", "TooComplex", "terminal", "value_of")

FALSE = -1
TRUE = -2

_END = 1 << 32  # one past the largest value of any variable; closes every list of starts
_REGIONS = ("packet", "link", "net", "data", "indexed", "ancillary", "atom", "length", "room")
_OFFSET_BIAS = 1 << 32
_MOST_PIECES = 4096  # of one field; a policy with more rules is not read


class TooComplex(Exception):
    """A diagram grew over its budget of nodes or time."""


def terminal(value: int) -> int:
    """The node of return value `value` (>= 0)."""
    return ~value


def value_of(node: int) -> int:
    """The return value of a terminal."""
    return ~node


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


STEPS_PER_SECOND = 400_000
"""Steps that an idle machine of 2024 does in a second: budgets are said in such seconds, so no machine's speed changes an answer."""


class Store:
    """Hash-consed nodes and the operations on them, each counted as a step of `work`.

    TooComplex beyond `max_nodes`, beyond `deadline` on the clock of steps, and beyond `ceiling_s` seconds of real time, which only keeps
    a slow machine from working for ever: `stopped` tells that it was hit.
    """

    def __init__(self, max_nodes: int = 4_000_000, deadline: float | None = None, ceiling_s: float | None = None) -> None:
        self.var: list[int] = []
        self.starts: list[tuple[int, ...]] = []
        self.kids: list[tuple[int, ...]] = []
        self.max_nodes = max_nodes
        self.deadline = deadline
        self.work = 0
        self.stopped = False
        self._ceiling = None if ceiling_s is None else time.monotonic() + ceiling_s
        self._unique: dict[tuple[int, tuple[int, ...], tuple[int, ...]], int] = {}
        self._and: dict[tuple[int, int], int] = {}
        self._or: dict[tuple[int, int], int] = {}
        self._diff: dict[tuple[int, int], int] = {}
        self._ite: dict[tuple[int, int, int], int] = {}
        self._implies: dict[tuple[int, int], bool] = {}
        self._disjoint: dict[tuple[int, int], bool] = {}
        self._restrict: dict[tuple[int, int, int], int] = {}
        self._bases: dict[Base, int] = {}
        self._base_of: dict[int, Base] = {}
        self.conditions: dict[object, int] = {}
        """Nodes of conditions on terms, kept by classic/condition.py."""
        self.values: dict[object, int] = {}
        """Return values that are terms -> the number of their terminal, kept by classic/symbolic.py."""
        if sys.getrecursionlimit() < 20_000:
            sys.setrecursionlimit(20_000)  # operations recurse once per variable on a path; a filter may read thousands of bytes

    # variables

    def variable(self, base: Base, offset: int) -> int:
        """The variable of one byte (of the whole value for lengths and atoms). Variables sort by region, then base, then offset."""
        number = self._bases.get(base)
        if number is None:
            region = "indexed" if base.term is not None and base.region in ("packet", "link", "net") else base.region
            number = _REGIONS.index(region) << 20 | len(self._bases)
            self._bases[base] = number
            self._base_of[number] = base
        return number << 34 | (offset + _OFFSET_BIAS)

    def field_of(self, variable: int) -> Field:
        """The field that a variable stands for (8 bits wide, 32 for lengths, 1 for atoms)."""
        base = self._base_of[variable >> 34]
        offset = (variable & ((1 << 34) - 1)) - _OFFSET_BIAS
        return Field(base, offset, {"length": 32, "room": 32, "atom": 1}.get(base.region, 8))

    def variables(self, field: Field) -> tuple[int, ...]:
        """The variables that make up a field, most significant first."""
        if field.base.region in ("length", "room", "atom"):
            return (self.variable(field.base, 0),)
        return tuple(self.variable(field.base, field.offset + i) for i in range(field.width // 8))

    # nodes

    def node(self, variable: int, starts: Sequence[int], kids: Sequence[int]) -> int:
        """The node that goes to kids[i] from starts[i] up to the next start; starts[0] is 0 and no end marker is given."""
        if len(kids) == 1:
            return kids[0]
        return self._intern(variable, (*starts, _END), tuple(kids))

    def _intern(self, variable: int, starts: tuple[int, ...], kids: tuple[int, ...]) -> int:
        key = (variable, starts, kids)
        found = self._unique.get(key)
        if found is not None:
            return found
        number = len(self.var)
        self.work += 1
        if not number & 1023:
            self._check(number)
        self._unique[key] = number
        self.var.append(variable)
        self.starts.append(starts)
        self.kids.append(kids)
        return number

    def clock(self) -> float:
        """The work done so far, in seconds of an idle machine (STEPS_PER_SECOND)."""
        return self.work / STEPS_PER_SECOND

    def _check(self, nodes: int) -> None:
        if nodes > self.max_nodes or (self.deadline is not None and self.clock() > self.deadline):
            raise TooComplex(f"its decision diagram has {nodes} nodes and was not done in {self.work} steps")
        if self._ceiling is not None and time.monotonic() > self._ceiling:
            self.stopped = True
            raise TooComplex(f"its decision diagram has {nodes} nodes, and the ceiling of time was hit")

    def intervals(self, variable: int, ranges: Iterable[tuple[int, int]], width: int = 8) -> int:
        """TRUE where the variable lies in one of the sorted, disjoint, inclusive ranges."""
        starts, kids = [0], [FALSE]
        end = 1 << width
        for low, high in ranges:
            if low == starts[-1]:
                kids[-1] = TRUE
                if len(kids) > 1 and kids[-2] == TRUE:
                    starts.pop()
                    kids.pop()
            else:
                starts.append(low)
                kids.append(TRUE)
            if high + 1 < end:
                starts.append(high + 1)
                kids.append(FALSE)
        return self.node(variable, starts, kids)

    def byte_table(self, variable: int, kids: Sequence[int]) -> int:
        """The node that goes to kids[v] for the byte value v (256 of them)."""
        starts, merged = [0], [kids[0]]
        for value in range(1, 256):
            if kids[value] != merged[-1]:
                starts.append(value)
                merged.append(kids[value])
        return self.node(variable, starts, merged)

    # operations on TRUE/FALSE diagrams

    def conj(self, a: int, b: int) -> int:
        """a and b."""
        if a == FALSE or b == FALSE:
            return FALSE
        if a == TRUE or a == b:
            return b
        if b == TRUE:
            return a
        key = (a, b) if a < b else (b, a)
        found = self._and.get(key)
        if found is None:
            found = self._and[key] = self._apply(self.conj, a, b)
        return found

    def disj(self, a: int, b: int) -> int:
        """a or b."""
        if a == TRUE or b == TRUE:
            return TRUE
        if a == FALSE or a == b:
            return b
        if b == FALSE:
            return a
        key = (a, b) if a < b else (b, a)
        found = self._or.get(key)
        if found is None:
            found = self._or[key] = self._apply(self.disj, a, b)
        return found

    def diff(self, a: int, b: int) -> int:
        """a and not b."""
        if a == FALSE or b == TRUE or a == b:
            return FALSE
        if b == FALSE:
            return a
        key = (a, b)
        found = self._diff.get(key)
        if found is None:
            found = self._diff[key] = self._apply(self.diff, a, b)
        return found

    def negate(self, a: int) -> int:
        """not a."""
        return self.diff(TRUE, a)

    def any(self, nodes: Iterable[int]) -> int:
        """The disjunction, combined in pairs so that big unions stay cheap."""
        work = list(nodes)
        while len(work) > 1:
            work = [self.disj(work[i], work[i + 1]) if i + 1 < len(work) else work[i] for i in range(0, len(work), 2)]
        return work[0] if work else FALSE

    def _apply(self, op: Callable[[int, int], int], a: int, b: int) -> int:
        self.work += 1
        va = self.var[a] if a >= 0 else -1
        vb = self.var[b] if b >= 0 else -1
        starts: list[int] = []
        kids: list[int] = []
        if vb < 0 or 0 <= va < vb:
            last = None
            for start, kid in zip(self.starts[a], self.kids[a], strict=False):
                r = op(kid, b)
                if r != last:
                    starts.append(start)
                    kids.append(r)
                    last = r
            return self.node(va, starts, kids)
        if va < 0 or vb < va:
            last = None
            for start, kid in zip(self.starts[b], self.kids[b], strict=False):
                r = op(a, kid)
                if r != last:
                    starts.append(start)
                    kids.append(r)
                    last = r
            return self.node(vb, starts, kids)
        sa, ka, sb, kb = self.starts[a], self.kids[a], self.starts[b], self.kids[b]
        i = j = position = 0
        last = None
        while True:
            r = op(ka[i], kb[j])
            if r != last:
                starts.append(position)
                kids.append(r)
                last = r
            na, nb = sa[i + 1], sb[j + 1]
            if na < nb:
                position = na
                i += 1
            elif nb < na:
                position = nb
                j += 1
            elif na == _END:
                return self.node(va, starts, kids)
            else:
                position = na
                i += 1
                j += 1

    def ite(self, c: int, a: int, b: int) -> int:
        """`a` where c holds, else `b`; a and b may have any terminals."""
        if c == TRUE or a == b:
            return a
        if c == FALSE:
            return b
        if a == TRUE and b == FALSE:
            return c
        key = (c, a, b)
        found = self._ite.get(key)
        if found is not None:
            return found
        self.work += 1
        top = self.var[c]
        if a >= 0:
            top = min(top, self.var[a])
        if b >= 0:
            top = min(top, self.var[b])
        sc, kc = self._at(c, top)
        sa, ka = self._at(a, top)
        sb, kb = self._at(b, top)
        h = i = j = position = 0
        starts: list[int] = []
        kids: list[int] = []
        last = None
        while True:
            r = self.ite(kc[h], ka[i], kb[j])
            if r != last:
                starts.append(position)
                kids.append(r)
                last = r
            position = min(sc[h + 1], sa[i + 1], sb[j + 1])
            if position == _END:
                break
            h += sc[h + 1] == position
            i += sa[i + 1] == position
            j += sb[j + 1] == position
        found = self._ite[key] = self.node(top, starts, kids)
        return found

    def _at(self, n: int, variable: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if n >= 0 and self.var[n] == variable:
            return self.starts[n], self.kids[n]
        return (0, _END), (n,)

    def implies(self, a: int, b: int) -> bool:
        """Whether b holds wherever a does; builds no nodes."""
        if a == FALSE or b == TRUE or a == b:
            return True
        if b == FALSE or a == TRUE:
            return False
        key = (a, b)
        found = self._implies.get(key)
        if found is None:
            found = self._implies[key] = self._every(self.implies, a, b)
        return found

    def disjoint(self, a: int, b: int) -> bool:
        """Whether a and b never hold together; builds no nodes."""
        if a == FALSE or b == FALSE:
            return True
        if a == TRUE or b == TRUE or a == b:
            return False
        key = (a, b) if a < b else (b, a)
        found = self._disjoint.get(key)
        if found is None:
            found = self._disjoint[key] = self._every(self.disjoint, a, b)
        return found

    def _every(self, test: Callable[[int, int], bool], a: int, b: int) -> bool:
        self.work += 1
        va = self.var[a] if a >= 0 else -1
        vb = self.var[b] if b >= 0 else -1
        if vb < 0 or 0 <= va < vb:
            return all(test(kid, b) for kid in self.kids[a])
        if va < 0 or vb < va:
            return all(test(a, kid) for kid in self.kids[b])
        sa, ka, sb, kb = self.starts[a], self.kids[a], self.starts[b], self.kids[b]
        i = j = 0
        while True:
            if not test(ka[i], kb[j]):
                return False
            na, nb = sa[i + 1], sb[j + 1]
            if na <= nb:
                if na == _END:
                    return True
                i += 1
            if nb <= na:
                j += 1

    # operations on all diagrams

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
