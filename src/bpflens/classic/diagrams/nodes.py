"""The nodes of decision diagrams: hash-consed, over variables in one fixed order, made within a budget of steps.

    node(packet[12], from 0: FALSE, from 8: TRUE, from 9: FALSE)   ──►   17, and 17 again for the same

diagram.py says what they mean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from bpflens.classic.diagrams.fields import Base, Field

__all__ = ("END", "FALSE", "STEPS_PER_SECOND", "TRUE", "Nodes", "TooComplex", "terminal", "value_of")

FALSE = -1
TRUE = -2

END = 1 << 32  # one past the largest value of any variable; closes every list of starts
_REGIONS = ("packet", "link", "net", "data", "indexed", "ancillary", "atom", "length", "room")
_OFFSET_BIAS = 1 << 32


class TooComplex(Exception):
    """A diagram grew over its budget of nodes or time."""


def terminal(value: int) -> int:
    """The node of return value `value` (>= 0)."""
    return ~value


def value_of(node: int) -> int:
    """The return value of a terminal."""
    return ~node


STEPS_PER_SECOND = 200_000
"""What a second of a budget stands for: no machine's speed changes an answer. A machine of 2024 under load did 84,000 to 155,000 in a
second of CPU time (docs/figures.md), so a "second" is one to two and a half of them."""


class Nodes:
    """Hash-consed nodes; each that is made counts as a step of `work`, and so does each operation.

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
        self._bases: dict[Base, int] = {}
        self._base_of: dict[int, Base] = {}
        self.conditions: dict[object, int] = {}
        """Nodes of conditions on terms, kept by classic/condition.py."""
        self.values: dict[object, int] = {}
        """Return values that are terms -> the number of their terminal, kept by classic/symbolic.py."""
        if sys.getrecursionlimit() < 20_000:
            sys.setrecursionlimit(20_000)  # operations recurse once per variable on a path; a filter may read thousands of bytes

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

    def node(self, variable: int, starts: Sequence[int], kids: Sequence[int]) -> int:
        """The node that goes to kids[i] from starts[i] up to the next start; starts[0] is 0 and no end marker is given."""
        if len(kids) == 1:
            return kids[0]
        return self._intern(variable, (*starts, END), tuple(kids))

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
