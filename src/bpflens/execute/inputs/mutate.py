"""Programs that are almost another: one instruction changed as compilers, decompilers and people get it wrong.

    for mutant in mutants(subject, Random(1), 20): compare(subject, mutant.subject)

Used to find out what an oracle or a prover misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("KINDS", "Mutant", "mutants")

Change = Callable[[Insn, Random], "Insn | None"]
_CONDITIONS = (op.JEQ, op.JGT, op.JGE, op.JSET, op.JNE, op.JSGT, op.JSGE, op.JLT, op.JLE, op.JSLT, op.JSLE)
_NEGATED = {op.JEQ: op.JNE, op.JNE: op.JEQ, op.JGT: op.JLE, op.JLE: op.JGT, op.JGE: op.JLT, op.JLT: op.JGE,
            op.JSGT: op.JSLE, op.JSLE: op.JSGT, op.JSGE: op.JSLT, op.JSLT: op.JSGE}  # fmt: skip
_NEXT_TO = {op.JGT: op.JGE, op.JGE: op.JGT, op.JLT: op.JLE, op.JLE: op.JLT, op.JSGT: op.JSGE, op.JSGE: op.JSGT, op.JSLT: op.JSLE,
            op.JSLE: op.JSLT}  # fmt: skip
_SIGN = {op.JGT: op.JSGT, op.JGE: op.JSGE, op.JLT: op.JSLT, op.JLE: op.JSLE}
_OPERATIONS = (op.ADD, op.SUB, op.OR, op.AND, op.XOR, op.LSH, op.RSH)
_NOTHING = Insn.make(op.GOTO)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`subject` differs at `slot`; `kind` is a key of KINDS."""

    kind: str
    slot: int
    subject: Subject


def _is_condition(insn: Insn) -> bool:
    return insn.code & 7 in (op.JMP, op.JMP32) and insn.code & 0xF0 in _CONDITIONS


def _is_arithmetic(insn: Insn) -> bool:
    return insn.code & 7 in (op.ALU, op.ALU64) and insn.code & 0xF0 not in (op.END, op.NEG)


def _is_plain_memory(insn: Insn) -> bool:
    return insn.code & 7 in (op.LDX, op.ST, op.STX) and insn.code & 0xE0 in (op.MEM, op.MEMSX)


def _with(insn: Insn, code: int | None = None, off: int | None = None, imm: int | None = None) -> Insn:
    return Insn.make(
        insn.code if code is None else code, insn.dst, insn.src, insn.off if off is None else off, insn.imm if imm is None else imm
    )


def _operation_of(table: dict[int, int]) -> Change:
    def change(insn: Insn, _: Random) -> Insn | None:
        other = table.get(insn.code & 0xF0) if _is_condition(insn) else None
        return _with(insn, insn.code & 0x0F | other) if other is not None else None

    return change


def _constant(insn: Insn, rnd: Random) -> Insn | None:
    ok = (_is_condition(insn) or _is_arithmetic(insn)) and not insn.code & op.X
    return _with(insn, imm=insn.imm + rnd.choice((1, -1))) if ok else None


def _swapped_constant(insn: Insn, _: Random) -> Insn | None:
    if not (_is_condition(insn) and not insn.code & op.X and 0 < insn.imm < 65536):
        return None
    return _with(insn, imm=int.from_bytes(insn.imm.to_bytes(2, "little"), "big"))


def _width(insn: Insn, _: Random) -> Insn | None:
    return _with(insn, insn.code ^ 3) if _is_arithmetic(insn) or _is_condition(insn) else None


def _access_width(insn: Insn, rnd: Random) -> Insn | None:
    if not _is_plain_memory(insn):
        return None
    return _with(insn, insn.code & ~0x18 | rnd.choice([size for size in (op.B, op.H, op.W, op.DW) if size != insn.code & 0x18]))


def _offset(insn: Insn, rnd: Random) -> Insn | None:
    return _with(insn, off=insn.off + rnd.choice((1, -1, 2, 4, -4))) if _is_plain_memory(insn) else None


def _dropped(insn: Insn, _: Random) -> Insn | None:
    return _NOTHING if insn.code & 7 in (op.ST, op.STX) else None


def _other_operation(insn: Insn, rnd: Random) -> Insn | None:
    if not _is_arithmetic(insn) or insn.code & 0xF0 not in _OPERATIONS:
        return None
    return _with(insn, insn.code & 0x0F | rnd.choice([o for o in _OPERATIONS if o != insn.code & 0xF0]))


def _sign_of_load(insn: Insn, _: Random) -> Insn | None:
    narrow = insn.code & 7 == op.LDX and insn.code & 0x18 != op.DW
    return _with(insn, insn.code ^ op.MEM ^ op.MEMSX) if narrow and insn.code & 0xE0 in (op.MEM, op.MEMSX) else None


def _no_atomic(insn: Insn, _: Random) -> Insn | None:
    return _with(insn, insn.code & 0x1F | op.MEM, imm=0) if insn.code & 7 == op.STX and insn.code & 0xE0 == op.ATOMIC else None


def _always(insn: Insn, _: Random) -> Insn | None:
    return _with(Insn.make(op.GOTO), off=insn.off) if _is_condition(insn) else None


def _never(insn: Insn, _: Random) -> Insn | None:
    return _NOTHING if _is_condition(insn) else None


KINDS: dict[str, Change] = {
    "condition negated": _operation_of(_NEGATED),
    "condition off by one": _operation_of(_NEXT_TO),
    "condition of other sign": _operation_of(_SIGN),
    "condition always": _always,
    "condition never": _never,
    "constant off by one": _constant,
    "constant of other byte order": _swapped_constant,
    "other width": _width,
    "access of other width": _access_width,
    "access at other offset": _offset,
    "store dropped": _dropped,
    "other operation": _other_operation,
    "load of other sign": _sign_of_load,
    "atomic as a plain store": _no_atomic,
}
"""What is changed -> function of an instruction that gives another, or None where it does not apply."""


def mutants(subject: Subject, rnd: Random, count: int) -> Iterator[Mutant]:
    """At most `count` mutants, no two alike; kinds take turns as long as there are any left."""
    slots = list(_slots(subject))
    waiting = {kind: rnd.sample(slots, len(slots)) for kind in KINDS}
    while count > 0 and waiting:
        for kind in list(waiting):
            mutant = _next(subject, kind, waiting[kind], rnd)
            if mutant is None:
                del waiting[kind]
            elif count > 0:
                count -= 1
                yield mutant


def _next(subject: Subject, kind: str, slots: list[int], rnd: Random) -> Mutant | None:
    while slots:
        slot = slots.pop()
        changed = KINDS[kind](Insn(subject.words[slot]), rnd)
        if changed is not None and changed.word != subject.words[slot]:
            words = list(subject.words)
            words[slot] = changed.word
            return Mutant(kind, slot, replace(subject, words=tuple(words)))
    return None


def _slots(subject: Subject) -> Iterator[int]:
    slot = 0
    while slot < len(subject.words):
        wide = subject.words[slot] & 0xFF == op.LD_IMM64
        if not wide:
            yield slot
        slot += 2 if wide else 1
