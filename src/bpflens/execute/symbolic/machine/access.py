"""Loads and stores: from an address to bytes of frames, of the context, or of a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bpflens.execute.symbolic.machine.addresses import addresses
from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.memory import Overlay, base, canonical, null_read, select, split
from bpflens.execute.symbolic.machine.regions import Refused, region_of
from bpflens.execute.symbolic.machine.state import State, choose, happens, uninitialised
from bpflens.execute.symbolic.values.bits import cat, ext, zext
from bpflens.execute.symbolic.values.diagrams import constrain
from bpflens.execute.symbolic.values.masks import mask
from bpflens.execute.symbolic.values.terms import WORLD, Term, const, make, symbol
from bpflens.isa.extended.contexts import context_struct, fields
from bpflens.isa.extended.uapi import ProgType

__all__ = ("Setting", "constant_bytes", "load", "load_leaf", "memories", "store")

FRAME = 512
_PACKET_PARTS = {"packet": 0, "packet_end": 1, "packet_meta": 2}
# Fields of __sk_buff that a later load gives back as they were stored (bpf_convert_ctx_access, net/core/filter.c); others are events.
_PLAIN = {"__sk_buff": ((8, 12), (32, 36), (48, 68))}


@dataclass(slots=True)
class Setting:
    """What stays the same while one program is executed.

    `one`: all memory is one region. `inlined`: sections of constants that are read as the file has them; `apart`: those that the two
    programs do not share.
    `assumed`: conditions that were used on the way. `regions`: those that were touched. `functions`: those that were executed.
    `given`: per frame of a callback's context the bytes that were read before they were written. `booleans`: offsets of global variables
    of the type bool, by section. `garbage`: whose the bytes of the stack are that were never written, "" for one value in both programs.
    `context`: how the context was used.
    """

    code: Code
    side: str
    one: bool
    inlined: frozenset[str]
    apart: frozenset[str] = frozenset()
    struct: str = ""
    pointers: dict[tuple[int, int], int] = field(default_factory=dict)
    regions: set[str] = field(default_factory=set)
    assumed: set[str] = field(default_factory=set)
    functions: dict[str, None] = field(default_factory=dict)
    given: dict[Any, set[int]] = field(default_factory=dict)
    booleans: Mapping[str, frozenset[int]] = field(default_factory=dict)
    garbage: str = ""
    context: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.struct = context_struct(self.code.program.type or 0)
        for f in fields(self.struct):
            if f.points_to in _PACKET_PARTS:
                self.pointers[f.offset, f.size] = _PACKET_PARTS[f.points_to]

    def use_of_context(self, use: str) -> None:
        """Note that the context is written, or seen by a pointer of another region; both are refused."""
        self.context.add(use)
        if len(self.context) > 1:
            raise Refused("context: it is written, and a pointer of the kernel shows it too")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# --- loads ---


def load(setting: Setting, state: State, address: Term, size_bytes: int) -> Term:
    """The value at an address."""
    value: Term | None = None
    for condition, leaf in addresses(address, state.guard):
        found = load_leaf(setting, state, leaf, size_bytes)
        value = found if value is None else choose(condition, found, value)
    assert value is not None
    return value


def region_at(setting: Setting, leaf: Term) -> Any:
    """The region of an address that is no diagram."""
    return region_of(leaf, setting.code.map_types, setting.one)


def load_leaf(setting: Setting, state: State, leaf: Term, size_bytes: int) -> Term:
    """The value at an address that is no diagram."""
    region = region_at(setting, leaf)
    anchor, offset = split(leaf)
    if isinstance(region, tuple):
        return _load_frame(setting, state, region[1], anchor, _signed(offset), size_bytes)
    if region == "null":
        return null_read(offset, size_bytes)
    if region.startswith(("constant:", "kconfig:")):
        return _boolean(setting, anchor, offset, _load_constant(setting, region, anchor, offset, size_bytes))
    if region == "ctx":
        if setting.code.program.type is None:
            return _unknown_field(setting, state, anchor, offset, size_bytes)
        part = _context_pointer(setting, anchor, offset, size_bytes)
        if part is not None:
            return state.packet[part]
    setting.regions.add(region)
    memory = state.memory(region)
    return _boolean(setting, anchor, offset, cat([memory.read(anchor, offset + index) for index in range(size_bytes)]))


def _boolean(setting: Setting, anchor: Term | None, offset: int, value: Term) -> Term:
    """A global variable of the type bool is 0 or 1: compilers test it against either."""
    if value.width != 8 or anchor is None or anchor.op != "sym" or anchor.args[0] not in ("constant", "data"):
        return value
    if offset in setting.booleans.get(anchor.args[1], ()):
        if mask(value) > 1:
            setting.assumed.add("booleans")
        return zext(ext(value, 0, 1), 8)
    return value


def _unknown_field(setting: Setting, state: State, anchor: Term | None, offset: int, size_bytes: int) -> Term:
    """A field of the context of a program whose type is not known: 64 bits, for it may be a pointer that is loaded as 4 bytes."""
    setting.regions.add("ctx")
    return make("field", 64, (canonical(state.memory("ctx").freeze()), anchor, offset, size_bytes))


def _context_pointer(setting: Setting, anchor: Term | None, offset: int, size_bytes: int) -> int | None:
    """Which of the packet's pointers a load from the context gives."""
    if not setting.pointers:
        return None
    if anchor is None or anchor.op != "sym":
        raise Refused("context: a load at a variable offset")
    part = setting.pointers.get((offset, size_bytes))
    if part is None and any(at < offset + size_bytes and offset < at + size for at, size in setting.pointers):
        raise Refused("context: a part of a pointer is loaded")
    return part


def _load_frame(setting: Setting, state: State, frame: Any, anchor: Term | None, offset: int, size_bytes: int) -> Term:
    _check_frame(frame, anchor, offset, size_bytes)
    if not isinstance(frame, int):
        absent = (offset + index for index in range(size_bytes) if (frame, offset + index) not in state.frames)
        setting.given.setdefault(frame, set()).update(absent)
    cells = [state.frames.get((frame, offset + index)) for index in range(size_bytes)]
    first = cells[0]
    if first is not None and all(c is not None and c[0] is first[0] and c[1] == first[1] + i for i, c in enumerate(cells)):
        return ext(first[0], 8 * first[1], 8 * size_bytes)
    return cat(
        [
            ext(cell[0], 8 * cell[1], 8) if cell is not None else uninitialised(setting.garbage, frame, offset + index)
            for index, cell in enumerate(cells)
        ]
    )


def _check_frame(frame: Any, anchor: Term | None, offset: int, size_bytes: int) -> None:
    if anchor is None or anchor.op != "sym":
        raise Refused("stack: an access at a variable offset")
    if offset < -FRAME or offset + size_bytes > (0 if isinstance(frame, int) else FRAME):
        raise Refused("stack: an access outside of the frame")


def _load_constant(setting: Setting, region: str, anchor: Term | None, offset: int, size_bytes: int) -> Term:
    section = region.partition(":")[2]
    if section in setting.inlined:
        data = setting.code.constant(section)
        if data is None or anchor is None or anchor.op != "sym" or offset + size_bytes > len(data):
            raise Refused("constants: the two programs have others, and the load is not at a constant offset")
        setting.assumed.add("constants")
        return const(8 * size_bytes, int.from_bytes(data[offset : offset + size_bytes], "little"))
    start = base(symbol(WORLD, "start"), region)
    return cat([select(start, anchor, offset + index) for index in range(size_bytes)])


def constant_bytes(setting: Setting, leaf: Term, size_bytes: int | None) -> bytes | None:
    """What the file has at an address of constant data: `size_bytes`, or a string with its zero; None where that is not known."""
    anchor, offset = split(leaf)
    if anchor is None or anchor.op != "sym" or anchor.args[0] != "constant":
        return None
    data = setting.code.constant(anchor.args[1])
    if data is None:
        return None
    end = data.find(0, offset) + 1 if size_bytes is None else offset + size_bytes
    if not offset < end <= len(data):
        return None
    setting.assumed.add("constants")
    return data[offset:end]


# --- stores ---


def store(setting: Setting, state: State, address: Term, size_bytes: int, value: Term) -> None:
    """Write the low bytes of a value."""
    places = addresses(address, state.guard)
    for condition, leaf in places:
        written = value
        if len(places) > 1:
            written = choose(constrain(condition, state.guard), value, load_leaf(setting, state, leaf, size_bytes))
        store_leaf(setting, state, leaf, size_bytes, written)


def store_leaf(setting: Setting, state: State, leaf: Term, size_bytes: int, value: Term) -> None:
    """Write to an address that is no diagram."""
    region = region_at(setting, leaf)
    anchor, offset = split(leaf)
    if isinstance(region, tuple):
        at = _signed(offset)
        _check_frame(region[1], anchor, at, size_bytes)
        for index in range(size_bytes):
            state.frames[region[1], at + index] = (value, index)
        return
    if region == "null" or region.startswith(("constant:", "kconfig:", "key:")):
        raise Refused("store: to a constant or to nothing")
    setting.regions.add(region)
    if region == "ctx":
        setting.use_of_context("written")
    if region == "ctx" and not _plain(setting, anchor, offset, size_bytes):
        _context_event(state, anchor, offset, size_bytes, value)
        return
    memory = state.memory(region)
    for index in range(size_bytes):
        memory.write(anchor, offset + index, ext(value, 8 * index, 8))


def _plain(setting: Setting, anchor: Term | None, offset: int, size_bytes: int) -> bool:
    """Does a load give back what was stored in the context, and nothing else changes?"""
    if setting.code.program.type == ProgType.SYSCALL:
        return True
    if anchor is None or anchor.op != "sym":
        return False
    return any(start <= offset and offset + size_bytes <= end for start, end in _PLAIN.get(setting.struct, ()))


def _context_event(state: State, anchor: Term | None, offset: int, size_bytes: int, value: Term) -> None:
    """A store that the kernel turns into code of its own: the whole context may be another one after it."""
    before = canonical(state.memory("ctx").freeze())
    given = tuple(constrain(term, state.guard) for term in (value, before, state.world))
    event = make("effect", WORLD, ("ctx", anchor, offset, size_bytes, *given))
    happens(event, state.guard)
    state.world = event
    state.memories["ctx"] = Overlay(base(event, "ctx"))


# --- all memory ---


def memories(state: State) -> tuple[tuple[str, Term], ...]:
    """(region, memory) of what the program changed since the last call, under the state's guard."""
    out = []
    for region, overlay in state.memories.items():
        memory = constrain(canonical(overlay.freeze()), state.guard)
        if memory is not constrain(base(state.generation, region), state.guard):
            out.append((region, memory))
    return tuple(sorted(out, key=lambda item: item[0]))
