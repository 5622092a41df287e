"""Packets for a filter: one for each alternative that it accepts, the ends of its ranges, and near misses that it rejects.

    generate(insns, 1)  ──►  accepted  a TCP packet to port 80
                             accepted  a TCP packet from port 80 ...
                             rejected  the same with ip.proto 5 instead of 6

The filter's decision diagram has a path for each way through its tests. Paths are chosen until every edge that leads to acceptance is on
one; a packet is built for each (packet_build.py), with lengths and checksums right where the path leaves them free. Of such a packet, each
field that the filter tests goes to the ends of its ranges and just beyond (packet_ends.py); paths that differ only in bytes of one range
are one alternative. Near misses also cut the packet short. Nothing is believed: every verdict is what the interpreter returned for
that packet, and a path for which no packet turns up is counted as unsolved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP, Machine, run_in
from bpflens.classic.expression.candidates.candidate import load_constants, tests_of
from bpflens.classic.machine.interpreter import Model, run
from bpflens.classic.packets.build import Ranges, build, finish
from bpflens.classic.packets.numbers import Dlt
from bpflens.classic.packets.solve import MOST_RANGES, GeneratedPacket, Path, Work
from bpflens.classic.proof.fragment import outside
from bpflens.isa.classic.insn import SockFilter

__all__ = ("Generated", "GeneratedPacket", "generate")

_MOST_NODES = 200_000


class Generated(NamedTuple):
    """`unsolved`: alternatives for which no packet was found; `left_out`: at most so many more, beyond the number asked for.

    `rejects_all`: it is proved that the filter accepts no packet.
    """

    packets: tuple[GeneratedPacket, ...]
    unsolved: int
    left_out: int
    rejects_all: bool = False


# where the network header is, for the kernel's SKF_NET_OFF
_NETWORK_OFFSETS = {Dlt.EN10MB: 14, Dlt.LINUX_SLL: 16, Dlt.LINUX_SLL2: 20, Dlt.NULL: 4, Dlt.LOOP: 4}


def generate(
    insns: Sequence[SockFilter],
    dlt: int,
    model: Model = "kernel",
    most: int = 32,
    boundaries: bool = True,
    rejected: bool = True,
) -> Generated:
    """Packets of link type `dlt` for a valid filter: `most` alternatives at most.

    Raises Loop (symbolic.py) for a program that loops, TooComplex where its diagram grows beyond its budget.
    """
    network = _NETWORK_OFFSETS.get(dlt, 0)
    machine = LIBPCAP if model == "libpcap" else KERNEL.at_network_offset(network)
    store = Store(max_nodes=_MOST_NODES)
    work = Work(tuple(insns), dlt, model, network)
    try:
        node = run_in(store, insns, machine)
    except TooComplex:  # return values computed from the packet can be many: accepted or not is simpler
        store = Store()
        node = run_in(store, insns, machine, accept=True)
        work.any_value = True
    paths, left_out = _cover(store, node, most)
    packets: list[GeneratedPacket] = []
    unsolved = 0
    loads = list(dict.fromkeys(load for test in tests_of(store) for load in load_constants(test)))
    alternatives = set()
    for path, value in paths:
        solved = work.solve(path, value)
        if solved is None:
            unsolved += 1
            continue
        answer, note = solved
        fields_tested = work.spans(store, node, loads, answer)
        if fields_tested:
            reach = [span.ranges if len(span.ranges) <= MOST_RANGES else span.around for span in fields_tested]
            alternative = (answer.value, *((s.offset, s.size) for s in fields_tested), *reach, *answer.aux.items())
            if alternative in alternatives:
                continue
            alternatives.add(alternative)
        packets.append(work.accepted(answer, work.named(answer, fields_tested) or note))
        if boundaries:
            packets += work.ends(answer, fields_tested) if fields_tested else work.boundaries(path, value)
        if rejected:
            packets += [*work.beyond(answer, fields_tested), *work.wrong_lengths(answer)] if fields_tested else work.near_misses(answer)
    rejects_all = not paths and (outside(insns) is None or _by_proof(work, machine)[1])
    if unsolved and not any(packet.value for packet in packets):
        found, rejects_all = _by_proof(work, machine)
        packets += found
    if rejects_all and rejected:
        data = finish(build({}, dlt), dlt, {})
        packets.append(GeneratedPacket(data, run(insns, data, None, model), "rejected", "the filter accepts no packet", {}))
    return Generated(tuple(_distinct(packets)), 0 if rejects_all else unsolved, left_out, rejects_all)


def _by_proof(work: Work, machine: Machine) -> tuple[list[GeneratedPacket], bool]:
    """What ties several fields together: a difference from the filter that rejects everything, or the proof that there is none."""
    from bpflens.classic.proof.equal import compare

    verdict = compare(work.insns, (SockFilter(0x06, 0, 0, 0),), machine)
    witness = verdict.witness
    if witness is None or not witness.a:
        return [], verdict.grade == "all-packets"
    aux = {key: value for key, value in witness.aux.items() if key != "network_offset"}
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
