"""The packets of one filter: solving a path of its diagram, and changing what came of it.

A path gives ranges of bytes and lengths; a packet with those is laid out and completed (packet_build.py), and the interpreter says what the
filter returns for it. From an accepted packet come its neighbours: fields at the ends of their ranges and beyond, wrong lengths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from bpflens.classic.diagrams.condition import evaluate
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.term import Length, Load, a_term, leaves
from bpflens.classic.machine.interpreter import ANCILLARY, Model, run
from bpflens.classic.packets.build import Ranges, allows, build, finish
from bpflens.classic.packets.ends import Span, spans
from bpflens.classic.packets.fields import fields, name
from bpflens.isa.classic.insn import SockFilter

__all__ = ("GeneratedPacket", "Path", "Solved", "Work")

_MOST_BYTES = 65535
_TRIES = 12
MOST_RANGES = 4  # so many ranges of a field get a packet each

Path = list[tuple[Field, Ranges]]


class GeneratedPacket(NamedTuple):
    """`value` is what the filter returns for `data`; `aux` the ancillary data that it was run with; `note` says what the packet shows.

    `kind`: "accepted", "boundary" (accepted, at the end of a range) or "rejected".
    """

    data: bytes
    value: int
    kind: str
    note: str
    aux: dict[str, int | None]


class Solved(NamedTuple):
    """A packet on a path: its bytes' ranges, and the lengths between which the path holds."""

    data: bytes
    value: int
    order: dict[int, Ranges]
    least: int
    most: int
    aux: dict[str, int | None]


class Contradiction(Exception):
    """The ranges of a path exclude each other."""


class Work:
    """Builds and checks packets for one filter."""

    def __init__(self, insns: tuple[SockFilter, ...], dlt: int, model: Model, network: int) -> None:
        self.insns = insns
        self.dlt = dlt
        self.model = model
        self.network = network
        self.random = random.Random(1)
        self.missed: set[tuple[int, int]] = set()
        self.beyond_seen: set[tuple[int, int, int]] = set()
        self.any_value = False

    def _reached(self, got: int, wanted: int) -> bool:
        """Whether a packet took the path; values that the filter computes are not told apart."""
        return got == wanted or (got != 0 and (self.any_value or wanted > 0xFFFFFFFF))

    def verdict(self, data: bytes, aux: dict[str, int | None]) -> int:
        return run(self.insns, data, None, self.model, {**aux, "network_offset": self.network})

    def solve(self, path: Path, value: int) -> tuple[Solved, str] | None:
        """A packet for which the filter returns `value` (anything but 0 where that is computed), and what it shows."""
        for attempt in range(_TRIES):
            try:
                solved = self._build(path, attempt)
            except Contradiction:
                continue
            if solved is not None and self._reached(solved.value, value):
                return solved, self._note(solved)
        return None

    def _build(self, path: Path, attempt: int) -> Solved | None:
        """Attempt 0 takes what a usual packet has, 1 the lowest values, 2 the highest, others random ones."""
        order: dict[int, Ranges] = {}
        length, room = (0, _MOST_BYTES), (0, _MOST_BYTES)
        later: list[tuple[Field, Ranges]] = []
        aux: dict[str, int | None] = {}
        for field, ranges in path:
            region, term = field.base
            low, high = self._span(attempt, ranges)
            if region == "length":
                length = (low, min(high, _MOST_BYTES))
            elif region == "room" and (not isinstance(term, Base) or term.term is None):
                room = self._room(room, term, low, high, 0)
            elif region == "ancillary":
                self._ancillary(aux, field, low)
            elif region == "atom":
                if term == ("device",):
                    aux.update({"ifindex": None, "hatype": None} if high == 0 else {})
            elif region != "room" and term is None:
                _narrow(order, self._region(field.base) + field.offset, self._choice(attempt, ranges))
            else:
                later.append((field, ranges))
        data = self._fill(order, room[0], attempt)
        for field, ranges in later:
            base = field.base.term if field.base.region == "room" else field.base
            assert isinstance(base, Base)
            start = self._evaluate(base.term, data)
            if field.base.region == "room":
                room = self._room(room, base, *self._span(attempt, ranges), start)
            elif self._region(base) + start + field.offset > _MOST_BYTES:
                raise Contradiction
            else:
                _narrow(order, self._region(base) + start + field.offset, self._choice(attempt, ranges))
            data = self._fill(order, room[0], attempt)
        least, most = max(length[0], room[0]), min(length[1], room[1])
        if least > most:
            raise Contradiction
        if len(data) < least:
            data = self._fill(order, least, attempt)
        data = data[:most]
        finished = finish(data, self.dlt, order)
        for candidate in (finished, data):
            value = self.verdict(candidate, aux)
            if value:
                return Solved(candidate, value, order, least, most, aux)
        return Solved(data, 0, order, least, most, aux)

    def _fill(self, order: dict[int, Ranges], least: int, attempt: int) -> bytes:
        data = build(order, self.dlt, least)
        if attempt < 4:
            return data
        free = bytearray(data)
        for offset in range(min(len(free), 512)):
            if offset not in order and self.random.random() < 0.3:
                free[offset] = self.random.randrange(256)
        return bytes(free)

    def _choice(self, attempt: int, ranges: Ranges) -> Ranges:
        if attempt == 0 or attempt == 3:
            return ranges
        if attempt == 1:
            value = ranges[0][0]
        elif attempt == 2:
            value = ranges[-1][1]
        else:
            value = self.random.randint(*self.random.choice(ranges))
        return ((value, value),)

    def _span(self, attempt: int, ranges: Ranges) -> tuple[int, int]:
        """One of the ranges, for lengths and what is not a byte of the packet."""
        return ranges[-1] if attempt == 2 else ranges[attempt % len(ranges)] if attempt > 3 else ranges[0]

    def _room(self, room: tuple[int, int], base: object, low: int, high: int, start: int) -> tuple[int, int]:
        """The bytes that the packet must have, narrowed by what it must have from `base` + `start` on."""
        start += self._region(base) if isinstance(base, Base) else 0
        return max(room[0], low + start if low else 0), min(room[1], high + start)

    def _region(self, base: Base) -> int:
        return self.network if base.region == "net" else 0

    def _evaluate(self, term: object, data: bytes) -> int:
        """The value of X's term in the packet so far."""
        if term is None:
            return 0
        typed = a_term(term)
        values: dict[Load | Length, int] = {}
        for leaf in leaves(typed):
            if type(leaf) is Load:
                start = self._region(leaf.base) + self._evaluate(leaf.base.term, data) + leaf.offset
                values[leaf] = int.from_bytes(data[start : start + leaf.size].ljust(leaf.size, b"\0"), "big")
            else:
                values[leaf] = len(data)
        return evaluate(typed, values)

    def _ancillary(self, aux: dict[str, int | None], field: Field, low: int) -> None:
        """Ancillary values are tested byte by byte; a byte is 0 where that is allowed."""
        what = ANCILLARY.get(field.offset // 4)
        if what is None or low == 0:
            return
        aux[what] = (aux.get(what) or 0) | low << 8 * (3 - field.offset % 4)

    # ---- what is made of a solution

    def accepted(self, solved: Solved, note: str) -> GeneratedPacket:
        return GeneratedPacket(solved.data, solved.value, "accepted", note, solved.aux)

    def _note(self, solved: Solved) -> str:
        """What the path asks for, by the names of the fields."""
        names = []
        for offset in sorted(solved.order):
            text = name(solved.data, self.dlt, offset, 1)
            if text and text not in names:
                names.append(text.replace("[0] ", " ").strip())
        words = list(dict.fromkeys(_whole(text) for text in names))
        words += [f"{key} {'none' if value is None else value}" for key, value in solved.aux.items()]
        return ", ".join(words) or f"{len(solved.data)} bytes"

    def boundaries(self, path: Path, value: int) -> Iterator[GeneratedPacket]:
        """The lowest and the highest values of every range on the path."""
        for attempt, which in ((1, "lowest values"), (2, "highest values")):
            try:
                solved = self._build(path, attempt)
            except Contradiction:
                continue
            if solved is not None and self._reached(solved.value, value):
                yield GeneratedPacket(solved.data, solved.value, "boundary", f"{which}: {self._note(solved)}", solved.aux)

    # ---- whole fields

    def spans(self, store: Store, node: int, loads: list[Load], solved: Solved) -> list[Span]:
        """The fields of the packet that the filter tests; none where something unknown decides, or lengths or ancillary data are all."""
        data = solved.data

        def start(base: Base) -> int:
            return self._region(base) + self._evaluate(base.term, data)

        def read(field: Field) -> int | None:
            region, term = field.base
            if region == "length":
                return len(data)
            if region == "room":
                return max(0, len(data) - (start(term) if isinstance(term, Base) else 0))
            if region == "ancillary":
                value = solved.aux.get(ANCILLARY.get(field.offset // 4, ""), 0)
                return (value or 0) >> 8 * (3 - field.offset % 4) & 255
            if region == "atom":
                return None if term != ("device",) else int(None not in solved.aux.values())
            at = start(field.base) + field.offset
            return (data[at] if at < len(data) else 0) if at >= 0 else None

        def place(load: Load) -> int | None:
            if load.base.region not in ("packet", "net", "link"):
                return None
            at = start(load.base) + load.offset
            return at if 0 <= at <= len(data) - load.size else None

        value = min(solved.value, 1) if self.any_value else solved.value
        return spans(store, node, loads, read, place, value)

    def named(self, solved: Solved, found: list[Span]) -> str:
        """What the alternative asks for, by the names of the fields; "" where they have none."""
        words = [_whole(name(solved.data, self.dlt, span.offset, span.size)) for span in found]
        words += [f"{key} {'none' if value is None else value}" for key, value in solved.aux.items()]
        return ", ".join(dict.fromkeys(word for word in words if word)) if all(words) else ""

    def ends(self, solved: Solved, found: list[Span]) -> Iterator[GeneratedPacket]:
        """Each field at the lowest and the highest value of its range, and in each of its other ranges where they are few."""
        for span in found:
            low, high = span.around
            wanted = [(low, "lowest value"), (high, "highest value")]
            others = [one for one in span.ranges if one != (low, high)]
            if len(others) < MOST_RANGES:
                wanted += [(value, "another value") for one in others for value in dict.fromkeys(one)]
            else:
                wanted += [(span.ranges[0][0], "lowest value of all"), (span.ranges[-1][1], "highest value of all")]
            for value, which in wanted:
                if value == span.value:
                    continue
                for candidate in self._with(solved, span, value, rebuilt=which == "another value"):
                    if self._reached(self.verdict(candidate, solved.aux), solved.value):
                        note = f"{which}: {name(candidate, self.dlt, span.offset, span.size) or self._bytes(span, value)}"
                        yield GeneratedPacket(candidate, self.verdict(candidate, solved.aux), "boundary", note, solved.aux)
                        break

    def beyond(self, solved: Solved, found: list[Span]) -> Iterator[GeneratedPacket]:
        """Each field just outside its range."""
        for span in found:
            low, high = span.around
            for value in (low - 1, high + 1):
                if not any(first <= value <= last for first, last in span.zero) or (span.offset, span.size, value) in self.beyond_seen:
                    continue
                for candidate in self._with(solved, span, value):
                    if self.verdict(candidate, solved.aux) == 0:
                        self.beyond_seen.add((span.offset, span.size, value))
                        yield GeneratedPacket(candidate, 0, "rejected", self._change(solved.data, candidate, span, value), solved.aux)
                        break

    def _with(self, solved: Solved, span: Span, value: int, rebuilt: bool = False) -> Iterator[bytes]:
        """The packet with another value of a field: what follows the field laid out anew, lengths and checksums right, or as it was."""
        raw = value.to_bytes(span.size, "big")
        changed = bytearray(solved.data)
        changed[span.offset : span.offset + span.size] = raw
        fixed: dict[int, Ranges] = {at: ((changed[at], changed[at]),) for at in solved.order if at < len(changed)}
        fixed.update({span.offset + i: ((byte, byte),) for i, byte in enumerate(raw)})
        if rebuilt:
            yield finish(build(fixed, self.dlt, solved.least)[: solved.most], self.dlt, fixed)
        yield finish(bytes(changed), self.dlt, fixed)
        yield bytes(changed)

    def _bytes(self, span: Span, value: int) -> str:
        last = span.offset + span.size - 1
        return f"byte {span.offset} {value}" if span.size == 1 else f"bytes {span.offset} to {last} {value:#x}"

    def _change(self, before: bytes, after: bytes, span: Span, value: int) -> str:
        one, two = (_field_at(packet, self.dlt, span.offset) for packet in (before, after))
        if one and two and one[0] == two[0] and one[1] != two[1]:
            return f"{one[0]} {one[1]} -> {two[1]}"
        return f"{self._bytes(span, span.value)}{f' ({one[0]})' if one else ''} -> {hex(value) if span.size > 1 else value}"

    # ---- byte by byte, where the fields cannot be told

    def near_misses(self, solved: Solved) -> Iterator[GeneratedPacket]:
        """One byte just outside its range, or one byte too few."""
        data = solved.data
        for offset, ranges in sorted(solved.order.items()):
            if offset >= len(data):
                continue
            low, high = next((span for span in ranges if span[0] <= data[offset] <= span[1]), (data[offset], data[offset]))
            for byte in (high + 1, low - 1):
                if 0 <= byte <= 255 and not allows(ranges, byte) and (offset, byte) not in self.missed:
                    packet = self._changed(solved, offset, byte)
                    if packet is not None:
                        self.missed.add((offset, byte))
                        yield packet
        yield from self.wrong_lengths(solved)

    def wrong_lengths(self, solved: Solved) -> Iterator[GeneratedPacket]:
        """One byte too few or too many."""
        data = solved.data
        lengths = ((solved.least - 1, f"too short: {solved.least} bytes are needed"), (solved.most + 1, f"over {solved.most} bytes"))
        for size, what in lengths:
            if 0 <= size <= _MOST_BYTES and (-1, size) not in self.missed:
                other = data[:size].ljust(size, b"\0")
                for candidate in (finish(other, self.dlt, solved.order), other):
                    if self.verdict(candidate, solved.aux) == 0:
                        self.missed.add((-1, size))
                        yield GeneratedPacket(candidate, 0, "rejected", what, solved.aux)
                        break

    def _changed(self, solved: Solved, offset: int, byte: int) -> GeneratedPacket | None:
        """The packet with one byte changed, with lengths and checksums right again, if it is rejected."""
        data = bytearray(solved.data)
        data[offset] = byte
        for candidate in (finish(bytes(data), self.dlt, {**solved.order, offset: ((byte, byte),)}), bytes(data)):
            if self.verdict(candidate, solved.aux) == 0:
                before, after = (_field_at(packet, self.dlt, offset) for packet in (solved.data, candidate))
                if before and after and before[0] == after[0] and before[1] != after[1]:
                    note = f"{before[0]} {before[1]} -> {after[1]}"
                else:
                    note = f"byte {offset}{f' ({before[0]})' if before else ''} {solved.data[offset]} -> {byte}"
                return GeneratedPacket(candidate, 0, "rejected", note, solved.aux)
        return None


def _field_at(packet: bytes, dlt: int, offset: int) -> tuple[str, str] | None:
    return next(((f.name, f.text) for f in fields(packet, dlt) if f.start <= offset < f.start + f.size), None)


def _narrow(order: dict[int, Ranges], offset: int, ranges: Ranges) -> None:
    """Both what was asked of a byte before and `ranges`."""
    if offset < 0:
        raise Contradiction
    both = ((max(a, c), min(b, d)) for a, b in order.get(offset, ((0, 255),)) for c, d in ranges)
    order[offset] = tuple((low, high) for low, high in both if low <= high)
    if not order[offset]:
        raise Contradiction


def _whole(text: str) -> str:
    """ "tcp.dport[1] 80" and "tcp.dport[0] 80" are both "tcp.dport 80"."""
    head, bracket, rest = text.partition("[")
    return head + rest.partition("]")[2] if bracket else text
