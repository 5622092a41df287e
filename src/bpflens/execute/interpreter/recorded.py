"""A run in the interpreter with all that it depended on: packet, context, global data as they were, and every call with its result.

    RecordedProgram(subject).run(scene)  ──►  Run(outcome, packet, ctx, calls=(HelperCall(slot=7, helper=1, key=..., result=0), ...), ...)

Results of helpers can be set by slot, and so can what helpers put into buffers: what a run depends on beside its input is then chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.interpreter.helpers import call_helper
from bpflens.execute.interpreter.maps import ArrayModel
from bpflens.execute.interpreter.memory import SHIFT, Fault
from bpflens.execute.interpreter.packet import CTX_REGION, PACKET_REGION
from bpflens.execute.result import Outcome, Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended.uapi import HelperId

if TYPE_CHECKING:
    from bpflens.execute.interpreter.machine import Machine

__all__ = ("FILLED", "Chosen", "HelperCall", "RecordedProgram", "Run")

FILLED = {16: (0, 1), 4: (0, 1), 112: (0, 1), 113: (0, 1), 45: (0, 1), 114: (0, 1), 115: (0, 1), 26: (2, 3), 68: (2, 3)}
"""Helpers that fill a buffer: (argument of the buffer, argument of its size), from 0."""
_KEYED = frozenset((HelperId.map_lookup_elem, HelperId.map_update_elem, HelperId.map_delete_elem, HelperId.map_lookup_percpu_elem))
"""Their arguments are a map and a key."""
_LOOKUPS = frozenset((HelperId.map_lookup_elem, HelperId.map_lookup_percpu_elem))
_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class HelperCall:
    """`map` and `key` of a map call ("" and b"" else); `value`: of the entry that was found, before the program changed it; `filled`: what
    the helper put into its buffer.
    """

    slot: int
    helper: int
    args: tuple[int, ...]
    result: int
    map: str = ""
    key: bytes = b""
    value: bytes = b""
    filled: bytes = b""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What calls give, by slot: results, and contents of buffers. `ctx`: bytes of the context, by offset."""

    results: Mapping[int, int] = field(default_factory=dict)
    filled: Mapping[int, bytes] = field(default_factory=dict)
    ctx: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run. `packet`: from where the program sees it; `data`: global data by section, as it was; `slots`: what was run."""

    scene: Scene
    chosen: Chosen
    outcome: Outcome
    packet: bytes
    ctx: bytes
    data: Mapping[str, bytes]
    calls: tuple[HelperCall, ...]
    slots: frozenset[int]


class RecordedProgram:
    """A program in the interpreter whose runs are recorded."""

    def __init__(self, subject: Subject) -> None:
        self.chosen = Chosen()
        self._calls: list[HelperCall] = []
        self._blocks: dict[int, None] = {}
        self._slot = -1
        self._program = InterpretedProgram(subject, steps=_STEPS, watch=self)
        self._at_start: tuple[bytes, bytes] = (b"", b"")
        self.spent = 0  # instructions of all runs

    def run(self, scene: Scene, chosen: Chosen = Chosen()) -> Run:
        """The last input of a scene, on fresh maps."""
        self.chosen = chosen
        self._calls, self._blocks = [], {}
        self._at_start = b"", b""
        program, machine = self._program, self._program.machine
        program.set(scene.maps, scene.memory)
        data = {name: bytes(machine.memory.regions[model.base >> SHIFT]) for name, model in machine.maps.items()
                if name.startswith(".") and isinstance(model, ArrayModel)}  # fmt: skip
        outcome = program.run(scene.inputs[-1])
        self.spent += machine.steps - max(machine.left, 0) if machine.left else 0
        lines = machine.lines
        slots = frozenset(slot for block in self._blocks for slot in lines.get(block, ()) if slot >= 0)
        packet, ctx = self._at_start
        return Run(scene, chosen, outcome, packet, ctx, data, tuple(self._calls), slots)

    def modelled(self) -> tuple[str, ...]:
        """Helpers that were modelled so far."""
        return tuple(sorted(self._program.machine.modelled))

    # --- as the machine tells ---

    def running(self, slot: int) -> None:
        """The first block: note what the program sees before it does anything."""
        if not self._blocks:
            m = self._program.machine
            packet, ctx = m.memory.regions.get(PACKET_REGION), m.memory.regions.get(CTX_REGION, b"")
            for at, value in self.chosen.ctx.items():
                if isinstance(ctx, bytearray) and at < len(ctx):
                    ctx[at] = value
            self._at_start = bytes(packet[m.data : m.data_end]) if packet is not None else b"", bytes(ctx)
        self._blocks[slot] = None

    def calling(self, slot: int) -> None:
        """The next call's slot."""
        self._slot = slot

    def helper(self, machine: Machine, number: int, *arguments: int) -> int:
        """Call it, or give what was chosen; note it."""
        slot = self._slot
        name, key = self._map_and_key(machine, number, arguments)
        chosen = self.chosen.results.get(slot)
        result = call_helper(machine, number, *arguments) if chosen is None else chosen & 0xFFFFFFFFFFFFFFFF
        filled = self._buffer(machine, number, arguments, slot)
        value = b""
        if number in _LOOKUPS and result and name:
            value = _readable(machine, result, machine.maps[name].value_size)
        self._calls.append(HelperCall(slot, number, arguments, result, name, key, value, filled))
        return result

    def _buffer(self, machine: Machine, number: int, arguments: tuple[int, ...], slot: int) -> bytes:
        if number not in FILLED:
            return b""
        at, size = (arguments[n] for n in FILLED[number])
        wanted = self.chosen.filled.get(slot)
        size &= 0xFFFFFFFF
        if wanted is not None and size:
            machine.memory.write(at, wanted.ljust(size, b"\0")[:size])
        return _readable(machine, at, size) if size else b""

    def _map_and_key(self, machine: Machine, number: int, arguments: tuple[int, ...]) -> tuple[str, bytes]:
        model = machine.at.get(arguments[0]) if number in _KEYED else None
        if model is None:
            return "", b""
        return model.map.name, _readable(machine, arguments[1], model.key_size)


def _readable(machine: Machine, address: int, size: int) -> bytes:
    try:
        return machine.memory.read(address, size, probe=True)
    except Fault:
        return b""
