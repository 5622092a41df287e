"""Calls made repeatable and visible: what a helper's result depends on beside the input is fixed, and what it does outside is recorded.

    call bpf_ktime_get_ns              ──►   r0 = 123456789
    call bpf_send_signal               ──►   record of r1; r0 = 0              (nothing is signalled)
    call bpf_perf_event_output         ──►   record of r3; the data at r4 to a ring buffer of ours
    call bpf_redirect                  ──►   record of r1, r2; call bpf_redirect

A record is an addition to a counter of the helper's argument in the map `EFFECTS`: r0 is free before every call, and one register is enough
for that. Sums do not see the order of two calls of one helper with the same arguments in another order; the ring buffer does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from bpflens.execute.edit import Piece, edit, load_map, piece
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.helpers import helper_name, helper_prototype
from bpflens.isa.extended.insn import Insn
from bpflens.program import Map

__all__ = (
    "CALLS", "EFFECTS", "EVENTS", "FIXED", "OUTSIDE", "REPLACED", "UNRECORDED", "made_repeatable", "said_of_effect", "scalar_arguments",
)  # fmt: skip

EFFECTS, EVENTS = "*effects", "*events"
CALLS, OUTSIDE = "*calls", "*outside"  # the interpreter's: recorded calls in order, memory that is not the program's
EVENTS_BYTES = 1 << 18
_EFFECTS_MAP = Map(EFFECTS, 2, 4, 8 * 5 * 212, 1, 1 << 10)
_EVENTS_MAP = Map(EVENTS, 27, 0, 0, EVENTS_BYTES)
_RINGBUF_OUTPUT = 130

# Results that depend on time, chance, place or the caller: the number that both programs get.
FIXED = {
    5: 123456789, 125: 123456789, 160: 123456700, 208: 123456789, 118: 1075000000, 7: 0x1234567, 8: 0, 42: 0, 14: 0x1000100010, 15: 1000,
    27: 3, 67: -14, 176: -2, 46: 0x51, 47: 0, 173: 0x1000, 174: 7, 22: 0, 55: -2, 141: -14,
}  # fmt: skip


class Replaced(NamedTuple):
    """A call that must not happen in a test: the result instead, arguments that are recorded, (data, size) arguments that are output."""

    result: int
    scalars: tuple[int, ...] = ()
    memory: tuple[int, int] | None = None


REPLACED = {
    6: Replaced(0, (), (1, 2)),  # trace_printk: the system's trace is not ours
    177: Replaced(0, (), (3, 4)),  # trace_vprintk
    13: Replaced(0, (2, 3)),  # clone_redirect sends
    25: Replaced(0, (3,), (4, 5)), 111: Replaced(0, (3,), (4, 5)), 121: Replaced(0, (3,), (4, 5)),  # perf_event, skb, xdp _output
    36: Replaced(0, (1,), (2, 3)),  # probe_write_user
    58: Replaced(0, (2,)),  # override_return
    109: Replaced(0, (1,)), 117: Replaced(0, (1,)),  # send_signal, send_signal_thread
    166: Replaced(-1, (1,)), 168: Replaced(0, (1,)),  # sys_bpf, sys_close
    77: Replaced(0), 78: Replaced(0), 92: Replaced(0),  # rc_repeat, rc_keydown, rc_pointer_rel
}  # fmt: skip
# Their effect is in the maps, which are compared, or they only read.
UNRECORDED = frozenset({
    1, 3, 4, 45, 88, 89, 90, 112, 113, 114, 115, 93, 94, 195, 169, 170, 171, 172, 181, 164, 26, 28, 29,
    10, 11, 70, 105, 106, 182, 193, 153, 187,
})  # fmt: skip
_32_BITS = re.compile(r"^(?:const )?(?:__u32|__s32|int|u32|enum \w+|__be32|__wsum)\b[^*]*$")
_64_BITS = re.compile(r"^(?:const )?(?:__u64|__s64|u64|long|unsigned long)\b[^*]*$")


@lru_cache(maxsize=256)
def scalar_arguments(helper: int) -> tuple[tuple[int, int], ...]:
    """(argument from 1, 4 or 8 bytes) of a helper that are numbers, by its prototype."""
    prototype = helper_prototype(helper) or ""
    arguments = prototype[prototype.find("(") + 1 : prototype.rfind(")")].split(",")
    found = []
    for number, argument in enumerate(arguments[:5], 1):
        if _32_BITS.match(argument.strip()):
            found.append((number, 4))
        elif _64_BITS.match(argument.strip()):
            found.append((number, 8))
    return tuple(found)


def made_repeatable(subject: Subject, *, record: bool = True, absent: frozenset[int] = frozenset()) -> Subject | None:
    """The program with `FIXED` and `REPLACED` applied; `record`: and with the arguments of other calls recorded.

    `absent`: helpers that the program type run as does not have: they return 0, and their numbers are recorded. None where the code
    would not fit.
    """
    before: dict[int, Piece] = {}
    instead: dict[int, Piece] = {}
    events = False
    for slot in _calls(subject.words):
        helper = Insn(subject.words[slot]).imm
        if helper in FIXED:
            instead[slot] = _result(FIXED[helper])
        elif helper in REPLACED:
            row = REPLACED[helper]
            widths = dict(scalar_arguments(helper))
            code = list(_record(helper, [(n, widths.get(n, 8)) for n in row.scalars])) if record else []
            if row.memory and record:
                events = True
                code += _output(*row.memory)
            instead[slot] = [*code, *_result(row.result)]
        elif helper in absent:
            instead[slot] = [*(_record(helper, scalar_arguments(helper)) if record else ()), *_result(0)]
        elif record and helper not in UNRECORDED and scalar_arguments(helper):
            before[slot] = _record(helper, scalar_arguments(helper))
    if not before and not instead:
        return subject
    maps = {EFFECTS: _EFFECTS_MAP} if record else {}
    if events:
        maps[EVENTS] = _EVENTS_MAP
    return edit(subject, before, instead, maps)


def said_of_effect(offset: int) -> str:
    """What byte `offset` of the value of `EFFECTS` counts."""
    helper, argument = divmod(offset // 8, 5)
    return f"argument {argument + 1} of {helper_name(helper) or f'helper {helper}'}"


def _calls(words: Sequence[int]) -> list[int]:
    """Slots of calls of helpers."""
    found, slot = [], 0
    while slot < len(words):
        word = words[slot]
        if word & 0xFF == op.CALL_CODE and not word >> 12 & 0xF:
            found.append(slot)
        slot += 2 if word & 0xFF == op.LD_IMM64 else 1
    return found


def _result(value: int) -> list[tuple[int, str]]:
    if -(1 << 31) <= value < 1 << 31:
        return piece(Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=value))
    return [(Insn.make(op.LD_IMM64, 0, imm=value).word, ""), ((value >> 32 & 0xFFFFFFFF) << 32, "")]


def _record(helper: int, arguments: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    if not arguments:
        return []
    code = load_map(0, EFFECTS, 0)
    for argument, size in arguments:
        place = 8 * (5 * helper + argument - 1)
        code += piece(Insn.make(op.STX | op.ATOMIC | op.SIZE_CODE[size], 0, argument, place, op.ADD))
    return code


def _output(data: int, size: int) -> list[tuple[int, str]]:
    """bpf_ringbuf_output(EVENTS, data, size, 0); arguments come from higher registers or are in place."""
    code: list[tuple[int, str]] = []
    if data == 1:  # (1, 2) -> (2, 3): the higher first
        code += piece(Insn.make(op.ALU64 | op.MOV | op.X, 3, size), Insn.make(op.ALU64 | op.MOV | op.X, 2, data))
    else:
        code += piece(Insn.make(op.ALU64 | op.MOV | op.X, 2, data)) if data != 2 else []
        code += piece(Insn.make(op.ALU64 | op.MOV | op.X, 3, size)) if size != 3 else []
    return [*code, *load_map(1, EVENTS), *piece(Insn.make(op.ALU64 | op.MOV | op.K, 4), Insn.make(op.CALL_CODE, imm=_RINGBUF_OUTPUT))]
