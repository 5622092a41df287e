"""Instructions that the kernel removed without a trace, put back where they can have been.

* `goto +0`: opt_remove_nops takes every jump over nothing away; any place is possible, the tag tells.
* fastcall: a spill and a fill around a call that the kernel inlines (remove_fastcall_spills_fills, v6.12). Registers r1..r5 that are
  live across such a call must have been saved, for the call would have clobbered them: compilers save them in ascending order right
  below all other use of the stack.

        r1 = *(u32*)(r6+0)                       r1 = *(u32*)(r6+0)
        call get_smp_processor_id      ──►       *(u64*)(r10-8) = r1
        r0 += r1                                 call get_smp_processor_id
                                                 r1 = *(u64*)(r10-8)
                                                 r0 += r1
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from bpflens.analysis.liveness import live_after, written_before
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.helpers import helper_prototype
from bpflens.isa.extended.insn import Insn
from bpflens.original.invert.reconstruction import Layout, Misfit, refer

__all__ = ("fastcall_layouts", "insert", "nop_layout", "nop_layouts")

NOP = Insn.make(op.GOTO).word
_SMP_PROCESSOR_ID = 8


def insert(layout: Layout, before: Mapping[int, Sequence[int]], past: frozenset[int] = frozenset()) -> Layout:
    """The layout with words inserted before some instructions. Jumps to an instruction go to what was inserted before it, unless it is in
    `past`. Misfit where a jump gets too long.
    """
    words = layout.words
    moved = [0] * (len(words) + 1)
    out: list[int] = []
    for index, word in enumerate(words):
        added = before.get(index, ())
        out.extend(added)
        moved[index] = len(out)
        out.append(word)
    moved[len(words)] = len(out)
    references = []
    for index, to in layout.references:
        landing = moved[to] if to in past else moved[to] - len(before.get(to, ()))
        references.append((moved[index], landing))
        out[moved[index]] = refer(out[moved[index]], landing - moved[index] - 1)
    starts = [moved[start] if start >= 0 else -1 for start in layout.starts]
    groups = tuple((slot, moved[index], group) for slot, index, group in layout.groups)
    return Layout(array("Q", out), starts, groups, tuple(references))


def nop_layouts(layout: Layout) -> Iterator[tuple[array[int], Layout]]:
    """Every program with one `goto +0` more: (words, the layout that they are from)."""
    words = layout.words
    targets = {to for _, to in layout.references}
    second = {index + 1 for index, word in enumerate(words) if word & 0xFF == op.LD_IMM64}
    for index in range(len(words)):
        if index in second:
            continue
        for past in (False, True) if index in targets else (False,):
            try:
                yield _with_nop(layout, index, past), layout
            except Misfit:
                continue


def _with_nop(layout: Layout, at: int, past: bool) -> array[int]:
    out = layout.words[:at]
    out.append(NOP)
    out.extend(layout.words[at:])
    for index, to in layout.references:
        if index >= at and to > at:
            continue
        here = index + (index >= at)
        there = to + (to > at or (to == at and past))
        if there - here != to - index:
            out[here] = refer(out[here], there - here - 1)
    return out


def nop_layout(layout: Layout, words: array[int]) -> Layout:
    """The layout of words that `nop_layouts` gave."""
    at = next((i for i, (a, b) in enumerate(zip(layout.words, words, strict=False)) if a != b and b == NOP), len(layout.words))
    for past in (frozenset[int](), frozenset((at,))):
        candidate = insert(layout, {at: (NOP,)}, past)
        if candidate.words == words:
            return candidate
    return layout._replace(words=words)


def fastcall_layouts(layout: Layout, kfuncs: frozenset[int]) -> Iterator[Layout]:
    """Programs with spills and fills around calls that may have had them; `kfuncs`: BTF ids of the kfuncs that are inlined."""
    insns = [Insn(word) for word in layout.words]

    def fast(slot: int) -> int:
        insn = insns[slot]
        if insn.code != op.CALL_CODE:
            return 0
        if insn.src == 0 and insn.imm == _SMP_PROCESSOR_ID:
            return 1
        return 2 if insn.src == op.PSEUDO_KFUNC_CALL and insn.imm in kfuncs else 0

    def effect(slot: int) -> tuple[int, int] | None:
        kind = fast(slot)
        return _call_effect(insns[slot]) if not kind else (0 if kind == 1 else 0b110, 1)

    sites = [slot for slot in range(len(insns)) if fast(slot)]
    if not sites:
        return
    live = live_after(insns, effect)
    functions = _functions(layout)
    written = written_before(insns, {start: 0b111110 if start else 0b10 for start in functions}, lambda slot: fast(slot) > 0)
    saved = {slot: registers for slot in sites if (registers := [r for r in range(1, 6) if (live[slot] & written[slot]) >> r & 1])}
    if not saved:
        return
    ends = [*functions[1:], len(insns)]
    stacks = [_lowest_stack_use(insns[start:end]) for start, end in zip(functions, ends, strict=True)]
    for gap in (0, 8, 16, -8):
        for descending in (False, True):
            before: dict[int, list[int]] = {}
            for slot, registers in saved.items():
                ordered = sorted(registers, reverse=descending)
                lowest = stacks[bisect_right(functions, slot) - 1]
                offsets = [lowest - gap - 8 * (number + 1) for number in range(len(ordered))]
                pairs = list(zip(ordered, offsets, strict=True))
                before.setdefault(slot, []).extend(Insn.make(op.STX | op.MEM | op.DW, op.FP, r, at).word for r, at in pairs)
                before.setdefault(slot + 1, [])[:0] = [Insn.make(op.LDX | op.MEM | op.DW, r, op.FP, at).word for r, at in reversed(pairs)]
            past = frozenset(slot + 1 for slot in saved if slot + 1 not in saved)  # a jump there comes from elsewhere: nothing to restore
            try:
                yield insert(layout, before, past)
            except Misfit:
                continue


def _call_effect(insn: Insn) -> tuple[int, int] | None:
    """(reads, writes) of a call of a helper with as many arguments as its prototype has; None for all else."""
    if insn.code != op.CALL_CODE or insn.src:
        return None
    prototype = helper_prototype(insn.imm)
    if prototype is None or "..." in prototype:
        return None
    arguments = prototype[prototype.index("(") + 1 : prototype.rindex(")")]
    count = 0 if arguments.strip() == "void" else arguments.count(",") + 1
    return ((1 << count) - 1) << 1, 0b111111


def _functions(layout: Layout) -> list[int]:
    """The first instructions of functions: those that calls and PSEUDO_FUNC name."""
    words = layout.words
    called = (op.CALL_CODE, op.LD_IMM64)
    return sorted({0, *(to for index, to in layout.references if words[index] & 0xFF in called)})


def _lowest_stack_use(insns: Sequence[Insn]) -> int:
    """Lowest offset from r10 that a function uses, a multiple of 8."""
    offsets = [0]
    for slot, insn in enumerate(insns):
        kind = insn.code & 7
        if (kind in (op.ST, op.STX) and insn.dst == op.FP) or (kind == op.LDX and insn.src == op.FP):
            offsets.append(insn.off)
        previous = insns[slot - 1] if slot else None
        if previous is None or previous.code != op.ALU64 | op.MOV | op.X or previous.src != op.FP:
            continue
        if insn.code == op.ALU64 | op.ADD | op.K and -512 <= insn.imm < 0:
            offsets.append(insn.imm)
    return min(offsets) // 8 * 8
