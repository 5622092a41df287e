"""How many low bits of each variable anybody looks at: what only its low 32 bits matter of can be a variable of 32 bits.

    v = bpf_map_update_elem(...); if ((__u32)v != 0)     ──►   __u32 v; if (v != 0)

The rules mirror those by which c_expression/ asks for bits; where it asks for more than was found here, it says so (`TooNarrow`) and the
variable stays wide. Algorithm: demands grow from 0 to a fixed point, from assignment to assignment. Cost: linear per round; at most eight
rounds, then what is not settled counts as 64.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Atomic, Call, Compare, Expr, Store

__all__ = ("TooNarrow", "demanded_bits", "signed_uses")

_ROUNDS = 8


class TooNarrow(Exception):
    """A variable was made narrower than a use of it allows."""

    def __init__(self, web: int) -> None:
        super().__init__(web)
        self.web = web


def demanded_bits(
    function: Function, widths: Callable[[int], int], parameters: Callable[[Call, int], int], result: int
) -> dict[int, int]:
    """web -> bits that are looked at. `widths`: known bits of a web; `parameters`: bits of an argument; `result`: of the return value."""
    demand: dict[int, int] = {}
    for _ in range(_ROUNDS):
        before = dict(demand)

        def ask(expr: Expr, need: int) -> None:
            _ask(expr, need, demand)

        for block in function.blocks.values():
            for statement in block.statements:
                if isinstance(statement, Assign):
                    need = min(demand.get(statement.var, 0), 64)
                    if need:
                        ask(statement.value, need)
                elif isinstance(statement, Store):
                    ask(statement.address, 64)
                    ask(statement.value, 8 * statement.size)
                elif isinstance(statement, Call):
                    for index, arg in enumerate(statement.args):
                        ask(arg, parameters(statement, index))
                elif isinstance(statement, Atomic):
                    for expr in ir.inputs(statement):
                        ask(expr, 64)
                else:
                    for expr in ir.inputs(statement):
                        ask(expr, 64)
            if block.condition is not None:
                ask(block.condition, 64)
            if block.result is not None:
                ask(block.result, result)
        if demand == before:
            return demand
    return dict.fromkeys(demand, 64)


def _ask(expr: Expr, need: int, demand: dict[int, int]) -> None:
    pending = [(expr, need)]
    while pending:
        node, bits = pending.pop()
        if isinstance(node, ir.Var):
            if demand.get(node.id, 0) < bits:
                demand[node.id] = bits
        elif isinstance(node, ir.Binary):
            pending += _binary(node, bits)
        elif isinstance(node, Compare):
            pending += [(node.left, node.width), (node.right, node.width)]
        elif isinstance(node, (ir.Zext, ir.Sext)):
            pending.append((node.operand, min(bits, node.bits)))
        elif isinstance(node, ir.Swap):
            pending.append((node.operand, node.bits))
        elif isinstance(node, ir.Negate):
            pending.append((node.operand, 64 if min(bits, node.width) > 32 else 32))
        else:
            pending += [(child, 64) for child in ir.children(node)]


def _binary(node: ir.Binary, bits: int) -> list[tuple[Expr, int]]:
    if node.op in ("+", "-", "*", "&", "|", "^"):
        wanted = min(bits, node.width)
        if node.op == "+" and type(node.right) is ir.CoreRef:
            wanted = 64
        if node.op == "&" and type(node.right) is ir.Const:
            wanted = min(wanted, max(1, node.right.value.bit_length()))
            wanted = wanted if wanted <= 32 else min(bits, node.width)
        return [(node.left, wanted), (node.right, wanted)]
    if node.op == "<<":
        within = node.width == 32 or (type(node.right) is ir.Const and node.right.value & 63 < 32)
        return [(node.left, min(bits, node.width) if within else 64), (node.right, 64)]
    return [(node.left, node.width), (node.right, 64)]


def signed_uses(function: Function) -> dict[int, bool]:
    """web -> True where it is compared as a signed number and nowhere as an unsigned one; False where both or neither."""
    votes: dict[int, set[bool]] = {}
    exprs = [e for b in function.blocks.values() for s in b.statements for e in ir.inputs(s)]
    exprs += [b.condition for b in function.blocks.values() if b.condition is not None]
    for expr in exprs:
        pending = [expr]
        while pending:
            node = pending.pop()
            if isinstance(node, Compare) and node.op not in ("==", "!=", "&"):
                for side in (node.left, node.right):
                    if isinstance(side, ir.Var):
                        votes.setdefault(side.id, set()).add(node.signed)
            elif isinstance(node, ir.Binary) and node.op in (">>", "/", "%") and isinstance(node.left, ir.Var):
                votes.setdefault(node.left.id, set()).add(False)
            pending.extend(ir.children(node))
    return {web: vote == {True} for web, vote in votes.items()}
