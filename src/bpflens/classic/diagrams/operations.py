"""Operations on decision diagrams: and, or, and not, if then else, implication.

Algorithm: Bryant's apply on multi-terminal diagrams with interval edges (as in Strehl and Thiele's interval decision diagrams); cost of an
operation: product of the sizes, less where they share. Every result is kept.
"""

# Operations compare one by one, not `in` a tuple: they are the hot path.
# ruff: noqa: SIM109

from __future__ import annotations

from collections.abc import Callable, Iterable

from bpflens.classic.diagrams.nodes import END, FALSE, TRUE, Nodes

__all__ = ("Operations",)


class Operations(Nodes):
    """Nodes with the operations on them."""

    def __init__(self, max_nodes: int = 4_000_000, deadline: float | None = None, ceiling_s: float | None = None) -> None:
        super().__init__(max_nodes, deadline, ceiling_s)
        self._and: dict[tuple[int, int], int] = {}
        self._or: dict[tuple[int, int], int] = {}
        self._diff: dict[tuple[int, int], int] = {}
        self._ite: dict[tuple[int, int, int], int] = {}
        self._implies: dict[tuple[int, int], bool] = {}
        self._disjoint: dict[tuple[int, int], bool] = {}

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
            elif na == END:
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
            if position == END:
                break
            h += sc[h + 1] == position
            i += sa[i + 1] == position
            j += sb[j + 1] == position
        found = self._ite[key] = self.node(top, starts, kids)
        return found

    def _at(self, n: int, variable: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if n >= 0 and self.var[n] == variable:
            return self.starts[n], self.kids[n]
        return (0, END), (n,)

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
                if na == END:
                    return True
                i += 1
            if nb <= na:
                j += 1
