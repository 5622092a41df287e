"""Whether a condition, as it was said, held in a run: True, False, or None where the run does not tell.

The run's packet, context, maps and calls are looked at, not the instructions of the condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bpflens.decompile.summary.walk.bits import Bit, Bits, Source
from bpflens.decompile.summary.walk.claims import Between, Gives, HasEntry, Length, Relation, compare
from bpflens.decompile.summary.walk.conditions import Condition
from bpflens.execute.interpreter.recorded import HelperCall, Run
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.uapi import MapType
from bpflens.program import Map

__all__ = ("World", "all_of", "key_of")

_HASHES = frozenset((MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH))
_ARRAYS = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))
M64 = (1 << 64) - 1


def all_of(values: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is not known."""
    found = list(values)
    return False if False in found else None if None in found else True


@dataclass(frozen=True, slots=True)
class World:
    """A run, seen from a function whose slot n is slot n + `shift` of the program that ran. `network`: where the network header begins."""

    run: Run
    shift: int
    network: int | None
    maps: Mapping[str, Map]
    _held: dict[int, bool | None] = field(default_factory=dict, compare=False, repr=False)  # by id: conditions outlive worlds
    _bytes: dict[tuple[Source, int], int | None] = field(default_factory=dict, compare=False, repr=False)

    def holds(self, condition: Condition) -> bool | None:
        """Whether a condition held."""
        key = id(condition)
        if key not in self._held:
            self._held[key] = self._holds(condition)
        return self._held[key]

    def _holds(self, condition: Condition) -> bool | None:
        if condition.alternatives:
            sides = [all_of(self.holds(each) for each in side) for side in condition.alternatives]
            return True if True in sides else None if None in sides else False
        if condition.bits:
            same = all_of(None if (found := self.bit(bit)) is None else found == value for bit, value in condition.bits)
            return same if same is None or not condition.negated else not same
        match condition.claim:
            case Relation() as claim:
                return self._relation(claim)
            case Between() as claim:
                number = self.number(claim.number)
                return None if number is None else (claim.low <= number <= claim.high) == claim.inside
            case HasEntry() as claim:
                return self._entry(claim)
            case Gives() as claim:
                call = self.call(claim.slots)
                return None if call is None else compare(_signed(call.result, 8), claim.op, claim.value)
            case Length() as claim:
                return (len(self.run.packet) < claim.size) == claim.shorter
        return None

    def _relation(self, claim: Relation) -> bool | None:
        left, right = self.number(claim.left), self.number(claim.right)
        if left is None or right is None:
            return None
        if claim.signed:
            left, right = _signed(left, claim.size), _signed(right, claim.size)
        return compare(left, claim.op, right)

    def _entry(self, claim: HasEntry) -> bool | None:
        call = self.call(claim.slots)
        map = self.maps.get(claim.map)
        key = key_of(claim, self)
        if key is None or map is None or map.type not in _HASHES | _ARRAYS:
            return None if call is None else bool(call.result) == claim.there
        if map.type in _ARRAYS:
            there = int.from_bytes(key[:4], "little") < map.max_entries
        else:
            there = key in self.run.scene.maps.get(claim.map, {})
        return there == claim.there

    def call(self, slots: Sequence[int]) -> HelperCall | None:
        """The call at one of these slots; None where there was none in the run, or more than one."""
        wanted = {slot + self.shift for slot in slots}
        found = [call for call in self.run.calls if call.slot in wanted]
        return found[0] if len(found) == 1 else None

    def number(self, bits: Bits) -> int | None:
        """A number that bits make."""
        value = 0
        for n, bit in enumerate(bits):
            found = bit if isinstance(bit, int) else self.bit(bit)
            if found is None:
                return None
            value |= found << n
        return value

    def bit(self, bit: Bit) -> int | None:
        """One bit of what was read."""
        key = bit.source, bit.byte
        if key not in self._bytes:
            self._bytes[key] = self.byte(*key)
        byte = self._bytes[key]
        return None if byte is None else byte >> bit.bit & 1

    def byte(self, source: Source, at: int) -> int | None:
        """One byte of a source, as it was before the program changed it."""
        data: bytes | None = None
        match source.kind:
            case "packet":
                start = self.packet_start(source)
                return None if start is None else _byte(self.run.packet, start + at)
            case "ctx":
                data = self.run.ctx
            case "data":
                data = self.run.data.get(source.what)
            case "value":
                values = {call.value for call in self.run.calls if call.map == source.what and call.value}
                data = values.pop() if len(values) == 1 else None
            case "kernel" if not source.base.endswith("\0"):
                data = self._called(source._replace(base=source.base.partition("\0")[2]))
            case "call" | "buffer":
                data = self._called(source)
        return None if data is None else _byte(data, at)

    def packet_start(self, source: Source) -> int | None:
        """Where byte 0 of a source of packet bytes is, from the start of what the program sees."""
        if not source.base:
            return 0
        if source.base != "transport" or self.network is None or len(self.run.packet) <= self.network:
            return None
        return self.network + 4 * (self.run.packet[self.network] & 15)

    def _called(self, source: Source) -> bytes | None:
        if source.base:
            call = self.call([int(slot) for slot in source.base.split()])
        else:
            call = next((call for call in self.run.calls if helper_name(call.helper) == source.what), None)
        if call is None:
            return None
        return (call.result & M64).to_bytes(8, "little") if source.kind == "call" else call.filled


def key_of(claim: HasEntry, world: World) -> bytes | None:
    """The key that a condition speaks of, as the words say it; None where a part of it is not known."""
    key, known = bytearray(claim.key_size), 0
    for part in claim.parts:
        value = world.number(part.bits)
        if value is None or part.at + part.size > claim.key_size:
            return None
        key[part.at : part.at + part.size] = (value & ((1 << 8 * part.size) - 1)).to_bytes(part.size, "little")
        known += part.size
    return bytes(key) if known == claim.key_size and known else None


def _byte(data: bytes, at: int) -> int | None:
    return data[at] if 0 <= at < len(data) else None


def _signed(value: int, size: int) -> int:
    sign = 1 << (8 * size - 1)
    return ((value & (1 << 8 * size) - 1) ^ sign) - sign
