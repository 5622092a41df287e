"""Packets piece by piece: their fields, one line of them, the ends of ranges, a packet for a path, well-known numbers."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.linktypes import PACKET
from bpflens.classic.diagrams.symbolic import KERNEL, run_in
from bpflens.classic.diagrams.term import Load
from bpflens.classic.packets import fields as packet_fields
from bpflens.classic.packets import well_known
from bpflens.classic.packets.ends import Span, span_of, spans
from bpflens.classic.packets.one_line import one_line
from bpflens.classic.packets.solve import Work
from bpflens.isa.classic.insn import SockFilter

MACS = bytes.fromhex("ffffffffffff 020000000001")
IPV4 = bytes.fromhex("45000028 00004000 40060000 0a000001 0a000002")
TCP = bytes.fromhex("04000050 00000001 00000002 50120100 00000000")
FRAME = MACS + bytes.fromhex("0800") + IPV4 + TCP
IPV6 = bytes.fromhex("60000000 00081140 20010db8" + "00" * 11 + "01 ff02" + "00" * 13 + "01")
UDP = bytes.fromhex("0035003500080000")
ARP = bytes.fromhex("0001 0800 06 04 0002 020000000001 0a000001 020000000002 0a000002")

# --- fields ---


def told(packet: bytes, dlt: int) -> dict[str, str]:
    return {field.name: field.text for field in packet_fields.fields(packet, dlt)}


def test_fields_of_a_frame() -> None:
    """Each byte of the headers is in one field, in order, and holds what it says."""
    found = packet_fields.fields(FRAME, 1)
    assert [field.start for field in found] == [0, *(field.start + field.size for field in found[:-1])]
    assert found[-1].start + found[-1].size == len(FRAME)
    texts = told(FRAME, 1)
    assert {name: texts[name] for name in ("ether.dst", "ether.type", "ip.proto", "ip.src", "tcp.dport", "tcp.flags", "ip.frag")} == {
        "ether.dst": "ff:ff:ff:ff:ff:ff", "ether.type": "0x0800 IPv4", "ip.proto": "6 TCP", "ip.src": "10.0.0.1", "tcp.dport": "80",
        "tcp.flags": "0x12 SYN ACK", "ip.frag": "0x4000 (DF, offset 0)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "dlt", "expected"),
    [
        (MACS + bytes.fromhex("8100 2064 0806") + ARP, 1,
         {"vlan.tci": "0x2064 (id 100, priority 1)", "arp.op": "2 reply", "arp.tpa": "10.0.0.2"}),
        (MACS + bytes.fromhex("8847 00001040 00002140") + IPV4, 1, {"mpls.entry": "0x00002140 (label 2, ttl 64, bottom)", "ip.ttl": "64"}),
        (MACS + bytes.fromhex("8864 1100 0012 0028 0021") + IPV4, 1, {"pppoe.session": "0x0012", "ip.dst": "10.0.0.2"}),
        (MACS + bytes.fromhex("0026 4242 03"), 1, {"ether.length": "38", "llc.dsap": "0x42"}),
        (IPV6 + UDP, 12, {"ip6.nxt": "17 UDP", "ip6.src": "2001:db8::1", "udp.sport": "53"}),
        (IPV6[:6] + b"\x2c" + IPV6[7:] + bytes.fromhex("11000010 00000000") + UDP, 101, {"ip6.frag.nxt": "17 UDP", "ip6.fragment": ""}),
        (bytes.fromhex("02000000") + IPV4[:9] + b"\x01" + IPV4[10:] + b"\x08\0\0\0", 0,
         {"loopback.family": "0x02000000", "icmp.type": "8"}),
        (bytes.fromhex("0004 0001 0006 0200000000010000 0800") + IPV4, 113, {"sll.pkttype": "4 outgoing", "sll.protocol": "0x0800 IPv4"}),
        (bytes.fromhex("0800 0000 00000007 0001 00 06 0200000000010000") + IPV4, 276, {"sll2.ifindex": "7", "ip.proto": "6 TCP"}),
        (b"\x4a" + IPV4[1:] + bytes(20) + TCP, 12, {"ip.version_ihl": "0x4a (version 4, 40 bytes)", "tcp.dport": "80"}),
        (b"\x01\x02", 147, {"data": ""}),
    ],
)  # fmt: skip
def test_fields_by_link_type(packet: bytes, dlt: int, expected: dict[str, str]) -> None:
    assert expected.items() <= told(packet, dlt).items()


@pytest.mark.parametrize(
    ("offset", "size", "words"),
    [(36, 2, "tcp.dport 80"), (36, 1, "tcp.dport[0] 80"), (37, 1, "tcp.dport[1] 80"), (34, 4, "tcp.sport 1024, tcp.dport 80"), (99, 1, "")],
)
def test_names_of_what_a_load_reads(offset: int, size: int, words: str) -> None:
    assert packet_fields.name(FRAME, 1, offset, size) == words


@settings(max_examples=60)
@given(st.integers(0, len(FRAME)), st.sampled_from([0, 1, 12, 113, 276, 147]), st.binary(max_size=70))
def test_cut_and_random_packets(length: int, dlt: int, noise: bytes) -> None:
    """Fields begin within the packet, whatever it is."""
    for packet in (FRAME[:length], noise):
        assert all(0 <= field.start < len(packet) for field in packet_fields.fields(packet, dlt))
        assert one_line(packet, "EN10MB" if dlt == 1 else "RAW").endswith(("bytes", "Ethernet header"))


# --- one_line ---


@pytest.mark.parametrize(
    ("packet", "linktype", "line"),
    [
        (FRAME, "EN10MB", "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, IPv4 10.0.0.1 > 10.0.0.2, TCP 1024 > 80 [SYN, ACK], 54 bytes"),
        (MACS + bytes.fromhex("81000064 0806") + ARP, "EN10MB",
         "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, VLAN 100, ARP reply 10.0.0.1 > 10.0.0.2, 46 bytes"),
        (IPV6 + UDP, "RAW", "IPv6 2001:db8::1 > ff02::1, UDP 53 > 53, 48 bytes"),
        (IPV4[:6] + b"\x00\x02" + IPV4[8:] + TCP, "RAW", "IPv4 10.0.0.1 > 10.0.0.2, fragment at 16, TCP, 40 bytes"),
        (IPV4[:9] + b"\x01" + IPV4[10:] + b"\x03", "RAW", "IPv4 10.0.0.1 > 10.0.0.2, ICMP destination unreachable, 21 bytes"),
        (MACS + b"\x00\x10", "EN10MB", "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, 802.3 length 16, 14 bytes"),
        (MACS + b"\x12\x34", "EN10MB", "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 0x1234, 14 bytes"),
        (IPV4[:12], "RAW", "IPv4 (cut short), 12 bytes"), (b"abc", "EN10MB", "3 bytes, less than an Ethernet header"),
        (b"abc", "IEEE802_11", "3 bytes"),
    ],
)  # fmt: skip
def test_one_line(packet: bytes, linktype: str, line: str) -> None:
    assert one_line(packet, linktype) == line


# --- ends ---

PORTS = tuple(SockFilter(*insn) for insn in ((0x28, 0, 0, 36), (0x35, 0, 2, 1000), (0x25, 1, 0, 2000), (6, 0, 0, 9), (6, 0, 0, 0)))


def test_the_range_of_a_whole_field() -> None:
    """1000 to 2000, though the bytes alone say otherwise; what is kept and what is rejected are all values together."""
    store = Store()
    node = run_in(store, PORTS, KERNEL)
    packet = bytes(36) + (1500).to_bytes(2, "big")

    def read(field: Field) -> int | None:
        return len(packet) if field.base.region != "packet" else packet[field.offset]

    span = span_of(store, node, PACKET, 36, 2, read, 36, 9)
    assert span == Span(36, 2, 1500, ((1000, 2000),), ((0, 999), (2001, 65535)))
    assert span.around == (1000, 2000) and not span.free
    assert spans(store, node, [Load(PACKET, 36, 2), Load(PACKET, 37, 1), Load(PACKET, 2, 1)], read, lambda load: load.offset, 9) == [span]
    assert span_of(store, node, PACKET, 36, 2, lambda field: None, 36, 9) is None
    assert span_of(store, node, PACKET, 36, 2, read, 36, 8) is None
    assert Span(0, 1, 0, ((0, 255),), ()).free


# --- solve ---


def work(insns: tuple[SockFilter, ...]) -> tuple[Work, Store, int]:
    store = Store()
    machine = KERNEL.at_network_offset(14)
    return Work(insns, 1, "kernel", 14), store, run_in(store, insns, machine)


def test_a_packet_for_a_path_and_its_neighbours() -> None:
    """The packet takes the path; one byte too few, and the values beyond the ends, are rejected."""
    worker, store, node = work(PORTS)
    path = [(Field(Base("room", PACKET), 0, 32), ((38, 65535),)), (Field(PACKET, 36, 8), ((4, 4),)), (Field(PACKET, 37, 8), ((0, 255),))]
    solved, note = worker.solve(path, 9) or pytest.fail("no packet")
    assert worker.verdict(solved.data, {}) == solved.value == 9 and solved.least == 38 and note
    assert 1024 <= int.from_bytes(solved.data[36:38], "big") <= 1279
    rejected = list(worker.wrong_lengths(solved))
    assert [(len(packet.data), packet.value, packet.kind) for packet in rejected] == [(37, 0, "rejected")]
    found = worker.spans(store, node, [Load(PACKET, 36, 2)], solved)
    assert [span.ranges for span in found] == [((1000, 2000),)]
    ends = {int.from_bytes(packet.data[36:38], "big") for packet in worker.ends(solved, found)}
    assert ends == {1000, 2000} and all(packet.value == 9 for packet in worker.ends(solved, found))
    assert {int.from_bytes(packet.data[36:38], "big") for packet in worker.beyond(solved, found)} == {999, 2001}


def test_a_path_that_contradicts_itself() -> None:
    worker, _, _ = work(PORTS)
    assert worker.solve([(Field(PACKET, 36, 8), ((4, 4),)), (Field(PACKET, 36, 8), ((5, 5),))], 9) is None
    assert worker.solve([(Field(Base("length"), 0, 32), ((10, 10),)), (Field(Base("room", PACKET), 0, 32), ((38, 65535),))], 9) is None


# --- well_known ---


def test_numbers_are_those_of_the_kernels_headers() -> None:
    """Those that have a name there."""
    header = Path("/usr/include/linux/if_ether.h").read_text()
    values = {name: int(value, 16) for name, value in re.findall(r"#define ETH_P_(\w+)\s+(0x[0-9A-Fa-f]+)", header)}
    names = {
        "IP": "IPv4", "ARP": "ARP", "IPV6": "IPv6", "8021Q": "802.1Q VLAN", "8021AD": "802.1ad VLAN", "MPLS_UC": "MPLS",
        "PAE": "EAPOL (802.1X)", "LLDP": "LLDP", "MACSEC": "MACsec", "1588": "PTP (IEEE 1588)", "FCOE": "FCoE", "TDLS": "TDLS",
        "PPP_SES": "PPPoE session", "AOE": "AoE",
    }  # fmt: skip
    assert {name: well_known.ETHERTYPES[values[name]] for name in names} == names
    for name in ("ICMP", "IGMP", "TCP", "UDP", "GRE", "ESP", "AH", "PIM", "SCTP", "ICMPV6"):
        assert well_known.IP_PROTOCOLS[getattr(socket, f"IPPROTO_{name}")].upper() == name


def test_tables_are_well_formed() -> None:
    assert set(well_known.TCP_FLAGS) == {1 << bit for bit in range(8)} and len(set(well_known.TCP_FLAGS.values())) == 8
    assert all(re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", mac) for mac in well_known.MACS)
    assert all(0x600 <= number < 1 << 16 for number in well_known.ETHERTYPES) and all(0 < port < 1 << 16 for port in well_known.PORTS)
    assert [well_known.PORTS[port] for port in (22, 53, 80, 443)] == ["ssh", "domain", "http", "https"]
    assert well_known.ICMP_TYPES[8] == well_known.ICMP6_TYPES[128] == "echo request" and well_known.ARP_OPERATIONS[1] == "request"
