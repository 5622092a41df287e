"""Second stage: terms that are not the same are walked side by side, under the decisions passed on the way.

    ite(c, call(1, x + y), z)  and  ite(c, call(1, y - -x), z)   ──►   only x + y == y - -x is asked of z3, under c

Calls, memories and histories are compared part by part. Values are asked of z3 (formula.py), each with a limit of its own that counts z3's
steps, not seconds. A pair that is proved without conditions is one variable in later questions.

What a call gives means nothing where the call is not made. So two calls, one of each program, are the same if their arguments are equal
wherever both are made: where one is not made, its result may be taken to be that of the other. That holds for pairs only: a call has at
most one partner, and is compared with no other call then.
"""

from __future__ import annotations

from typing import Any

from bpflens.execute.symbolic.machine.state import done_where
from bpflens.execute.symbolic.values.diagrams import both, cofactors, top
from bpflens.execute.symbolic.values.formula import Formulas
from bpflens.execute.symbolic.values.terms import ATOM, BOOL, FALSE, MEM, TRUE, WORLD, Term, count

__all__ = ("QUERIES", "Alignment", "effects_of")

QUERIES = 600
RLIMIT = 400_000  # z3's steps for one question
RLIMIT_ALL = 25 * RLIMIT  # for all of them
WIDE = 128  # bits of joined terms from which they are asked as a whole first
LARGE = 12  # conditional values of this size are asked as a whole first
CANDIDATES = 4
Path = tuple[tuple[Term, bool], ...]
"""Conditions and whether they hold: atoms, and where calls are made."""

_WALKED = frozenset(("ext", "add", "or", "and", "xor", "lshr", "shl", "ashr", "sext", "udiv", "urem", "sdiv", "srem", "mul", "cat"))


class Alignment:
    """Equality of terms under conditions, with a budget of questions."""

    def __init__(self) -> None:
        self.formulas = Formulas()
        self.queries = 0
        solver = self.formulas.z3.SolverFor("QF_UFBV")
        solver.check()
        self.start = self.now = _steps_of(solver)
        self.known: dict[Any, bool] = {}
        self.partner: dict[Term, Term] = {}

    @property
    def exhausted(self) -> bool:
        """Is the budget of questions used up?"""
        return self.queries >= QUERIES or self.now - self.start >= RLIMIT_ALL

    def match_calls(self, a: Term, b: Term) -> None:
        """Calls of one history that are no calls of the other are compared with each other in order, wherever both are made: what they
        give is the same variable in the questions that follow."""
        mine, theirs = effects_of(a), effects_of(b)
        left = [x for x in mine if x not in theirs]
        for y in theirs:
            if y in mine:
                continue
            for x in left[:CANDIDATES]:
                if x.args[:2] != y.args[:2] or both(done_where(x), done_where(y)) is FALSE:
                    continue
                if self._parts(x, y, self._both_made(x, y, ())):
                    left.remove(x)
                    self.partner[x], self.partner[y] = y, x
                    self.known[x, y, frozenset()] = True
                    self.formulas.identify(x, y)
                    break

    def _both_made(self, x: Term, y: Term, path: Path) -> Path:
        """The path, and that both calls are made."""
        return (*path, *((where, True) for where in dict.fromkeys((done_where(x), done_where(y))) if where is not TRUE))

    def equal(self, a: Any, b: Any, path: Path = ()) -> bool:
        """Are two terms, or tuples of them, proved equal wherever the path's atoms are as it says? False: not proved."""
        if a is b:
            return True
        if isinstance(a, tuple) and isinstance(b, tuple):
            return len(a) == len(b) and all(self.equal(x, y, path) for x, y in zip(a, b, strict=True))
        if not isinstance(a, Term) or not isinstance(b, Term):
            return bool(a == b)
        if a.width != b.width or self.exhausted:
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
        if self.exhausted:
            return False
        return self._unsatisfiable(path, self.formulas(different[0]) != self.formulas(different[1]) if different is not None else None)

    def _unsatisfiable(self, path: Path, condition: Any) -> bool:
        if self.exhausted:
            return False
        self.queries += 1
        count("questions", 500)
        formulas, z3 = self.formulas, self.formulas.z3
        solver = z3.SolverFor("QF_UFBV")
        solver.set("rlimit", RLIMIT)
        for atom, holds in path:
            formula = formulas.atom(atom) if atom.width == ATOM else formulas(atom)
            solver.add(formula if holds else z3.Not(formula))
        if condition is not None:
            solver.add(condition)
        solver.add(*formulas.facts)
        answer = solver.check()
        self.now = max(self.now + 1, _steps_of(solver))
        return bool(answer == z3.unsat)

    def _same_memory(self, a: Term, b: Term, path: Path) -> bool:
        """Do two memories hold the same byte at whatever address? So writes may stand in another order, or have another form."""
        formulas = self.formulas
        address = formulas.z3.BitVec("address", 64)
        return self._unsatisfiable(path, formulas.read(a, address) != formulas.read(b, address))

    def _bytes(self, a: Term, b: Term, path: Path) -> bool:
        """Were equal bytes written at the same places? Asked of all of them at once."""
        if a.op != b.op or a.args[:2] != b.args[:2] or len(a.args[2]) != len(b.args[2]):
            return False
        pairs = list(zip(a.args[2], b.args[2], strict=True))
        differing = [(x, y) for (_, x), (_, y) in pairs if x is not y]
        if len(differing) < 2 or any(at != to for (at, _), (to, _) in pairs):
            return False
        formulas = self.formulas
        return self._unsatisfiable(path, formulas.z3.Or(*[formulas(x) != formulas(y) for x, y in differing]))

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
        if a.width == MEM and "upd" in (a.op, b.op):
            return self._bytes(a, b, path) or self._parts(a, b, path) or self._same_memory(a, b, path)
        if a.width < 0:
            if self.partner.get(a, b) is not b or self.partner.get(b, a) is not a:
                return self._dead(path)
            made = self._both_made(a, b, path) if path and a.op == b.op and a.op in ("call", "effect") else path
            return self._parts(a, b, made) or self._dead(path)
        if a.op == b.op and a.op not in _WALKED and self._parts(a, b, path):
            return True
        wide = a.width >= WIDE
        if wide and self._ask(path, (a, b)):
            return True
        if a.op == b.op == "cat" and [x.width for x in a.args] == [x.width for x in b.args] and self.equal(a.args, b.args, path):
            return True
        if not wide and self._ask(path, (a, b)):
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


def _steps_of(solver: Any) -> int:
    """The steps that z3 has taken so far, for all questions of this process."""
    numbers = solver.statistics()
    return int(numbers.get_key_value("rlimit count")) if "rlimit count" in numbers.keys() else 0  # noqa: SIM118


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
