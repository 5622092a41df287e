"""Patterns of instructions as text: what the tables of rewrites are written in.

    "if rS != 0 goto +2; wD ^= wD; goto +1; rD /= rS"   ──►   four Slots

Registers r0..r11 (w0..w11 for 32 bits; r11 is the kernel's hidden register, see with_hidden_register); capital letters (rD) are
placeholders for registers, {name} is one for a number. A Slot is a mask and a value to compare the 64-bit word with, and the placeholders
to bind from its fields; a placeholder that occurs again must bind the same. `call NAME` and `kcall NAME` name kernel functions; their imm
is known when the table is bound to a kernel. Forms that only the kernel makes: `rD = percpu rS` (mov with off -1), `wD = zext wD` (mov
with imm 1), `nospec`.
"""

from __future__ import annotations

from functools import cache

from bpflens.isa.extended import opcodes as op
from bpflens.lean import NamedTuple

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
    for line in text.split(";"):
        try:
            made = _instruction(line.split())
        except (KeyError, ValueError, IndexError):
            raise ValueError(f"not a pattern: {line.strip()!r}") from None
        slots += made if isinstance(made, list) else [made]
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


def _instruction(words: list[str]) -> Slot | list[Slot]:
    """The slot of one instruction; two for a 64-bit constant. KeyError, ValueError or IndexError where it is none."""
    match words:
        case ["if", dst, operator, operand, "goto", off]:
            return _operands(op.JMP if dst[0] == "r" else op.JMP32, _JUMP[operator], dst, operand, _number(off))
        case ["goto", off]:
            return slot_of(op.GOTO, 0, 0, _number(off))
        case ["call", "pc"]:
            return slot_of(op.CALL_CODE, 0, op.PSEUDO_CALL, "call_off", "call_imm")
        case ["call", name]:
            return slot_of(op.CALL_CODE, 0, 0, 0, *_called(name))
        case ["kcall", name]:
            return slot_of(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, "kfunc_off", *_called(name))
        case ["kcall", name, "of", "vmlinux"]:
            return slot_of(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, *_called(name))
        case [word]:
            return slot_of({"exit": op.EXIT_CODE, "may_goto": op.MAY_GOTO, "nospec": op.ST | op.NOSPEC}[word])
        case ["r0", "=", packet, *plus] if "skb[" in packet:
            return _packet(packet.partition("skb[")[0], (packet.partition("skb[")[2] + "".join(plus))[:-1].split("+"))
        case [dst, "=", "percpu", src]:
            return slot_of(op.ALU64 | op.MOV | op.X, _register(dst), _register(src), -1)
        case [dst, "=", "zext", src]:
            return slot_of(op.ALU | op.MOV | op.X, _register(dst), _register(src), 0, 1)
        case [dst, "=", constant, "ll"]:
            return [slot_of(op.LD_IMM64, _register(dst), 0, 0, constant[1:-1]), slot_of(0, 0, 0, 0, constant[1:-1] + "_hi")]
        case [place, "=", value] if place.startswith("*("):
            size, base, at = _place(place)
            if _is_register(value):
                return slot_of(op.STX | op.MEM | _SIZE[size], base, _register(value), at)
            return slot_of(op.ST | op.MEM | _SIZE[size], base, 0, at, _number(value))
        case [dst, "=", place] if place.startswith("*("):
            size, base, at = _place(place)
            return slot_of(op.LDX | (op.MEMSX if size[0] == "s" else op.MEM) | _SIZE[size], _register(dst), base, at)
        case [src, "=", xchg] if xchg.startswith("xchg64("):
            return slot_of(op.STX | op.ATOMIC | op.DW, _register(xchg[7:].removesuffix("+0)")), _register(src), 0, op.XCHG)
        case [dst, "=", negated] if negated[0] == "-" and _is_register(negated[1:]):
            return slot_of((op.ALU64 if dst[0] == "r" else op.ALU) | op.NEG, _register(dst))
        case [dst, operator, operand]:
            signed = 1 if operator in ("s/=", "s%=") else 0
            return _operands(op.ALU64 if dst[0] == "r" else op.ALU, _ALU[operator], dst, operand, signed)
    raise ValueError(words)


def _operands(kind: int, operation: int, dst: str, operand: str, off: int | str) -> Slot:
    """Arithmetic or a jump of a register with a register or a number."""
    if _is_register(operand):
        return slot_of(kind | operation | op.X, _register(dst), _register(operand), off)
    return slot_of(kind | operation | op.K, _register(dst), 0, off, _number(operand))


def _is_register(text: str) -> bool:
    return text[0] in "rw" and (text[1:].isdigit() or (len(text) == 2 and text[1].isupper()))


def _register(text: str) -> int | str:
    """A register's number, or the letter of a placeholder."""
    if not _is_register(text):
        raise ValueError(text)
    return int(text[1:]) if text[1:].isdigit() else text[1:]


def _number(text: str) -> int | str:
    text = text.removeprefix("+")
    return text[1:-1] if text[0] == "{" else int(text, 0)


def _called(text: str) -> tuple[int | str, str]:
    """(imm, symbol) of a call: "#12" is a number, anything else the name of a function."""
    return (_number(text[1:]), "") if text[0] == "#" else (0, text)


def _place(text: str) -> tuple[str, int | str, int | str]:
    """"*(u32*)(rS+16)": size, register, offset."""
    size, _, inner = text[2:-1].partition("*)(")
    base, _, off = inner.replace("-", "+-").partition("+")
    return size, _register(base), _number(off)


def _packet(load: str, index: list[str]) -> Slot:
    """"*(u8*)" and ["{k}"], or [register, number]."""
    size = _SIZE[load[2:-2]]
    if len(index) == 1:
        return slot_of(op.LD | op.ABS | size, 0, 0, 0, _number(index[0]))
    return slot_of(op.LD | op.IND | size, 0, _register(index[0]), 0, _number(index[1]))
