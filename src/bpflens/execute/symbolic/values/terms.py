"""Hash-consed terms: the values, memories and effects of both programs in one table, where equal terms are the same object.

    symbol(64, "ctx")  is  symbol(64, "ctx")

A term has an operator, a width and arguments. Widths: bits of a value; BOOL for a condition; MEM for a memory; WORLD for the history of
effects; ATOM for a comparison. Operators of values:

    k          constant                     sym        input, named by a tuple
    cat, ext   bits joined, bits taken      add        constant + sum of coefficient * term, modulo 2^width
    and or xor mul shl lshr ashr sext       udiv urem sdiv srem (division by zero as in BPF: 0, or the dividend)
    sel        byte of a memory             ret out ...  what a call gave (calls.py)
    ite        decision diagram: (atom, then, else), ordered by the ids of the atoms (diagrams.py)
    gite       (condition, then, else) where a diagram would have become too large

Work is counted: `count` raises OutOfSteps at the limit, so that an answer does not depend on the speed of the machine. One check at a
time: `session` gives the table to one caller and empties it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = (
    "ATOM",
    "BOOL",
    "FALSE",
    "MEM",
    "TRUE",
    "WORLD",
    "OutOfSteps",
    "Term", "all_terms",
    "const",
    "count",
    "join",
    "make",
    "memo",
    "session",
    "spent",
    "symbol",
)

BOOL, ATOM, MEM, WORLD = 0, -1, -2, -3
RECURSION = 6000


class OutOfSteps(Exception):
    """The budget is used up; `where` names the loop that used the last of it."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class Term:
    """A term: `op`, `width`, `args`; `id` in order of creation; `size` of its diagram as a tree; `mask`: bits that may be set."""

    __slots__ = ("args", "id", "mask", "op", "size", "width")

    op: str
    width: int
    args: Any
    id: int
    size: int
    mask: int | None

    def __init__(self, op: str, width: int, args: Any, id: int) -> None:
        self.op, self.width, self.args, self.id, self.mask = op, width, args, id, None
        self.size = args[1].size + args[2].size if op == "ite" else 1

    def __repr__(self) -> str:
        return _show(self, 4)


TRUE = Term("bool", BOOL, True, -1)
FALSE = Term("bool", BOOL, False, -2)


class _Table:
    """All terms of a check, what was computed from them, and the steps spent."""

    __slots__ = ("groups", "limit", "memo", "steps", "terms")

    def __init__(self, limit: int) -> None:
        self.terms: dict[tuple[Any, ...], Term] = {("bool", BOOL, True): TRUE, ("bool", BOOL, False): FALSE}
        self.memo: dict[Any, Any] = {}
        self.groups: dict[Term, list[Term]] = {}
        self.steps = 0
        self.limit = limit


_now = _Table(0)
_owner = threading.RLock()


@contextmanager
def session(limit: int) -> Iterator[None]:
    """An empty table with a budget of `limit` steps, for one caller at a time."""
    global _now
    with _owner:
        before, table = sys.getrecursionlimit(), _now
        sys.setrecursionlimit(max(before, RECURSION))
        _now = _Table(limit)
        try:
            yield
        finally:
            _now = table
            sys.setrecursionlimit(before)


def spent() -> int:
    """Steps used so far."""
    return _now.steps


def count(where: str, steps: int = 1) -> None:
    """Use `steps` of the budget; OutOfSteps when it is used up."""
    _now.steps += steps
    if _now.steps > _now.limit:
        raise OutOfSteps(where)


def memo() -> dict[Any, Any]:
    """What was computed from terms in this session, by a key that starts with the name of the computation."""
    return _now.memo


def groups() -> dict[Term, list[Term]]:
    """The atoms that compare a term with a constant, by that term."""
    return _now.groups


def all_terms() -> list[Term]:
    """The terms of this session in order of creation."""
    return list(_now.terms.values())


def make(op: str, width: int, args: Any) -> Term:
    """The one term with this operator, width and arguments."""
    table = _now
    key = (op, width, args)
    term = table.terms.get(key)
    if term is None:
        count("terms")
        term = table.terms[key] = Term(op, width, args, len(table.terms))
    return term


def const(width: int, value: int) -> Term:
    """A constant, taken modulo 2^width."""
    return make("k", width, value & ((1 << width) - 1))


def symbol(width: int, *name: Any) -> Term:
    """An input of unknown value."""
    return make("sym", width, name)


def join(parts: tuple[Term, ...]) -> Term:
    """Parts that cannot be simplified among each other, from low to high; only neighbouring constants are joined."""
    out: list[Term] = []
    for part in parts:
        if out and part.op == out[-1].op == "k":
            low = out[-1]
            out[-1] = const(low.width + part.width, low.args | part.args << low.width)
        else:
            out.append(part)
    return out[0] if len(out) == 1 else make("cat", sum(part.width for part in out), tuple(out))


def _show(term: Any, depth: int) -> str:
    if isinstance(term, tuple):
        return "(" + " ".join(_show(part, depth) for part in term) + ")"
    if not isinstance(term, Term):
        return str(term)
    if term.op in ("k", "bool"):
        return hex(term.args) if term.op == "k" else str(term.args)
    if depth == 0:
        return "…"
    return f"{term.op}{term.width}{_show(term.args, depth - 1)}"
