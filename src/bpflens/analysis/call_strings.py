"""The constant string that a register holds the address of at a call.

    *(u64 *)(r10 -16) = r1      where r1 = 0x6425206f6c6c6568 ("hello %d")
    *(u8 *)(r10 -8) = 0
    r1 = r10
    r1 += -16
    call bpf_trace_printk       ──►  r1: b"hello %d"

Constants are followed through the straight-line code before the call, from the last slot that is also reached by a jump: what is
known there holds on every path. A call, and a store through a pointer of unknown origin, end all knowledge of the stack.
"""

from __future__ import annotations

from bpflens.analysis.references import LD_IMM64, References
from bpflens.isa.extended.table import lookup, writes
from bpflens.isa.extended.text import is_pair
from bpflens.program import Map

__all__ = ("Pointed", "pointed_by")

_LOOKBACK_INSNS = 256
_FRAME = 10

Pointed = tuple[Map, int] | bytes
"""A byte of a data map, or the bytes on the stack from the pointer up to the first one that is not known."""

_Value = tuple[str, int] | tuple[Map, int]
"""("constant", value), ("frame", offset from r10), or a byte of a data map."""


def pointed_by(references: References, call: int, register: int) -> Pointed | None:
    """What `register` points to at the call at slot `call`, where that is constant; None otherwise."""
    state = _State(references)
    slot = _start(references, call)
    while slot < call:
        slot += state.step(slot)
    value = state.registers.get(register)
    if value is None or value[0] == "constant":
        return None
    if value[0] == "frame":
        return state.stack_from(value[1])
    assert isinstance(value[0], Map)
    return value[0], value[1]


def _start(references: References, call: int) -> int:
    leaders = references.leaders
    slot = call
    while slot > max(0, call - _LOOKBACK_INSNS) and slot not in leaders:
        before = lookup(references.word(slot - 1))
        if before is not None and before.control in ("goto", "exit", "switch"):
            break
        slot -= 1
    return slot


class _State:
    """What is known of the registers and of the bytes of the stack."""

    def __init__(self, references: References) -> None:
        self.references = references
        self.registers: dict[int, _Value] = {_FRAME: ("frame", 0)}
        self.stack: dict[int, int] = {}

    def stack_from(self, offset: int) -> bytes:
        out = bytearray()
        while offset + len(out) in self.stack:
            out.append(self.stack[offset + len(out)])
        return bytes(out)

    def step(self, slot: int) -> int:
        """Execute the instruction at `slot`; its number of slots."""
        word = self.references.word(slot)
        row = lookup(word)
        if row is None:
            self.registers = {_FRAME: ("frame", 0)}
            self.stack.clear()
            return 1
        dst, src = word >> 8 & 15, word >> 12 & 15
        off, imm = _signed(word >> 16 & 0xFFFF, 16), _signed(word >> 32, 32)
        before = self.registers.get(dst)
        result: _Value | None = None
        match row.name:
            case "mov64_imm":
                result = ("constant", imm)
            case "mov32_imm":
                result = ("constant", imm & 0xFFFFFFFF)
            case "mov64_reg":
                result = self.registers.get(src)
            case "add64_imm" if before is not None:
                result = (before[0], before[1] + imm)  # type: ignore[assignment]
            case "st8" | "st16" | "st32" | "st64" | "stx8" | "stx16" | "stx32" | "stx64":
                stored = ("constant", imm) if row.name[2] != "x" else self.registers.get(src)
                self._store(before, off, int(row.name.lstrip("stx")) // 8, stored)
                return 1
        if row.slots == 2:
            following = self.references.word(slot + 1) if slot + 1 < self.references.count else None
            result = self._load_imm64(slot, word, following)
        elif "mem" in row.writes or row.control == "call":
            self.stack.clear()
        for name in writes(word):
            if name[0] == "r":
                self.registers.pop(int(name[1:]), None)
        if result is not None:
            self.registers[dst] = result
        self.registers[_FRAME] = ("frame", 0)
        return 2 if row.slots == 2 and is_pair(word, following) else 1

    def _load_imm64(self, slot: int, word: int, following: int | None) -> _Value | None:
        target = self.references.pointed_at(slot)
        if target is not None or following is None or word & 0xFF != LD_IMM64:
            return target
        if word >> 12 & 15 or slot in self.references.relocations:
            return None
        return ("constant", following >> 32 << 32 | word >> 32)

    def _store(self, pointer: _Value | None, off: int, size: int, value: _Value | None) -> None:
        if pointer is None or pointer[0] == "constant":
            self.stack.clear()
        elif pointer[0] == "frame":
            for n in range(size):
                if value is not None and value[0] == "constant":
                    self.stack[pointer[1] + off + n] = value[1] >> 8 * n & 0xFF
                else:
                    self.stack.pop(pointer[1] + off + n, None)


def _signed(value: int, bits: int) -> int:
    return (value ^ 1 << bits - 1) - (1 << bits - 1)
