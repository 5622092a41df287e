"""Which variables are pointers: those whose every definition is one, or zero.

    v1 = bpf_map_lookup_elem(...)    pointer      (by the helper's prototype)
    v2 = v1 + 8                      pointer      (pointer plus number)
    v3 = ctx->data                   pointer      (a packet pointer of the context)

C must do arithmetic on them as pointers: as integers clang reassociates it, and the verifier loses track. Algorithm: optimistic fixed
point over definitions, at most eight rounds.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Call, Const, Expr, Statement, Var
from bpflens.decompile.lift.webs import Webs, written
from bpflens.isa.extended.contexts import field_at

__all__ = ("find_pointers", "is_packet_load")

_ADDRESSES = (ir.FrameRef, ir.StackRef, ir.DataRef, ir.SymRef)
_PACKET = ("packet", "packet_end", "packet_meta")
_ROUNDS = 8


def is_packet_load(expr: Expr, context: str) -> bool:
    """Is it `ctx->data` or its like?"""
    if type(expr) is not ir.Load or expr.place.kind != "ctx" or expr.place.offset is None:
        return False
    field = field_at(context, expr.place.offset, expr.size)
    return field is not None and field.points_to in _PACKET


def find_pointers(function: Function, webs: Webs, context: str, entry: bool, result: Callable[[Call], bool]) -> set[int]:
    """The webs that are pointers. `result`: does a call return one? `entry`: the first argument is the context."""
    definitions: dict[int, list[Statement]] = {}
    for block in function.blocks.values():
        for statement in block.statements:
            var = written(statement)
            if var is not None:
                definitions.setdefault(var, []).append(statement)
    arguments = set(webs.arguments.values())
    pointers: set[int] = set()
    first = webs.arguments.get(1)
    if entry and first is not None and webs.definitions.get(first) == 1:
        pointers.add(first)

    def is_pointer(expr: Expr) -> bool:
        if isinstance(expr, Var):
            return expr.id in pointers
        if isinstance(expr, _ADDRESSES):
            return True
        if isinstance(expr, ir.Load):
            return is_packet_load(expr, context)
        if isinstance(expr, ir.Binary) and expr.width == 64:
            left, right = is_pointer(expr.left), is_pointer(expr.right)
            return left != right if expr.op == "+" else expr.op == "-" and left and not right
        return False

    for _ in range(_ROUNDS):
        before = len(pointers)
        for web, statements in definitions.items():
            if web in pointers or web in arguments:
                continue
            found = False
            for statement in statements:
                if type(statement) is Assign:
                    if statement.value == Const(0):
                        continue
                    good = is_pointer(statement.value) or _adds_to_itself(statement, web)
                else:
                    good = type(statement) is Call and result(statement)
                if not good:
                    found = False
                    break
                found = found or not (type(statement) is Assign and _adds_to_itself(statement, web))
            if found:
                pointers.add(web)
        if len(pointers) == before:
            break
    return pointers


def _adds_to_itself(statement: Assign, web: int) -> bool:
    """p = p + 4."""
    value = statement.value
    return type(value) is ir.Binary and value.op == "+" and value.width == 64 and value.left == Var(web)
