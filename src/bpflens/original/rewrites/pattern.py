"""Patterns of instructions as text: what the tables of rewrites are written in.

    "if rS != 0 goto +2; wD ^= wD; goto +1; rD /= rS"   ──►   four Slots

Registers r0..r11 (w0..w11 for 32 bits; r11 is the kernel's hidden register, see with_hidden_register); capital letters (rD) are
placeholders for registers, {name} is one for a number. A Slot is a mask and a value to compare the 64-bit word with, and the placeholders
to bind from its fields; a placeholder that occurs again must bind the same. `call NAME` and `kcall NAME` name kernel functions; their imm
is known when the table is bound to a kernel. Forms that only the kernel makes: `rD = percpu rS` (mov with off -1), `wD = zext wD` (mov
with imm 1), `nospec`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("Bind", "Slot", "build", "parse", "slot_of", "unify", "with_hidden_register", "zeros_by_xor")

_FIELDS = {"dst": (8, 0xF), "src": (12, 0xF), "off": (16, 0xFFFF), "imm": (32, 0xFFFFFFFF)}
_ALU = {
    "+=": op.ADD, "-=": op.SUB, "*=": op.MUL, "/=": op.DIV, "|=": op.OR, "&=": op.AND, "<<=": op.LSH, ">>=": op.RSH, "%=": op.MOD,
    "^=": op.XOR, "=": op.MOV, "s>>=": op.ARSH, "s/=": op.DIV, "s%=": op.MOD,
}  # fmt: skip
_JUMP = {
    "==": op.JEQ, ">": op.JGT, ">=": op.JGE, "&": op.JSET, "!=": op.JNE, "s>": op.JSGT, "s>=": op.JSGE, "<": op.JLT, "<=": op.JLE,
    "s<": op.JSLT, "s<=": op.JSLE,
}  # fmt: skip
_SIZE = {"u8": op.B, "u16": op.H, "u32": op.W, "u64": op.DW, "s8": op.B, "s16": op.H, "s32": op.W}
_REG = r"([rw])(\d+|[A-Z])"
_NUM = r"(-?(?:0x[0-9a-f]+|\d+)|\{\w+\})"
_OFF = r"([+-]\d+|[+-]?\{\w+\})"


class Bind(NamedTuple):
    """A placeholder: its value is `word >> shift & mask`."""

    name: str
    shift: int
    mask: int


class Slot(NamedTuple):
    """One slot of a pattern: `word & mask == value`, then `binds`; `symbol` names the function of a call whose imm is not known yet."""

    mask: int
    value: int
    binds: tuple[Bind, ...] = ()
    symbol: str = ""


def slot_of(code: int, dst: int | str = 0, src: int | str = 0, off: int | str = 0, imm: int | str = 0, symbol: str = "") -> Slot:
    """A slot from fields, each a number or the name of a placeholder."""
    mask, value, binds = 0xFF, code, []
    for name, field in (("dst", dst), ("src", src), ("off", off), ("imm", imm)):
        shift, width = _FIELDS[name]
        if isinstance(field, str):
            binds.append(Bind(field, shift, width))
        elif not (symbol and name == "imm"):
            mask |= width << shift
            value |= (field & width) << shift
    return Slot(mask, value, tuple(binds), symbol)


@cache
def parse(text: str) -> tuple[Slot, ...]:
    """The slots of a pattern written as text; ValueError for what is not in the grammar."""
    slots: list[Slot] = []
    for part in text.split(";"):
        line = part.strip()
        for form, make in _FORMS:
            match = form.fullmatch(line)
            if match:
                made = make(*match.groups())
                slots += made if isinstance(made, list) else [made]
                break
        else:
            raise ValueError(f"not a pattern: {line!r}")
    return tuple(slots)


def unify(slots: tuple[Slot, ...], words: list[int], start: int, bound: dict[str, int]) -> dict[str, int] | None:
    """Bindings of `slots` against `words` from `start`, extending `bound`; None where they do not fit."""
    if start + len(slots) > len(words):
        return None
    index = start
    for mask, value, binds, _ in slots:
        word = words[index]
        if word & mask != value:
            return None
        for name, shift, width in binds:
            field = word >> shift & width
            if bound.setdefault(name, field) != field:
                return None
        index += 1
    return bound


def build(slots: tuple[Slot, ...], bound: dict[str, int]) -> tuple[int, ...]:
    """The words of a pattern with its placeholders filled in."""
    out = []
    for _, value, binds, _ in slots:
        word = value
        for name, shift, width in binds:
            word |= (bound[name] & width) << shift
        out.append(word)
    return tuple(out)


def bind_symbol(slot: Slot, imm: int) -> Slot:
    """The slot of a call whose symbol is known to be `imm` from __bpf_call_base."""
    return Slot(slot.mask | 0xFFFFFFFF << 32, slot.value | (imm & 0xFFFFFFFF) << 32, slot.binds)


def zeros_by_xor(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The pattern with `rD ^= rD` for every `rD = 0` and `wD = 0` (bpf_jit_blind_insn, kernel/bpf/core.c)."""
    return tuple(_zero_by_xor(slot) for slot in slots)


def with_hidden_register(slots: tuple[Slot, ...], register: int) -> tuple[Slot, ...]:
    """The pattern, written with r11, for kernels whose hidden register is another one."""
    return tuple(_renumbered(slot, register) for slot in slots)


def _renumbered(slot: Slot, register: int) -> Slot:
    value = slot.value
    for shift in (_FIELDS["dst"][0], _FIELDS["src"][0]):
        if slot.mask >> shift & 0xF == 0xF and value >> shift & 0xF == op.AX:
            value = value & ~(0xF << shift) | register << shift
    return slot._replace(value=value)


def _zero_by_xor(slot: Slot) -> Slot:
    sets = slot.value & 0xFF in (op.ALU64 | op.MOV | op.K, op.ALU | op.MOV | op.K) and slot.value >> 12 == 0
    if not sets or any(bind.name for bind in slot.binds if bind.shift == 32):
        return slot
    dst = next((bind.name for bind in slot.binds if bind.shift == 8), slot.value >> 8 & 0xF)
    return slot if dst == op.AX else slot_of(op.ALU64 | op.XOR | op.X, dst, dst)


def _register(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _number(text: str) -> int | str:
    text = text.removeprefix("+")
    return text[1:-1] if text.startswith("{") else int(text, 0)


def _neg(kind: str, dst: str, again: str) -> Slot:
    return slot_of((op.ALU64 if kind == "r" else op.ALU) | op.NEG, _register(dst))


def _alu_reg(kind: str, dst: str, operator: str, _: str, src: str) -> Slot:
    code = (op.ALU64 if kind == "r" else op.ALU) | _ALU[operator] | op.X
    return slot_of(code, _register(dst), _register(src), 1 if operator in ("s/=", "s%=") else 0)


def _alu_imm(kind: str, dst: str, operator: str, imm: str) -> Slot:
    code = (op.ALU64 if kind == "r" else op.ALU) | _ALU[operator] | op.K
    return slot_of(code, _register(dst), 0, 1 if operator in ("s/=", "s%=") else 0, _number(imm))


def _percpu(_: str, dst: str, __: str, src: str) -> Slot:
    return slot_of(op.ALU64 | op.MOV | op.X, _register(dst), _register(src), -1)


def _zext(dst: str, src: str) -> Slot:
    return slot_of(op.ALU | op.MOV | op.X, _register(dst), _register(src), 0, 1)


def _wide(_: str, dst: str, imm: str) -> list[Slot]:
    name = _number(imm)
    if not isinstance(name, str):
        raise ValueError("a 64-bit constant of a pattern is a placeholder")
    return [slot_of(op.LD_IMM64, _register(dst), 0, 0, name), slot_of(0, 0, 0, 0, name + "_hi")]


def _load(_: str, dst: str, size: str, __: str, src: str, off: str) -> Slot:
    return slot_of(op.LDX | (op.MEMSX if size[0] == "s" else op.MEM) | _SIZE[size], _register(dst), _register(src), _number(off))


def _store(size: str, _: str, dst: str, off: str, __: str, src: str) -> Slot:
    return slot_of(op.STX | op.MEM | _SIZE[size], _register(dst), _register(src), _number(off))


def _store_imm(size: str, _: str, dst: str, off: str, imm: str) -> Slot:
    return slot_of(op.ST | op.MEM | _SIZE[size], _register(dst), 0, _number(off), _number(imm))


def _xchg(_: str, src: str, __: str, dst: str) -> Slot:
    return slot_of(op.STX | op.ATOMIC | op.DW, _register(dst), _register(src), 0, op.XCHG)


def _if_reg(kind: str, dst: str, operator: str, _: str, src: str, off: str) -> Slot:
    code = (op.JMP if kind == "r" else op.JMP32) | _JUMP[operator] | op.X
    return slot_of(code, _register(dst), _register(src), _number(off))


def _if_imm(kind: str, dst: str, operator: str, imm: str, off: str) -> Slot:
    code = (op.JMP if kind == "r" else op.JMP32) | _JUMP[operator] | op.K
    return slot_of(code, _register(dst), 0, _number(off), _number(imm))


def _packet(size: str, index: str | None, imm: str) -> Slot:
    if index is None:
        return slot_of(op.LD | op.ABS | _SIZE[size], 0, 0, 0, _number(imm))
    return slot_of(op.LD | op.IND | _SIZE[size], 0, _register(index), 0, _number(imm))


_FORMS = tuple(
    (re.compile(text), make)
    for text, make in (
        (rf"{_REG} = -[rw](\d+|[A-Z])", _neg),
        (rf"{_REG} (\S+) {_REG}", _alu_reg),
        (rf"{_REG} (\S+) {_NUM}", _alu_imm),
        (rf"{_REG} = percpu {_REG}", _percpu),
        (r"w(\d+|[A-Z]) = zext w(\d+|[A-Z])", _zext),
        (rf"{_REG} = (\{{\w+\}}) ll", _wide),
        (rf"{_REG} = \*\(([us]\d+)\*\)\({_REG}{_OFF}\)", _load),
        (rf"\*\(([us]\d+)\*\)\({_REG}{_OFF}\) = {_REG}", _store),
        (rf"\*\(([us]\d+)\*\)\({_REG}{_OFF}\) = {_NUM}", _store_imm),
        (rf"r(\d+|[A-Z]) = xchg64\({_REG}\+0\)", lambda src, kind, dst: _xchg("r", src, kind, dst)),
        (rf"if {_REG} (\S+) {_REG} goto {_OFF}", _if_reg),
        (rf"if {_REG} (\S+) {_NUM} goto {_OFF}", _if_imm),
        (rf"goto {_OFF}", lambda off: slot_of(op.GOTO, 0, 0, _number(off))),
        (r"may_goto", lambda: slot_of(op.MAY_GOTO)),
        (rf"call #{_NUM}", lambda imm: slot_of(op.CALL_CODE, 0, 0, 0, _number(imm))),
        (r"call pc", lambda: slot_of(op.CALL_CODE, 0, op.PSEUDO_CALL, "call_off", "call_imm")),
        (r"call (\w+)", lambda name: slot_of(op.CALL_CODE, 0, 0, 0, 0, name)),
        (r"kcall (\w+)", lambda name: slot_of(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, "kfunc_off", 0, name)),
        (r"kcall (\w+) of vmlinux", lambda name: slot_of(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, 0, name)),
        (rf"kcall #{_NUM}", lambda imm: slot_of(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, "kfunc_off", _number(imm))),
        (r"exit", lambda: slot_of(op.EXIT_CODE)),
        (r"nospec", lambda: slot_of(op.ST | op.NOSPEC)),
        (r"r0 = \*\((u8|u16|u32)\*\)skb\[(?:r(\d+|[A-Z]) \+ )?" + _NUM + r"\]", _packet),
    )
)


def describe(words: tuple[int, ...]) -> str:
    """The words as instructions, for messages about tables."""
    return "; ".join(repr(Insn(word)) for word in words)
