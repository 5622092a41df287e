"""The pointer-type analysis of a whole program: states at every instruction, for listings and later for decompiling.

    for slot, insn, state in typed_walk(insns, facts): ...     # state[1] is what r1 points to before the instruction

Works on code as loaded and on xlated images; `helper_of` says which helper a call is (by default its imm, as in code as loaded). The fixed
point is computed first; then every block is gone through once more in order of address. Cost: see pointer_types.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bpflens.analysis.cfg import Block, Cfg, build, reference
from bpflens.analysis.pointer_types import Facts, Flow, Pointer, State, call_effect, callbacks, entry_state, step
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("typed_walk",)

HelperOf = Callable[[int, Insn], int]


def typed_walk(
    insns: Sequence[Insn],
    facts: Facts,
    functions: Sequence[int] = (),
    xlated: bool = False,
    helper_of: HelperOf | None = None,
) -> Iterator[tuple[int, Insn, State]]:
    """(slot, instruction, state before it) of all reachable instructions, in order of address. The state is only valid until the next."""
    cfg = build(insns, functions, xlated)
    walk = _Walk(insns, facts, cfg, xlated, helper_of or _by_imm)
    walk.solve()
    yield from walk.visit()


def _by_imm(slot: int, insn: Insn) -> int:
    return insn.imm if insn.src == 0 else 0


class _Walk:
    def __init__(self, insns: Sequence[Insn], facts: Facts, cfg: Cfg, xlated: bool, helper_of: HelperOf) -> None:
        self.insns, self.facts, self.xlated, self.helper_of = insns, facts, xlated, helper_of
        self.blocks = {block.start: block for block in cfg.blocks}
        self.order = cfg.blocks
        self.functions = cfg.functions
        self.flow = Flow()

    def solve(self) -> None:
        """Fixed point of the states at the starts of blocks."""
        flow, facts = self.flow, self.facts
        flow.push(0, entry_state(facts, 0))
        for function in self.functions[1:]:
            flow.push(function, {10: Pointer("stack", function, 0)})
        while True:
            visit = flow.pop()
            if visit is None:
                if not (facts.foreign and facts.spilled_changed):
                    return
                facts.spilled_changed = False
                for head in tuple(flow.states):
                    flow.queue(head)
                continue
            head, state = visit
            block = self.blocks.get(head)
            if block is None:
                continue
            for slot in self._slots(block):
                self._effect(slot, state)
            for successor in block.successors:
                flow.push(successor, dict(state))

    def visit(self) -> Iterator[tuple[int, Insn, State]]:
        """Every instruction with its state."""
        for block in self.order:
            known = self.flow.states.get(block.start)
            if known is None:
                continue
            state = dict(known)
            for slot in self._slots(block):
                yield slot, self.insns[slot], state
                self._effect(slot, state)

    def _slots(self, block: Block) -> Iterator[int]:
        slot = block.start
        while slot < block.end:
            yield slot
            slot += 2 if self.insns[slot].code == op.LD_IMM64 else 1

    def _effect(self, slot: int, state: State) -> None:
        insn = self.insns[slot]
        if insn.code == op.CALL_CODE:
            callee = reference(insn, slot, self.xlated)
            helper, result = 0, None
            if callee is not None:
                result = self.flow.call(callee, state)
            else:
                helper = self.helper_of(slot, insn)
                called = callbacks(state, helper)
                if called is not None:
                    self.flow.push(*called)
            call_effect(state, helper, self.facts, result)
            return
        if insn.code == op.EXIT_CODE:
            self.flow.leave(state)
            return
        wide = insn.code == op.LD_IMM64
        following = self.insns[slot + 1] if wide and slot + 1 < len(self.insns) else None
        target = reference(insn, slot, self.xlated) if wide else None
        step(state, insn, following, self.facts, -1 if target is None else target)
