"""Instructions to statements: one statement per instruction, in blocks.

    0: r6 = r1                      block 0: r6 = r1
    1: if r6 == 0 goto +1    ──►             condition r6 == 0, successors (2, 3)
    2: r0 = 1                       block 2: r0 = 1; successors (3,)
    3: exit                         block 3: result r0

Registers 0 to 9 are the variables 0 to 9; r10 is `FrameRef(0)`. `Unsayable` where a slot is no instruction that C or a statement of
assembly can express. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.analysis.cfg import jump_target
from bpflens.decompile.function import Function
from bpflens.decompile.ir import (
    MASK64,
    Asm,
    Assign,
    Atomic,
    Binary,
    Block,
    Call,
    Compare,
    Const,
    CoreRef,
    DataRef,
    Expr,
    FrameRef,
    FuncRef,
    Load,
    MapRef,
    Negate,
    Place,
    Sext,
    Statement,
    Store,
    Swap,
    SymRef,
    Var,
    Zext,
)
from bpflens.decompile.lift.blocks import Unsayable, split_blocks
from bpflens.decompile.unit import Code, Reference
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.helpers import helper_name, helper_prototype
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import lookup

__all__ = ("MAX_ARGUMENTS", "call_arity", "lift")

MAX_ARGUMENTS = 5
M32 = 0xFFFFFFFF
_PRINTK = 6

ARITHMETIC = {
    op.ADD: "+", op.SUB: "-", op.MUL: "*", op.DIV: "/", op.OR: "|", op.AND: "&", op.LSH: "<<", op.RSH: ">>", op.MOD: "%", op.XOR: "^",
    op.ARSH: "s>>",
}  # fmt: skip
JUMPS = {
    op.JEQ: ("==", False), op.JNE: ("!=", False), op.JGT: (">", False), op.JGE: (">=", False), op.JLT: ("<", False),
    op.JLE: ("<=", False), op.JSET: ("&", False), op.JSGT: (">", True), op.JSGE: (">=", True), op.JSLT: ("<", True), op.JSLE: ("<=", True),
}  # fmt: skip
ATOMIC_OPS = {0x00: "+", 0x40: "|", 0x50: "&", 0xA0: "^"}


def call_arity(insn: Insn, ref: Reference | None, arities: Mapping[str, int]) -> int:
    """How many of r1 to r5 a call reads; for bpf_trace_printk and unknown functions all that may matter."""
    if ref is not None and ref.kind == "call":
        return arities.get(ref.name, MAX_ARGUMENTS)
    if insn.src == 0:
        return _helper_arity(insn.imm)
    if ref is not None and ref.kind == "kfunc":
        return arities.get(f"kfunc {ref.name}", MAX_ARGUMENTS)
    return MAX_ARGUMENTS


_arity_of: dict[int, int] = {}


def _helper_arity(number: int) -> int:
    known = _arity_of.get(number)
    if known is None:
        prototype = helper_prototype(number)
        if prototype is None:
            known = MAX_ARGUMENTS
        else:
            inside = prototype[prototype.index("(") + 1 : -1]
            known = 0 if inside == "void" else min(inside.count(",") + 1, MAX_ARGUMENTS)
            if "..." in inside:
                known = MAX_ARGUMENTS
        _arity_of[number] = known
    return known


class _Lifter:
    """One function being lifted; `defined`: registers that may hold something, for calls with a variable number of arguments."""

    def __init__(self, code: Code, arities: Mapping[str, int], places: Mapping[int, Place], varargs: Mapping[int, int]) -> None:
        self.code = code
        self.arities = arities
        self.places = places
        self.varargs = varargs

    def register(self, number: int) -> Expr:
        if number == op.FP:
            return FrameRef(0)
        if number > op.FP:
            raise Unsayable(f"uses r{number}")
        return Var(number)

    def operand(self, insn: Insn, width: int) -> Expr:
        if insn.code & op.X:
            return self.register(insn.src)
        return Const(insn.imm & (MASK64 if width == 64 else M32))

    def statement(self, slot: int) -> Statement | None:
        """The statement of an instruction that is neither a jump nor exit; None where it does nothing."""
        insn = self.code.insns[slot - self.code.start]
        if lookup(insn.word) is None:
            raise Unsayable(f"slot {slot} is no known instruction")
        return _BY_CLASS[insn.code & 7](self, insn, slot)

    def target(self, number: int) -> int:
        if number >= op.FP:
            raise Unsayable(f"writes to r{number}")
        return number

    def alu(self, insn: Insn, slot: int) -> Statement | None:
        width = 64 if insn.code & 7 == op.ALU64 else 32
        operation, dst = insn.code & 0xF0, self.target(insn.dst)
        if operation == op.MOV:
            return Assign(dst, self.moved(insn, slot, width), (slot,)) if not self.is_cast(insn) else self.cast(insn, slot)
        old = self.register(dst)
        if operation == op.END:
            if width == 64:
                return Assign(dst, Swap(insn.imm, old), (slot,))
            swaps = bool(insn.code & op.X) != (self.code.program.declared.byte_order == "big")
            return Assign(dst, Swap(insn.imm, old) if swaps else Zext(insn.imm, old) if insn.imm < 64 else old, (slot,))
        if operation == op.NEG:
            return Assign(dst, Negate(old, width), (slot,))
        name = ARITHMETIC[operation]
        right = self.operand(insn, width)
        ref = self.code.references.get(slot)
        if ref is not None and ref.core is not None and type(right) is Const:
            right = CoreRef(*ref.core, right.value)
        if insn.off == 1 and operation in (op.DIV, op.MOD):
            name = "s" + name
        if type(right) is Const and name in ("<<", ">>", "s>>"):
            right = Const(right.value & (width - 1))
        return Assign(dst, Binary(name, old, right, width), (slot,))

    def is_cast(self, insn: Insn) -> bool:
        return insn.code == op.ALU64 | op.MOV | op.X and insn.off == 1

    def cast(self, insn: Insn, slot: int) -> Statement:
        """addr_space_cast of an arena pointer."""
        if insn.imm not in (1, 1 << 16):
            raise Unsayable(f"an address space cast of an unknown kind at {slot}")
        to, source = (0, 1) if insn.imm == 1 else (1, 0)
        return Asm(insn.dst, f"%0 = addr_space_cast(%1, {to}, {source})", (self.register(insn.src),), (slot,))

    def moved(self, insn: Insn, slot: int, width: int) -> Expr:
        value = self.operand(insn, width)
        if insn.off:
            return Sext(insn.off, value) if width == 64 else Zext(32, Sext(insn.off, value))
        ref = self.code.references.get(slot)
        if ref is not None and ref.core is not None and type(value) is Const:
            return CoreRef(*ref.core, value.value)
        if width == 32 and type(value) is not Const:
            return Zext(32, value)
        return value

    def ld(self, insn: Insn, slot: int) -> Statement:
        if insn.code != op.LD_IMM64:
            return self.packet_load(insn, slot)
        dst = self.target(insn.dst)
        following = self.code.insns[slot - self.code.start + 1] if slot + 1 < self.code.end else None
        if following is None:
            raise Unsayable(f"ld_imm64 at {slot} without its second half")
        ref = self.code.references.get(slot)
        value = (insn.imm & M32) | (following.imm & M32) << 32
        if ref is None:
            if insn.src:
                raise Unsayable(f"slot {slot} refers to something that is not known")
            return Assign(dst, Const(value), (slot,))
        return Assign(dst, self.referred(ref, value, slot), (slot,))

    def referred(self, ref: Reference, value: int, slot: int) -> Expr:
        if ref.kind == "map":
            return MapRef(ref.name)
        if ref.kind == "data":
            return DataRef(ref.name, ref.offset)
        if ref.kind == "func":
            return FuncRef(ref.name)
        if ref.kind in ("ksym", "kconfig") and ref.name:
            return SymRef(ref.name)
        if ref.core is not None:
            return CoreRef(*ref.core, value)
        raise Unsayable(f"slot {slot} refers to something that is not known")

    def packet_load(self, insn: Insn, slot: int) -> Statement:
        size = op.SIZE_BYTES[insn.code & 0x18]
        at: Expr = Const(insn.imm & MASK64)
        if insn.code & 0xE0 == op.IND:
            at = self.register(insn.src) if not insn.imm else Binary("+", self.register(insn.src), at, 64)
        return Call(0, "packet", {1: "load_byte", 2: "load_half", 4: "load_word"}[size], size, (Var(6), at), (slot,))

    def address(self, register: int, offset: int, slot: int) -> Expr:
        base = self.register(register)
        ref = self.code.references.get(slot)
        if ref is not None and ref.core is not None and ref.core[0] == 0:
            return Binary("+", base, CoreRef(*ref.core, offset & MASK64), 64)
        if type(base) is FrameRef:
            return FrameRef(offset)
        return Binary("+", base, Const(offset & MASK64), 64) if offset else base

    def load(self, insn: Insn, slot: int) -> Statement:
        size = op.SIZE_BYTES[insn.code & 0x18]
        mode = insn.code & 0xE0
        if mode not in (op.MEM, op.MEMSX):
            raise Unsayable(f"slot {slot} is an instruction that only the kernel makes")
        address = self.address(insn.src, insn.off, slot)
        return Assign(self.target(insn.dst), Load(size, mode == op.MEMSX, address, self.places.get(slot, Place()), slot), (slot,))

    def store(self, insn: Insn, slot: int) -> Statement:
        size = op.SIZE_BYTES[insn.code & 0x18]
        mode = insn.code & 0xE0
        place = self.places.get(slot, Place())
        if mode == op.ATOMIC and insn.code & 7 == op.STX:
            return self.atomic(insn, slot, size, place)
        if mode != op.MEM:
            raise Unsayable(f"slot {slot} is an instruction that only the kernel makes")
        address = self.address(insn.dst, insn.off, slot)
        value = Const(insn.imm & ((1 << 8 * size) - 1)) if insn.code & 7 == op.ST else self.register(insn.src)
        return Store(size, address, value, place, (slot,))

    def atomic(self, insn: Insn, slot: int, size: int, place: Place) -> Statement:
        imm = insn.imm
        if imm == op.LOAD_ACQ:
            address = self.address(insn.src, insn.off, slot)
            return Atomic(self.target(insn.dst), "load_acquire", size, address, Const(0), None, place, (slot,))
        address = self.address(insn.dst, insn.off, slot)
        value = self.register(insn.src)
        if imm == op.STORE_REL:
            return Atomic(None, "store_release", size, address, value, None, place, (slot,))
        if imm == op.CMPXCHG:
            return Atomic(0, "cmpxchg", size, address, value, Var(0), place, (slot,))
        if imm == op.XCHG:
            return Atomic(self.target(insn.src), "xchg", size, address, value, None, place, (slot,))
        name = ATOMIC_OPS[imm & 0xF0]
        return Atomic(self.target(insn.src) if imm & op.FETCH else None, name, size, address, value, None, place, (slot,))

    def call(self, insn: Insn, slot: int) -> Statement:
        if insn.code != op.CALL_CODE:
            raise Unsayable(f"an indirect call or an unknown jump at {slot}")
        ref = self.code.references.get(slot)
        count = call_arity(insn, ref, self.arities)
        if insn.src == 0 and (ref is None or ref.kind == "core"):
            count = self.varargs.get(slot, count)
        args = tuple(Var(number) for number in range(1, count + 1))
        if ref is not None and ref.kind == "call":
            return Call(0, "function", ref.name, 0, args, (slot,))
        if ref is not None and ref.kind == "kfunc" and ref.name:
            return Call(0, "kfunc", ref.name, insn.imm, args, (slot,))
        if insn.src != 0 or (ref is not None and ref.kind not in ("core",)):
            name = ref.name if ref is not None else ""
            raise Unsayable(f"the call at {slot} is of {name or 'a function'}, which the object does not define")
        return Call(0, "helper", helper_name(insn.imm) or f"helper_{insn.imm}", insn.imm, args, (slot,))

    def condition(self, insn: Insn, slot: int) -> Expr:
        row = JUMPS.get(insn.code & 0xF0)
        if row is None or lookup(insn.word) is None:
            raise Unsayable(f"slot {slot} is no jump that is known")
        width = 64 if insn.code & 7 == op.JMP else 32
        return Compare(row[0], self.register(insn.dst), self.operand(insn, width), row[1], width)


_BY_CLASS = (
    _Lifter.ld, _Lifter.load, _Lifter.store, _Lifter.store, _Lifter.alu, _Lifter.call, _Lifter.call, _Lifter.alu,
)  # fmt: skip


def lift(
    code: Code, arity: int, arities: Mapping[str, int], places: Mapping[int, Place] | None = None,
    varargs: Mapping[int, int] | None = None,
) -> Function:  # fmt: skip
    """The statements of a function. `arities`: how many arguments each function takes; `places` and `varargs` by slot."""
    lifter = _Lifter(code, arities, places or {}, varargs or {})
    blocks = split_blocks(code)
    for block in blocks.values():
        slots, block.end_slots = block.end_slots, ()
        for slot in slots:
            insn = code.insns[slot - code.start]
            if insn.code == op.EXIT_CODE:
                block.result, block.end_slots = Var(0), (slot,)
            elif insn.code in (op.GOTO, op.GOTOL):
                block.end_slots = (slot,)
            elif insn.code == op.MAY_GOTO:
                _may_goto(block, insn, slot)
            elif jump_target(insn, slot) is not None:
                block.end_slots = (slot,)
                if len(block.successors) == 2:
                    block.condition = lifter.condition(insn, slot)
            else:
                made = lifter.statement(slot)
                if made is not None:
                    block.statements.append(made)
    return Function(code.name, blocks, code.start, arity)


MAY_GOTO_VAR = 11
"""Variable that holds what a may_goto decided, before there is SSA."""


def _may_goto(block: Block, insn: Insn, slot: int) -> None:
    """may_goto: a condition that only the kernel decides; `cond_break` of bpf_experimental.h says it as a jump in assembly."""
    block.end_slots = (slot,)
    if len(block.successors) == 2:
        block.statements.append(Asm(MAY_GOTO_VAR, "may_goto", (), (slot,)))
        block.condition = Compare("!=", Var(MAY_GOTO_VAR), Const(0), False, 64)
