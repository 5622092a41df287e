"""Packets for a filter: one for each alternative that it accepts, the ends of its ranges, and near misses that it rejects.

    generate(insns, 1)  ──►  accepted  a TCP packet to port 80
                             accepted  a TCP packet from port 80 ...
                             rejected  the same with ip.proto 5 instead of 6

The filter's decision diagram has a path for each way through its tests. Paths are chosen until every edge that leads to acceptance is on
one; a packet is built for each (packet_build.py), with lengths and checksums right where the path leaves them free. Near misses
change one byte of an accepted packet to just outside its range, or cut the packet short. Nothing is believed: every verdict is what the
interpreter returned for that packet, and a path for which no packet turns up is counted as unsolved.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpflens.classic.condition import evaluate
from bpflens.classic.diagram import Base, Field, Store, TooComplex
from bpflens.classic.interp import ANCILLARY, Model, run
from bpflens.classic.packet_build import Ranges, allows, build, finish
from bpflens.classic.packet_fields import fields, name
from bpflens.classic.symbolic import KERNEL, LIBPCAP, Machine, run_in
from bpflens.classic.term import Load, Term, leaves
from bpflens.isa.classic.insn import SockFilter

__all__ = ("Generated", "GeneratedPacket", "generate")

_MOST_BYTES = 65535
_TRIES = 12
_PROOF_SECONDS = 5.0
_MOST_NODES = 200_000

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


class Generated(NamedTuple):
    """`unsolved`: alternatives for which no packet was found; `left_out`: at most so many more, beyond the number asked for.

    `rejects_all`: it is proved that the filter accepts no packet.
    """

    packets: tuple[GeneratedPacket, ...]
    unsolved: int
    left_out: int
    rejects_all: bool = False


# where the network header is, for the kernel's SKF_NET_OFF
_NETWORK_OFFSETS = {1: 14, 113: 16, 276: 20, 0: 4, 108: 4}


def generate(
    insns: Sequence[SockFilter],
    dlt: int,
    model: Model = "kernel",
    most: int = 32,
    boundaries: bool = True,
    rejected: bool = True,
    deadline: float | None = None,
) -> Generated:
    """Packets of link type `dlt` for a valid filter: `most` alternatives at most.

    Raises Loop (symbolic.py) for a program that loops, TooComplex where its diagram grows beyond its budget (`deadline` in time.monotonic
    seconds).
    """
    network = _NETWORK_OFFSETS.get(dlt, 0)
    machine = LIBPCAP if model == "libpcap" else KERNEL.at_network_offset(network)
    store = Store(deadline=deadline, max_nodes=_MOST_NODES)
    work = _Work(tuple(insns), dlt, model, network)
    try:
        node = run_in(store, insns, machine)
    except TooComplex:  # return values computed from the packet can be many: accepted or not is simpler
        store = Store(deadline=deadline)
        node = run_in(store, insns, machine, accept=True)
        work.any_value = True
    paths, left_out = _cover(store, node, most)
    packets: list[GeneratedPacket] = []
    unsolved = 0
    for path, value in paths:
        solved = work.solve(path, value)
        if solved is None:
            unsolved += 1
            continue
        packets.append(work.accepted(*solved))
        if boundaries:
            packets += work.boundaries(path, value)
        if rejected:
            packets += work.near_misses(solved[0])
    rejects_all = not paths
    if unsolved and not any(packet.value for packet in packets):
        found, rejects_all = _by_proof(work, machine)
        packets += found
    if rejects_all and rejected:
        data = finish(build({}, dlt), dlt, {})
        packets.append(GeneratedPacket(data, run(insns, data, None, model), "rejected", "the filter accepts no packet", {}))
    return Generated(tuple(_distinct(packets)), 0 if rejects_all else unsolved, left_out, rejects_all)


def _by_proof(work: _Work, machine: Machine) -> tuple[list[GeneratedPacket], bool]:
    """What ties several fields together: a difference from the filter that rejects everything, or the proof that there is none."""
    from bpflens.classic.prove import compare

    verdict = compare(work.insns, (SockFilter(0x06, 0, 0, 0),), machine, timeout=_PROOF_SECONDS)
    witness = verdict.witness
    if witness is None or not witness.a:
        return [], verdict.grade == "all-packets"
    aux: dict[str, int | None] = {key: value for key, value in witness.aux.items() if key != "network_offset"}
    value = work.verdict(witness.packet, aux)
    note = f"found by {verdict.method or 'search'}: conditions that tie several fields together"
    return ([GeneratedPacket(witness.packet, value, "accepted", note, aux)] if value else []), False


def _distinct(packets: list[GeneratedPacket]) -> Iterator[GeneratedPacket]:
    seen = set()
    for packet in packets:
        key = (packet.data, tuple(sorted(packet.aux.items(), key=str)))
        if key not in seen:
            seen.add(key)
            yield packet


def _cover(store: Store, root: int, most: int) -> tuple[list[tuple[Path, int]], int]:
    """Paths to values other than 0 such that every edge leading to one is on a path; and how many edges are not, beyond `most` paths."""
    accepts: dict[int, bool] = {}

    def can_accept(node: int) -> bool:
        if node < 0:
            return ~node != 0
        found = accepts.get(node)
        if found is None:
            found = accepts[node] = any(can_accept(kid) for kid in store.kids[node])
        return found

    if not can_accept(root):
        return [], 0
    if root < 0:
        return [([], ~root)], 0
    # breadth first: the way to each node
    way: dict[int, tuple[int, int] | None] = {root: None}
    order = [root]
    for node in order:
        for kid in store.kids[node]:
            if kid >= 0 and can_accept(kid) and kid not in way:
                way[kid] = (node, kid)
                order.append(kid)
    covered: set[tuple[int, int]] = set()
    paths: list[tuple[Path, int]] = []
    left_out = 0
    for node in order:
        for kid in dict.fromkeys(store.kids[node]):
            if (node, kid) in covered or not can_accept(kid):
                continue
            if len(paths) == most:
                left_out += 1
                continue
            edges = [(node, kid)]
            above = way[node]
            while above is not None:
                edges.append(above)
                above = way[above[0]]
            edges.reverse()
            while kid >= 0:
                choices = [below for below in store.kids[kid] if can_accept(below)]
                fresh = next((below for below in choices if (kid, below) not in covered), choices[0])
                edges.append((kid, fresh))
                kid = fresh
            covered.update(edges)
            paths.append(([_edge(store, *edge) for edge in edges], ~kid))
    return paths, left_out


def _edge(store: Store, node: int, kid: int) -> tuple[Field, Ranges]:
    """The field that a node tests and all its values that lead to the kid."""
    field = store.field_of(store.var[node])
    last = (1 << field.width) - 1
    starts = store.starts[node]
    ranges = (
        (start, min(end - 1, last)) for start, end, below in zip(starts, starts[1:], store.kids[node], strict=False) if below == kid
    )
    return field, tuple(ranges)


class _Solved(NamedTuple):
    """A packet on a path: its bytes' ranges, and the lengths between which the path holds."""

    data: bytes
    value: int
    order: dict[int, Ranges]
    least: int
    most: int
    aux: dict[str, int | None]


class _Contradiction(Exception):
    """The ranges of a path exclude each other."""


class _Work:
    """Builds and checks packets for one filter."""

    def __init__(self, insns: tuple[SockFilter, ...], dlt: int, model: Model, network: int) -> None:
        self.insns = insns
        self.dlt = dlt
        self.model = model
        self.network = network
        self.random = random.Random(1)
        self.missed: set[tuple[int, int]] = set()
        self.any_value = False

    def _reached(self, got: int, wanted: int) -> bool:
        """Whether a packet took the path; values that the filter computes are not told apart."""
        return got == wanted or (got != 0 and (self.any_value or wanted > 0xFFFFFFFF))

    def verdict(self, data: bytes, aux: dict[str, int | None]) -> int:
        return run(self.insns, data, None, self.model, {**aux, "network_offset": self.network})

    def solve(self, path: Path, value: int) -> tuple[_Solved, str] | None:
        """A packet for which the filter returns `value` (anything but 0 where that is computed), and what it shows."""
        for attempt in range(_TRIES):
            try:
                solved = self._build(path, attempt)
            except _Contradiction:
                continue
            if solved is not None and self._reached(solved.value, value):
                return solved, self._note(solved)
        return None

    def _build(self, path: Path, attempt: int) -> _Solved | None:
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
                raise _Contradiction
            else:
                _narrow(order, self._region(base) + start + field.offset, self._choice(attempt, ranges))
            data = self._fill(order, room[0], attempt)
        least, most = max(length[0], room[0]), min(length[1], room[1])
        if least > most:
            raise _Contradiction
        if len(data) < least:
            data = self._fill(order, least, attempt)
        data = data[:most]
        finished = finish(data, self.dlt, order)
        for candidate in (finished, data):
            value = self.verdict(candidate, aux)
            if value:
                return _Solved(candidate, value, order, least, most, aux)
        return _Solved(data, 0, order, least, most, aux)

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
        values: dict[object, int] = {}
        for leaf in leaves(term):  # type: ignore[arg-type]
            if type(leaf) is Load:
                start = self._region(leaf.base) + self._evaluate(leaf.base.term, data) + leaf.offset
                values[leaf] = int.from_bytes(data[start : start + leaf.size].ljust(leaf.size, b"\0"), "big")
            else:
                values[leaf] = len(data)
        typed: Term = term  # type: ignore[assignment]
        return evaluate(typed, values)  # type: ignore[arg-type]

    def _ancillary(self, aux: dict[str, int | None], field: Field, low: int) -> None:
        """Ancillary values are tested byte by byte; a byte is 0 where that is allowed."""
        what = ANCILLARY.get(field.offset // 4)
        if what is None or low == 0:
            return
        aux[what] = (aux.get(what) or 0) | low << 8 * (3 - field.offset % 4)

    # ---- what is made of a solution

    def accepted(self, solved: _Solved, note: str) -> GeneratedPacket:
        return GeneratedPacket(solved.data, solved.value, "accepted", note, solved.aux)

    def _note(self, solved: _Solved) -> str:
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
            except _Contradiction:
                continue
            if solved is not None and self._reached(solved.value, value):
                yield GeneratedPacket(solved.data, solved.value, "boundary", f"{which}: {self._note(solved)}", solved.aux)

    def near_misses(self, solved: _Solved) -> Iterator[GeneratedPacket]:
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
        lengths = ((solved.least - 1, f"too short: {solved.least} bytes are needed"), (solved.most + 1, f"over {solved.most} bytes"))
        for size, what in lengths:
            if 0 <= size <= _MOST_BYTES and (-1, size) not in self.missed:
                other = data[:size].ljust(size, b"\0")
                for candidate in (finish(other, self.dlt, solved.order), other):
                    if self.verdict(candidate, solved.aux) == 0:
                        self.missed.add((-1, size))
                        yield GeneratedPacket(candidate, 0, "rejected", what, solved.aux)
                        break

    def _changed(self, solved: _Solved, offset: int, byte: int) -> GeneratedPacket | None:
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
        raise _Contradiction
    both = ((max(a, c), min(b, d)) for a, b in order.get(offset, ((0, 255),)) for c, d in ranges)
    order[offset] = tuple((low, high) for low, high in both if low <= high)
    if not order[offset]:
        raise _Contradiction


def _whole(text: str) -> str:
    """ "tcp.dport[1] 80" and "tcp.dport[0] 80" are both "tcp.dport 80"."""
    head, bracket, rest = text.partition("[")
    return head + rest.partition("]")[2] if bracket else text
