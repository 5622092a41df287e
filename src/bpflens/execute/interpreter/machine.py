"""The machine: registers, frames, blocks as they are first reached, a budget of steps.

One run starts at the first slot with r1 at the context. Functions get a stack of 512 bytes of their own; callbacks run in a loop inside the
helper's; a tail call goes to the first slot of another program, which lies behind in the same numbering of slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bpflens.analysis.cfg import build
from bpflens.execute.interpreter.blocks import END, Block, compile_block, namespace
from bpflens.execute.interpreter.helpers import call_helper, call_kfunc, load_packet
from bpflens.execute.interpreter.maps import ArrayModel
from bpflens.execute.interpreter.memory import Fault
from bpflens.execute.interpreter.state import M64, State
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("Budget", "Machine", "Watch")

STACK_BYTES = 512
STEPS = 1_000_000
MAX_TAIL_CALLS, MAX_FRAMES = 33, 16
MAY_GOTO = 8_388_608


class Budget(Exception):
    """The steps are used up."""


class Watch(Protocol):
    """Who is told what runs, and makes the calls of helpers."""

    def running(self, slot: int) -> None:
        """A block that starts at a slot."""

    def calling(self, slot: int) -> None:
        """The call at a slot comes next."""

    def helper(self, machine: Machine, number: int, *arguments: int) -> int:
        """The call itself: r0."""


class Machine(State):
    """One program (and those that it may tail-call) with its maps."""

    def __init__(
        self, subject: Subject, *, tail: Mapping[str, Mapping[int, Subject]] | None = None, seed: int = 0, steps: int = STEPS,
        trace: bool = False, watch: Watch | None = None,
    ) -> None:  # fmt: skip
        """`tail`: programs in program arrays by map name and index; of those only the code is used, with maps found by name. `watch` is
        told what runs.
        """
        super().__init__(subject, seed)
        self.steps = steps
        self.trace: list[tuple[int, int, int]] = []
        self._tracing, self.watch = trace, watch
        self.frame = bytes(STACK_BYTES)
        self.words: list[int] = []
        self.addresses: dict[int, int] = {}
        self.heads: set[int] = set()
        self.programs: dict[str, dict[int, int]] = {}
        self._append(subject)
        for name, entries in (tail or {}).items():
            self.programs[name] = {index: self._append(other) for index, other in entries.items()}
        self.blocks: dict[int, tuple[Block, int]] = {}
        self.lines: dict[int, list[int]] = {}
        self.frames: list[tuple[int, int, int, int, int, int]] = []
        self.left = 0
        self.tail_calls = self.loops = 0
        self.mark = self.memory.mark
        self._names = namespace({
            **self.memory.accessors(), "leave": self._leave, "enter": self._enter, "tail_call": self._tail_call, "budget": self._may_goto,
            "seen": self.trace.append, "helper": lambda *args: call_helper(self, *args), "kfunc": lambda *args: call_kfunc(self, *args),
            "packet": lambda *args: load_packet(self, *args), "arena": lambda address, _: address,
            **({"running": watch.running, "calling": watch.calling, "helper": lambda *args: watch.helper(self, *args)} if watch else {}),
        })  # fmt: skip

    def _append(self, subject: Subject) -> int:
        """Put a program's code behind what is there; its first slot."""
        base = len(self.words)
        insns = [Insn(word) for word in subject.words]
        cfg = build(insns, [at for at, _ in subject.func_info])
        self.heads.update(base + block.start for block in cfg.blocks)
        self.words += subject.words
        slot = 0
        while slot < len(insns):
            insn = insns[slot]
            if insn.code == op.LD_IMM64:
                if slot in subject.map_at and subject.map_at[slot] in self.maps:
                    model = self.maps[subject.map_at[slot]]
                    value = insn.src in (op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE) and isinstance(model, ArrayModel)
                    offset = subject.words[slot + 1] >> 32 if slot + 1 < len(insns) else 0
                    self.addresses[base + slot] = model.base + offset if value and isinstance(model, ArrayModel) else model.address
                elif insn.src == op.PSEUDO_FUNC:
                    self.addresses[base + slot] = base + slot + 1 + insn.imm
                elif insn.src == op.PSEUDO_BTF_ID:
                    self.addresses[base + slot] = 0xFFFF_8900_0000_0000 + 4096 * (insn.imm & 0xFFFFFF)
                slot += 1
            slot += 1
        return base

    @property
    def spent(self) -> int:
        """Instructions of the last run, at most those that it had."""
        return min(self.steps, self.steps - self.left)

    def start(self, ctx: int) -> int:
        """Run from the first slot: r0 at the end. Fault or Budget where it does not get there."""
        self.left = self.steps
        self.tail_calls = self.loops = 0
        self.frames.clear()
        return self.call(0, (ctx,))

    def call(self, pc: int, arguments: Sequence[int]) -> int:
        """Run a function to its exit: r0."""
        if len(self.frames) >= MAX_FRAMES:
            raise Fault("too many frames")
        r = [0, *arguments, *(0,) * (10 - len(arguments))]
        depth = len(self.frames)
        self._enter(r, pc, END)
        blocks = self.blocks
        while pc != END:
            known = blocks.get(pc)
            if known is None:
                known = self._compile(pc)
            block, cost = known
            self.left -= cost
            if self.left < 0:
                raise Budget
            pc = block(r)
        assert len(self.frames) == depth
        return r[0]

    def _compile(self, pc: int) -> tuple[Block, int]:
        block, cost, slots = compile_block(self.words, pc, self.heads, self.addresses, self._names, self._tracing, self.watch is not None)
        self.lines[pc] = slots
        self.blocks[pc] = known = (block, cost)
        return known

    def _enter(self, r: list[int], target: int, back: int) -> int:
        if len(self.frames) >= MAX_FRAMES:
            raise Fault("too many frames")
        self.frames.append((back, r[6], r[7], r[8], r[9], r[10]))
        r[10] = self.memory.add(bytearray(self.frame)) + STACK_BYTES
        return target

    def _leave(self, r: list[int]) -> int:
        back, r[6], r[7], r[8], r[9], r[10] = self.frames.pop()
        return back

    def _tail_call(self, r: list[int], ctx: int, map: int, index: int, following: int) -> int:
        model = self.at.get(map)
        name = model.map.name if model is not None else ""
        self.record(12, index & 0xFFFFFFFF)
        target = self.programs.get(name, {}).get(index & 0xFFFFFFFF)
        if target is None or self.tail_calls >= MAX_TAIL_CALLS:
            r[0] = M64 - 1  # -ENOENT in spirit: no program reads it, for the call clobbers it
            return following
        self.tail_calls += 1
        r[1] = ctx
        r[10] = self.memory.add(bytearray(self.frame)) + STACK_BYTES
        return target

    def _may_goto(self) -> bool:
        self.loops += 1
        return self.loops <= MAY_GOTO
