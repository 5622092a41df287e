"""Stack memory that a program did not write holds numbers of ours, other ones for each program of a comparison.

    0: r6 = r1     ──►   0: *(u32 *)(r10 - 4) = 0x5a5a5a5a ; and so on for the part of the frame that the function uses
                         1: r6 = r1

A program that reads what it never wrote then differs from one that does not; a first program that does so itself differs from its own copy,
and is not compared in what depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bpflens.analysis.cfg import build
from bpflens.execute.edit import Piece, edit, piece
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("ALIKE", "PATTERNS", "UNWRITTEN", "poisoned", "stack_depth")

PATTERNS = (0x5A5A5A5A, 0x3C3C3C3C, 0x69696969)
"""What the first program, the second, and the copy of the first find."""
ALIKE = (0x5A5A5A5A,) * 3
"""For a first program that puts out stack memory that it did not write, such as the padding of a structure."""
UNWRITTEN = "stack memory that the first program puts out without having written it"


def poisoned(subject: Subject, pattern: int) -> Subject:
    """The program with its frames filled at the start of each function; unchanged where the code would not fit."""
    insns = [Insn(word) for word in subject.words]
    cfg = build(insns, [at for at, _ in subject.func_info])
    before: dict[int, Piece] = {}
    starts = [*cfg.functions, len(insns)]
    for start, end in pairwise(starts):
        if any(block.start <= start < block.end and start in block.successors for block in cfg.blocks):
            continue  # a loop goes back to the first instruction
        depth = stack_depth(insns[start:end])
        stores = [Insn.make(op.ST | op.MEM | op.W, op.FP, 0, -at, pattern) for at in range(4, depth + 1, 4)]
        if stores:
            before[start] = piece(*stores)
    return edit(subject, before, {}, {}) or subject


def stack_depth(insns: Sequence[Insn]) -> int:
    """Bytes of the frame that a function uses, a multiple of 8: what it addresses by r10 and by copies of r10 with an offset."""
    lowest = 0
    for at, insn in enumerate(insns):
        kind = insn.code & 7
        if (kind in (op.ST, op.STX) and insn.dst == op.FP) or (kind == op.LDX and insn.src == op.FP):
            lowest = min(lowest, insn.off)
        elif kind == op.ALU64 and insn.code & 0xF0 == op.ADD and not insn.code & op.X and -512 <= insn.imm < 0:
            copy = Insn.make(op.ALU64 | op.MOV | op.X, insn.dst, op.FP).word
            if any(other.word == copy for other in insns[max(0, at - 16) : at]):
                lowest = min(lowest, insn.imm)
    return min(512, -lowest + 7 & ~7)
