"""What a pointer may lead to: maps, where the way decides from which its entry is, and memory of the kernel.

    v4 = lookup(&banned); if (!v4) v4 = lookup(&closed); *v4 += 1   ──►   banned, closed
    *(u32 *)(ctx[0] + 1724) = 10                                    ──►   bytes 1724 to 1727 behind argument 1
"""

from __future__ import annotations

from collections.abc import Collection

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import byte_run
from bpflens.decompile.summary.walk.conditions import LOOKUPS
from bpflens.decompile.summary.walk.sources import Scope
from bpflens.decompile.tree import For, Simple, Tree, walk

__all__ = ("Pointed", "kernel_place")


class Pointed:
    """The assignments of a function, asked for pointers. Of what the caller gives in `parameters` nothing is known."""

    def __init__(self, tree: Tree, parameters: Collection[int] = ()) -> None:
        self._made: dict[int, list[ir.Statement]] = {}
        for node in walk(tree):
            statements = (node.statement,) if isinstance(node, Simple) else (node.first, node.step) if isinstance(node, For) else ()
            for statement in statements:
                if (var := getattr(statement, "var", None)) is not None and statement is not None and var not in parameters:
                    self._made.setdefault(var, []).append(statement)

    def maps(self, address: ir.Expr) -> tuple[str, ...]:
        """Names of all maps that it may come from, in the order of the code; () where something else may be behind it."""
        names: dict[str, None] = {}
        pending, seen = [address], set[int]()
        while pending:
            expr = pending.pop(0)
            if isinstance(expr, ir.Binary) and expr.op == "+" and isinstance(expr.right, ir.Const):
                pending.append(expr.left)
            elif isinstance(expr, ir.MapRef):
                names[expr.name] = None
            elif isinstance(expr, ir.Var) and expr.id in seen:
                continue
            elif isinstance(expr, ir.Var) and expr.id in self._made:
                seen.add(expr.id)
                for statement in self._made[expr.id]:
                    if isinstance(statement, ir.Assign):
                        pending.append(statement.value)
                    elif isinstance(statement, ir.Call) and statement.name in LOOKUPS and statement.args:
                        pending.append(statement.args[0])
                    else:
                        return ()
            elif expr != ir.Const(0):
                return ()
        return tuple(names)


def kernel_place(address: ir.Expr, size: int, scope: Scope) -> str:
    """What is at an address in the kernel's memory, in words: a member of a structure, or bytes behind a pointer that the context holds;
    "" where it is not known that the address is one of the kernel's.
    """
    assert scope.name is not None
    source = scope.kernel_source(address)
    if source is not None:
        return f"the {scope.name(source, 0, size)}"
    total, terms = scope.linear(address)
    bits = scope.bits(terms[0]) if len(terms) == 1 else None
    run = byte_run(bits) if bits is not None else None
    if run is None or run[0].kind != "ctx" or run[2] != 8 or total < 0:
        return ""
    pointer = scope.name(run[0]._replace(before=False), run[1], run[2])  # a pointer of the context leads where it led
    return f"bytes {total} to {total + size - 1} behind {pointer}"
