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
from bpflens.classic.diagrams.term import Length, Load, Term, leaves
from bpflens.classic.machine.interpreter import ANCILLARY, SKF_LL_OFF, SKF_NET_OFF
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
    known: dict[int, int] = {}
    allowed: dict[int, tuple[int, int]] = {}
    aux: dict[str, int | None] = {"network_offset": network_offset}
    computed: list[tuple[Field, tuple[int, int]]] = []
    atoms: list[tuple[object, bool]] = []
    rooms: list[tuple[Base, tuple[int, int]]] = []
    length_range = (0, _MAX_LENGTH)
    for place, (low, high) in path.items():
        base = place.base
        if base.region == "length":
            length_range = (low, min(high, _MAX_LENGTH))
        elif base.region == "room":
            if isinstance(base.term, Base):
                rooms.append((base.term, (low, high)))
        elif base.region == "atom":
            atoms.append((base.term, low == 1))
        elif base.region == "ancillary":
            name = ANCILLARY.get(place.offset // 4, "")
            if high < 255 or low > 0:
                aux[name] = (aux.get(name) or 0) | low << 8 * (3 - place.offset % 4)
        elif base.term is None:
            start = {"net": network_offset}.get(base.region, 0)
            allowed[start + place.offset] = (low, high)
        else:
            computed.append((place, (low, high)))
    for offset, (low, _) in allowed.items():
        known[offset] = low
    length = 0
    missing: list[Load] = []
    # header lengths that nothing constrains: 5 words, or as near as the path allows
    for place, _ in computed:
        missing += [leaf for leaf in _loads(place.base.term) if leaf.base.term is None]
    for load in missing:
        start = {"net": network_offset}.get(load.base.region, 0) + load.offset
        if load.size == 1:
            low, high = allowed.get(start, (0, 255))
            for preferred in (0x45, 0x50, 0x60, low):
                if low <= preferred <= high:
                    known[start] = preferred
                    break
    needed = max(known, default=-1) + 1
    low_length = max(needed, length_range[0])
    for base, (low, high) in rooms:
        if base.term is None:
            start = {"net": network_offset}.get(base.region, 0)
            if low:
                low_length = max(low_length, low + start)
            length_range = (length_range[0], min(length_range[1], high + start))
    for place, (low, high) in sorted(computed, key=lambda item: len(repr(item[0].base.term))):
        found = _offset(place.base, known, max(low_length, length), network_offset)
        if found is None:
            return None
        offset = found + place.offset
        if offset < 0 or offset > _MAX_LENGTH:
            return None
        if offset in known and not low <= known[offset] <= high:
            if offset in allowed and not (allowed[offset][0] <= low <= allowed[offset][1]):
                return None
            known[offset] = low
        elif offset not in known:
            known[offset] = low
        allowed.setdefault(offset, (low, high))
    length = max(low_length, max(known, default=-1) + 1 if computed else 0, length)
    high_length = length_range[1]
    for base, (low, high) in rooms:
        if base.term is not None:
            found = _offset(base, known, length, network_offset)
            if found is None:
                return None
            if low:
                length = max(length, found + low)
            high_length = min(high_length, found + high)
    if (("device",), False) in atoms:
        aux.update(ifindex=None, hatype=None)
    length = min(length, high_length)
    if length > _MAX_LENGTH or length < length_range[0]:
        return None
    data = bytearray(length)
    for offset, value in known.items():
        if offset < length:
            data[offset] = value
    return Packet(bytes(data), aux)


def _loads(term: object) -> list[Load]:
    found: list[Load] = []
    for leaf in leaves(term):  # type: ignore[arg-type]
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
    values: dict[Load | Length, int] = {}
    for leaf in leaves(base.term):  # type: ignore[arg-type]
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
    term: Term = base.term  # type: ignore[assignment]
    address = start + evaluate(term, values)
    if address < 1 << 31:
        return address
    if address >= SKF_NET_OFF:
        return address - SKF_NET_OFF + network_offset
    return address - SKF_LL_OFF if address >= SKF_LL_OFF else None
