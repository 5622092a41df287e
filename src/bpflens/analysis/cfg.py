"""Control flow of extended code: jump targets, basic blocks, functions.

    0: if r1 == 0 goto +2      ──►   blocks 0..1, 1..3, 3..4    targets [3, -1, -1, -1]
    1: r0 = 1
    2: goto +0
    3: exit

Works on slots (8 bytes each), for code as loaded and for xlated images. Cost: linear in the number of slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.opcodes import CALL_CODE, EXIT_CODE, GOTO, GOTOL, JMP, JMP32, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC
from bpflens.lean import frozen

__all__ = ("Block", "Cfg", "Incoming", "build", "incoming", "jump_target", "jump_targets", "reference")



def jump_target(insn: Insn, pc: int) -> int | None:
    """Slot that a jump at slot `pc` may go to besides the next one; None for everything that is not a jump (calls, exit)."""
    code = insn.code
    if code & 7 not in (JMP, JMP32) or code in (CALL_CODE, EXIT_CODE, CALL_CODE | 8):
        return None
    if code & 7 == JMP32 and code & 0xF0 in (0x80, 0x90):
        return None
    return pc + 1 + (insn.imm if code == GOTOL else insn.off)


def reference(insn: Insn, pc: int, xlated: bool) -> int | None:
    """Slot of the function that a bpf-to-bpf call or a PSEUDO_FUNC ld_imm64 at `pc` names; None for other instructions.

    In an xlated image the relative target of a call is in `off` (16 bits: functions.start_of helps where it overflowed), in code as
    loaded it is in `imm` (jit_subprogs, kernel/bpf/verifier.c).
    """
    if insn.code == CALL_CODE and insn.src == PSEUDO_CALL:
        return pc + 1 + (insn.off if xlated else insn.imm)
    if insn.code == LD_IMM64 and insn.src == PSEUDO_FUNC:
        return pc + 1 + insn.imm
    return None


def jump_targets(insns: Sequence[Insn]) -> list[int]:
    """Per slot the target of the jump there, -1 where there is no jump. Targets may lie outside of the program."""
    out = [-1] * len(insns)
    pc = 0
    while pc < len(insns):
        insn = insns[pc]
        if insn.code & 7 >= JMP and insn.code & 7 != 7:
            target = jump_target(insn, pc)
            if target is not None:
                out[pc] = target
        pc += 2 if insn.code == LD_IMM64 else 1
    return out


@frozen
class Incoming:
    """For every slot that is jumped to: the lowest and the highest slot that jumps there."""

    lowest: dict[int, int]
    highest: dict[int, int]

    def from_outside(self, start: int, end: int) -> bool:
        """Is there a slot inside start+1..end-1 that is jumped to from outside of start..end-1?"""
        lowest, highest = self.lowest, self.highest
        return any(slot in lowest and (lowest[slot] < start or highest[slot] >= end) for slot in range(start + 1, end))


def incoming(targets: Sequence[int]) -> Incoming:
    """Sources of jumps by target slot."""
    lowest: dict[int, int] = {}
    highest: dict[int, int] = {}
    for pc, target in enumerate(targets):
        if target >= 0:
            if target not in lowest:
                lowest[target] = pc
            highest[target] = pc
    return Incoming(lowest, highest)


@frozen
class Block:
    """Slots start..end-1, entered only at `start`; `successors` are the starts of blocks that follow."""

    start: int
    end: int
    successors: tuple[int, ...]


@frozen
class Cfg:
    """Basic blocks in order of their start; `functions` are the first slots of functions (0 among them)."""

    blocks: tuple[Block, ...]
    functions: tuple[int, ...]

def build(insns: Sequence[Insn], functions: Sequence[int] = (), xlated: bool = False) -> Cfg:
    """The control flow graph; `functions` adds function starts (func_info) to those that calls and PSEUDO_FUNC name."""
    size = len(insns)
    starts = {0, *(f for f in functions if 0 <= f < size)}
    heads = set(starts)
    ends: dict[int, tuple[int, ...]] = {}
    pc = 0
    while pc < size:
        insn = insns[pc]
        after = pc + (2 if insn.code == LD_IMM64 else 1)
        callee = reference(insn, pc, xlated)
        if callee is not None and 0 <= callee < size:
            starts.add(callee)
            heads.add(callee)
        target = jump_target(insn, pc)
        if insn.code == EXIT_CODE:
            ends[after] = ()
        elif target is not None:
            follow = {t for t in (target,) if 0 <= t < size}
            if insn.code not in (GOTO, GOTOL):
                follow |= {t for t in (after,) if t < size}
            ends[after] = tuple(sorted(follow))
            heads |= follow
        if after in ends and after < size:
            heads.add(after)
        pc = after
    blocks = []
    ordered = sorted(heads)
    for index, start in enumerate(ordered):
        end = ordered[index + 1] if index + 1 < len(ordered) else size
        blocks.append(Block(start, end, ends.get(end, (end,) if end < size else ())))
    return Cfg(tuple(blocks), tuple(sorted(starts)))
