"""Elements of arrays by a variable index: in map values, global variables and objects on the stack.

    *(u32 *)(hist + (slot << 2))     ──►   hist->slots[slot]       where bytes 0 and 4 of *hist are slots[0] and slots[1]

The name of two neighbouring elements decides: it must be the same but for one index, which is greater by one. So the address stays what
it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from bpflens.decompile.c_expression.places import Named
from bpflens.decompile.ir import Binary, Const, DataRef, Expr, StackRef, Var

__all__ = ("indexed_place",)

_INDEX = re.compile(r"\[(\d+)\]")
_WORD = re.compile(r"[\w.>-]+").fullmatch
_MAX_TERMS = 8


class _Sum(NamedTuple):
    """base + offset + number * scale."""

    base: Expr
    offset: int
    number: Expr
    scale: int


def indexed_place(address: Expr, lookup: Callable[[Expr], Named | None], text: Callable[[Expr], str]) -> Named | None:
    """The element that an address is; None where it is none. `lookup` names constant addresses, `text` writes an index."""
    found = _sum(address)
    if found is None:
        return None
    first, second = lookup(_at(found.base, found.offset)), lookup(_at(found.base, found.offset + found.scale))
    if first is None or second is None or first._replace(text="") != second._replace(text=""):
        return None
    a, b = _INDEX.split(first.text), _INDEX.split(second.text)
    differ = [at for at in range(len(a)) if a[at] != b[at]] if len(a) == len(b) else []
    if len(differ) != 1 or differ[0] % 2 == 0 or int(b[differ[0]]) != int(a[differ[0]]) + 1:
        return None
    at = differ[0]
    number = int(a[at])
    written = text(found.number)
    inside = f"{written if _WORD(written) else f'({written})'} + {number}" if number else written
    pieces = [f"[{inside}]" if n == at else f"[{part}]" if n % 2 else part for n, part in enumerate(a)]
    return first._replace(text="".join(pieces))


def _at(base: Expr, offset: int) -> Expr:
    if isinstance(base, DataRef):
        return DataRef(base.section, base.offset + offset)
    if isinstance(base, StackRef):
        return StackRef(base.start, base.offset + offset)
    return Binary("+", base, Const(offset), 64) if offset else base


def _sum(address: Expr) -> _Sum | None:
    """An address as a base, a constant and one product."""
    terms: list[Expr] = []
    pending = [address]
    while pending:
        node = pending.pop()
        if isinstance(node, Binary) and node.op == "+" and node.width == 64:
            pending += [node.right, node.left]
        else:
            terms.append(node)
        if len(terms) > _MAX_TERMS:
            return None
    offset = sum(term.value for term in terms if isinstance(term, Const)) & ((1 << 64) - 1)
    rest = [term for term in terms if not isinstance(term, Const)]
    if len(rest) != 2 or offset >> 31:
        return None
    bases: list[Expr] = [term for term in rest if isinstance(term, DataRef | StackRef)]
    bases = bases or [term for term in rest if isinstance(term, Var)]
    if not bases:  # which of two variables is the pointer, names decide: the first is tried
        return None
    by: Expr = rest[1] if rest[0] is bases[0] else rest[0]
    if isinstance(by, Binary) and by.width == 64 and isinstance(by.right, Const) and by.right.value < 1 << 20:
        factor = by.right.value
        if by.op == "<<" and factor < 16:
            return _Sum(bases[0], offset, by.left, 1 << factor)
        if by.op == "*":
            return _Sum(bases[0], offset, by.left, factor)
    return _Sum(bases[0], offset, by, 1)
