"""Second stage: terms that are not the same are walked side by side, under the decisions passed on the way.

    ite(c, call(1, x + y), z)  and  ite(c, call(1, y - -x), z)   ──►   only x + y == y - -x is asked of z3, under c

Calls, memories and histories are compared part by part. Values are asked of z3 (formula.py), each with a limit of its own that counts z3's
steps, not seconds. A pair that is proved without conditions is one variable in later questions.
"""

from __future__ import annotations

from typing import Any

from bpflens.execute.symbolic.values.diagrams import cofactors, top
from bpflens.execute.symbolic.values.formula import Formulas
from bpflens.execute.symbolic.values.terms import BOOL, WORLD, Term, count

__all__ = ("QUERIES", "Alignment", "effects_of")

QUERIES = 150
RLIMIT = 400_000
LARGE = 12  # conditional values of this size are asked as a whole first
CANDIDATES = 4
Path = tuple[tuple[Term, bool], ...]
"""Atoms and whether they hold."""

_WALKED = frozenset(("ext", "add", "or", "and", "xor", "lshr", "shl", "ashr", "sext", "udiv", "urem", "sdiv", "srem", "mul", "cat"))


class Alignment:
    """Equality of terms under conditions, with a budget of questions."""

    def __init__(self) -> None:
        self.formulas = Formulas()
        self.queries = 0
        self.known: dict[Any, bool] = {}

    def match_calls(self, a: Term, b: Term) -> None:
        """Calls of one history that are no calls of the other are compared with each other in order, without conditions: what they give
        is the same variable in the questions that follow."""
        mine, theirs = effects_of(a), effects_of(b)
        left = [x for x in mine if x not in theirs]
        for y in theirs:
            if y in mine:
                continue
            for x in left[:CANDIDATES]:
                if x.args[:2] == y.args[:2] and self.equal(x, y):
                    left.remove(x)
                    break

    def equal(self, a: Any, b: Any, path: Path = ()) -> bool:
        """Are two terms, or tuples of them, proved equal wherever the path's atoms are as it says? False: not proved."""
        if a is b:
            return True
        if isinstance(a, tuple) and isinstance(b, tuple):
            return len(a) == len(b) and all(self.equal(x, y, path) for x, y in zip(a, b, strict=True))
        if not isinstance(a, Term) or not isinstance(b, Term):
            return bool(a == b)
        if a.width != b.width or self.queries >= QUERIES:
            return False
        if self.known.get((a, b, frozenset())):
            return True
        key = (a, b, frozenset(path))
        known = self.known.get(key)
        if known is None:
            count("alignment")
            self.known[key] = False  # while it is in work
            known = self.known[key] = self._equal(a, b, path)
            if known and not path and a.width != BOOL:
                self.formulas.identify(a, b)
        return known

    def _ask(self, path: Path, different: tuple[Term, Term] | None) -> bool:
        """Is there no input on this path (where two values differ)?"""
        if self.queries >= QUERIES:
            return False
        self.queries += 1
        count("questions", 500)
        formulas, z3 = self.formulas, self.formulas.z3
        solver = z3.SolverFor("QF_UFBV")
        solver.set("rlimit", RLIMIT)
        for atom, holds in path:
            formula = formulas.atom(atom)
            solver.add(formula if holds else z3.Not(formula))
        if different is not None:
            solver.add(formulas(different[0]) != formulas(different[1]))
        solver.add(*formulas.facts)
        return bool(solver.check() == z3.unsat)

    def _whole(self, a: Term, b: Term) -> bool:
        """Are two large values equal for all inputs? Asked once, and not again on every path that leads to them."""
        known = self.known.get((a, b, "whole"))
        if known is None:
            known = self.known[a, b, "whole"] = self._ask((), (a, b))
            if known:
                self.known[a, b, frozenset()] = True
                self.formulas.identify(a, b)
        return known

    def _dead(self, path: Path) -> bool:
        """Is the path impossible?"""
        if not path:
            return False
        key = ("dead", frozenset(path))
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = self._ask(path, None)
        return known

    def _equal(self, a: Term, b: Term, path: Path) -> bool:
        if "ite" in (a.op, b.op):
            if a.width > 0 and a.size + b.size > LARGE and (self._whole(a, b) or self._ask(path, (a, b))):
                return True
            return self._decisions(a, b, path)
        if a.width == BOOL:
            return self._dead(path)
        if a.width < 0:
            return self._parts(a, b, path) or self._dead(path)
        if a.op == b.op and a.op not in _WALKED and self._parts(a, b, path):
            return True
        if a.op == b.op == "cat" and [x.width for x in a.args] == [x.width for x in b.args] and self.equal(a.args, b.args, path):
            return True
        if self._ask(path, (a, b)):
            return True
        return a.op == b.op and a.op in _WALKED and self._parts(a, b, path)

    def _decisions(self, a: Term, b: Term, path: Path) -> bool:
        """Both ways of the first decision."""
        first = min(top(a), top(b))
        atom = (a if top(a) == first else b).args[0]
        (a1, a0), (b1, b0) = cofactors(a, first), cofactors(b, first)
        if a.op == b.op == "ite" and a.args[0] is not b.args[0] and self._same_atom(a.args[0], b.args[0]):
            atom, a1, a0, b1, b0 = a.args[0], a.args[1], a.args[2], b.args[1], b.args[2]
        decided = dict(path).get(atom)
        if decided is not None:
            return self.equal(a1, b1, path) if decided else self.equal(a0, b0, path)
        return self.equal(a1, b1, (*path, (atom, True))) and self.equal(a0, b0, (*path, (atom, False)))

    def _same_atom(self, x: Term, y: Term) -> bool:
        """The same condition in another form, for all inputs."""
        if x.op != y.op or len(x.args) != len(y.args):
            return False
        return self.equal(x.args, y.args)

    def _parts(self, a: Term, b: Term, path: Path) -> bool:
        """The same operator on equal parts. A memory that was written is equal where the same offsets were."""
        return a.op == b.op and self.equal(a.args, b.args, path)


def effects_of(history: Term) -> dict[Term, None]:
    """The calls and events of a history, older ones first."""
    found: dict[Term, None] = {}
    stack, seen = [history], {history}
    while stack:
        term = stack.pop()
        count("alignment")
        if term.op in ("call", "effect"):
            found[term] = None
        follow = term.args[1:] if term.op in ("ite", "gite") else term.args[-2:] if term.op == "call" else term.args[-1:]
        for part in follow if isinstance(follow, tuple) else ():
            if isinstance(part, Term) and part.width == WORLD and part not in seen:
                seen.add(part)
                stack.append(part)
    return dict.fromkeys(sorted(found, key=lambda term: term.id))
