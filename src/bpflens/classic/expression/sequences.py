"""Alternatives that each begin with a keyword that moves headers: `(vlan 2 and ip) or (vlan 3 and ip)`.

libpcap reads each keyword behind the place of the one before it, whether that header is there or not, so that the second VLAN here is an
inner tag. The search follows the text: the terms of the first keyword are found for the packets that have no further header, the rest of
the packets is left to what follows, compiled behind all of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bpflens.classic.diagrams.nodes import FALSE
from bpflens.classic.diagrams.operations import Operations
from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.tree import TRUTH, And, Constant, Expression, text

__all__ = ("Parts", "sequence")

_LONGEST = 4
_STEPS = {"vlan": 4, "mpls": 4, "pppoes": 8}


class Parts:
    """What the search gives: `node` compiles a text, `literals` and `solve` find terms behind one (expression/find.py)."""

    def __init__(
        self,
        store: Operations,
        node: Callable[[str], int | None],
        literals: Callable[[str, int | None, int], list[tuple[Candidate, int]]],
        solve: Callable[[list[tuple[Candidate, int]], int, int, Callable[[str], int | None]], Expression | None],
        in_time: Callable[[], bool],
    ) -> None:
        self.store, self.node, self.literals, self.solve, self.in_time = store, node, literals, solve, in_time


def sequence(parts: Parts, lower: int, upper: int, keywords: Sequence[str]) -> str | None:
    """A text with lower ≤ text ≤ upper that begins with one of `keywords` ("vlan 2", "vlan"), or None."""
    return _Sequence(parts, lower, upper, keywords).following("", FALSE, 0, 0)


class _Sequence:
    def __init__(self, parts: Parts, lower: int, upper: int, keywords: Sequence[str]) -> None:
        self.parts, self.store = parts, parts.store
        self.lower, self.upper, self.keywords = lower, upper, keywords
        self.words = list(dict.fromkeys(keyword.split()[0] for keyword in keywords))
        self.starts = [*keywords, *(f"not {word}" for word in self.words)]

    def following(self, before: str, covered: int, shift: int, count: int) -> str | None:
        """The text `before` ("(vlan 2 and ip) or ") with what it still lacks; `covered` is what it takes already."""
        if count == _LONGEST:
            return None
        rest = self.store.diff(self.lower, covered)
        for keyword in self.starts:
            if not self.parts.in_time():
                return None
            found = self.alternative(before, keyword, covered, rest, shift)
            if found is None:
                continue
            piece, node = found
            if self.store.implies(self.lower, node):
                return before + piece if before or not piece.startswith("(") else piece[1:-1]
            moved = shift + _STEPS[keyword.split()[-1 if keyword.startswith("not ") else 0]]
            longer = f"{before}{piece} or "
            ended = self.ended(longer, node, moved) or self.following(longer, node, moved, count + 1)
            if ended is not None:
                return ended
        return None

    def alternative(self, before: str, keyword: str, covered: int, rest: int, shift: int) -> tuple[str, int] | None:
        """(`(vlan 2 and ip)`, the diagram with it): the terms of one keyword, by the packets in which no further header follows."""
        store, node = self.store, self.parts.node
        with_it = node(before + keyword)
        if with_it is None:
            return None
        own = store.diff(with_it, covered)
        denied = keyword.startswith("not ")
        deeper = [] if denied else [node(f"{before}{keyword} and {word}") for word in self.words]
        single = store.diff(own, self.any_of(deeper))
        wanted = store.conj(rest, single)
        if wanted == FALSE:
            return None
        inner: Expression | None = TRUTH
        if not store.implies(own, self.upper):
            prefix = f"{before}{keyword} and "
            literals = self.parts.literals(prefix, shift + _STEPS[keyword.split()[-1 if denied else 0]], own)
            inner = self.parts.solve(literals, own, wanted, lambda shown: node(prefix + shown))
        if inner is None or (isinstance(inner, Constant) and inner != TRUTH):
            return None
        piece = keyword if inner == TRUTH else f"({keyword} and {_shown(inner)})"
        whole = node(before + piece)
        return (piece, whole) if whole is not None and store.implies(whole, self.upper) and whole != covered else None

    def any_of(self, nodes: Iterable[int | None]) -> int:
        result = FALSE
        for node in nodes:
            if node is not None:
                result = self.store.disj(result, node)
        return result

    def ended(self, before: str, covered: int, shift: int) -> str | None:
        """The rest without a keyword of its own."""
        store = self.store
        universe = store.negate(covered)
        rest = store.conj(self.lower, universe)
        literals = self.parts.literals(before, shift, universe)

        def compile(shown: str) -> int | None:
            node = self.parts.node(before + shown)
            return None if node is None else store.diff(node, covered)

        inner = self.parts.solve(literals, universe, rest, compile)
        if inner is None or isinstance(inner, Constant):
            return None
        shown = before + (f"({text(inner)})" if isinstance(inner, And) else text(inner))
        node = self.parts.node(shown)
        fits = node is not None and store.implies(self.lower, node) and store.implies(node, self.upper)
        return shown if fits else None


def _shown(inner: Expression) -> str:
    return text(inner) if not hasattr(inner, "items") or isinstance(inner, And) else f"({text(inner)})"
