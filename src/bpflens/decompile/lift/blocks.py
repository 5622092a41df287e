"""Basic blocks of a function: where jumps go and come from, and what cannot be reached left out."""

from __future__ import annotations

from bpflens.analysis.cfg import jump_target
from bpflens.decompile.ir import Block
from bpflens.decompile.unit import Code
from bpflens.isa.extended import opcodes as op

__all__ = ("Unsayable", "split_blocks")


class Unsayable(Exception):
    """A function that the level cannot express: the reason in words."""


def split_blocks(code: Code) -> dict[int, Block]:
    """Blocks by their first slot, those that cannot be reached left out, the entry first."""
    insns, base, end = code.insns, code.start, code.end
    heads = {base}
    leaving: dict[int, list[int]] = {}
    slot = base
    while slot < end:
        insn = insns[slot - base]
        after = slot + (2 if insn.code == op.LD_IMM64 else 1)
        target = jump_target(insn, slot)
        if insn.code == op.EXIT_CODE:
            leaving[slot] = []
            heads.add(after)
        elif target is not None:
            follow = [target] if insn.code in (op.GOTO, op.GOTOL) else [after, target]
            for next in follow:
                if not base <= next < end:
                    raise Unsayable(f"the jump at {slot} leaves the function")
            leaving[slot] = follow
            heads.update(follow)
            heads.add(after)
        slot = after
    blocks: dict[int, Block] = {}
    current: Block | None = None
    inside: list[int] = []
    slot = base
    while slot < end:
        insn = insns[slot - base]
        after = slot + (2 if insn.code == op.LD_IMM64 else 1)
        if slot in heads:
            if current is not None:
                current.successors = [slot]
                current.end_slots = tuple(inside)
            current = blocks[slot] = Block(slot, slot)
            inside = []
            heads.discard(slot)
        if current is not None:
            inside.append(slot)
            if slot in leaving:
                current.successors = leaving[slot]
                current.end_slots = tuple(inside)
                current = None
        slot = after
    if current is not None:
        raise Unsayable("the last instruction runs on past the end")
    heads = {head for head in heads if head < end}
    if heads:
        raise Unsayable(f"a jump goes into the middle of an instruction at {min(heads)}")
    return _reachable(blocks, base)


def _reachable(blocks: dict[int, Block], entry: int) -> dict[int, Block]:
    seen, pending = {entry}, [entry]
    while pending:
        for next in blocks[pending.pop()].successors:
            if next not in seen:
                seen.add(next)
                pending.append(next)
    kept = {entry: blocks[entry], **{id: block for id, block in blocks.items() if id in seen}}
    for id, block in kept.items():
        if len(block.successors) == 2 and block.successors[0] == block.successors[1]:
            block.successors = block.successors[:1]
        for next in block.successors:
            kept[next].predecessors.append(id)
    return kept
