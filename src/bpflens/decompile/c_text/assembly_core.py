"""CO-RE at the level of assembly: the number comes from a function that clang makes the relocation in.

    r3 += OFFSET                 ──►   *(u64 *)(r10 - 24) = r3     ; registers that a call destroys and that are needed
                                       call core_7_of_f            ; r0 = OFFSET
                                       r1 = *(u64 *)(r10 - 24)
                                       r1 += r0
                                       r3 = r1
    r1 = *(u64 *)(r2 + OFFSET)   ──►   r1 = r2
                                       call core_8_of_f            ; r0 = *(u64 *)(r1 + OFFSET)
                                       r1 = r0

The verifier follows the call of a static function and knows what it returns. A load is in the function, too: the verifier wants the offset
of a context in the instruction that loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bpflens.analysis.liveness import live_after, reads_writes
from bpflens.decompile import ir
from bpflens.decompile.c_expression.types import PRIMARY, U64, CText
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.lift.lift import call_arity
from bpflens.decompile.unit import Code, Reference
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("core_function", "core_piece", "saved_registers")

_FRAME = 512
_DESTROYED = 0b111111


def saved_registers(code: Code, slots: Iterable[int], arities: Mapping[str, int]) -> dict[int, int]:
    """slot -> the registers of r0 to r5, as bits, that it or what comes after it needs."""

    def effect(at: int) -> tuple[int, int] | None:
        insn = code.insns[at]
        if insn.code != op.CALL_CODE:
            return None
        count = call_arity(insn, code.references.get(at + code.start), arities)
        return ((1 << count) - 1) << 1, _DESTROYED

    after = live_after(code.insns, effect)
    out = {}
    for slot in slots:
        at = slot - code.start
        reads, writes = reads_writes(code.insns[at].word)
        out[slot] = (reads | after[at] & ~writes) & _DESTROYED
    return out


def core_function(scope: UnitScope, insn: Insn, ref: Reference, name: str) -> list[str]:
    """The function that returns the number, or makes the access."""
    from bpflens.decompile.c_expression.core import core_address, core_text

    assert ref.core is not None
    kind = insn.code & 7
    if kind in (op.LDX, op.ST, op.STX):
        at = core_address(scope, ir.CoreRef(*ref.core, 0), CText("a1", PRIMARY, U64))
        if at is None or insn.code & 0xE0 not in (op.MEM, op.MEMSX):
            raise Unsayable("a CO-RE relocation in assembly that C cannot say")
        sign = "s" if insn.code & 0xE0 == op.MEMSX else "u"
        access = f"*({sign}{8 * op.SIZE_BYTES[insn.code & 0x18]} *){at.text}"
        if kind == op.LDX:
            return [f"static __attribute__((noinline)) __u64 {name}(__u64 a1) {{ return {access}; }}"]
        return [f"static __attribute__((noinline)) void {name}(__u64 a1, __u64 a2) {{ {access} = a2; }}"]
    made = core_text(scope, ir.CoreRef(*ref.core, 0))
    return [f"static __attribute__((noinline)) __u64 {name}(void) {{ return {made.text}; }}"]


def core_piece(insn: Insn, function: str, saved: int, depth: int) -> list[str]:
    """The instructions instead of one with a CO-RE number, as text; each takes one slot. `depth`: bytes of the frame in use."""
    kept = {register: -(-depth // 8) * 8 + 8 * (number + 1) for number, register in enumerate(_numbers(saved))}
    if kept and max(kept.values()) > _FRAME:
        raise Unsayable("no room in the frame beside a CO-RE relocation in assembly")

    def value(register: int, into: int) -> str:
        if register in kept:
            return f"r{into} = *(u64 *)(r10 - {kept[register]})"
        return f"r{into} = r{register}"

    lines = [f"*(u64 *)(r10 - {place}) = r{register}" for register, place in kept.items()]
    made, written = _instead(insn, function, value)
    lines += made
    lines += [value(register, register) for register in kept if register != written]
    return lines


def _numbers(bits: int) -> list[int]:
    return [register for register in range(6) if bits >> register & 1]


def _instead(insn: Insn, function: str, value: Callable[[int, int], str]) -> tuple[list[str], int]:
    """The call and what uses its result, and the register that holds the result (-1: none). r0 to r5 are free."""
    kind, dst, src = insn.code & 7, insn.dst, insn.src
    call = f"call {function}"
    if insn.code in (op.LD_IMM64, op.ALU64 | op.MOV | op.K, op.ALU | op.MOV | op.K):
        move = "w" if kind == op.ALU else "r"
        return [call, f"{move}{dst} = {move}0"], dst
    if kind in (op.ALU, op.ALU64):
        changed = Insn.make(insn.code & ~op.X | op.X, 1, 0, insn.off, 0)
        return [call, value(dst, 1), f".8byte {changed.word:#018x}", f"r{dst} = r1"], dst
    if kind == op.LDX:
        return [value(src, 1), call, f"r{dst} = r0"], dst
    if kind == op.STX:
        return [value(src, 2), value(dst, 1), call], -1
    if kind == op.ST:
        return [f"r2 = {insn.imm}", value(dst, 1), call], -1
    raise Unsayable("a CO-RE relocation in an instruction that has no number")
