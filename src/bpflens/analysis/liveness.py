"""Which registers are still needed after each instruction: backward liveness over extended code as loaded.

    0: r6 = 1        after it: {r6}
    1: r0 = r6       after it: {r0}
    2: exit

Registers are bits of a number. Algorithm: iteration over the instructions from the end until nothing changes; reads and writes come from
the instruction table. Cost: linear times the loop nesting depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from bpflens.analysis.cfg import jump_target
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.opcodes import CALL_CODE, EXIT_CODE, GOTO, GOTOL, LD_IMM64
from bpflens.isa.extended.table import lookup

__all__ = ("live_after", "reads_writes", "written_before")

_CLOBBERED = 0b111110  # r1 to r5, by calls


@lru_cache(maxsize=1 << 14)
def reads_writes(word: int) -> tuple[int, int]:
    """Registers read and written, as bits; unknown words read and write nothing."""
    row = lookup(word)
    if row is None:
        return 0, 0
    dst, src = word >> 8 & 0xF, word >> 12 & 0xF
    return _bits(row.reads, dst, src), _bits(row.writes, dst, src)


def live_after(insns: Sequence[Insn], effect: Callable[[int], tuple[int, int] | None] | None = None) -> list[int]:
    """Per slot the registers that are live after it. `effect(slot)` may replace (reads, writes) of an instruction."""
    count = len(insns)
    effects: list[tuple[int, int]] = []
    for slot, insn in enumerate(insns):
        own = effect(slot) if effect is not None else None
        effects.append(own if own is not None else reads_writes(insn.word))
    after = [0] * count
    before = [0] * (count + 1)
    changed = True
    while changed:
        changed = False
        for slot in range(count - 1, -1, -1):
            insn = insns[slot]
            live = 0
            if insn.code != EXIT_CODE:
                if insn.code not in (GOTO, GOTOL):
                    live = before[min(slot + (2 if insn.code == LD_IMM64 else 1), count)]
                target = jump_target(insn, slot)
                if target is not None and 0 <= target < count:
                    live |= before[target]
            reads, writes = effects[slot]
            entry = reads | (live & ~writes)
            if entry != before[slot] or live != after[slot]:
                before[slot], after[slot] = entry, live
                changed = True
    return after


def written_before(insns: Sequence[Insn], entries: Mapping[int, int], spared: Callable[[int], bool]) -> list[int]:
    """Per slot the registers that may have a value before it. `entries`: what each function starts with, by its first slot; calls clobber
    r1 to r5, except those at slots that are `spared`.
    """
    count = len(insns)
    before = [-1] * (count + 1)
    pending = list(entries.items())
    while pending:
        slot, have = pending.pop()
        while 0 <= slot < count and (before[slot] < 0 or have & ~before[slot]):
            have |= max(before[slot], 0)
            before[slot] = have
            insn = insns[slot]
            if insn.code == EXIT_CODE:
                break
            target = jump_target(insn, slot)
            if target is not None:
                pending.append((target, have))
            if insn.code in (GOTO, GOTOL):
                break
            if insn.code == CALL_CODE:
                have = (have if spared(slot) else have & ~_CLOBBERED) | 1
            else:
                have |= reads_writes(insn.word)[1]
            slot += 2 if insn.code == LD_IMM64 else 1
    return [max(have, 0) for have in before[:count]]


def _bits(names: Sequence[str], dst: int, src: int) -> int:
    bits = 0
    for name in names:
        if name == "dst":
            bits |= 1 << dst
        elif name == "src":
            bits |= 1 << src
        elif name[0] == "r":
            bits |= 1 << int(name[1:])
    return bits
