"""Short endings that many paths share, once for each of them: `return XDP_DROP` where the decision is made, instead of a goto.

    A: r0 = 1; goto X        A: r0 = 1; return r0
    B: r0 = 2; goto X   ──►  B: r0 = 2; return r0
    X: return r0

Compilers merge them; this undoes it, before variables are found, so that each copy has its own constant. At most three rounds and twice the
blocks. Cost: linear.
"""

from __future__ import annotations

from bpflens.decompile.function import Function
from bpflens.decompile.ir import Atomic, Block, Call

__all__ = ("duplicate_returns",)

_MAX_STATEMENTS = 4
_ROUNDS = 3


def duplicate_returns(function: Function) -> None:
    """Copy short blocks that return into their predecessors' paths."""
    blocks = function.blocks
    budget = 2 * len(blocks) + 16
    fresh = max(blocks) + 1
    for _ in range(_ROUNDS):
        shared = [b for b in blocks.values() if _is_ending(b) and len(b.predecessors) > 1]
        if not shared:
            return
        for block in shared:
            for source in block.predecessors[1:]:
                if budget <= 0:
                    return
                budget -= 1
                copy = Block(fresh, block.start)
                fresh += 1
                copy.statements, copy.result, copy.end_slots = block.statements, block.result, block.end_slots
                copy.predecessors = [source]
                blocks[copy.id] = copy
                successors = blocks[source].successors
                successors[successors.index(block.id)] = copy.id
            block.predecessors = block.predecessors[:1]
        _join(function)


def _is_ending(block: Block) -> bool:
    return block.result is not None and len(block.statements) <= _MAX_STATEMENTS and not any(
        type(s) in (Call, Atomic) for s in block.statements
    )


def _join(function: Function) -> None:
    """Endings with one predecessor that goes nowhere else become part of it."""
    blocks = function.blocks
    for id in list(blocks):
        block = blocks.get(id)
        if block is None or len(block.successors) != 1:
            continue
        next = blocks[block.successors[0]]
        if not next.successors and len(next.predecessors) == 1 and next.id != id:
            block.statements = [*block.statements, *next.statements]
            block.result, block.successors = next.result, []
            block.end_slots = tuple(sorted({*block.end_slots, *next.end_slots}))
            del blocks[next.id]
