"""A scene in the making: packet, context, maps and what calls give, changed until conditions hold, or until one does not.

    make(condition, True, draft, world)   sets the bits, the number, the entry or the result that the condition speaks of
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bpflens.decompile.summary.check.world import World, key_of
from bpflens.decompile.summary.walk.bits import Bit, Bits, Source
from bpflens.decompile.summary.walk.claims import Between, Gives, HasEntry, Length, Relation
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.execute.interpreter.recorded import Chosen
from bpflens.execute.result import Input, Scene
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.programs.test_run import PACKET_TYPES

__all__ = ("Draft", "make")

_MOST_PACKET = 1500
# test runs give a frame; programs of these types see it from the network header on
_AT_NETWORK = frozenset((
    ProgType.CGROUP_SKB, ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL, ProgType.SK_SKB,
    ProgType.FLOW_DISSECTOR, ProgType.SOCKET_FILTER,
))  # fmt: skip
_HASHES = frozenset((MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH))
_SETTABLE = ((8, 4), (32, 4), (48, 20), (152, 8))  # of struct __sk_buff, by a test run's context
M64 = (1 << 64) - 1


@dataclass(slots=True)
class Draft:
    """`frame`: the packet from its Ethernet header; `patch`: bytes of the context that a test run of the kernel can't set; `results` and
    `filled`: what calls give, by slot of the program that runs.
    """

    prog_type: int
    frame: bytearray
    ctx: bytearray
    maps: dict[str, dict[bytes, bytes]]
    memory: bytes = b""
    patch: dict[int, int] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)
    filled: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> Draft:
        """The same, to go on with alone."""
        maps = {name: dict(elements) for name, elements in self.maps.items()}
        frame, ctx = bytearray(self.frame), bytearray(self.ctx)
        return Draft(self.prog_type, frame, ctx, maps, self.memory, dict(self.patch), dict(self.results), dict(self.filled))

    @property
    def in_kernel(self) -> bool:
        """A test run of the kernel can have all of it."""
        return not (self.patch or self.results or self.filled)

    def scene(self) -> Scene:
        """To be run."""
        return Scene((Input(bytes(self.frame), bytes(self.ctx)),), {name: dict(each) for name, each in self.maps.items()}, self.memory)

    def chosen(self) -> Chosen:
        """What calls give."""
        return Chosen(dict(self.results), dict(self.filled), dict(self.patch))

    def view(self) -> int:
        """Where in the frame the program's byte 0 is."""
        return 14 if self.prog_type in _AT_NETWORK else 0

    # --- what conditions speak of ---

    def set_bit(self, bit: Bit, value: int, world: World) -> bool:
        """Whether one bit could be given a value."""
        old = world.byte(bit.source, bit.byte)
        if bit.source.kind == "packet" and old is None:
            old = 0
        if old is None:
            return False
        return self.set_byte(bit.source, bit.byte, old & ~(1 << bit.bit) | value << bit.bit, world)

    def set_byte(self, source: Source, at: int, value: int, world: World) -> bool:
        """Whether one byte could be given a value."""
        match source.kind:
            case "packet":
                start = world.packet_start(source)
                if start is None or not 0 <= start + at < _MOST_PACKET:
                    return False
                place = self.view() + start + at
                self.frame.extend(bytes(max(0, place + 1 - len(self.frame))))
                self.frame[place] = value
                return True
            case "ctx":
                return self._set_context(at, value)
            case "data":
                whole = bytearray(self.maps.get(source.what, {}).get(bytes(4)) or world.run.data.get(source.what, b""))
                if at >= len(whole):
                    return False
                whole[at] = value
                self.maps.setdefault(source.what, {})[bytes(4)] = bytes(whole)
                return True
            case "value":
                return self._set_value(source.what, at, value, world)
            case "kernel" if not source.base.endswith("\0"):
                return self._set_result(source._replace(base=source.base.partition("\0")[2]), at, value, world)
            case "call" | "buffer":
                return self._set_result(source, at, value, world)
        return False

    def _set_context(self, at: int, value: int) -> bool:
        if self.prog_type not in PACKET_TYPES:
            self.ctx.extend(bytes(max(0, at + 1 - len(self.ctx))))
            self.ctx[at] = value
        elif self.prog_type != ProgType.XDP and any(start <= at < start + size for start, size in _SETTABLE):
            self.ctx.extend(bytes(max(0, 192 - len(self.ctx))))
            self.ctx[at] = value
        elif self.prog_type != ProgType.XDP and at in (16, 17):
            self.frame[12 + at - 16] = value
        else:
            self.patch[at] = value
        return True

    def _set_value(self, map: str, at: int, value: int, world: World) -> bool:
        keys = {call.key for call in world.run.calls if call.map == map and call.key}
        if len(keys) != 1 or map not in world.maps:
            return False
        [key] = keys
        size = world.maps[map].value_size
        whole = bytearray(self.maps.get(map, {}).get(key, bytes(size)))
        if at >= len(whole):
            return False
        whole[at] = value
        self.maps.setdefault(map, {})[key] = bytes(whole)
        return True

    def _set_result(self, source: Source, at: int, value: int, world: World) -> bool:
        wanted = {int(slot) + world.shift for slot in source.base.split()}
        calls = [call for call in world.run.calls if (call.slot in wanted if wanted else helper_name(call.helper) == source.what)]
        if not calls or (call := calls[0]).map:
            return False
        if source.kind != "call":
            whole = bytearray(self.filled.get(call.slot, call.filled))
            if at >= len(whole):
                return False
            whole[at] = value
            self.filled[call.slot] = bytes(whole)
        else:
            number = bytearray((self.results.get(call.slot, call.result) & M64).to_bytes(8, "little"))
            if at >= 8:
                return False
            number[at] = value
            self.results[call.slot] = int.from_bytes(number, "little")
        return True


def make(condition: Condition, holds: bool, draft: Draft, world: World) -> bool:
    """Whether the draft could be changed so that a condition should hold (or not); `world` is a run of the draft as it is."""
    if condition.alternatives:
        return _alternatives(condition, holds, draft, world)
    if condition.bits:
        return _bits(condition, holds != condition.negated, draft, world)
    match condition.claim:
        case Relation() as claim:
            return _relation(claim, holds, draft, world)
        case Between() as claim:
            return _put(claim.number, claim.low if holds == claim.inside else claim.high + 1, draft, world)
        case HasEntry() as claim:
            return _entry(claim, holds == claim.there, draft, world)
        case Gives() as claim:
            return _gives(claim, holds, draft, world)
        case Length() as claim:
            return _length(claim, holds == claim.shorter, draft)
    return False


def _alternatives(condition: Condition, holds: bool, draft: Draft, world: World) -> bool:
    if holds:
        for side in condition.alternatives:
            tried = draft.copy()
            if all(world.holds(each) or make(each, True, tried, world) for each in side):
                draft.frame, draft.ctx, draft.maps, draft.patch = tried.frame, tried.ctx, tried.maps, tried.patch
                draft.results, draft.filled = tried.results, tried.filled
                return True
        return False
    return all(any(world.holds(each) is False or (each.kind is Kind.TELLING and make(each, False, draft, world)) for each in side)
               for side in condition.alternatives)  # fmt: skip


def _bits(condition: Condition, equal: bool, draft: Draft, world: World) -> bool:
    done = True
    for n, (bit, value) in enumerate(condition.bits):
        if world.bit(bit) == value and equal:
            continue
        if not equal and n:
            break
        done &= draft.set_bit(bit, value if equal else 1 - value, _now(world, draft, bit))
    return done


def _now(world: World, draft: Draft, bit: Bit) -> World:
    """Bits of one byte are set one after the other: the draft's own bytes are what the next is put into."""
    return _Drafted(world.run, world.shift, world.network, world.maps, draft=draft)


@dataclass(frozen=True, slots=True)
class _Drafted(World):
    """A run, with what the draft has instead of it."""

    draft: Draft = field(kw_only=True)

    def byte(self, source: Source, at: int) -> int | None:
        draft = self.draft
        if source.kind == "packet":
            start = self.packet_start(source)
            place = -1 if start is None else draft.view() + start + at
            return draft.frame[place] if 0 <= place < len(draft.frame) else None
        found = World.byte(self, source, at)
        if source.kind == "ctx":
            if at in draft.patch:
                return draft.patch[at]
            if draft.prog_type not in PACKET_TYPES and at < len(draft.ctx):
                return draft.ctx[at]
            if at in (16, 17) and draft.prog_type != ProgType.XDP:
                return draft.frame[at - 4]
            if any(start <= at < start + size for start, size in _SETTABLE) and at < len(draft.ctx):
                return draft.ctx[at]
        elif source.kind == "data" and (whole := draft.maps.get(source.what, {}).get(bytes(4))) is not None and at < len(whole):
            return whole[at]
        elif source.kind == "value":
            keys = {call.key for call in self.run.calls if call.map == source.what and call.key}
            whole = draft.maps.get(source.what, {}).get(next(iter(keys), b""))
            if whole is not None and at < len(whole):
                return whole[at]
        elif source.kind in ("call", "buffer", "kernel"):
            if source.kind == "kernel":
                source = source._replace(base=source.base.partition("\0")[2])
                if not source.base:
                    return None
            call = self.call([int(slot) for slot in source.base.split()]) if source.base else None
            if source.kind == "call" and call is not None and call.slot in draft.results:
                return (draft.results[call.slot] & M64) >> 8 * at & 0xFF
            calls = [each for each in self.run.calls if (each.slot == call.slot if call else helper_name(each.helper) == source.what)]
            if source.kind != "call" and calls and calls[0].slot in draft.filled and at < len(draft.filled[calls[0].slot]):
                return draft.filled[calls[0].slot][at]
        return found


_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def _relation(claim: Relation, holds: bool, draft: Draft, world: World) -> bool:
    op = claim.op if holds else _OPPOSITE[claim.op]
    right = world.number(claim.right)
    if right is None:
        return False
    value = _number_for(op, right)
    if claim.signed:
        value &= (1 << 8 * claim.size) - 1
    elif value < 0:
        return False
    return _put(claim.left, value, draft, world)


def _number_for(op: str, right: int) -> int:
    return right - 1 if op == "<" else right + 1 if op in (">", "!=") else right


def _put(bits: Bits, value: int, draft: Draft, world: World) -> bool:
    done = True
    for n, bit in enumerate(bits):
        wanted = value >> n & 1
        if isinstance(bit, int):
            if bit != wanted:
                return False
        else:
            done &= draft.set_bit(bit, wanted, _now(world, draft, bit))
    return done


def _entry(claim: HasEntry, there: bool, draft: Draft, world: World) -> bool:
    map = world.maps.get(claim.map)
    call = world.call(claim.slots)
    key = key_of(claim, world) or (call.key if call is not None else b"")
    if map is None or not key or map.type not in _HASHES:
        return False
    if there:
        draft.maps.setdefault(claim.map, {}).setdefault(key, bytes(map.value_size))
    else:
        draft.maps.get(claim.map, {}).pop(key, None)
    return True


def _gives(claim: Gives, holds: bool, draft: Draft, world: World) -> bool:
    call = world.call(claim.slots)
    if call is None or call.map:
        return False
    draft.results[call.slot] = _number_for(claim.op if holds else _OPPOSITE[claim.op], claim.value) & M64
    return True


def _length(claim: Length, shorter: bool, draft: Draft) -> bool:
    size = draft.view() + claim.size - (1 if shorter else 0)
    if not 14 <= size <= _MOST_PACKET:
        return False
    if shorter == (len(draft.frame) - draft.view() < claim.size):
        return True
    del draft.frame[size:]
    draft.frame.extend(bytes(size - len(draft.frame)))
    return True
