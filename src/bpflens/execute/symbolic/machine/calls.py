"""Calls: of subprograms, which are executed; of helpers and kfuncs, which are functions of what they get.

    r0 = bpf_map_lookup_elem(map, &key)   ──►   ret(call(1, "mk4", (map, key's bytes), memories, world))

A call is a term over its arguments, the bytes of the stack that it reads, all memory that the program changed, and the history of effects.
Two calls with the same term give the same results and do the same. What a call writes to the stack is a function of it (and of the old
byte where the helper may leave it); all other memory starts a new generation. A callback is executed once on inputs of its own: two
callbacks with the same result for all inputs are the same argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bpflens.execute.symbolic.machine.access import Setting, constant_bytes, load_leaf, memories, region_at, store_leaf
from bpflens.execute.symbolic.machine.addresses import addresses
from bpflens.execute.symbolic.machine.code import FunctionCode, Meaning, Place
from bpflens.execute.symbolic.machine.helper_effects import (
    CALLBACKS,
    CHANGES_PACKET,
    LOOKUPS,
    TAIL_CALL,
    Argument,
    arguments,
    conversions,
)
from bpflens.execute.symbolic.machine.kfunc_effects import kfunc_arguments
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.memory import split
from bpflens.execute.symbolic.machine.regions import Refused, depends_on
from bpflens.execute.symbolic.machine.state import State, choose, uninitialised
from bpflens.execute.symbolic.values.bits import ext, mask, offset_by, plus, zext
from bpflens.execute.symbolic.values.comparisons import equal
from bpflens.execute.symbolic.values.diagrams import both, constrain, leaves, negate
from bpflens.execute.symbolic.values.terms import FALSE, TRUE, WORLD, Term, const, make, symbol
from bpflens.program import Map

__all__ = ("handle_call",)

MAX_BUFFER = 512
TIMER_SET_CALLBACK = 170
_READ, _WRITTEN = "kvrbRB", "wobVWBD"
_STACK = ("fp", "buf")


@dataclass(slots=True)
class _Call:
    """A call in the making: `shape` says what each term of `terms` is; `outputs`: (argument, places on the stack under
    conditions, size, all bytes written). `buffers`: bytes of frames that a callback writes."""

    helper: int | str
    shape: list[str] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    outputs: list[tuple[int, list[tuple[Term, Term]], int, bool]] = field(default_factory=list)
    buffers: list[tuple[object, int]] = field(default_factory=list)

    def add(self, shape: str, *terms: Term) -> None:
        self.shape.append(shape)
        self.terms += terms


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
    call = _Call(helper)
    _arguments(machine, state, call, signature, depth)
    effect = _finish(machine.setting, state, call)
    if helper in CHANGES_PACKET:
        _new_packet(state, effect)
    if helper != TAIL_CALL:
        return []
    # What follows a tail call runs only where it failed. A success leaves the function, with what the other program returned.
    succeeded = constrain(equal(make("tailed", 1, (effect,)), const(1, 1)), state.guard)
    gone = state.copy()
    gone.guard, state.guard = both(state.guard, succeeded), both(state.guard, negate(succeeded))
    return [gone]


def _arguments(machine: Machine, state: State, call: _Call, signature: tuple[Argument, ...], depth: int) -> None:
    setting = machine.setting
    map: Map | None = None
    for index, (kind, size) in enumerate(signature):
        value = state.registers[1 + index]
        if kind == ".":
            _varargs(state, call)
            return
        if value is None:
            raise Refused("input: an argument that was not set")
        value = constrain(value, state.guard)
        if kind == "m":
            map = _map_of(setting, value)
            call.add("m", value)
        elif kind == "f":
            _callback(machine, state, call, index, _map_of_callback(setting, state, call), depth)
        elif kind == "x":
            continue  # handled with the callback
        elif kind == "t":
            _string(setting, call, value)
        elif kind in "kvVrwobRWBD":
            _buffer(setting, state, call, index, kind, _size(state, index, kind, size, map), value)
        else:
            _plain(call, kind, value)


def _plain(call: _Call, kind: str, value: Term) -> None:
    if depends_on(value, *_STACK):
        raise Refused("call: a stack address as a plain argument")
    call.add(kind, ext(value, 0, 32) if kind == "u" else value)


def _label(value: Term | None) -> str:
    """The label of a map argument that is one known map, else ""."""
    return str(value.args[1]) if value is not None and value.op == "sym" and value.args[0] == "map" else ""


def _map_of_callback(setting: Setting, state: State, call: _Call) -> str:
    """The map whose elements a callback gets: the map argument, or for a timer the map that it lies in."""
    first = state.registers[1]
    if call.helper != TIMER_SET_CALLBACK or first is None:
        return _label(first)
    regions = {region_at(setting, leaf) for _, leaf in addresses(first, state.guard)}
    region = regions.pop() if len(regions) == 1 else ""
    return region.removeprefix("map:") if isinstance(region, str) and region.startswith("map:") else ""


def _map_of(setting: Setting, value: Term) -> Map | None:
    """The definition of a map argument; of the inner maps of a map, where the object has it."""
    if value.op == "ret" and value.args[0].args[0] in LOOKUPS:
        outer = setting.code.maps.get(_label(value.args[0].args[2][0]))
        inner = outer.fields.get("inner") if outer is not None else None
        return inner if isinstance(inner, Map) else None
    known = [setting.code.maps.get(_label(leaf)) for _, leaf in leaves(value)]
    first = known[0]
    if first is None or any(m is None or (m.key_size, m.value_size) != (first.key_size, first.value_size) for m in known):
        return None
    return first


def _size(state: State, index: int, kind: str, size: int, map: Map | None) -> tuple[int | None, bool]:
    """(bytes or an upper bound of them, whether that is exact); (None, False) where nothing is known."""
    if size:
        return size, True
    if kind in "kvV":
        if map is None:
            return None, False
        return map.key_size if kind == "k" else map.value_size, True
    given = state.registers[2 + index]
    if given is None:
        return None, False
    given = ext(constrain(given, state.guard), 0, 32)
    return (given.args, True) if given.op == "k" else (mask(given), False)


def _buffer(setting: Setting, state: State, call: _Call, index: int, kind: str, size: tuple[int | None, bool], value: Term) -> None:
    """A buffer of the stack is its contents; one elsewhere is its address, because all memory is an argument anyway."""
    places = leaves(value) if value.op in ("ite", "gite") else [(TRUE, value)]
    on_stack = [_on_stack(leaf) for _, leaf in places]
    if not any(on_stack):
        if depends_on(value, *_STACK):
            raise Refused("call: a computed stack address")
        contents = constant_bytes(setting, value, size[0]) if size[1] and size[0] and kind in "kvrR" else None
        if contents is not None:
            call.add(f"s{len(contents)}", const(8 * len(contents), int.from_bytes(contents, "little")))
        else:
            call.add("a", value)
        return
    length = _length([leaf for (_, leaf), stack in zip(places, on_stack, strict=True) if stack], size)
    if not all(on_stack):
        _elsewhere(state, call, places, on_stack)
    if kind in _READ and length:
        _contents(setting, state, call, places, on_stack, length)
    if kind in _WRITTEN and length:
        stack = [place for place, known in zip(places, on_stack, strict=True) if known]
        call.outputs.append((index, stack, length, kind in "wD" and size[1]))
        call.add(f"o{length}")


def _contents(setting: Setting, state: State, call: _Call, places: list[tuple[Term, Term]], on_stack: list[bool], length: int) -> None:
    """The bytes where the buffer is on the stack."""
    contents: Term | None = None
    for (condition, leaf), stack in zip(places, on_stack, strict=True):
        part = load_leaf(setting, state, leaf, length) if stack else symbol(8 * length, "no buffer", length)
        contents = part if contents is None else choose(condition, part, contents)
    assert contents is not None
    contents = constrain(contents, state.guard)
    if depends_on(contents, *_STACK):
        raise Refused("call: a stack address inside of a buffer")
    call.add(f"s{length}", contents)


def _elsewhere(state: State, call: _Call, places: list[tuple[Term, Term]], on_stack: list[bool]) -> None:
    """The address where a buffer is not on the stack, or null."""
    address: Term | None = None
    for (condition, leaf), stack in zip(places, on_stack, strict=True):
        where = symbol(64, "on the stack") if stack else leaf
        address = where if address is None else choose(condition, where, address)
    assert address is not None
    address = constrain(address, state.guard)
    if depends_on(address, *_STACK):
        raise Refused("call: a stack address inside of a buffer")
    call.add("at", address)


def _on_stack(leaf: Term) -> bool:
    items = leaf.args[1] if leaf.op == "add" else ((leaf, 1),)
    return any(term.op == "sym" and term.args[0] in _STACK and factor == 1 for term, factor in items)


def _length(places: list[Term], size: tuple[int | None, bool]) -> int:
    """Bytes of a stack buffer that may be used; a bound is cut at the end of the frame, beyond which the verifier allows nothing."""
    if size[0] is None:
        raise Refused("call: a buffer of unknown size")
    length = size[0]
    if not size[1]:
        room = []
        for leaf in places:
            anchor, offset = split(leaf)
            if anchor is not None and anchor.op == "sym":
                room.append((1 << 64) - offset if anchor.args[0] == "fp" else MAX_BUFFER)
        length = min([length, *room])
    if length > MAX_BUFFER:
        raise Refused("call: a buffer larger than the stack")
    return length


def _string(setting: Setting, call: _Call, value: Term) -> None:
    contents = constant_bytes(setting, value, None)
    if contents is not None:
        call.add(f"t{len(contents)}", const(8 * len(contents), int.from_bytes(contents, "little")))
    else:
        _plain(call, "p", value)


def _varargs(state: State, call: _Call) -> None:
    """As many of r3..r5 as the format asks for, in the widths that it asks for; all that are set where the format is not constant."""
    format = call.terms[0]
    if format.op == "k" and call.shape[0].startswith("s"):
        widths = conversions(format.args.to_bytes(format.width // 8, "little"))[:3]
    else:
        widths = [64] * sum(value is not None for value in state.registers[3:6])
    for index, width in enumerate(widths):
        value = state.registers[3 + index]
        if value is None:
            raise Refused("input: an argument that was not set")
        _plain(call, "n", ext(constrain(value, state.guard), 0, width))


def _finish(setting: Setting, state: State, call: _Call) -> Term:
    """Make the call's term and put its effects into the state."""
    history = (constrain(state.world, state.guard), constrain(state.generation, state.guard))
    effect = make("call", WORLD, (call.helper, " ".join(call.shape), tuple(call.terms), memories(state), *history))
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
    if signature is None and meaning.value < 0:
        raise Refused("kfunc: its parameters are not known")
    call = _Call(meaning.name)
    for index in range(meaning.value if signature is None else len(signature)):
        value = state.registers[1 + index]
        if value is None:
            raise Refused("input: an argument that was not set")
        value = constrain(value, state.guard)
        kind, size = signature[index] if signature is not None else Argument("n")
        if kind in "RWBD":
            _buffer(setting, state, call, index, kind, (size, True), value)
        else:
            _plain(call, kind, value)
    _new_packet(state, _finish(setting, state, call))


# --- callbacks ---


def _callback(machine: Machine, state: State, call: _Call, index: int, label: str, depth: int) -> None:
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
    if depends_on(context, *_STACK):
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


def _summary(state: State, call: _Call, after: State, setting: Setting) -> None:
    result = after.registers[0]
    assert result is not None
    changed = memories(after)
    call.add("f " + " ".join(region for region, _ in changed), result, after.world, *(memory for _, memory in changed))


def _context_bytes(setting: Setting, state: State, call: _Call, after: State, place: tuple[object, int], frame: object) -> None:
    """The bytes of the caller's frame that the callback reads or writes become arguments, those that it writes results."""
    written = sorted(at for (where, at) in after.frames if where == frame)
    for offset in sorted({*written, *setting.given.get(frame, ())}):
        cell = state.frames.get((place[0], place[1] + offset))
        byte = ext(cell[0], 8 * cell[1], 8) if cell is not None else uninitialised(setting.garbage, place[0], place[1] + offset)
        byte = constrain(byte, state.guard)
        if depends_on(byte, *_STACK):
            raise Refused("callback: a stack address in its context")
        call.add(f"c{offset}", byte)
    for offset in written:
        cell = after.frames[frame, offset]
        call.add(f"d{offset}", ext(cell[0], 8 * cell[1], 8))
        call.buffers.append((place[0], place[1] + offset))
