"""The meaning of an instruction as Python source, made from the words of the instruction table.

    add32_imm     "dst = (u32)(dst + imm)"          ──►  r3 = ((r3 & 0xffffffff) + 5) & 0xffffffff
    jsgt64_reg    "if (signed)dst > (signed)src"    ──►  ((r1 ^ S64) - S64) > ((r2 ^ S64) - S64)
    ldx16         "dst = *(u16 *)(src + off)"       ──►  r1 = load2(r7 + 12)

Registers are locals r0 to r10 with values from 0 to 2^64 - 1. The table says "(signed)" for the width of the row; division truncates.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import Row

__all__ = ("condition", "statement")

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_TOKEN = re.compile(r"\((?:signed|u8|u16|u32|u64|s8|s16|s32)\)|dst|src|imm|old|r0|-?\d+|<<|>>|==|!=|<=|>=|[-+*/%|&^<>?:()]")
_STORE = re.compile(r"\*\(u(\d+) \*\)\(dst \+ off\) = (imm|src)(?:, release)?$")
_LOAD = re.compile(r"dst = \*\(([us])(\d+) \*\)\(src \+ off\)(?:, acquire)?$")
_ATOMIC = re.compile(r"\*\(u(\d+) \*\)\(dst \+ off\) (\S+)= (.+), atomically$")
_FETCH = re.compile(
    r"atomically: old = \*\(u(\d+) \*\)\(dst \+ off\); (?:if (old == .+): )?\*\(u\d+ \*\)\(dst \+ off\) = (.+); (src|r0) = old$"
)
_SWAP = re.compile(r"dst = \(u(\d+)\)dst, bytes (little-endian|big-endian|swapped)$")


def condition(row: Row, insn: Insn) -> str:
    """The Python condition of a conditional jump: rows "if CONDITION: pc += off"."""
    text = row.semantics.removeprefix("if ").removesuffix(": pc += off")
    return _Expression(text, _width(row), insn).whole()


def statement(row: Row, insn: Insn) -> str | None:
    """The Python statement of an instruction that only works on registers and memory; None for all others.

    Uses the names loadN(address), storeN(address, value), N in bytes.
    """
    text = row.semantics
    dst, src = f"r{insn.dst}", f"r{insn.src}"
    place = _place(dst, insn.off)
    if found := _LOAD.match(text):
        sign, bits = found[1], int(found[2])
        value = f"load{bits // 8}({_place(src, insn.off)})"
        return f"{dst} = {value if sign == 'u' else _signed_to_64(value, bits)}"
    if found := _STORE.match(text):
        bits = int(found[1])
        return f"store{bits // 8}({place}, {_operand(found[2], insn, bits)})"
    if found := _SWAP.match(text):
        bits, how = int(found[1]), found[2]
        return f"{dst} = {_low(dst, bits)}" if how == "little-endian" else f"{dst} = swap{bits // 8}({_low(dst, bits)})"
    if found := _ATOMIC.match(text):
        bits = int(found[1])
        value = f"load{bits // 8}(a) {found[2]} {_low(src, bits)}"
        return f"a = {place}; store{bits // 8}(a, {_low('(' + value + ')', bits)})"
    if found := _FETCH.match(text):
        return _fetch(int(found[1]), found[2], found[3], found[4], place, insn)
    if text.startswith("dst = ") and "," not in text and "imm64" not in text and "address" not in text and "map" not in text:
        expression = _Expression(text.removeprefix("dst = "), _width(row), insn)
        return f"{dst} = {expression.masked()}"
    return None


def _fetch(bits: int, test: str | None, value: str, to: str, place: str, insn: Insn) -> str:
    """An atomic operation that gives the old value back."""
    size = bits // 8
    new = _low("(" + value.replace("(u32)", "").replace("src", f"r{insn.src}") + ")", bits)
    register = "r0" if to == "r0" else f"r{insn.src}"
    store = f"store{size}(a, {new})"
    if test is not None:
        store = f"store{size}(a, {new} if old == {_low('r0', bits)} else old)"
    return f"a = {place}; old = load{size}(a); {store}; {register} = old"


def _width(row: Row) -> int:
    """The width that "(signed)" means in a row: 32 for rows of the 32-bit classes."""
    return 32 if row.value & 7 in (4, 6) else 64


def _place(register: str, off: int) -> str:
    return f"{register} + {off} & {M64}" if off else register


def _low(value: str, bits: int) -> str:
    return value if bits == 64 and value.startswith("r") else f"{value} & {(1 << bits) - 1}"


def _operand(what: str, insn: Insn, bits: int) -> str:
    return str(insn.imm & (1 << bits) - 1) if what == "imm" else _low(f"r{insn.src}", bits)


def _signed_to_64(value: str, bits: int) -> str:
    half = 1 << bits - 1
    return f"(({value} ^ {half}) - {half}) & {M64}"


@lru_cache(maxsize=512)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


class _Expression:
    """A recursive-descent translation: conditional, comparison, binary, cast, operand. `signed` tells of each part how it is to be read."""

    def __init__(self, text: str, width: int, insn: Insn) -> None:
        self.tokens, self.at = _tokens(text), 0
        self.width, self.insn = width, insn

    def whole(self) -> str:
        """The expression as a condition."""
        return self.ternary()[0]

    def masked(self) -> str:
        """The expression as a value of 64 bits; rows of 32 bits give a value of 32."""
        value, plain = self.ternary()
        return value if plain else f"({value}) & {M64}"

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def ternary(self) -> tuple[str, bool]:
        """(source, whether it is in range already)."""
        test, plain = self.binary()
        if self.peek() != "?":
            return test, plain
        self.take()
        yes, plain_yes = self.binary()
        assert self.take() == ":"
        no, plain_no = self.binary()
        if test.isdigit():  # an immediate: known now
            return (yes, plain_yes) if int(test) else (no, plain_no)
        return f"({yes} if {test} else {no})", plain_yes and plain_no

    def binary(self) -> tuple[str, bool]:
        left, plain = self.unary()
        while self.peek() in ("+", "-", "*", "/", "%", "|", "&", "^", "<<", ">>", "==", "!=", "<", ">", "<=", ">="):
            operator = self.take()
            right, plain_right = self.unary()
            both = plain and plain_right
            if operator in "/%":
                if both:
                    left, plain = f"({left} {'//' if operator == '/' else '%'} {right})", True
                else:
                    left, plain = f"{'sdiv' if operator == '/' else 'smod'}({left}, {right})", False
            else:
                left, plain = f"({left} {operator} {right})", both and operator in ("|", "&", "^", ">>")
        return left, plain

    def unary(self) -> tuple[str, bool]:
        token = self.take()
        if token == "-":
            return f"(-{self.unary()[0]})", False
        if token == "(":
            inside = self.ternary()
            assert self.take() == ")"
            return inside
        if token.startswith("("):
            return self.cast(token[1:-1])
        if token == "imm":
            return str(self.insn.imm & (M32 if self.width == 32 else M64)), True
        if token in ("dst", "src"):
            register = f"r{self.insn.dst if token == 'dst' else self.insn.src}"
            return (f"({register} & {M32})" if self.width == 32 else register), True
        return token, True

    def cast(self, to: str) -> tuple[str, bool]:
        value, plain = self.unary()
        if to == "signed":
            half = 1 << self.width - 1
            return f"(({value} ^ {half}) - {half})", False
        bits = int(to[1:])
        low = value if plain and bits >= self.width else f"({value} & {(1 << bits) - 1})"
        if to[0] == "u":
            return low, True
        half = 1 << bits - 1
        return f"(({low} ^ {half}) - {half})", False
