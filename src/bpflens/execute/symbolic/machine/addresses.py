"""What an address may be: places that are no diagrams, each a known pointer and an offset.

    ite(a, map value + 4, packet + 14)       ──►   two places, under a and not a
    ite(a, packet + x, packet + 20) + y      ──►   one place: packet + (ite(a, x, 20) + y)

A choice of variable offsets behind one pointer stays one place, so that how branches split an index does not show in the memory. A choice
of constant offsets is better told apart, because it is known which of them overlap.
"""

from __future__ import annotations

from bpflens.execute.symbolic.machine.regions import Refused, conditional, is_pointer
from bpflens.execute.symbolic.values import terms
from bpflens.execute.symbolic.values.bits import add, sum_of
from bpflens.execute.symbolic.values.diagrams import ite, leaves, variable
from bpflens.execute.symbolic.values.terms import Term, const, count, make

__all__ = ("addresses",)

MAX_FAN_OUT = 24
_NULL, _SCALAR, _MIXED = "null", "scalar", "mixed"
Places = list[tuple[Term, Term]]
"""(condition, address that is no diagram)."""


def addresses(address: Term, guard: Term) -> Places:
    """What an address may be. Constants are left out where there are pointers that the verifier wants tested for null first. A pointer that
    was loaded, or that a kfunc gave, may be null: the kernel then loads 0 (BPF_PROBE_MEM, kernel/bpf/verifier.c)."""
    out = _places(address, guard, 0)
    if len(out) > MAX_FAN_OUT:
        raise Refused("pointer: too many possible places")
    return out


def _places(address: Term, guard: Term, depth: int) -> Places:
    base = _base_of(address)
    if isinstance(base, Term) and not (_may_be_null(base) and conditional(address)):
        return _behind(address, base, guard)
    if base in (_NULL, _SCALAR) or depth > 4:
        return _without_constants(leaves(address, guard)) if address.op in ("ite", "gite") else [(guard, address)]
    out: Places = []
    if address.op in ("ite", "gite"):
        for condition, leaf in _without_constants(leaves(address, guard)):
            out += _places(leaf, condition, depth + 1)
        return out
    constant, items = address.args  # a sum with a choice of pointers in it
    which = next((term for term, factor in items if factor == 1 and _base_of(term) == _MIXED), None)
    if which is None:
        return [(guard, address)]
    rest = [(x, k) for x, k in items if x is not which]
    for condition, leaf in _without_constants(leaves(which, guard)):
        out += _places(sum_of(64, constant, [*rest, (leaf, 1)]), condition, depth + 1)
    return out


def _without_constants(found: Places) -> Places:
    if any(leaf.op != "k" and _may_be_null(_base_of(leaf)) for _, leaf in found):
        return found
    return [(condition, leaf) for condition, leaf in found if leaf.op != "k"] or found


def _may_be_null(base: Term | str) -> bool:
    """Does the verifier let a null pointer of this kind through to a load?"""
    return base == _SCALAR or (isinstance(base, Term) and base.op == "ret" and isinstance(base.args[0].args[0], str))


def _behind(address: Term, base: Term, guard: Term) -> Places:
    """An address behind one pointer."""
    offset = _without(address, base)
    if offset.op not in ("ite", "gite"):
        return [(guard, sum_of(64, 0, [(base, 1), (offset, 1)]))]
    found = leaves(offset, guard)
    if len(found) <= MAX_FAN_OUT and all(leaf.op == "k" for _, leaf in found):
        return [(condition, sum_of(64, leaf.args, [(base, 1)])) for condition, leaf in found]
    constant = next((leaf.args[0] for _, leaf in found if leaf.op == "add"), 0)
    offset = add(64, -constant, [(offset, 1)])
    return [(guard, make("add", 64, (constant, tuple(sorted(((base, 1), (offset, 1)), key=lambda item: item[0].id)))))]


def _base_of(term: Term) -> Term | str:
    """The one pointer that an address is made of; else whether it is null, a number, or made of several pointers."""
    if is_pointer(term):
        return term
    if term.op == "k":
        return _NULL
    if term.op not in ("ite", "gite", "add"):
        return _SCALAR
    known = terms.memo()
    result: Term | str | None = known.get(("pointer of", term.id))
    if result is None:
        count("pointers")
        result = known["pointer of", term.id] = _of_sum(term) if term.op == "add" else _of_choice(term)
    return result


def _of_choice(term: Term) -> Term | str:
    x, y = _base_of(term.args[1]), _base_of(term.args[2])
    if x == _NULL or y == _NULL:
        return y if x == _NULL else x
    return x if x is y or x == y else _MIXED


def _of_sum(term: Term) -> Term | str:
    parts = [(_base_of(x), factor) for x, factor in term.args[1]]
    pointers = [(base, factor) for base, factor in parts if base not in (_NULL, _SCALAR)]
    if not pointers:
        return _SCALAR
    base, factor = pointers[0]
    return base if len(pointers) == 1 and factor == 1 else _MIXED


def _without(term: Term, base: Term) -> Term:
    """The offset from the pointer; 0 where the address is null and nothing is accessed."""
    if term is base or term.op == "k":
        return const(64, 0)
    known = terms.memo()
    result: Term | None = known.get(("offset", term.id, base.id))
    if result is None:
        count("pointers")
        if term.op == "add":
            constant, items = term.args
            rest = [(x, k) for x, k in items if _base_of(x) is not base]
            inner = next(x for x, _ in items if _base_of(x) is base)
            result = add(64, constant, [*rest, (_without(inner, base), 1)])
        else:
            condition = variable(term.args[0]) if term.op == "ite" else term.args[0]
            result = ite(condition, _without(term.args[1], base), _without(term.args[2], base))
        known["offset", term.id, base.id] = result
    return result
