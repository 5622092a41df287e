"""Conditions and conditional terms as ordered decision diagrams over comparison atoms.

    if (x < 5) r = 1 else r = 2   ──►   ite(x < 5, 1, 2)

Every sort (conditions, values, memories, histories) may be a diagram with leaves of that sort, as in MTBDDs (Fujita, McGeer, Yang 1997).
Atoms are ordered by creation. A node that is made prunes what its atom implies about other comparisons of the same term with constants, and
puts c for x into the leaves under x = c. `constrain` is the generalised cofactor of Coudert and Madre (1990).
Diagrams that would grow beyond BLOW steps stay one opaque node ("gite").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpflens.execute.symbolic.values import terms
from bpflens.execute.symbolic.values.terms import ATOM, BOOL, FALSE, TRUE, Term, const, count, join, make

__all__ = ("both", "cofactors", "constrain", "either", "ite", "leaves", "lift", "negate", "top", "variable")

LIFT = 64  # product of the sizes of diagrams up to which an operator is pushed to their leaves
FEW = 6  # atoms of all diagrams together up to which the same is done
LIFT_ONE = 4096  # the same where only one of them is not a constant
BLOW = 20_000
_NO_ATOM = 1 << 60


class _Blow(Exception):
    pass


def variable(atom: Term) -> Term:
    """The condition that an atom holds."""
    return _node(atom, TRUE, FALSE)


def top(term: Term) -> int:
    """The id of the first atom that a diagram tests; larger than every id for a leaf."""
    return term.args[0].id if term.op == "ite" else _NO_ATOM


def cofactors(term: Term, atom: int) -> tuple[Term, Term]:
    """What a diagram is where the atom of this id holds, and where it does not; its first atom must not be older."""
    if term.op == "ite" and term.args[0].id == atom:
        return term.args[1], term.args[2]
    return term, term


# --- making nodes ---


def _node(atom: Term, then: Term, other: Term) -> Term:
    if then is other:
        return then
    if atom.op in ("eq", "ult", "slt") and atom.args[1].op == "k":
        group = terms.groups().setdefault(atom.args[0], [])
        if atom not in group:
            group.append(atom)
        count("pruning", 1 + len(group) // 8)
        for younger in group:
            if younger.id > atom.id:
                value = _implied(atom, True, younger)
                if value is not None:
                    then = _restrict(then, younger, value)
                value = _implied(atom, False, younger)
                if value is not None:
                    other = _restrict(other, younger, value)
        if atom.op == "eq" and then.width > 0:
            then = _substitute(then, atom.args[0], atom.args[1].args)
        if then is other:
            return then
    return make("ite", then.width, (atom, then, other))


def _implied(atom: Term, value: bool, other: Term) -> bool | None:
    """Value of `other` where `atom` has `value`; both compare the same term with a constant. None: either."""
    c, d, a, b = atom.args[1].args, other.args[1].args, atom.op, other.op
    if "slt" in (a, b):
        if "ult" in (a, b):
            return None
        bias = 1 << (atom.args[0].width - 1)
        c, d = c ^ bias, d ^ bias
    if a == "eq":
        if not value:
            return None
        return bool(d == c) if b == "eq" else bool(c < d)
    if value:  # x < c
        if b == "eq":
            return False if d >= c else None
        return True if d >= c else None
    if b == "eq":  # x >= c
        return False if d < c else None
    return False if d <= c else None


def _restrict(term: Term, atom: Term, value: bool) -> Term:
    """The diagram where `atom` has `value`."""
    if term.op != "ite" or term.args[0].id > atom.id:
        return term
    if term.args[0] is atom:
        part: Term = term.args[1] if value else term.args[2]
        return part
    known = terms.memo()
    key = ("restrict", term.id, atom.id, value)
    result: Term | None = known.get(key)
    if result is None:
        count("pruning")
        then, other = _restrict(term.args[1], atom, value), _restrict(term.args[2], atom, value)
        if then is term.args[1] and other is term.args[2]:
            result = term
        else:
            result = then if then is other else make("ite", term.width, (term.args[0], then, other))
        known[key] = result
    return result


def _substitute(term: Term, x: Term, value: int) -> Term:
    """Leaves of `term` that are x, bits of x, or have x as a part become constants."""
    known = terms.memo()
    key = ("substitute", term.id, x.id, value)
    result: Term | None = known.get(key)
    if result is None:
        count("substitution")
        if term.op == "ite":
            then, other = _substitute(term.args[1], x, value), _substitute(term.args[2], x, value)
            if then is term.args[1] and other is term.args[2]:
                result = term
            else:
                result = then if then is other else make("ite", term.width, (term.args[0], then, other))
        else:
            result = _substitute_leaf(term, x, value)
        known[key] = result
    return result


def _parts_of(x: Term, value: int) -> dict[Term, Term]:
    """What the parts of a joined term are where it has a value."""
    out, shift = {}, 0
    for part in x.args:
        out[part] = const(part.width, value >> shift)
        shift += part.width
    return out


def _substitute_leaf(term: Term, x: Term, value: int) -> Term:
    if term is x:
        return const(x.width, value)
    if term.op == "ext" and term.args[0] is x:
        return const(term.width, value >> term.args[1])
    if term.op == "cat":
        parts: tuple[Term, ...] = term.args
        if x.op == "cat" and parts[: len(x.args)] == x.args:
            return join((const(x.width, value), *parts[len(x.args) :]))
        if x in parts:
            return join(tuple(const(x.width, value) if part is x else part for part in parts))
        if x.op == "cat":
            known = _parts_of(x, value)
            if any(part in known for part in parts):
                return join(tuple(known.get(part, part) for part in parts))
    if x.op == "cat" and term.width > 0 and term in x.args:
        shift = 0
        for part in x.args:
            if part is term:
                return const(part.width, value >> shift)
            shift += part.width
    return term


# --- if then else ---

_left = [0]


def ite(condition: Term, then: Term, other: Term) -> Term:
    """`then` where the condition holds, else `other`; canonical, or one opaque node where the diagram would grow too large."""
    if condition is TRUE or then is other:
        return then
    if condition is FALSE:
        return other
    _left[0] = BLOW
    try:
        return _ite(condition, then, other)
    except _Blow:
        opaque = make("gite", then.width, (condition, then, other))
        return variable(make("batom", ATOM, (opaque,))) if then.width == BOOL else opaque


def _ite(f: Term, g: Term, h: Term) -> Term:
    if f is TRUE or g is h:
        return g
    if f is FALSE:
        return h
    if g is TRUE and h is FALSE:
        return f
    known = terms.memo()
    key = ("ite", f.id, g.id, h.id)
    result: Term | None = known.get(key)
    if result is not None:
        return result
    count("diagrams")
    _left[0] -= 1
    if _left[0] < 0:
        raise _Blow
    first = min(top(f), top(g), top(h))
    atom = next(x.args[0] for x in (f, g, h) if top(x) == first)
    f1, f0 = cofactors(f, first)
    g1, g0 = cofactors(g, first)
    h1, h0 = cofactors(h, first)
    result = known[key] = _node(atom, _ite(f1, g1, h1), _ite(f0, g0, h0))
    return result


def both(a: Term, b: Term) -> Term:
    """a and b."""
    return ite(a, b, FALSE)


def either(a: Term, b: Term) -> Term:
    """a or b."""
    return ite(a, TRUE, b)


def negate(a: Term) -> Term:
    """not a."""
    return ite(a, FALSE, TRUE)


def constrain(f: Term, care: Term) -> Term:
    """A diagram that equals `f` wherever `care` holds, and is the same for every such f (up to the order in which atoms were made)."""
    if care is TRUE or care is FALSE or f.op != "ite":
        return f
    known = terms.memo()
    key = ("constrain", f.id, care.id)
    result: Term | None = known.get(key)
    if result is not None:
        return result
    count("constraining")
    first = min(top(f), top(care))
    f1, f0 = cofactors(f, first)
    c1, c0 = cofactors(care, first)
    if c1 is FALSE:
        result = constrain(f0, c0)
    elif c0 is FALSE:
        result = constrain(f1, c1)
    elif top(f) != first:  # only `care` tests this atom: f must be right where either half of it holds
        result = constrain(f, either(c1, c0))
    else:
        result = _node(f.args[0], constrain(f1, c1), constrain(f0, c0))
    known[key] = result
    return result


def leaves(term: Term, care: Term = TRUE) -> list[tuple[Term, Term]]:
    """(condition, leaf) of each leaf of a diagram that `care` does not exclude."""
    out: dict[Term, Term] = {}

    def walk(at: Term, condition: Term) -> None:
        count("leaves")
        if condition is FALSE:
            return
        if at.op in ("ite", "gite"):
            test = variable(at.args[0]) if at.op == "ite" else at.args[0]
            walk(at.args[1], both(condition, test))
            walk(at.args[2], both(condition, negate(test)))
        else:
            out[at] = either(out[at], condition) if at in out else condition

    walk(term, care)
    return [(condition, leaf) for leaf, condition in out.items()]


# --- operators on diagrams ---


def lift(key: Any, operator: Callable[..., Term], *args: Term) -> Term | None:
    """`operator` on the leaves of its arguments; None where the diagrams are too large for that. `key` names the operator."""
    size, diagrams = 1, 0
    for arg in args:
        if arg.op == "ite":
            size *= arg.size
            diagrams += 1
    if not diagrams:
        return operator(*args)
    one = size <= LIFT_ONE and diagrams == 1 and all(arg.op in ("ite", "k") for arg in args)
    if size > LIFT and not one and not _few_atoms(args):
        return None
    return _lift(key, operator, args)


def _few_atoms(args: tuple[Term, ...]) -> bool:
    """Do diagrams test so few atoms in all that they have few leaves together, however many of them there are?"""
    found: set[Term] = set()
    stack, seen = [arg for arg in args if arg.op == "ite"], set(args)
    while stack:
        node = stack.pop()
        count("lifting")
        found.add(node.args[0])
        if len(found) > FEW or len(seen) > LIFT:
            return False
        for part in node.args[1:]:
            if part.op == "ite" and part not in seen:
                seen.add(part)
                stack.append(part)
    return True


def _lift(key: Any, operator: Callable[..., Term], args: tuple[Term, ...]) -> Term:
    first = min(map(top, args))
    if first == _NO_ATOM:
        return operator(*args)
    known = terms.memo()
    where = (key, *[arg.id for arg in args])
    result: Term | None = known.get(where)
    if result is not None:
        return result
    count("lifting")
    atom = next(arg.args[0] for arg in args if top(arg) == first)
    parts = [cofactors(arg, first) for arg in args]
    then = _lift(key, operator, tuple(part[0] for part in parts))
    other = _lift(key, operator, tuple(part[1] for part in parts))
    result = known[where] = ite(variable(atom), then, other)  # results may be diagrams themselves
    return result
