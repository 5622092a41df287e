"""A program in the interpreter, as the oracle and the guides use one: contents in, runs, contents out."""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.execute.effects import CALLS, OUTSIDE
from bpflens.execute.interpreter.machine import STEPS, Budget, Machine, Watch
from bpflens.execute.interpreter.maps import OuterModel
from bpflens.execute.interpreter.memory import SHIFT, Fault
from bpflens.execute.interpreter.packet import context_after, packet_after, prepare
from bpflens.execute.kernel_maps import Contents, MapState
from bpflens.execute.objects import KERNEL, USER
from bpflens.execute.result import Input, Outcome
from bpflens.execute.subject import Subject

__all__ = ("InterpretedProgram",)


class InterpretedProgram:
    """A program with its maps in Python. `seed`: of the memory outside. `trace`: note both sides of every condition in `machine.trace`.
    `pattern`: what new stack memory holds, 4 bytes again and again.
    """

    def __init__(
        self, subject: Subject, *, tail: Mapping[str, Mapping[int, Subject]] | None = None, seed: int = 0, steps: int = STEPS,
        trace: bool = False, pattern: int = 0, watch: Watch | None = None,
    ) -> None:  # fmt: skip
        self.machine = Machine(subject, tail=tail, seed=seed, steps=steps, trace=trace, watch=watch)
        self.machine.frame = pattern.to_bytes(4, "little") * 128
        self._fresh = self.machine.memory.mark
        self.set({})

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects that contexts point to this memory; what was recorded is forgotten."""
        m = self.machine
        m.memory.drop_after(self._fresh)
        for name, model in m.maps.items():
            if isinstance(model, OuterModel):
                model.set_inner(contents.get(name, {}), contents)
            else:
                model.set(contents.get(name, {}))
        for base in (KERNEL, USER):
            if memory:
                m.memory.add(memory, base >> SHIFT)
        m.calls.clear()
        m.memory.written.clear()
        self._kept = m.memory.mark

    def run(self, input: Input) -> Outcome:
        """One run. A fault, a refused input or the end of the budget is an `error`."""
        m = self.machine
        m.keys.clear()
        try:
            result = m.start(prepare(m, input))
        except Fault as fault:
            return Outcome(error=f"fault: {fault}")
        except Budget:
            return Outcome(error=f"more than {m.steps} instructions")
        except ValueError as refused:
            return Outcome(error=str(refused))
        return Outcome(result & 0xFFFFFFFF, packet_after(m), context_after(m))

    def read(self) -> dict[str, MapState]:
        """What the maps hold, the calls that were recorded, and the memory outside that was written."""
        m = self.machine
        found: dict[str, MapState] = {}
        for name, model in m.maps.items():
            state = model.read()
            if state is not None:
                found[name] = state
        found[CALLS] = list(m.calls)
        found[OUTSIDE] = {address.to_bytes(8, "little"): bytes([byte]) for address, byte in m.memory.written.items()}
        return found

    # --- as a guide watches it ---

    @property
    def blocks(self) -> int:
        """Basic blocks of the program."""
        return len(self.machine.heads)

    def reached(self) -> int:
        """How many blocks were run since the start."""
        return len(self.machine.blocks.keys() & self.machine.heads)

    def keys(self) -> dict[str, list[bytes]]:
        """Keys looked up in the last run, by map."""
        return self.machine.keys
