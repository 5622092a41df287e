"""What a user has typed: it is an answer, its structure is read, and what its keywords move is said with what was probably meant."""

from __future__ import annotations

import warnings

import pytest

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.explain import explain
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.shifts import shift_of
from bpflens.classic.expression.tree import text
from bpflens.formats.pcap.libpcap import compile_program
from bpflens.lean import replace

TYPED = [
    "(vlan and port 53) or (not vlan and port 53)",
    "(vlan 2 and ip) or (vlan 3 and ip)",
    "vlan or ip",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "host 10.0.0.1 and (port 80 or 443)",
    "pppoes and ip and tcp port 80",
]


@pytest.mark.parametrize("shown", TYPED)
def test_nothing_longer_than_what_was_typed(shown: str) -> None:
    found = explain(compile_program(shown))
    assert found.expression is not None and len(found.expression) <= len(shown)
    assert found.proof.grade == "all-packets" and found.words


MEANT = [
    ("(vlan and port 53) or (not vlan and port 53)", "port 53 or (vlan and port 53)"),
    ("(vlan 2 and ip) or (vlan 3 and ip)", "vlan and (ether[14:2] & 0xfff = 2 or ether[14:2] & 0xfff = 3) and ip"),
    ("vlan 2 or vlan 3", "vlan and (ether[14:2] & 0xfff = 2 or ether[14:2] & 0xfff = 3)"),
    ("not vlan and ip", "ip"),
    ("pppoes or ip", "ip or pppoes"),
    ("mpls 3 or mpls 4", None),
]


@pytest.mark.parametrize(("shown", "meant"), MEANT)
def test_what_the_keywords_move(shown: str, meant: str | None) -> None:
    compiler = Compiler(Store(), "EN10MB")
    tree, node = parse(shown), compiler.node(shown)
    assert tree is not None and node is not None
    shift = shift_of(tree, compiler, node)
    assert shift is not None and shift.meant == meant and "to the end of the filter" in shift.note


def test_a_tag_inside_of_the_first() -> None:
    compiler = Compiler(Store(), "EN10MB")
    tree, node = parse("vlan and not vlan 5 and ip"), compiler.node("vlan and not vlan 5 and ip")
    assert tree is not None and node is not None
    shift = shift_of(tree, compiler, node)
    assert shift is not None and shift.meant == "vlan and ether[14:2] & 0xfff != 5 and ip" and compiler.node(shift.meant) is not None


@pytest.mark.parametrize("shown", ["port 53 or (vlan and port 53)", "vlan and vlan 5 and ip", "ip or vlan", "vlan and (ip or arp)", "tcp"])
def test_where_nothing_else_is_moved(shown: str) -> None:
    compiler = Compiler(Store(), "EN10MB")
    tree, node = parse(shown), compiler.node(shown)
    assert tree is not None and node is not None and shift_of(tree, compiler, node) is None


SEQUENCES = ["(vlan 2 and ip) or (vlan 3 and ip)", "(vlan 2 and tcp port 80) or (vlan 3 and udp port 53)", "not vlan and ip"]


@pytest.mark.parametrize("shown", SEQUENCES)
def test_dumps_of_such_texts_come_back(shown: str) -> None:
    program = compile_program(shown)
    found = explain(replace(program, origin=replace(program.origin, source="tcpdump-ddd", line=None)))
    assert found.expression == shown and found.proof.grade == "all-packets"
    assert any("to the end of the filter" in note for note in found.notes)


STRUCTURE = [
    ("host a or b and port 80", "(host a or host b) and port 80"),
    ("port (80 or 443) and not tcp[13] & 2 != 0", "(port 80 or port 443) and not tcp[13] & 2 != 0"),
    ("ip[((ip[0]&0xf)<<2):4] = 3 && (tcp[12]>>4) > 5", "ip[((ip[0]&0xf)<<2):4] = 3 and (tcp[12] >> 4) > 5"),
    ("src 10.0.0.1 or !(arp)", "src host 10.0.0.1 or not arp"),
    ("net 10.0.0.0 mask 255.0.0.0", "net 10.0.0.0 mask 255.0.0.0"),
    ("ip and (", None),
    ("", None),
]


@pytest.mark.parametrize(("shown", "read"), STRUCTURE)
def test_structure(shown: str, read: str | None) -> None:
    with warnings.catch_warnings():
        tree = parse(shown)
    assert (text(tree, brief=False) if tree is not None else None) == read
