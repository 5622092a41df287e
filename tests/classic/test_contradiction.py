"""Why nothing matches, names that people write, and bytes that no packet has."""

from __future__ import annotations

import pytest

from bpflens.classic.contradiction import why_nothing
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.explain import explain
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.names import named, with_services
from bpflens.classic.words.field_names import constraint
from bpflens.cli.rejected import hint_of
from bpflens.errors import InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.pcap.libpcap import compile_program
from bpflens.lean import replace

NOTHING = [
    ("ip6 and tcp[tcpflags] & (tcp-syn) != 0", ("ip6", "tcp[tcpflags] & (tcp-syn) != 0"),
     "ip6 and (ip6 proto 6 and ip6[53] & (tcp-syn) != 0)"),
    ("ip and ip6", ("ip", "ip6"), None),
    ("tcp and udp and port 80", ("tcp", "udp"), None),
    ("src 10.0.0.1 and src 10.0.0.2", ("src host 10.0.0.1", "src host 10.0.0.2"), None),
    ("less 10 and greater 100", ("less 10", "greater 100"), None),
    ("tcp port 80", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("shown", "tests", "instead"), NOTHING)
def test_the_tests_that_exclude_each_other(shown: str, tests: tuple[str, ...] | None, instead: str | None) -> None:
    found = why_nothing(shown, Compiler(Store(), "EN10MB"))
    assert (found.tests if found else None) == tests and (found.instead if found else None) == instead


def test_it_stands_in_the_hint_and_beside_no_packet() -> None:
    typed = "pcap:ip and arp"
    hint = hint_of(InputError(typed, "expression rejects all packets"), ["explain", typed])
    assert hint == "`ip` and `arp` exclude each other"
    assert hint_of(InputError("x", "is empty"), ["explain", typed]) is None
    program = compile_program("ip6 and tcp", optimize=False)
    assert "`ip` and `ip6` exclude each other" in explain(program, given=["ip"]).notes


NAMES = [
    ("tcp[13] & 3 != 0", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0"),
    ("tcp[13] = 18", "tcp[tcpflags] = (tcp-syn|tcp-ack)"),
    ("icmp[0] = 8", "icmp[icmptype] = icmp-echo"),
    ("icmp[0] = 99", "icmp[0] = 99"),
    ("tcp[13] & 3 > 1", "tcp[13] & 3 > 1"),
]


@pytest.mark.parametrize(("shown", "expected"), NAMES)
def test_names_mean_the_numbers(shown: str, expected: str) -> None:
    compiler = Compiler(Store(), "EN10MB")
    assert named(shown) == expected and compiler.node(shown) == compiler.node(expected)


def test_the_answer_has_the_names_unless_numbers_were_typed() -> None:
    program = compile_program("tcp[13] & 3 != 0")
    assert explain(program).expression == "tcp[13] & 3 != 0"
    found = explain(replace(program, origin=replace(program.origin, source="tcpdump-ddd", line=None)))
    assert found.expression == "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0" and found.proof.grade == "all-packets"


WORDS = [
    ("link[((link[0]&0xf)*4)+((link[((link[0]&0xf)*4)+12]>>4)*4):4] = 0x5353482d",
     'the 4 bytes at the start of the TCP payload are 0x5353482d ("SSH-")'),
    ("ether[((ether[14]&0xf)*4)+16:2] = 0x43", "bytes 2 to 3 of what follows the IPv4 header are 67"),
    ("nlmsghdr[4:2] = 0x1800", "nlmsg_type is 24 (little-endian, RTM_NEWROUTE in NETLINK_ROUTE)"),
]  # fmt: skip


@pytest.mark.parametrize(("relation", "words"), WORDS)
def test_fields_behind_headers(relation: str, words: str) -> None:
    assert constraint(relation) == words


def test_a_byte_that_no_packet_has() -> None:
    program = read_programs(b"4\n32 0 0 487637233\n21 0 1 1\n6 0 0 262144\n6 0 0 0\n", "-")[0]
    assert any("byte 487637233 lies beyond every packet" in note for note in explain(program).notes)


HELPFUL = [(9, 6, "--given ip), it is the same as: tcp"), (6, 58, "--given ip6), it is the same as: ip6[6] = 58")]


@pytest.mark.parametrize(("byte", "value", "note"), HELPFUL)
def test_the_assumption_that_helps(byte: int, value: int, note: str) -> None:
    rule = f'-A INPUT -m bpf --bytecode "4,48 0 0 {byte},21 0 1 {value},6 0 0 1,6 0 0 0" -j DROP'
    (program,) = read_programs(rule.encode(), "-")
    assert any(note in said for said in explain(program).notes)


def test_services_only_where_they_mean_the_same() -> None:
    assert with_services("tcp port 80 or 443", lambda _: True) == "tcp port http or https"
    assert with_services("tcp port 80", lambda _: False) == "tcp port 80"
