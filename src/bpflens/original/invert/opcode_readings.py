"""Readings that no pattern can say: calls and constants that kernel symbols explain, casts, arenas, instructions that may fault.

One function per opcode, in a table of 256 entries: (question, slot, instruction, types of pointers) -> readings, or None for none but the
instruction itself.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.analysis.pointer_types import State
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.original.invert.question import Question
from bpflens.original.rewrites.calls import HIDDEN_ARGUMENTS, MAX_LOOPS
from bpflens.original.rewrites.helper_symbols import helper_ids, likely_helpers
from bpflens.original.rewrites.template import Group, Item

__all__ = ("BLINDED_ZERO", "PROGRAM_ARGUMENT", "SPECIAL")

_MOV_R0_R1 = Insn.make(op.ALU64 | op.MOV | op.X, 0, 1).word
_NOP = Insn.make(op.GOTO).word
_KERNEL = 0xFF00_0000_0000_0000  # the upper half of the address space begins there, with five levels of page tables too
_ITER_NUM_NEW = Insn.make(op.JMP | op.JGT | op.K, 0, 0, 8, MAX_LOOPS).word  # of the inlined bpf_iter_num_new
BLINDED_ZERO, PROGRAM_ARGUMENT = "blinded zero", "program as hidden argument"


def _call(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    image = ask.image
    if insn.src == op.PSEUDO_CALL:
        return (Group(1, ((Insn.make(op.CALL_CODE, 0, op.PSEUDO_CALL).word, image.targets[slot]),)),)
    if insn.src == op.PSEUDO_KFUNC_CALL:
        type_id = ask.kernel.kfunc(insn.imm)
        if type_id is None:
            ask.unknown[slot] = "kfunc"
            return None
        return (Group(1, ((Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, insn.off, type_id).word, -1),)),)
    if insn.imm == 12 or 0 < insn.imm < 512:
        return (Group(1, ((insn.word, -1),)),)
    if insn.imm == 0:  # the kernel shows no addresses to this process: any helper, the common ones first, and the tag decides
        ask.unknown[slot] = "hidden"
        return tuple(Group(1, ((Insn.make(op.CALL_CODE, imm=id).word, -1),), "", cost) for cost, id in enumerate(likely_helpers()))
    named = image.symbols.get(slot)  # a dump that has names beside its calls
    ids = ask.kernel.helpers(insn.imm, image.prog_type) or (helper_ids(named, image.prog_type) if named else ())
    if not ids:
        ask.unknown[slot] = "helper"
        return None
    return tuple(
        Group(1, ((Insn.make(op.CALL_CODE, imm=helper).word, -1),), "", cost) for cost, helper in enumerate(ids)
    )


def _ld_imm64(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    image = ask.image
    if slot + 1 >= len(image):
        return None
    high = image.words[slot + 1]
    if insn.src == op.PSEUDO_FUNC:
        return (Group(2, ((Insn.make(op.LD_IMM64, insn.dst, op.PSEUDO_FUNC).word, image.targets[slot]), (0, -1))),)
    plain: tuple[Item, ...] = ((insn.word, -1), (high, -1))
    groups = [Group(2, plain)]
    if insn.src == 0:
        value = (insn.imm & 0xFFFFFFFF) | (high >> 32) << 32
        for start, end, id in ask.arenas:
            if start <= value < end:
                words = (Insn.make(op.LD_IMM64, insn.dst, op.PSEUDO_MAP_VALUE, 0, id).word, value - start << 32)
                groups = [Group(2, ((words[0], -1), (words[1], -1)), "address in the arena"), Group(2, plain, cost=5)]
        hidden = _hidden_argument(ask, slot, value)
        if hidden is not None:
            groups = [hidden, Group(2, plain, cost=4)]
        if value >= _KERNEL or 0 < value < 1 << 20:
            for cost, type_id in enumerate(ask.kernel.ksyms(value)):
                word = Insn.make(op.LD_IMM64, insn.dst, op.PSEUDO_BTF_ID, 0, type_id).word
                groups.append(Group(2, ((word, -1), (0, -1)), "address of a kernel symbol", 2 + cost))
    return tuple(groups)


def _probe_load(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    """PROBE_MEMSX and PROBE_MEM32SX are shown as they are (bpf_insn_prepare_dump)."""
    mode = insn.code & 0xE0
    if mode not in (op.PROBE_MEMSX, op.PROBE_MEM32SX):
        return None
    word = Insn.make(op.LDX | op.MEMSX | insn.code & 0x18, insn.dst, insn.src, insn.off, insn.imm).word
    return (Group(1, ((word, -1),), "load that may fault"),)


def _probe_atomic(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    if insn.code & 0xE0 != op.PROBE_ATOMIC:
        return None
    word = Insn.make(op.STX | op.ATOMIC | insn.code & 0x18, insn.dst, insn.src, insn.off, insn.imm).word
    return (Group(1, ((word, -1),), "atomic that may fault"),)


def _cast(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    """`r0 = r1`: possibly one of the two casts that the kernel turns into a move."""
    if insn.word != _MOV_R0_R1:
        return None
    plain = Group(1, ((insn.word, -1),))
    pointer = state.get(1)
    groups = [plain]
    for name, cost in (("bpf_cast_to_kern_ctx", 12), ("bpf_rdonly_cast", 15)):
        if name == "bpf_cast_to_kern_ctx" and (pointer is None or pointer.kind != "ctx"):
            continue
        type_id = ask.kernel.kfunc_id(name)
        if type_id is not None:
            word = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, type_id).word
            wanted = ask.options.casts and name == "bpf_cast_to_kern_ctx"
            groups.append(Group(1, ((word, -1),), f"inlined {name[4:]}", -1 if wanted else cost))
    return tuple(groups) if len(groups) > 1 else None


def _zero(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    """`r1 ^= r1` of a blinded image: both ways to move zero became it, and it stays itself (bpf_jit_blind_insn)."""
    if not ask.image.blinded or insn.dst != insn.src:
        return None
    wide, narrow = (Insn.make(alu | op.MOV | op.K, insn.dst).word for alu in (op.ALU64, op.ALU))
    first, other = (narrow, wide) if ask.options.narrow_zeros else (wide, narrow)
    return tuple(Group(1, ((word, -1),), BLINDED_ZERO, cost) for word, cost in ((first, 0), (other, 1), (insn.word, 6)))


def _arena_alu(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    """In a program with an arena: a cast to the arena became a 32-bit move, arithmetic on its pointers 32-bit arithmetic."""
    if not ask.arenas or insn.code & 7 != op.ALU:
        return None
    operation = insn.code & 0xF0
    plain = Group(1, ((insn.word, -1),))
    if insn.code == op.ALU | op.MOV | op.X and insn.off == 0 and insn.imm == 0:
        cast = Insn.make(op.ALU64 | op.MOV | op.X, insn.dst, insn.src, 1, 1).word
        return (Group(1, ((cast, -1),), "cast into the arena"), Group(1, plain.items, cost=4))
    if operation in (op.ADD, op.SUB, op.AND):
        pointer = state.get(insn.dst)
        wide = Insn.make(insn.code & 0xF8 | op.ALU64, insn.dst, insn.src, insn.off, insn.imm).word
        is_arena = pointer is not None and pointer.kind == "arena"
        return (
            Group(1, ((wide, -1),), "arithmetic on an arena pointer", 0 if is_arena else 6),
            Group(1, plain.items, cost=6 if is_arena else 0),
        )
    return None


def _hidden_argument(ask: Question, slot: int, value: int) -> Group | None:
    """A kernel address loaded for a kfunc call is an argument that the program never gave: the program itself (prog->aux), or the type of
    an object and the place of its node (bpf_fixup_kfunc_call()). Kfuncs known to have one stand in calls.py; this is for newer ones.
    """
    insns = ask.image.insns
    call = slot + 2
    name = PROGRAM_ARGUMENT
    if value < _KERNEL or call >= len(insns):
        return None
    if insns[call].word & 0xFFFFF0FF == op.ALU64 | op.MOV | op.K and insns[call].dst <= 5:
        call, name = call + 1, "type and offset of the node"
    if call >= len(insns) or insns[call].code != op.CALL_CODE or insns[call].src != op.PSEUDO_KFUNC_CALL or ask.kernel.ksyms(value):
        return None
    if any(inner in ask.image.lines or inner in ask.image.incoming.lowest for inner in range(slot + 1, call + 1)):
        return None
    type_id = ask.kernel.kfunc(insns[call].imm)
    if type_id is None or type_id in [ask.kernel.kfunc_id(known) for known in HIDDEN_ARGUMENTS]:
        return None
    word = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, insns[call].off, type_id).word
    return Group(call + 1 - slot, ((word, -1),), name)


def _nothing(ask: Question, slot: int, insn: Insn, state: State) -> tuple[Group, ...] | None:
    """A jump over nothing: code was removed behind it, or it is what the kernel left of an instruction.

    In a packet classifier a constant too large for skb->queue_mapping was stored (bpf_convert_ctx_access): of the constant nothing is left
    but that it is at least 65535. Where number iterators are inlined, one was destroyed.
    """
    if insn.word != _NOP:
        return None
    plain: tuple[Item, ...] = ((insn.word, slot + 1),)
    groups = [Group(1, plain, cost=8)]
    destroy = ask.kernel.kfunc_id("bpf_iter_num_destroy") if _ITER_NUM_NEW in ask.image.words else None
    if destroy is not None:
        word = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, destroy).word
        groups.append(Group(1, ((word, -1),), "inlined iter_num_destroy"))
    if ask.image.prog_type not in (ProgType.SCHED_CLS, ProgType.SCHED_ACT):
        return tuple(groups) if len(groups) > 1 else None
    for register in range(10):
        pointer = state.get(register)
        if pointer is not None and pointer.kind == "ctx":
            for cost, value in enumerate((-1, 65535)):
                word = Insn.make(op.ST | op.MEM | op.W, register, 0, 12, value).word
                groups.append(Group(1, ((word, -1),), "skb->queue_mapping, too large", cost + len(groups) - 1))
    return tuple(groups) if len(groups) > 1 else None


Special = Callable[[Question, int, Insn, State], tuple[Group, ...] | None]


def _special_table() -> tuple[Special | None, ...]:
    table: list[Special | None] = [None] * 256
    table[op.CALL_CODE] = _call
    table[op.LD_IMM64] = _ld_imm64
    table[op.ALU64 | op.MOV | op.X] = _cast
    table[op.GOTO] = _nothing
    table[op.ALU64 | op.XOR | op.X] = _zero
    for size in (op.B, op.H, op.W, op.DW):
        table[op.LDX | op.PROBE_MEMSX | size] = _probe_load
        table[op.LDX | op.PROBE_MEM32SX | size] = _probe_load
        table[op.STX | op.PROBE_ATOMIC | size] = _probe_atomic
    for operation in (op.ADD, op.SUB, op.AND, op.MOV):
        for source in (op.K, op.X):
            table[op.ALU | operation | source] = _arena_alu
    return tuple(table)


SPECIAL = _special_table()
