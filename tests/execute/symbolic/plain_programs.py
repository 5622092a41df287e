"""Programs of assembler text for the symbolic check, and terms evaluated on chosen inputs."""

from __future__ import annotations

from bpflens.execute.symbolic.interpretation import Interpretation
from bpflens.execute.symbolic.machine.access import Setting
from bpflens.execute.symbolic.machine.calls import handle_call
from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.state import State
from bpflens.execute.symbolic.values.bits import plus, zext
from bpflens.execute.symbolic.values.terms import WORLD, symbol
from bpflens.isa.extended.asm import assemble
from bpflens.program import Isa, Origin, Program

SYSCALL, XDP = 31, 6


def program(text_or_words, prog_type=SYSCALL, **more):
    if isinstance(text_or_words, str):
        code = assemble(text_or_words)
    else:
        code = b"".join(word.to_bytes(8, "little") for word in text_or_words)
    return Program(Isa.EXTENDED, code, Origin("test", "test"), name="f", type=prog_type, **more)


def setting(made, **more):
    return Setting(Code(made), "a", False, frozenset(), garbage="a", **more)


def start():
    packet = symbol(64, "packet")
    state = State(symbol(WORLD, "start"), (packet, plus(packet, zext(symbol(32, "length"), 64)), symbol(64, "meta")))
    state.registers[1], state.registers[10] = symbol(64, "ctx"), symbol(64, "fp", 0)
    return state


def executed(made, **more):
    """The state at the end."""
    here = setting(made, **more)
    return Machine(here, handle_call).run(here.code.entry, start(), 0)


class OnContext(Interpretation):
    """The inputs of one run: the context has these bytes."""

    def __init__(self, context: bytes) -> None:
        super().__init__(0)
        self.context = context

    def read(self, base, at):
        """A byte of memory that the program did not write."""
        offset = at - self._symbol(("ctx",), 64)
        return self.context[offset] if base[2] == "ctx" and 0 <= offset < len(self.context) else super().read(base, at)
