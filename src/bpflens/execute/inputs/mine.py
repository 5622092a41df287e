"""What the code itself says about inputs that matter: constants that it compares with, offsets that it reads, maps that it looks into."""

from __future__ import annotations

from dataclasses import dataclass

from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("Mined", "mine")

# Where headers often start: the frame, network and transport layers with and without tags and options.
_BASES = (0, 14, 18, 22, 34, 38, 42, 54, 58)
_MAX_CONSTANTS = 512


@dataclass(frozen=True, slots=True)
class Mined:
    """`constants`: compared with, moved or masked, and their neighbours. `packet`: (offset, size) of likely packet reads. `ctx`: (offset,
    size) of loads whose offset fits a context. `ctx_size`: bytes that a fabricated context needs.
    """

    constants: tuple[int, ...]
    packet: tuple[tuple[int, int], ...]
    ctx: tuple[tuple[int, int], ...]
    ctx_size: int


def mine(subject: Subject) -> Mined:
    """One pass over the code."""
    constants: dict[int, None] = dict.fromkeys((0, 1))
    loads: dict[tuple[int, int], None] = {}
    absolute: dict[tuple[int, int], None] = {}
    relative: dict[tuple[int, int], None] = {}
    slot, words = 0, subject.words
    while slot < len(words):
        insn = Insn(words[slot])
        kind = insn.code & 7
        if kind in (op.JMP, op.JMP32) and insn.code not in (op.CALL_CODE, op.EXIT_CODE) and not insn.code & op.X and insn.code & 0xF0:
            for near in (0, -1, 1):
                constants[insn.imm + near] = None
            for size in (2, 4):
                constants[_swapped(insn.imm, size)] = None
        elif kind in (op.ALU, op.ALU64) and not insn.code & op.X and insn.code & 0xF0 in (op.MOV, op.AND, op.ADD, op.OR):
            constants[insn.imm] = None
        elif insn.code == op.LD_IMM64:
            if slot not in subject.map_at and not insn.src and slot + 1 < len(words):
                constants[insn.word >> 32 | words[slot + 1] >> 32 << 32] = None
            slot += 1
        elif kind == op.LDX and insn.code & 0xE0 in (op.MEM, op.MEMSX) and 0 <= insn.off < 4096:
            loads[insn.off, op.SIZE_BYTES[insn.code & 0x18]] = None
        elif kind == op.LD and insn.code & 0xE0 == op.ABS:
            absolute[insn.imm, op.SIZE_BYTES[insn.code & 0x18]] = None
        elif kind == op.LD and insn.code & 0xE0 == op.IND:
            relative[insn.imm, op.SIZE_BYTES[insn.code & 0x18]] = None
        slot += 1
    packet = dict(absolute)
    for offset, size in [*loads, *relative]:
        for base in _BASES:
            if 0 <= offset + base < 256:
                packet[offset + base, size] = None
    end = max((offset + size for offset, size in loads if offset + size <= 1024), default=8)
    return Mined(tuple(constants)[:_MAX_CONSTANTS], tuple(packet), tuple(loads), -(-max(end, 8) // 8) * 8)


def _swapped(value: int, size: int) -> int:
    return int.from_bytes((value & (1 << 8 * size) - 1).to_bytes(size, "little"), "big")
