"""Callbacks: a function of the program as an argument of a helper.

It is executed once, on inputs of its own: two callbacks with the same result for all inputs are the same argument."""

from __future__ import annotations

from bpflens.execute.symbolic.machine.access import Setting, memories, region_at
from bpflens.execute.symbolic.machine.addresses import addresses
from bpflens.execute.symbolic.machine.buffers import label_of
from bpflens.execute.symbolic.machine.call_term import ON_STACK, Call
from bpflens.execute.symbolic.machine.code import Place
from bpflens.execute.symbolic.machine.helper_effects import CALLBACKS
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.memory import split
from bpflens.execute.symbolic.machine.regions import Refused, depends_on
from bpflens.execute.symbolic.machine.state import State, uninitialised
from bpflens.execute.symbolic.values.bits import ext, plus, zext
from bpflens.execute.symbolic.values.diagrams import constrain
from bpflens.execute.symbolic.values.terms import WORLD, Term, const, symbol

__all__ = ("add_callback", "map_of_callback")

TIMER_SET_CALLBACK = 170


def map_of_callback(setting: Setting, state: State, call: Call) -> str:
    """The map whose elements a callback gets: the map argument, or for a timer the map that it lies in."""
    first = state.registers[1]
    if call.helper != TIMER_SET_CALLBACK or first is None:
        return label_of(first)
    regions = {region_at(setting, leaf) for _, leaf in addresses(first, state.guard)}
    region = regions.pop() if len(regions) == 1 else ""
    return region.removeprefix("map:") if isinstance(region, str) and region.startswith("map:") else ""


def add_callback(machine: Machine, state: State, call: Call, index: int, label: str, depth: int) -> None:
    """A function of the program as an argument: what it does for every input, and the bytes of its context that it uses."""
    target = state.registers[1 + index]
    assert target is not None
    given = CALLBACKS.get(call.helper) if isinstance(call.helper, int) else None
    if given is None or "d" in given or target.op != "sym" or target.args[0] != "function":
        raise Refused("callback: of a kind that is not handled")
    if "e" in given and not label:
        raise Refused("callback: over a map that is not known")
    context = state.registers[2 + index] if "x" in given else const(64, 0)
    if context is None:
        raise Refused("input: an argument that was not set")
    context = constrain(context, state.guard)
    anchor, offset = split(context)
    frame = ("callback", depth)
    if depends_on(context, *ON_STACK):
        if anchor is None or anchor.op != "sym":
            raise Refused("callback: its context is at a variable offset of the stack")
        inside = symbol(64, "buf", frame)
    else:
        call.add("x", context)
        inside = context
    section, start = target.args[2], target.args[3]
    after = _run_callback(machine, (section, start), depth, [_given(kind, n, label, depth, inside) for n, kind in enumerate(given)])
    _summary(state, call, after, machine.setting)
    if inside is not context and anchor is not None:
        _context_bytes(machine.setting, state, call, after, (anchor.args[1], offset - (1 << 64) if offset >> 63 else offset), frame)


def _given(kind: str, number: int, label: str, depth: int, context: Term) -> Term:
    """An argument of a callback."""
    if kind == "x":
        return context
    if kind == "i":
        return zext(symbol(32, "index", depth), 64)
    if kind in "ke":
        return symbol(64, "key" if kind == "k" else "element", label, depth)
    return symbol(64, "map", label) if kind == "m" else symbol(64, "object", number, depth)


def _run_callback(machine: Machine, place: Place, depth: int, given: list[Term]) -> State:
    start = symbol(64, "packet", depth)
    packet = (start, plus(start, zext(symbol(32, "length", depth), 64)), symbol(64, "meta", depth))
    state = State(symbol(WORLD, "callback", depth), packet)
    state.registers[1 : 1 + len(given)] = given
    state.registers[10] = symbol(64, "fp", machine.new_frame())
    after = machine.run(place, state, depth + 1)
    if after is None or after.registers[0] is None:
        raise Refused("callback: it does not return a value")
    return after


def _summary(state: State, call: Call, after: State, setting: Setting) -> None:
    result = after.registers[0]
    assert result is not None
    changed = memories(after)
    call.add("f " + " ".join(region for region, _ in changed), result, after.world, *(memory for _, memory in changed))


def _context_bytes(setting: Setting, state: State, call: Call, after: State, place: tuple[object, int], frame: object) -> None:
    """The bytes of the caller's frame that the callback reads or writes become arguments, those that it writes results."""
    written = sorted(at for (where, at) in after.frames if where == frame)
    for offset in sorted({*written, *setting.given.get(frame, ())}):
        cell = state.frames.get((place[0], place[1] + offset))
        byte = ext(cell[0], 8 * cell[1], 8) if cell is not None else uninitialised(setting.garbage, place[0], place[1] + offset)
        byte = constrain(byte, state.guard)
        if depends_on(byte, *ON_STACK):
            raise Refused("callback: a stack address in its context")
        call.add(f"c{offset}", byte)
    for offset in written:
        cell = after.frames[frame, offset]
        call.add(f"d{offset}", ext(cell[0], 8 * cell[1], 8))
        call.buffers.append((place[0], place[1] + offset))
