"""The parts of a proof: two programs run on one packet, packets for paths, a diagram as a formula."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import LENGTH, Base, Field
from bpflens.classic.diagrams.linktypes import PACKET, header_base
from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP, run_in
from bpflens.classic.diagrams.term import Load, add
from bpflens.classic.machine.interpreter import run
from bpflens.classic.proof.run_both import runner
from bpflens.classic.proof.verdict import Witness
from bpflens.classic.proof.witness import Packet, packet_for, packets_to
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import SKF_NET_OFF
from classic_oracles import programs

Insns = list[tuple[int, int, int, int]]
IP: Insns = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 9), (6, 0, 0, 0)]
ARP: Insns = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x806), (6, 0, 0, 9), (6, 0, 0, 0)]
SHORTER: Insns = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 5), (6, 0, 0, 0)]
ALL: Insns = [(6, 0, 0, 1)]


def frame(ethertype: int, length: int = 60) -> Packet:
    return Packet((bytes(12) + ethertype.to_bytes(2, "big")).ljust(length, b"\0"))


# --- run_both ---


def test_a_difference_is_what_both_returned() -> None:
    """The witness is the shortest beginning that shows the same."""
    ask = runner(IP, ARP, KERNEL)
    assert ask(frame(0x800)) == Witness(frame(0x800, 14).data, 9, 0)
    assert ask(frame(0x86DD)) is None and ask(Packet(b"")) is None
    assert runner(IP, SHORTER, KERNEL)(frame(0x800)) is None
    assert runner(IP, SHORTER, KERNEL, values=True)(frame(0x800)) == Witness(frame(0x800, 14).data, 9, 5)


def test_sides_and_assumptions() -> None:
    assert runner(IP, ARP, KERNEL, side=0)(frame(0x806)) is None
    assert (runner(IP, ARP, KERNEL, side=1)(frame(0x806)) or pytest.fail("no witness")).b == 9
    assert runner(IP, ARP, KERNEL, given=ARP)(frame(0x800)) is None
    assert runner(IP, ARP, KERNEL, given=IP)(frame(0x800)) is not None


def test_a_program_that_is_none_is_no_difference() -> None:
    assert runner([(0xFFFF, 0, 0, 0)], ALL, KERNEL)(frame(0x800)) is None


@pytest.mark.parametrize(("offset", "named"), [(14, {}), (20, {"network_offset": 20})])
def test_the_place_of_the_network_header_is_said_where_it_matters(offset: int, named: dict[str, int]) -> None:
    from_network: Insns = [(0x30, 0, 0, 0xFFF00000), (0x15, 0, 1, 0x45), (6, 0, 0, 1), (6, 0, 0, 0)]
    packet = Packet(bytes(offset) + b"\x45" + bytes(20), {"network_offset": offset})
    found = runner(from_network, [(6, 0, 0, 0)], KERNEL)(packet)
    assert found is not None and found.aux == named and found.packet == packet.data[: len(found.packet)]
    assert runner(IP, ARP, KERNEL)(Packet(frame(0x800).data, {"network_offset": offset})).aux == {}  # type: ignore[union-attr]


# --- witness ---


@pytest.mark.parametrize("expression", ["ip", "tcp port 80", "vlan 100 and ip6", "len > 100", "host 10.0.0.1", "tcp[13] & 2 != 0"])
def test_packets_take_their_path(expression: str) -> None:
    """What is made for a return value has that value when it is run, for both values of a filter; no more than were asked for."""
    program = libpcap.compile(expression, 1)
    store = Store()
    node = run_in(store, program, KERNEL)
    for wanted in store.terminals(node):
        made = list(packets_to(store, node, wanted, limit=3))
        assert 0 < len(made) <= 3
        assert all(run(program, packet.data) == wanted for packet in made)


ROOM = Base("room", PACKET)
FROM_NETWORK = Base("packet", add(Load(PACKET, 0, 1), SKF_NET_OFF))  # byte 0 of the packet, from the network header on


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ({Field(PACKET, 2, 8): (7, 9)}, b"\0\0\x07"),
        ({Field(PACKET, 0, 8): (7, 7), LENGTH: (5, 5)}, b"\x07\0\0\0\0"),
        ({Field(PACKET, 0, 8): (7, 7), Field(ROOM, 0, 32): (4, 1 << 20)}, b"\x07\0\0\0"),
        ({Field(header_base(0), 2, 8): (80, 80)}, b"\x45" + bytes(21) + b"\x50"),
        ({Field(PACKET, 0, 8): (0x46, 0x46), Field(header_base(0), 0, 8): (1, 1)}, b"\x46" + bytes(23) + b"\x01"),
        ({Field(Base("net"), 0, 8): (0x45, 0x45)}, bytes(14) + b"\x45"),
        ({Field(FROM_NETWORK, 1, 8): (9, 9), Field(PACKET, 0, 8): (2, 2)}, b"\x02" + bytes(16) + b"\x09"),
        ({Field(PACKET, 70_000, 8): (1, 1)}, None),
        ({Field(PACKET, 9, 8): (1, 1), LENGTH: (0, 4), Field(ROOM, 0, 32): (10, 10)}, None),
    ],
)
def test_packets_for_paths(path: dict[Field, tuple[int, int]], data: bytes | None) -> None:
    """Bytes at fixed places, lengths, bytes behind a header whose length is chosen; contradictions have none or a packet cut to fit."""
    found = packet_for(path)
    if data is None:
        assert found is None or len(found.data) <= 4  # cut to the length; whoever runs it sees that it takes another way
    else:
        assert found is not None and found.data == data


def test_ancillary_data_of_a_path() -> None:
    """Its bytes are put together; a packet without a device has no interface."""
    kind = Field(Base("ancillary"), 4 * 4 + 3, 8)
    device = Field(Base("atom", ("device",)), 0, 1)
    found = packet_for({kind: (3, 3), device: (0, 0)}, 20)
    assert found is not None
    assert found.aux == {"network_offset": 20, "pkttype": 3, "ifindex": None, "hatype": None}


# --- z3_diagram ---


@settings(max_examples=8)
@given(programs(max_insns=6))
def test_a_diagram_as_a_formula_has_the_programs_values(program: Insns) -> None:
    """For both machines: no packet on which the formula of the diagram and the formula of the program differ."""
    z3 = pytest.importorskip("z3")
    from bpflens.classic.proof import z3_formula
    from bpflens.classic.proof.z3_diagram import diagram_formula
    from bpflens.classic.proof.z3_world import World

    for machine in (KERNEL, LIBPCAP):
        store = Store()
        node = run_in(store, program, machine)
        world = World(z3, machine, arrays=True, apart=True)
        solver = z3.SolverFor("QF_ABV")
        solver.set("timeout", 2000)
        theirs = z3_formula.formula(program, world, values=True)
        solver.add(theirs != diagram_formula(store, node, world), *world.limits)
        assert solver.check() != z3.sat


def test_a_wrong_diagram_is_told_by_its_formula() -> None:
    z3 = pytest.importorskip("z3")
    from bpflens.classic.proof import z3_diagram, z3_formula
    from bpflens.classic.proof.z3_world import World

    store = Store()
    node = run_in(store, IP, KERNEL)
    world = World(z3, KERNEL, arrays=False, apart=True)
    solver = z3.Solver()
    solver.add(z3_formula.formula(ARP, world, values=True) != z3_diagram.diagram_formula(store, node, world), *world.limits)
    assert solver.check() == z3.sat
    fixed = z3.Solver()
    value = z3_diagram.diagram_formula(store, node, world)
    fixed.add(world.byte("packet", 12) == 8, world.byte("packet", 13) == 0, world.length == 60, world.room("packet") == 60, value != 9)
    assert fixed.check() == z3.unsat


def test_a_diagram_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    z3 = pytest.importorskip("z3")
    from bpflens.classic.proof import z3_diagram
    from bpflens.classic.proof.z3_world import World

    monkeypatch.setattr(z3_diagram, "MAX_NODES", 1)
    store = Store()
    node = run_in(store, IP, KERNEL)
    with pytest.raises(z3_diagram.TooLarge, match="nodes"):
        z3_diagram.diagram_formula(store, node, World(z3, KERNEL, arrays=False, apart=True))


def test_filters_are_tuples_too() -> None:
    assert runner([SockFilter(*insn) for insn in IP], [SockFilter(*insn) for insn in ARP], KERNEL)(frame(0x800)) is not None
