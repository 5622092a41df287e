"""Runs that try what is said: each path is reached on purpose, then each of its conditions is turned alone; and inputs at random.

    path: IPv4, TCP, h4blk has the port     ──►   a run where all three hold, one with another EtherType, one with another protocol, one
                                                  where the port is not in h4blk
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bpflens.decompile.summary.check.draft import Draft, make
from bpflens.decompile.summary.check.world import World
from bpflens.decompile.summary.sentence import Path
from bpflens.decompile.summary.walk.conditions import Kind
from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.inputs.mine import Mined, mine
from bpflens.execute.interpreter.recorded import RecordedProgram, Run
from bpflens.execute.objects import made_memory, pointers
from bpflens.execute.result import Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended.contexts import context_struct
from bpflens.isa.extended.uapi import ProgType
from bpflens.program import Map

__all__ = ("Trials", "Tried")

_MOST_PATHS, _MOST_FLIPS, _MOST_RUNS = 60, 12, 600
_MOST_STEPS = 2_000_000  # instructions of all runs together
_RANDOM_ROUNDS, _RANDOM_RUNS = 4, 20
_ARGUMENTS = frozenset((ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.LSM))  # an array of arguments, numbers among them


@dataclass(frozen=True, slots=True)
class Tried:
    """A run, and whether a test run of the kernel can have the same."""

    run: Run
    in_kernel: bool


class Trials:
    """The runs of one program."""

    def __init__(self, subject: Subject, maps: Mapping[str, Map], network: int | None, seed: int = 1) -> None:
        self.subject, self.maps, self.network = subject, maps, network
        self.program = RecordedProgram(subject)
        self.tried: list[Tried] = []
        self.mined: Mined = mine(subject)
        self._rnd = Random(seed)
        self._plain = bool(context_struct(subject.prog_type))  # the context is numbers, and no pointers
        self._bases = list(self._drafts())

    def world(self, run: Run, shift: int) -> World:
        """The run as a function sees it."""
        return World(run, shift, self.network, self.maps)

    def assumed(self) -> tuple[str, ...]:
        """Helpers that were modelled."""
        return self.program.modelled()

    def at_random(self) -> None:
        """Inputs as the oracle makes them."""
        maker = InputMaker(self.mined, self.subject.prog_type, self.subject.prog_type, self.subject.maps, self._rnd)
        maker.pointers = pointers()
        for _ in range(_RANDOM_ROUNDS):
            contents = maker.contents(global_data=False)
            memory = made_memory(self._rnd, self.mined.constants)
            for _ in range(_RANDOM_RUNS):
                if self.program.spent > _MOST_STEPS // 2:
                    return
                run = self.program.run(Scene((maker.fresh(),), contents, memory))
                self.tried.append(Tried(run, not holds_pointers(run.scene.inputs[-1].ctx)))
                for call in run.calls:
                    if call.map and call.key:
                        maker.saw_keys(call.map, [call.key])

    def paths(self, paths: Sequence[Path], shift: int) -> None:
        """Reach each path, and turn its conditions one by one."""
        for path in paths[:_MOST_PATHS]:
            if len(self.tried) > _MOST_RUNS or self.program.spent > _MOST_STEPS:
                return
            for base in self._bases:
                reached = self._reach(path, base.copy(), shift)
                if reached is not None:
                    self._flip(path, *reached, shift)
                    break

    def _run(self, draft: Draft) -> Run:
        run = self.program.run(draft.scene(), draft.chosen())
        self.tried.append(Tried(run, draft.in_kernel and not holds_pointers(run.scene.inputs[-1].ctx)))
        return run

    def _reach(self, path: Path, draft: Draft, shift: int) -> tuple[Draft, World] | None:
        """A draft on which all conditions of a path hold that can be told; None where none was found."""
        world = self.world(self._run(draft), shift)
        for _ in range(len(path.conditions) + 2):
            missing = next((each for each in path.conditions if world.holds(each) is False), None)
            unknown = [each for each in path.conditions if each.kind is not Kind.UNKNOWN and world.holds(each) is None]
            if missing is None and not unknown:
                return draft, world
            if not any(make(each, True, draft, world) for each in ([missing] if missing else unknown)):
                return None
            world = self.world(self._run(draft), shift)
        return None

    def _flip(self, path: Path, draft: Draft, world: World, shift: int) -> None:
        conditions = [each for each in path.conditions if each.kind is Kind.TELLING]
        for condition in conditions[-_MOST_FLIPS:]:
            turned = draft.copy()
            if make(condition, False, turned, world):
                self._run(turned)

    # --- what to start from ---

    def _drafts(self) -> Iterator[Draft]:
        maker = InputMaker(self.mined, self.subject.prog_type, self.subject.prog_type, self.subject.maps, self._rnd)
        maker.pointers = pointers()
        memory = made_memory(self._rnd, self.mined.constants)
        for frame in (_frame(b"\x08\x00", 6), _frame(b"\x08\x00", 17), _frame(b"\x86\xdd", 6)):
            fresh = maker.fresh()
            packets = bool(fresh.packet)
            ctx = b"" if packets and self.subject.prog_type != ProgType.SK_LOOKUP else fresh.ctx
            if holds_pointers(ctx) and (self._plain or self.subject.prog_type in _ARGUMENTS):
                ctx = bytes(len(ctx))
            yield Draft(self.subject.prog_type, bytearray(frame if packets else b""), bytearray(ctx), {}, memory)


def holds_pointers(ctx: bytes) -> bool:
    """Words that the kernel's runs would take for addresses, and move."""
    windows = {each >> 16 for each in pointers()}
    return any(int.from_bytes(ctx[at : at + 8], "little") >> 16 in windows for at in range(0, len(ctx) - 7, 8))


def _frame(ethertype: bytes, protocol: int) -> bytes:
    """A well-formed packet of 200 bytes."""
    if ethertype == b"\x08\x00":
        network = bytes((0x45, 0, 0, 186, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2))
    else:
        addresses = bytes.fromhex("20010db8000000000000000000000001" + "20010db8000000000000000000000002")
        network = bytes((0x60, 0, 0, 0, 0, 146, protocol, 64)) + addresses
    transport = bytes((0x9C, 0x40, 0x23, 0x28, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0))
    return (bytes((2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)) + ethertype + network + transport).ljust(200, b"\x5a")
