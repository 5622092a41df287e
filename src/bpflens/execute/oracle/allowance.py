"""How much of a comparison a program allows: one whose runs are long is run on fewer inputs, one that spins is not run by the kernel.

    bpf_loop(1 << 23, ...) inside of bpf_loop(1 << 23, ...)   ──►   Allowance(inputs=20, spins=True)

The verifier bounds plain loops to a million instructions, but not the calls of callbacks and the steps of iterators, and a test run of the
kernel can't be ended. So these programs are first run in the interpreter, which counts. Nothing here depends on time.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bpflens.execute.inputs.guide import guided, with_edges
from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.inputs.mine import mine
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.kernel_maps import Contents
from bpflens.execute.objects import made_memory, pointers
from bpflens.execute.result import Input, Outcome
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("LONGEST", "Allowance", "allowance", "spins")

LONGEST = 200_000  # instructions of one run
_ALL = 4_000_000  # instructions of one program on all inputs
_LEAST = 20  # inputs
_SAMPLE = 24
_LOOKED_AT = 100  # inputs that look for one that spins
_LOOP, _FOR_EACH, _USER_RING = 181, 164, 209  # helpers that call a function of the program as often as they like


@dataclass(frozen=True, slots=True)
class Allowance:
    """`inputs` to make; `average`: instructions of a run in a sample, at least this many where the sample ended early."""

    inputs: int
    average: int

    def left_out(self, wanted: int) -> tuple[str, ...]:
        """What is said of the inputs that were not made."""
        if self.inputs >= wanted:
            return ()
        return (f"more than {self.inputs} inputs: a run takes {self.average:,} instructions and more",)


def allowance(subject: Subject, inputs: int, seed: int) -> Allowance:
    """How many of `inputs` are made, by a sample of runs in the interpreter."""
    maker = _maker(subject, seed)
    program = InterpretedProgram(subject, steps=LONGEST)
    program.set(maker.contents(global_data=True), made_memory(maker.rnd, maker.mined.constants))
    spent = runs = 0
    while runs < _SAMPLE and spent < 5 * LONGEST:
        program.run(maker.fresh())
        spent += program.machine.spent
        runs += 1
    average = max(1, spent // runs)
    return Allowance(min(inputs, max(_LEAST, _ALL // average)), average)


def spins(subject: Subject, seed: int) -> bool:
    """Does an input make the program run for longer than `LONGEST` instructions? Asked only of programs that the verifier lets do that."""
    if not _may_spin(subject):
        return False
    maker = _maker(subject, seed)
    watched = _Watched(subject)
    try:
        found = guided(watched, maker, _LOOKED_AT)
        with_edges(watched, maker, subject, found, _LOOKED_AT)
    except _Spins:
        return True
    return False


def _maker(subject: Subject, seed: int) -> InputMaker:
    maker = InputMaker(mine(subject), subject.prog_type, subject.prog_type, subject.maps, Random(seed))
    maker.pointers = pointers()
    return maker


def _may_spin(subject: Subject) -> bool:
    """Is there a call or jump that repeats code beyond what the verifier counts?"""
    insns = [Insn(word) for word in subject.words]
    calls = [insn for insn in insns if insn.code == op.CALL_CODE]
    helpers = any(insn.src == 0 and insn.imm in (_LOOP, _FOR_EACH, _USER_RING) for insn in calls)
    return helpers or any(insn.src == op.PSEUDO_KFUNC_CALL for insn in calls) or any(insn.code == op.MAY_GOTO for insn in insns)


class _Spins(Exception):
    pass


class _Watched:
    """The program in the interpreter, as guides watch it, up to the first run that does not end."""

    def __init__(self, subject: Subject) -> None:
        self._program = InterpretedProgram(subject, steps=LONGEST)
        self.blocks = self._program.blocks
        self.reached, self.keys = self._program.reached, self._program.keys

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects this memory."""
        self._program.set(contents, memory)

    def run(self, input: Input) -> Outcome:
        """One run."""
        outcome = self._program.run(input)
        if self._program.machine.left < 0:
            raise _Spins
        return outcome
