"""Arguments of calls: numbers, strings, and buffers, whose bytes count where they lie on the stack.

    key at fp-8, 4 bytes   ──►   the shape "k4" and a term of 32 bits

A buffer elsewhere is its address, because all memory is an argument anyway."""

from __future__ import annotations

from bpflens.execute.symbolic.machine.access import Setting, constant_bytes, load_leaf
from bpflens.execute.symbolic.machine.call_term import MAX_BUFFER, ON_STACK, Call
from bpflens.execute.symbolic.machine.helper_effects import LOOKUPS, conversions
from bpflens.execute.symbolic.machine.memory import split
from bpflens.execute.symbolic.machine.regions import Refused, depends_on
from bpflens.execute.symbolic.machine.state import State, choose
from bpflens.execute.symbolic.values.bits import ext
from bpflens.execute.symbolic.values.diagrams import constrain, leaves
from bpflens.execute.symbolic.values.masks import upper
from bpflens.execute.symbolic.values.terms import TRUE, Term, const, symbol
from bpflens.program import Map

__all__ = ("add_buffer", "add_plain", "add_source", "add_string", "add_varargs", "label_of", "map_of", "size_of")

_READ, _WRITTEN = "kvrbRB", "wobVWBD"


def add_plain(call: Call, kind: str, value: Term) -> None:
    if depends_on(value, *ON_STACK):
        raise Refused("call: a stack address as a plain argument")
    call.add(kind, ext(value, 0, 32) if kind == "u" else value)


def add_source(setting: Setting, state: State, call: Call, index: int, value: Term) -> None:
    """What a helper copies from an address of the kernel: the address, or the bytes where it is one of the stack."""
    if not depends_on(value, *ON_STACK):
        call.add("n", value)
        return
    size = size_of(state, index - 2, "r", 0, None)
    target = state.registers[index - 1]
    if target is None or size[0] is None or not _apart(constrain(target, state.guard), value, size[0]):
        raise Refused("call: a copy within the stack that may overlap")
    add_buffer(setting, state, call, index, "r", size, value)


def _apart(a: Term, b: Term, size: int) -> bool:
    """Do `size` bytes at two addresses surely not overlap? `b` is one of the stack."""
    for _, leaf in leaves(a) if a.op in ("ite", "gite") else [(TRUE, a)]:
        for _, other in leaves(b) if b.op in ("ite", "gite") else [(TRUE, b)]:
            if not _on_stack(leaf):
                continue  # map values, packets and rings are not the stack
            (anchor, at), (second, to) = split(leaf), split(other)
            if anchor is None or anchor is not second or min((at - to) % (1 << 64), (to - at) % (1 << 64)) < size:
                return False
    return True


def label_of(value: Term | None) -> str:
    """The label of a map argument that is one known map, else ""."""
    return str(value.args[1]) if value is not None and value.op == "sym" and value.args[0] == "map" else ""


def map_of(setting: Setting, value: Term) -> Map | None:
    """The definition of a map argument; of the inner maps of a map, where the object has it."""
    if value.op == "ret" and value.args[0].args[0] in LOOKUPS:
        outer = setting.code.maps.get(label_of(value.args[0].args[2][0]))
        inner = outer.fields.get("inner") if outer is not None else None
        return inner if isinstance(inner, Map) else None
    known = [setting.code.maps.get(label_of(leaf)) for _, leaf in leaves(value)]
    first = known[0]
    if first is None or any(m is None or (m.key_size, m.value_size) != (first.key_size, first.value_size) for m in known):
        return None
    return first


def size_of(state: State, index: int, kind: str, size: int, map: Map | None) -> tuple[int | None, bool]:
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
    return (given.args, True) if given.op == "k" else (upper(given), False)


def add_buffer(setting: Setting, state: State, call: Call, index: int, kind: str, size: tuple[int | None, bool], value: Term) -> None:
    """A buffer of the stack is its contents; one elsewhere is its address, because all memory is an argument anyway."""
    places = leaves(value) if value.op in ("ite", "gite") else [(TRUE, value)]
    on_stack = [_on_stack(leaf) for _, leaf in places]
    if not any(on_stack):
        if depends_on(value, *ON_STACK):
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


def _contents(setting: Setting, state: State, call: Call, places: list[tuple[Term, Term]], on_stack: list[bool], length: int) -> None:
    """The bytes where the buffer is on the stack."""
    contents: Term | None = None
    for (condition, leaf), stack in zip(places, on_stack, strict=True):
        part = load_leaf(setting, state, leaf, length) if stack else symbol(8 * length, "no buffer", length)
        contents = part if contents is None else choose(condition, part, contents)
    assert contents is not None
    contents = constrain(contents, state.guard)
    if depends_on(contents, *ON_STACK):
        raise Refused("call: a stack address inside of a buffer")
    call.add(f"s{length}", contents)


def _elsewhere(state: State, call: Call, places: list[tuple[Term, Term]], on_stack: list[bool]) -> None:
    """The address where a buffer is not on the stack, or null."""
    address: Term | None = None
    for (condition, leaf), stack in zip(places, on_stack, strict=True):
        where = symbol(64, "on the stack") if stack else leaf
        address = where if address is None else choose(condition, where, address)
    assert address is not None
    address = constrain(address, state.guard)
    if depends_on(address, *ON_STACK):
        raise Refused("call: a stack address inside of a buffer")
    call.add("at", address)


def _on_stack(leaf: Term) -> bool:
    items = leaf.args[1] if leaf.op == "add" else ((leaf, 1),)
    return any(term.op == "sym" and term.args[0] in ON_STACK and factor == 1 for term, factor in items)


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


def add_string(setting: Setting, call: Call, value: Term) -> None:
    contents = constant_bytes(setting, value, None)
    if contents is not None:
        call.add(f"t{len(contents)}", const(8 * len(contents), int.from_bytes(contents, "little")))
    else:
        add_plain(call, "p", value)


def add_varargs(state: State, call: Call) -> None:
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
        add_plain(call, "n", ext(constrain(value, state.guard), 0, width))
