"""Generated packets: verdicts as predicted by the interpreter and the running kernel, checksums as tcpdump wants them."""

from __future__ import annotations

import io
import random
import re
import subprocess

import pytest
from hypothesis import given, settings

import needs
from bpflens.classic.machine.interpreter import run
from bpflens.classic.packets.build import build, crc32c, finish, internet_checksum
from bpflens.classic.packets.generate import generate
from bpflens.cli.main import run as command
from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.formats.pcap.capture import Capture, Packet, open_capture
from bpflens.formats.pcap.write import write_pcap
from bpflens.isa.classic.insn import SockFilter
from classic_oracles import corpus, kernel_filter, programs

EXPRESSIONS = (
    "tcp port 80", "udp dst port 68 and ip", "icmp", "icmp6", "sctp portrange 5000-5100", "arp", "host 10.0.0.1", "net 2001:db8::/32",
    "vlan 100 and ip6", "mpls 7 and ip", "pppoes 3 and tcp", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "udp[8:4] = 0x12345678",
    "ip[0] & 0xf != 5", "greater 300", "less 60", "ether[0] & 1 = 1", "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", "ip6 and tcp",
    "ip and not tcp and not udp", "igmp", "ether proto 0x88cc", "ip broadcast or ether multicast",
    "tcp src port 80 or udp dst port 53 or icmp[0] = 8",
)  # fmt: skip


def compiled(expression: str) -> tuple[SockFilter, ...]:
    return libpcap.compile(expression, 1, netmask=0xFFFFFF00)


@pytest.mark.live
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_kernel_gives_the_predicted_verdicts(expression):
    insns = compiled(expression)
    made = generate(insns, 1)

    assert made.unsolved == 0
    assert any(packet.kind == "accepted" for packet in made.packets)
    assert any(packet.kind == "rejected" for packet in made.packets)
    with kernel_filter(insns) as kernel:
        for packet in made.packets:
            assert (packet.value != 0) == (packet.kind != "rejected")
            if packet.data:
                assert kernel.delivered(packet.data) == (min(packet.value, len(packet.data)) if packet.value else None)


@pytest.mark.live
@pytest.mark.parametrize("case", [c for c in corpus() if c["kind"] != "seccomp" and not c.get("ancillary") and not c.get("netrel")],
                         ids=lambda c: c["name"])  # fmt: skip
def test_filters_of_real_programs(case):
    insns = [SockFilter(*insn) for insn in case["insns"]]
    dlt = {"EN10MB": 1, "RAW": 12}.get(case["linktype"], 147)
    made = generate(insns, dlt, most=12)

    assert any(packet.value for packet in made.packets)
    with kernel_filter(insns) as kernel:
        for packet in made.packets:
            if packet.data:
                assert kernel.delivered(packet.data) == (min(packet.value, len(packet.data)) if packet.value else None)


@settings(max_examples=80)
@given(programs(max_insns=12))
def test_random_programs(insns):
    """Every verdict is the interpreter's; what random packets find to be accepted is found here too, or said to be unsolved."""
    insns = [SockFilter(*insn) for insn in insns]
    made = generate(insns, 147, most=8)
    for packet in made.packets:
        assert run(insns, packet.data, None, "kernel", {**packet.aux, "network_offset": 0}) == packet.value

    rng = random.Random(1)
    samples = [rng.randbytes(size) for size in (0, 1, 20, 44, 60) for _ in range(3)]
    if any(run(insns, sample, None, "kernel", {"network_offset": 0}) for sample in samples):
        assert made.unsolved or made.left_out or any(packet.value for packet in made.packets)


def test_every_alternative_is_there():
    made = generate(compiled("tcp port 80 or udp dst port 53 or arp"), 1)
    accepted = [packet.data for packet in made.packets if packet.kind == "accepted"]
    parts = ["arp", "tcp src port 80"] + [f"{ip} and {port}" for ip in ("ip", "ip6") for port in ("tcp dst port 80", "udp dst port 53")]
    for insns in map(compiled, parts):
        assert any(run(insns, packet) for packet in accepted)


def test_the_ends_of_ranges_and_their_neighbours():
    made = generate(compiled("ip and udp dst portrange 1000-1010"), 1)
    ports = {(packet.kind == "rejected", int.from_bytes(packet.data[36:38], "big")) for packet in made.packets if len(packet.data) > 38}

    assert {(False, 1000), (False, 1010), (True, 999), (True, 1011)} <= ports


def test_a_filter_that_accepts_nothing():
    made = generate([SockFilter(6, 0, 0, 0)], 1)

    assert [packet.kind for packet in made.packets] == ["rejected"]


def test_fields_that_are_compared_with_each_other():
    """The length of the TCP payload: total length, both header lengths."""
    needs.module("z3")
    made = generate(compiled("ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) = 100 and tcp"), 1)

    assert any(packet.value for packet in made.packets)


def test_what_accepts_nothing_is_proved():
    """ip[2:2] > tcp[0:2] > ip[2:2] + 70000."""
    needs.module("z3")
    insns = [SockFilter(0x28, 0, 0, 2), SockFilter(0x07, 0, 0, 0), SockFilter(0x28, 0, 0, 4), SockFilter(0x2D, 0, 3, 0)]
    insns += [SockFilter(0x1D, 0, 2, 0), SockFilter(0x06, 0, 0, 1), SockFilter(0x06, 0, 0, 0), SockFilter(0x06, 0, 0, 0)]
    made = generate(insns, 147)

    assert made.rejects_all
    assert [packet.value for packet in made.packets] == [0]


def test_checksums_are_right(tmp_path):
    """tcpdump -vv looks at all of them."""
    tcpdump = needs.tool("tcpdump")
    path = tmp_path / "x.pcap"
    packets = []
    for expression in ("tcp port 80", "udp port 53", "icmp", "icmp6", "sctp port 5000", "vlan and ip6 and udp", "mpls and udp port 53",
                       "ip6 and tcp dst portrange 5-9"):
        packets += [packet.data for packet in generate(compiled(expression), 1, rejected=False).packets]
    with open(path, "wb") as stream:
        write_pcap(stream, [Packet(data, len(data), 0, 1) for data in packets], 1)

    text = subprocess.run([tcpdump, "-vv", "-nr", path], capture_output=True, text=True).stdout

    assert not re.findall(r"[^(]*(?:bad|wrong|incorrect)[^)]*", text)
    assert text.count("(correct)") + text.count("sum ok") >= 8


def test_known_checksums():
    assert internet_checksum(bytes.fromhex("45000073000040004011" + "0000" + "c0a80001c0a800c7")) == 0xB861  # RFC 1071's usual example
    assert internet_checksum(b"\x01") == 0xFEFF
    assert crc32c(b"123456789") == 0xE3069283


def test_what_the_order_says_stays():
    order = {12: ((8, 8),), 13: ((0, 0),), 16: ((1, 1),), 23: ((17, 17),), 24: ((0xAB, 0xAB),)}
    packet = finish(build(order, 1), 1, order)

    assert packet[16] == 1
    assert packet[24] == 0xAB
    assert packet[38:40] == (len(packet) - 34).to_bytes(2, "big")


def test_ancillary_data_is_asked_for():
    made = generate([SockFilter(0x30, 0, 0, 0xFFFFF004), SockFilter(0x15, 0, 1, 4), SockFilter(6, 0, 0, 9), SockFilter(6, 0, 0, 0)], 1)
    accepted = next(packet for packet in made.packets if packet.kind == "accepted")

    assert accepted.aux == {"pkttype": 4}
    assert accepted.value == 9


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_the_command_writes_a_capture(tmp_path, capsys, name):
    path = tmp_path / name

    assert command(["packets", "pcap:tcp port 80", "-w", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    with open_capture(str(path)) as capture:
        packets = list(capture)
    assert len(packets) == len(lines)
    assert lines[0].startswith("1 accepted: ether.type 0x0800 IPv4")
    assert command(["run", "pcap:tcp port 80", str(path)]) == 0
    accepted = sum(" rejected: " not in line for line in lines)
    assert capsys.readouterr().out == f"{accepted} of {len(lines)} packets match\n"


def test_the_command_prints_hex_and_json(capsys):
    assert command(["packets", "--accepted", "pcap:arp"]) == 0
    out = capsys.readouterr().out
    assert "02005e00000202005e0000010806" in out.replace(" ", "")
    assert "rejected" not in out
    assert command(["--json", "packets", "pcap:arp"]) == 0
    assert '"schema": "packets/1"' in capsys.readouterr().out


def test_loops_are_refused(capsys):
    assert command(["packets", "pcap:ip6 protochain 6"]) == 3
    assert "loops" in capsys.readouterr().err


def test_captures_of_other_link_types(capsysbinary):
    for linktype, number in (("RAW", 101), ("LINUX_SLL", 113), ("LINUX_SLL2", 276), ("NULL", 0)):
        assert command(["packets", "--linktype", linktype, "pcap:tcp port 80", "-w", "-"]) == 0
        with Capture(io.BytesIO(capsysbinary.readouterr().out), "out") as capture:
            assert capture.linktype == number
            insns = libpcap.compile("tcp port 80", libpcap.dlt_value(linktype))
            assert any(run(insns, packet.data, model="libpcap") for packet in capture)


def test_a_missing_filter_is_named():
    with pytest.raises(InputError):
        generate([], 1)


def test_ends_are_those_of_whole_fields():
    """1000 and 2000, not the ends of a byte (1023, 1024); and every protocol of a port gets a packet."""
    made = generate(compiled("tcp dst portrange 1000-2000"), 1)
    ports = {(p.kind == "rejected", int.from_bytes(p.data[36:38], "big")) for p in made.packets if p.data[12:14] == b"\x08\x00"}

    assert {port for rejected, port in ports if not rejected} <= {1000, 2000}
    assert {(False, 1000), (False, 2000), (True, 999), (True, 2001)} <= ports

    made = generate(compiled("port 53"), 1)

    assert len([packet for packet in made.packets if packet.kind == "accepted"]) == 4
    assert {packet.data[23] for packet in made.packets if packet.value and packet.data[12:14] == b"\x08\x00"} == {6, 17, 132}


def test_a_field_that_a_program_reads_with_its_neighbour():
    """ip[6:2] of IPv4 is at the place of the next header and the hop limit of IPv6; only the former matters there."""
    made = generate(compiled("udp dst port 68"), 1)

    assert not [packet.note for packet in made.packets if "hlim" in packet.note]
