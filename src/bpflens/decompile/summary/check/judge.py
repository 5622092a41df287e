"""Sentences held against runs: how often each was seen to be so, which of its conditions were turned alone, and what contradicts it.

A sentence "returns V when P" is contradicted by a run where P holds and something else is returned, and by a run that returns V where no
path to V holds. A sentence "does X if P" likewise. Where a run does not tell whether a condition held, it contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bpflens.decompile import ir
from bpflens.decompile.summary.check.world import World, all_of, key_of
from bpflens.decompile.summary.sentence import Path, Says
from bpflens.decompile.summary.walk.claims import HasEntry
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.walk import Done
from bpflens.decompile.unit import Code
from bpflens.execute.interpreter.recorded import Run
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.helpers import helper_name

__all__ = ("Count", "Judge")

_SCALARS = (1 << 32) - 1


@dataclass(slots=True)
class Count:
    """`seen`: runs in which it was as said. `turned`: conditions of which a run had the contrary alone, and the outcome with it; `tried`
    all that are said. `contradiction`: what a run showed instead, "" for nothing; `witness` that run.
    """

    seen: int = 0
    turned: set[Condition] = field(default_factory=set)
    told: set[Condition] = field(default_factory=set)
    contradiction: str = ""
    witness: Run | None = None

    def against(self, why: str, run: Run) -> None:
        """The first contradiction counts."""
        if not self.contradiction:
            self.contradiction, self.witness = why, run


class Judge:
    """The sentences of one program. `entry`: the function whose result is the verdict."""

    def __init__(self, says: Sequence[Says | None], codes: dict[str, Code], shifts: dict[str, int], entry: str) -> None:
        self.says, self.codes, self.shifts, self.entry = says, codes, shifts, entry
        self.counts = [Count() for _ in says]
        self.verdicts = [n for n, each in enumerate(says) if each is not None and each.kind == "returns"]
        self.deeds: dict[tuple[str, int], list[tuple[int, Done]]] = {}
        for n, each in enumerate(says):
            if each is not None and each.kind in ("does", "map"):
                for done in each.done:
                    slot = main_slot(done.statement, codes[each.function])
                    self.deeds.setdefault((each.function, slot), []).append((n, done))
            if each is not None and each.kind in ("does", "returns"):
                for path in each.paths:
                    self.counts[n].told.update(c for c in path.conditions if c.kind is Kind.TELLING)

    def hold(self, run: Run, worlds: dict[str, World], retval: int | None = None) -> None:
        """Hold all sentences against a run; `retval` instead of its own, where the kernel ran it."""
        if run.outcome.error:
            return
        if self.verdicts:
            self._verdict(run, worlds[self.entry], run.outcome.retval if retval is None else retval, retval is None)
        if retval is not None:
            return
        for (function, slot), deeds in self.deeds.items():
            world = worlds.get(function)
            if world is not None and self.codes[function].start + world.shift in run.slots:
                self._deed(run, world, slot, deeds)

    # --- verdicts ---

    def _verdict(self, run: Run, world: World, retval: int, counted: bool) -> None:
        held = {n: [_path(path, world) for path in says.paths] for n in self.verdicts if (says := self.says[n]) is not None}
        open_end = any(True in held[n] or None in held[n] for n in self.verdicts if self._value(n) is None)
        for n in self.verdicts:
            says, count = self.says[n], self.counts[n]
            assert says is not None
            mine = says.value is not None and says.value == retval
            certain = [path for path, holds in zip(says.paths, held[n], strict=True) if holds and not path.may]
            if says.value is not None and certain and not mine:
                count.against(f"returned {_number(retval)}, where all conditions of {_number(says.value)} hold", run)
            if mine and not says.rest and says.paths and True not in held[n] and None not in held[n] and not open_end:
                count.against(f"returned {_number(retval)}, where none of its conditions hold", run)
            count.seen += counted and (mine or (says.value is None and True in held[n]))
            self._turned(count, says.paths, held[n], world, happened=mine)
        if not open_end and not any(self._value(n) in (None, retval) for n in self.verdicts):
            self.counts[self.verdicts[-1]].against(f"returned {_number(retval)}, which no sentence says", run)

    def _value(self, n: int) -> int | None:
        says = self.says[n]
        return None if says is None else says.value

    def _turned(self, count: Count, paths: Sequence[Path], held: Sequence[bool | None], world: World, *, happened: bool) -> None:
        """Conditions that were the only ones of a path that did not hold, where what is said did not happen, or by another path."""
        if happened and True not in held and None not in held:
            return
        for path, holds in zip(paths, held, strict=True):
            if holds is not False:
                continue
            wrong = [each for each in path.conditions if world.holds(each) is False]
            if len(wrong) == 1 and wrong[0].kind is Kind.TELLING:
                count.turned.add(wrong[0])

    # --- deeds ---

    def _deed(self, run: Run, world: World, slot: int, deeds: Sequence[tuple[int, Done]]) -> None:
        ran = slot + world.shift in run.slots
        paths = [Path(done.conditions, done.may) for _, done in deeds]
        held = [_path(path, world) for path in paths]
        for (n, done), path, holds in zip(deeds, paths, held, strict=True):
            count = self.counts[n]
            what = _what(done.statement)
            if holds and not path.may and not ran:
                count.against(f"did not {what}, where all conditions hold", run)
            if ran and True not in held and None not in held:
                count.against(f"did {what}, where not all conditions hold", run)
            if ran and len(deeds) == 1 and (why := _arguments(done, world)):
                count.against(why, run)
            count.seen += ran
            self._turned(count, [path], [holds], world, happened=ran)


def main_slot(statement: ir.Statement, code: Code) -> int:
    """The instruction that does it: the call, the store; the last one where none of its instructions is either."""
    for slot in reversed(statement.slots):
        insn = code.insns[slot - code.start]
        if isinstance(statement, ir.Call):
            if insn.code == op.CALL_CODE and (statement.kind != "helper" or insn.imm == statement.number):
                return slot
        elif insn.code & 7 in (op.ST, op.STX):
            return slot
    return statement.slots[-1] if statement.slots else code.start


def _path(path: Path, world: World) -> bool | None:
    return all_of(world.holds(each) for each in path.conditions)


def _what(statement: ir.Statement) -> str:
    return f"call {statement.name}" if isinstance(statement, ir.Call) else "store"


def _arguments(done: Done, world: World) -> str:
    """What contradicts the numbers and the key that are said of a call; "" for nothing."""
    statement = done.statement
    if not isinstance(statement, ir.Call) or statement.kind != "helper":
        return ""
    call = world.call(statement.slots)
    if call is None or helper_name(call.helper) != statement.name:
        return ""
    for n, text in enumerate(done.texts[:5]):
        if text.lstrip("-").isdigit() and (int(text) ^ call.args[n]) & _SCALARS:
            return f"called {statement.name} with {call.args[n]} as argument {n + 1}, not with {text}"
    if done.parts and call.key:
        said = key_of(HasEntry(call.map, len(call.key), done.parts, True, statement.slots), world)
        if said is not None and said != call.key:
            return f"asked {call.map} for the key {call.key.hex()}, not for {said.hex()}"
    return ""


def _number(value: int) -> str:
    return str((value ^ 1 << 31) - (1 << 31))
