"""Which memory an address points into. Different regions never overlap; inside a region nothing is assumed.

    r10 - 8                         ──►   the frame of the function
    lookup(map m) + 4 * i           ──►   map:m
    ctx + 16, packet + 14           ──►   ctx, packet
    a pointer that was loaded       ──►   kernel

An address is a sum with exactly one known pointer in it. Two of them, or one that is subtracted, is refused. A pointer whose memory may be
that of several regions (an inner map, a choice between maps, a dynptr's data, a kfunc's result) means that all memory outside of the
frames, the context and the constants has to be one region: `Ambiguous` asks for a second execution in that mode.
"""

from __future__ import annotations

from typing import Any

from bpflens.execute.symbolic.machine.helper_effects import FRESH, INNER_MAP_TYPES, LOOKUPS, POINTER_RESULTS
from bpflens.execute.symbolic.values.terms import Term, count, memo

__all__ = ("Ambiguous", "Refused", "conditional", "depends_on", "is_pointer", "region_of")

ALL = "memory"


class Refused(Exception):
    """The check does not handle something; the message is the counted reason."""


class Ambiguous(Exception):
    """An address that may point into several regions was used while regions were told apart."""


_SYMBOLS = {"fp": "stack", "buf": "stack", "ctx": "ctx", "packet": "packet", "meta": "packet", "constant": "constant", "data": "map",
            "element": "map", "key": "key", "kconfig": "kconfig", "ksym": "kernel"}  # fmt: skip


def is_pointer(term: Term) -> bool:
    """A term that is a pointer of known provenance: an input of the program, or a helper's result."""
    op = term.op
    if op == "sym":
        return term.args[0] in _SYMBOLS
    if op == "ret":
        helper = term.args[0].args[0]
        return isinstance(helper, str) or helper in POINTER_RESULTS
    return op in ("pktbase", "pktmeta")


def region_of(address: Term, map_types: dict[str, int], one: bool) -> Any:
    """The region of an address that is no diagram: a name, ("stack", frame), or "null" for a constant. `one`: all memory is one region."""
    if address.op == "k":
        return "null"
    items = address.args[1] if address.op == "add" else ((address, 1),)
    known = [(term, factor) for term, factor in items if is_pointer(term)]
    if not known:
        if any(conditional(term) for term, _ in items):
            raise Refused("pointer: a choice inside of an address")
        if any(depends_on(term, "given") for term, _ in items):
            raise Refused("pointer: from the context of a callback")
        return ALL if one else "kernel"
    if len(known) > 1 or known[0][1] != 1:
        raise Refused("pointer: an address made of several pointers")
    region = _region(known[0][0], map_types)
    if isinstance(region, tuple) or region == "ctx" or region.startswith(("constant:", "kconfig:", "key:")):
        return region
    if one:
        return ALL
    if region == "any":
        raise Ambiguous
    return region


def _region(term: Term, map_types: dict[str, int]) -> Any:
    if term.op != "sym":
        return "packet" if term.op in ("pktbase", "pktmeta") else _result(term.args[0], map_types)
    name = _SYMBOLS[term.args[0]]
    if name == "stack":
        return ("stack", term.args[1])
    if name in ("map", "constant", "kconfig", "key"):
        return f"{name}:{term.args[1]}"
    return name


def _result(call: Term, map_types: dict[str, int]) -> str:
    """The region of a helper's result."""
    helper = call.args[0]
    if isinstance(helper, str):
        return "any"
    if helper in LOOKUPS:
        which: Term = call.args[2][0]
        if which.op == "sym" and which.args[0] == "map" and map_types.get(which.args[1]) not in (*INNER_MAP_TYPES, None):
            return f"map:{which.args[1]}"
        return "any"
    return FRESH.get(helper, "any") if helper in FRESH else POINTER_RESULTS[helper]


_PASSING = frozenset(
    ("ite", "gite", "cat", "ext", "sext", "add", "mul", "and", "or", "xor", "shl", "lshr", "ashr", "udiv", "urem", "sdiv", "srem")
)


def depends_on(term: Any, *names: str) -> bool:
    """Is a value computed from one of these inputs?"""
    known = memo()
    stack, seen = [term], set()
    while stack:
        x = stack.pop()
        if isinstance(x, tuple):
            stack += x
        elif isinstance(x, Term) and x not in seen:
            count("dependence")
            seen.add(x)
            if x.op == "sym" and x.args[0] in names:
                return True
            if known.get(("free of", names, x.id)):
                continue
            if x.op in _PASSING:
                stack += x.args[1:] if x.op == "ite" else x.args
    known["free of", names, term.id] = True
    return False


def conditional(term: Any) -> bool:
    """Is there a decision inside of a sum, a slice or the like?"""
    if not isinstance(term, Term):
        return False
    if term.op in ("ite", "gite"):
        return True
    if term.op == "add":
        return any(conditional(x) for x, _ in term.args[1])
    if term.op in ("cat", "and", "or", "xor", "mul", "sext", "ext"):
        return any(conditional(x) for x in term.args)
    return False
