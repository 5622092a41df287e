"""Calls: of subprograms, which are executed; of helpers and kfuncs, which are functions of what they get.

    r0 = bpf_map_lookup_elem(map, &key)   ──►   ret(call(1, "mk4", (map, key's bytes), memories, world))

A call is a term over its arguments, the bytes of the stack that it reads, all memory that the program changed, and the history of effects.
Two calls with the same term give the same results and do the same. What a call writes to the stack is a function of it (and of the old
byte where the helper may leave it); all other memory starts a new generation. A callback is executed once on inputs of its own: two
callbacks with the same result for all inputs are the same argument.
"""

from __future__ import annotations

from bpflens.execute.symbolic.machine.access import Setting, load_leaf, memories, store_leaf
from bpflens.execute.symbolic.machine.buffers import add_buffer, add_plain, add_source, add_string, add_varargs, map_of, size_of
from bpflens.execute.symbolic.machine.call_term import Call
from bpflens.execute.symbolic.machine.callbacks import add_callback, map_of_callback
from bpflens.execute.symbolic.machine.code import FunctionCode, Meaning, Place
from bpflens.execute.symbolic.machine.helper_effects import CHANGES_PACKET, TAIL_CALL, Argument, arguments
from bpflens.execute.symbolic.machine.kfunc_effects import CONTEXT_ALIASES, kfunc_arguments
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.machine.state import State, choose, happens
from bpflens.execute.symbolic.values.bits import offset_by, plus, zext
from bpflens.execute.symbolic.values.comparisons import equal
from bpflens.execute.symbolic.values.diagrams import both, constrain, negate
from bpflens.execute.symbolic.values.terms import FALSE, WORLD, Term, const, make, symbol
from bpflens.program import Map

__all__ = ("handle_call",)


def handle_call(machine: Machine, state: State, function: FunctionCode, slot: int, depth: int) -> list[State]:
    """Execute the call at `slot`: changes `state`; gives the states that leave the function at once (a tail call that succeeds)."""
    meaning = function.meanings.get(slot)
    if meaning is None:
        raise Refused("input: a call that is not known")
    if meaning.kind == "call" and meaning.place is not None:
        _subprogram(machine, state, meaning.place, depth)
        return []
    if meaning.kind == "kfunc":
        _kfunc(machine.setting, state, meaning)
        return []
    if meaning.kind != "helper":
        raise Refused(f"input: a call of the kind {meaning.kind}")
    return _helper(machine, state, meaning.value, depth)


def _subprogram(machine: Machine, state: State, place: Place, depth: int) -> None:
    saved = state.registers[6:11]
    frame = machine.new_frame()
    state.registers[6:11] = [None, None, None, None, symbol(64, "fp", frame)]
    state.registers[0] = None
    after = machine.run(place, state, depth + 1)
    if after is None:
        state.guard = FALSE
        return
    for name in State.__slots__:
        setattr(state, name, getattr(after, name))
    state.frames = {at: cell for at, cell in state.frames.items() if at[0] != frame}
    state.registers[1:11] = [None] * 5 + saved


# --- helpers ---


def _helper(machine: Machine, state: State, helper: int, depth: int) -> list[State]:
    signature = arguments(helper)
    if signature is None:
        raise Refused(f"helper: {helper} is not known")
    call = Call(helper)
    _arguments(machine, state, call, signature, depth)
    effect = _finish(machine.setting, state, call)
    if helper in CHANGES_PACKET or any(argument.kind == "f" for argument in signature):  # a callback may change the packet, too
        _new_packet(state, effect)
    if helper != TAIL_CALL:
        return []
    # What follows a tail call runs only where it failed. A success leaves the function, with what the other program returned and did.
    succeeded = constrain(equal(make("tailed", 1, (effect,)), const(1, 1)), state.guard)
    gone = state.copy()
    _new_packet(gone, effect)
    gone.guard, state.guard = both(state.guard, succeeded), both(state.guard, negate(succeeded))
    return [gone]


def _arguments(machine: Machine, state: State, call: Call, signature: tuple[Argument, ...], depth: int) -> None:
    setting = machine.setting
    map: Map | None = None
    for index, (kind, size) in enumerate(signature):
        value = state.registers[1 + index]
        if kind == ".":
            add_varargs(state, call)
            return
        if value is None:
            raise Refused("input: an argument that was not set")
        value = constrain(value, state.guard)
        if kind == "m":
            map = map_of(setting, value)
            call.add("m", value)
        elif kind == "f":
            add_callback(machine, state, call, index, map_of_callback(setting, state, call), depth)
        elif kind == "x":
            continue  # handled with the callback
        elif kind == "t":
            add_string(setting, call, value)
        elif kind in "kvVrwobRWBD":
            add_buffer(setting, state, call, index, kind, size_of(state, index, kind, size, map), value)
        elif kind == "l":
            add_source(setting, state, call, index, value)
        else:
            add_plain(call, kind, value)


def _finish(setting: Setting, state: State, call: Call) -> Term:
    """Make the call's term and put its effects into the state."""
    history = (constrain(state.world, state.guard), constrain(state.generation, state.guard))
    effect = make("call", WORLD, (call.helper, " ".join(call.shape), tuple(call.terms), memories(state), *history))
    happens(effect, state.guard)
    state.world = state.generation = effect
    state.memories = {}
    state.registers[0] = make("ret", 64, (effect,))
    state.registers[1:6] = [None] * 5
    for index, places, length, all_written in call.outputs:
        for condition, place in places:
            for byte in range(length):
                at = offset_by(place, byte)
                old = load_leaf(setting, state, at, 1)
                new = make("out", 8, (effect, index, byte) if all_written else (effect, index, byte, old))
                store_leaf(setting, state, at, 1, choose(constrain(condition, state.guard), new, old))
    for frame, offset in call.buffers:
        state.frames[frame, offset] = (make("out", 8, (effect, "context", offset)), 0)
    return effect


def _new_packet(state: State, effect: Term) -> None:
    start = make("pktbase", 64, (effect,))
    state.packet = (start, plus(start, zext(make("pktlen", 32, (effect,)), 64)), make("pktmeta", 64, (effect,)))


def _kfunc(setting: Setting, state: State, meaning: Meaning) -> None:
    """A kfunc: its result may point anywhere, and it may change the packet."""
    signature = kfunc_arguments(meaning.name)
    if meaning.name == "bpf_throw":
        raise Refused("kfunc: bpf_throw")
    if meaning.name in CONTEXT_ALIASES:
        setting.use_of_context("seen by the kernel's pointer")
    if signature is None and meaning.value < 0:
        raise Refused("kfunc: its parameters are not known")
    call = Call(meaning.name)
    for index in range(meaning.value if signature is None else len(signature)):
        value = state.registers[1 + index]
        if value is None:
            raise Refused("input: an argument that was not set")
        value = constrain(value, state.guard)
        kind, size = signature[index] if signature is not None else Argument("n")
        if kind in "RWBD":
            add_buffer(setting, state, call, index, kind, (size, True), value)
        else:
            add_plain(call, kind, value)
    _new_packet(state, _finish(setting, state, call))



