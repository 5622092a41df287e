"""Packets for paths of a diagram.

    {packet[12]: 8, packet[13]: 0, header+17: 68}   ──►   a packet with those bytes

A path constrains bytes at fixed places, bytes behind a computed offset, and lengths. Fixed places are filled first, offsets are then
computed from them (an unconstrained IPv4 header length becomes 5 words), and the packet is made just long enough. A path whose parts
contradict each other has no packet; whoever asks runs the programs on the result, which alone decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.classic.diagrams.condition import evaluate
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.term import Length, Load, a_term, leaves
from bpflens.classic.machine.interpreter import ANCILLARY
from bpflens.isa.classic.table import SKF_LL_OFF, SKF_NET_OFF
from bpflens.lean import field, frozen

__all__ = ("Packet", "packet_for", "packets_to")

_MAX_LENGTH = 65_535
_Ranges = dict[Field, tuple[int, int]]


@frozen
class Packet:
    """Bytes of a packet, and the ancillary data (names of interp.ANCILLARY, network_offset) that go with it."""

    data: bytes
    aux: dict[str, int | None] = field(default_factory=dict)


def packets_to(store: Store, node: int, wanted: int, limit: int = 64, network_offset: int = 14) -> Iterator[Packet]:
    """Candidate packets for paths that end in return value `wanted`, at most `limit`, from at most 20 * limit paths."""
    made = 0
    for number, (path, value) in enumerate(store.paths(store.map_terminals(node, lambda v: int(v == wanted)))):
        if number > 20 * limit or made >= limit:
            return
        if value:
            packet = packet_for(path, network_offset)
            if packet is not None:
                made += 1
                yield packet


def packet_for(path: _Ranges, network_offset: int = 14) -> Packet | None:
    """A packet on the path; None where the path contradicts itself or needs more than 65535 bytes."""
    parts = _parts(path, network_offset)
    known = {offset: low for offset, (low, _) in parts.allowed.items()}
    _choose_header_lengths(parts, known)
    shortest, longest = parts.length
    low_length = max(max(known, default=-1) + 1, shortest)
    if low_length > _MAX_LENGTH:
        return None
    for base, (low, high) in parts.rooms:
        if base.term is None:
            start = parts.start(base)
            if low:
                low_length = max(low_length, low + start)
            longest = min(longest, high + start)
    if not _fill_computed(parts, known, low_length):
        return None
    length = max(low_length, max(known, default=-1) + 1 if parts.computed else 0)
    for base, (low, high) in parts.rooms:
        if base.term is not None:
            found = _offset(base, known, length, network_offset)
            if found is None:
                return None
            if low:
                length = max(length, found + low)
            longest = min(longest, found + high)
    length = min(length, longest)
    if length > _MAX_LENGTH or length < shortest:
        return None
    data = bytearray(length)
    for offset, value in known.items():
        if offset < length:
            data[offset] = value
    return Packet(bytes(data), parts.aux)


class _Parts:
    """What a path says, by kind: `allowed` values of bytes at fixed places, of bytes behind `computed` offsets, of the `length`; `rooms`:
    how many bytes there are behind a base.
    """

    def __init__(self, network_offset: int) -> None:
        self.network_offset = network_offset
        self.aux: dict[str, int | None] = {"network_offset": network_offset}
        self.allowed: dict[int, tuple[int, int]] = {}
        self.computed: list[tuple[Field, tuple[int, int]]] = []
        self.rooms: list[tuple[Base, tuple[int, int]]] = []
        self.length = (0, _MAX_LENGTH)

    def start(self, base: Base) -> int:
        """Where a region begins in the packet."""
        return self.network_offset if base.region == "net" else 0


def _parts(path: _Ranges, network_offset: int) -> _Parts:
    parts = _Parts(network_offset)
    no_device = False
    for place, (low, high) in path.items():
        base = place.base
        if base.region == "length":
            parts.length = (low, min(high, _MAX_LENGTH))
        elif base.region == "room":
            if isinstance(base.term, Base):
                parts.rooms.append((base.term, (low, high)))
        elif base.region == "atom":
            no_device |= base.term == ("device",) and low != 1
        elif base.region == "ancillary":
            name = ANCILLARY.get(place.offset // 4, "")
            if high < 255 or low > 0:
                parts.aux[name] = (parts.aux.get(name) or 0) | low << 8 * (3 - place.offset % 4)
        elif base.term is None:
            parts.allowed[parts.start(base) + place.offset] = (low, high)
        else:
            parts.computed.append((place, (low, high)))
    if no_device:
        parts.aux.update(ifindex=None, hatype=None)
    return parts


def _choose_header_lengths(parts: _Parts, known: dict[int, int]) -> None:
    """Header lengths that nothing constrains: 5 words, or as near as the path allows."""
    for place, _ in parts.computed:
        for load in _loads(place.base.term):
            if load.base.term is None and load.size == 1:
                start = parts.start(load.base) + load.offset
                low, high = parts.allowed.get(start, (0, 255))
                known[start] = next(value for value in (0x45, 0x50, 0x60, low) if low <= value <= high)


def _fill_computed(parts: _Parts, known: dict[int, int], length: int) -> bool:
    """Put the bytes behind computed offsets in `known`; False where they contradict what is there."""
    allowed = parts.allowed
    for place, (low, high) in sorted(parts.computed, key=lambda item: len(repr(item[0].base.term))):
        found = _offset(place.base, known, length, parts.network_offset)
        if found is None:
            return False
        offset = found + place.offset
        if offset < 0 or offset > _MAX_LENGTH:
            return False
        if offset in known and not low <= known[offset] <= high:
            if offset in allowed and not (allowed[offset][0] <= low <= allowed[offset][1]):
                return False
            known[offset] = low
        elif offset not in known:
            known[offset] = low
        allowed.setdefault(offset, (low, high))
    return True


def _loads(term: object) -> list[Load]:
    found: list[Load] = []
    for leaf in leaves(a_term(term)):
        if type(leaf) is Load:
            found.append(leaf)
            if leaf.base.term is not None:
                found += _loads(leaf.base.term)
    return found


def _offset(base: Base, known: dict[int, int], length: int, network_offset: int) -> int | None:
    """Where a base lies in the packet built so far."""
    start = {"net": network_offset}.get(base.region, 0)
    if base.term is None:
        return start
    term = a_term(base.term)
    values: dict[Load | Length, int] = {}
    for leaf in leaves(term):
        if type(leaf) is Load:
            if leaf.base.region == "ancillary":
                return None
            inner = _offset(leaf.base, known, length, network_offset)
            if inner is None:
                return None
            number = 0
            for i in range(leaf.size):
                number = number << 8 | known.get(inner + leaf.offset + i, 0)
            values[leaf] = number
        else:
            values[leaf] = length
    address = start + evaluate(term, values)
    if address < 1 << 31:
        return address
    if address >= SKF_NET_OFF:
        return address - SKF_NET_OFF + network_offset
    return address - SKF_LL_OFF if address >= SKF_LL_OFF else None
