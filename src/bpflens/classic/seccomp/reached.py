"""Which return instructions of a filter one system call can reach, whatever its arguments are.

    reached(insns, arch, 12)   ──►   {31: 0x0, 44: 0x7fff0000}       return instruction -> value, None where it is computed

Forward over the code, which has no loops: number and architecture are known, everything else is not, and a branch on what is not known
goes both ways. So a return that is missing here cannot be reached; one that is there may need arguments that exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpflens.isa.classic.insn import SockFilter

__all__ = ("reached",)

MAX_STATES = 200_000
_WORD = 0xFFFFFFFF
_Value = int | None
_State = tuple[_Value, _Value, tuple[tuple[int, _Value], ...]]

_ALU: dict[int, Callable[[int, int], int | None]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b if b else None,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << (b & 31),
    0x70: lambda a, b: a >> (b & 31),
    0x90: lambda a, b: a % b if b else None,
    0xA0: lambda a, b: a ^ b,
}
_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: a & b != 0,
}


def reached(insns: Sequence[SockFilter], audit: int, number: int) -> dict[int, int | None] | None:
    """Return instruction -> what it returns; None where there are more states than are followed. The filter is a valid one."""
    found: dict[int, int | None] = {}
    waiting: dict[int, set[_State]] = {0: {(0, 0, ())}}
    known = {0: number & _WORD, 4: audit}
    budget = MAX_STATES
    for pc, insn in enumerate(insns):
        for state in waiting.pop(pc, ()):
            budget -= 1
            if budget < 0:
                return None
            if insn.code & 7 == 6:
                found[pc] = insn.k if insn.code == 0x06 else state[0]
                continue
            after, targets = _step(insn, pc, state, known)
            for target in targets:
                waiting.setdefault(target, set()).add(after)
    return found


def _step(insn: SockFilter, pc: int, state: _State, known: dict[int, int]) -> tuple[_State, tuple[int, ...]]:
    """(state after, next instructions) of one instruction of seccomp's subset (seccomp_check_filter, kernel/seccomp.c)."""
    a, x, memory = state
    code, k = insn.code, insn.k
    kind, operand = code & 7, x if code & 8 else k
    if kind == 5:
        if code == 0x05:
            return state, (pc + 1 + k,)
        if a is None or operand is None:
            return state, (pc + 1 + insn.jt, pc + 1 + insn.jf)
        return state, (pc + 1 + (insn.jt if _TESTS[code & 0xF0](a, operand) else insn.jf),)
    if kind in (2, 3):
        kept = dict(memory)
        kept[k] = a if kind == 2 else x
        return (a, x, tuple(sorted(kept.items(), key=lambda item: item[0]))), (pc + 1,)
    if kind == 0:
        a = known.get(k) if code == 0x20 else _immediate(code, k, memory)
    elif kind == 1:
        x = _immediate(code, k, memory)
    elif code == 0x07:
        x = a
    elif code == 0x87:
        a = x
    elif code == 0x84:
        a = None if a is None else -a & _WORD
    elif a is None or operand is None:
        a = None
    else:
        result = _ALU[code & 0xF0](a, operand)
        a = None if result is None else result & _WORD
    return (a, x, memory), (pc + 1,)


def _immediate(code: int, k: int, memory: tuple[tuple[int, _Value], ...]) -> _Value:
    """What ld and ldx load other than the data: a constant, a word of memory, or the length of struct seccomp_data."""
    if code & 0xE0 == 0x60:
        return dict(memory).get(k)
    return 64 if code & 0xE0 == 0x80 else k
