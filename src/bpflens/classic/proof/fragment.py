"""The fragment of classic code in which the decision diagrams are exact, told from the instructions alone.

    ldh [12]; jeq #0x800; ldxb 4*([14]&0xf); ldh [x+16]; jeq #80      ──►   plain
    ld [0]; tax; ldh [x+2]                                            ──►   insn 2 loads at an address that may wrap

Plain code compares nothing but loaded fields (with constants masked off or shifted out) and lengths, each with a constant; and it loads
only at fixed places, or behind a sum of fields and constants that cannot wrap. What is computed from one byte and constants may be compared
too: there the diagrams try all 256 values. In this fragment every variable of the diagram is one
byte or one length with one meaning, and every test is an interval of it: two diagrams are the same node exactly when the programs do the
same. tests/classic/proof/test_fragment.py proves the pieces with z3 (each comparison, size and mask) and compares the whole with the
interpreter. The check reads the instructions, not the terms that the diagrams are made of, so a fault there does not hide itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.classic.table import BY_CODE, SKF_AD_OFF, Ad
from bpflens.lean import NamedTuple

__all__ = ("outside",)

_WORD = 0xFFFFFFFF
_POSITIVE = 1 << 31
_COMPUTED = {
    Ad.NLATTR: "netlink attributes", Ad.NLATTR_NEST: "netlink attributes", Ad.ALU_XOR_X: "A ^ X", Ad.RANDOM: "random numbers",
}  # fmt: skip

# What may be done with a value: add it up to an address; compare it with a constant; mask it or shift it right by a constant. And what it
# is: computed from constants alone, from one byte and constants.
_INDEX, _COMPARE, _MASK, _CONST, _BYTE = 1, 2, 4, 8, 16
_CONSTANT, _FIELD, _HEADER, _LENGTH, _OTHER = 31, 7, _INDEX | _COMPARE | _BYTE, _COMPARE, 0


class _Value(NamedTuple):
    may: int
    top: int  # never exceeded


class _State(NamedTuple):
    a: _Value
    x: _Value
    m: tuple[_Value, ...]


class _Outside(Exception):
    """Why the program is not plain."""


def outside(insns: Sequence[Sequence[int]], seccomp: bool = False) -> str | None:
    """Why the diagrams alone do not decide about a program; None where it is plain. Linear time."""
    zero = _Value(_CONSTANT, 0)
    states: list[_State | None] = [None] * (len(insns) + 1)
    states[0] = _State(zero, zero, (zero,) * 16)
    try:
        for pc, insn in enumerate(insns):
            state = states[pc]
            if state is None:
                continue
            if insn[0] not in BY_CODE:
                raise _Outside(f"insn {pc} is unknown")
            for target, after in _step(pc, insn, state, seccomp):
                if target > len(insns) or target <= pc:
                    raise _Outside(f"insn {pc} leaves the program or jumps backward")
                before = states[target]
                states[target] = after if before is None else _join(before, after)
    except _Outside as reason:
        return str(reason)
    return None


def _join(one: _State, two: _State) -> _State:
    def both(p: _Value, q: _Value) -> _Value:
        return _Value(p.may & q.may, max(p.top, q.top))

    return _State(both(one.a, two.a), both(one.x, two.x), tuple(map(both, one.m, two.m)))


def _step(pc: int, insn: Sequence[int], state: _State, seccomp: bool) -> list[tuple[int, _State]]:
    """(next pc, state there) for each way on."""
    code, jt, jf, k = insn
    kind = code & 7
    if kind == 6:
        if code & 0x18 == 0x10 and not state.a.may & _COMPARE:
            raise _Outside(f"insn {pc} returns a computed value")
        return []
    if kind == 5:
        if code & 0xF0 == 0:
            return [(pc + 1 + k, state)]
        if jt != jf:
            if code & 8 and not state.a.may & state.x.may & _CONST:
                raise _Outside(f"insn {pc} compares with X")
            if not state.a.may & _COMPARE:
                raise _Outside(f"insn {pc} compares a computed value")
        return [(pc + 1 + jt, state), (pc + 1 + jf, state)]
    if kind in (0, 1):
        value = _load(pc, code, k, state, seccomp)
        return [(pc + 1, state._replace(a=value) if kind == 0 else state._replace(x=value))]
    if kind in (2, 3):
        cells = list(state.m)
        cells[k & 15] = state.a if kind == 2 else state.x
        return [(pc + 1, state._replace(m=tuple(cells)))]
    if kind == 7:
        return [(pc + 1, state._replace(a=state.x) if code & 0x80 else state._replace(x=state.a))]
    return [(pc + 1, state._replace(a=_alu(pc, code, k, state)))]


def _load(pc: int, code: int, k: int, state: _State, seccomp: bool) -> _Value:
    mode = code & 0xE0
    if mode == 0x00:
        return _Value(_CONSTANT, k)
    if mode == 0x80:
        return _Value(_CONSTANT, 64) if seccomp else _Value(_LENGTH, _WORD)
    if mode == 0x60:
        return state.m[k & 15]
    if mode == 0xA0:
        return _Value(_HEADER, 60)
    size = {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]
    field = _Value(_FIELD | (_BYTE if size == 1 else 0), (1 << 8 * size) - 1)
    if mode == 0x20:
        what = _COMPUTED.get(k - SKF_AD_OFF)
        if what is not None and not seccomp:
            raise _Outside(f"insn {pc} reads {what}")
        return _Value(_FIELD, _WORD) if k >= SKF_AD_OFF else field
    if not state.x.may & _INDEX or state.x.top + k + size > _POSITIVE:
        raise _Outside(f"insn {pc} loads at an address that may wrap")
    return field


def _alu(pc: int, code: int, k: int, state: _State) -> _Value:
    a, operation = state.a, code & 0xF0
    b = state.x if code & 8 else _Value(_CONSTANT, k)
    if code & 8 and operation in (0x30, 0x90) and not b.may & _CONST:
        raise _Outside(f"insn {pc} divides by X, which ends the program where it is 0")
    top = _top(operation, a.top, b.top, bool(b.may & _CONST))
    if a.may & b.may & _CONST and operation != 0x80:
        return _Value(_CONSTANT, top)
    may = _OTHER
    if (b.may & _CONST and a.may & _BYTE) or (operation == 0x80 and a.may & _BYTE):
        may |= _BYTE | _COMPARE
    if top <= _WORD and operation == 0x00 and a.may & b.may & _INDEX:
        may |= _INDEX
    if b.may & _CONST and operation in (0x20, 0x60) and a.may & _INDEX and top <= _WORD:
        may |= _INDEX
    if not code & 8 and a.may & _MASK and operation in (0x50, 0x70):
        may |= _FIELD
    return _Value(may, min(top, _WORD))


def _top(operation: int, a: int, b: int, constant: bool) -> int:
    """What a op b never exceeds, not cut to 32 bits where the sum or product may not fit; b is `constant` or at most that."""
    if operation == 0x00:
        return a + b
    if operation == 0x20:
        return a * b
    if operation == 0x50:
        return min(a, b)
    if operation == 0x60 and constant:
        return a << (b & 31)
    if operation == 0x70 and constant:
        return a >> (b & 31)
    return _WORD
