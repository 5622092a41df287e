"""Filters over captures: libpcap's loop, generated code and tcpdump agree; damage is said; output files are right."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needs
from bpflens.classic.machine.captures import models_agree, run_capture
from bpflens.classic.machine.interpreter import run
from bpflens.cli.main import run as command
from bpflens.formats.pcap import libpcap
from bpflens.formats.pcap.capture import Capture, Packet, open_capture
from bpflens.formats.pcap.write import write_pcap, write_pcapng
from bpflens.isa.classic.check import runs_in_libpcap
from bpflens.isa.classic.insn import SockFilter
from classic_oracles import programs


def tcp(port: int, size: int = 80) -> bytes:
    ip = bytes.fromhex("4500003c00010000400600000a0000010a000002")
    return (bytes(12) + b"\x08\x00" + ip + port.to_bytes(2, "big") + b"\x12\x34" + bytes(16)).ljust(size, b"\0")


ARP = bytes(12) + b"\x08\x06" + bytes(28)
FRAMES = [tcp(80), ARP, tcp(443), tcp(80, 54), b""] * 30
PACKETS = [Packet(data, len(data) + 7, 1_700_000_000_000_000_001 + i, 1) for i, data in enumerate(FRAMES)]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "x.pcap"
    with open(path, "wb") as stream:
        write_pcap(stream, PACKETS, 1, nanoseconds=True)
    return path


def compiled(expression: str) -> tuple[SockFilter, ...]:
    return libpcap.compile(expression, 1)


@pytest.mark.parametrize(
    ("expression", "matches"), [("tcp port 80", 60), ("arp", 30), ("not arp", 90), ("greater 88", 0), ("len = 7", 30)]
)
def test_both_engines_count_alike(capture, expression, matches):
    with open_capture(str(capture)) as opened:
        fast = run_capture(compiled(expression), opened, "libpcap")
    with open_capture(str(capture)) as opened:
        slow = run_capture(compiled(expression), opened, "libpcap", returns=True, profile=True)

    assert (fast.engine, fast.packets, fast.matches) == ("libpcap", 150, matches)
    assert (slow.engine, slow.packets, slow.matches) == ("python", 150, matches)
    assert slow.returns[0] == 150 - matches
    assert slow.hits[0] == 150


def test_without_total_the_packets_are_not_counted(capture):
    with open_capture(str(capture)) as opened:
        assert run_capture(compiled("arp"), opened, "libpcap", total=False)[:2] == (None, 30)


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
@pytest.mark.parametrize("profile", [False, True])
def test_matches_are_written(capture, tmp_path, name, profile):
    output = tmp_path / name
    with open_capture(str(capture)) as opened:
        run_capture(compiled("tcp port 443"), opened, "libpcap", output=str(output), profile=profile)

    with open_capture(str(output)) as written:
        assert list(written) == [packet for packet in PACKETS if packet.data == tcp(443)]


def test_tcpdump_writes_the_same(capture, tmp_path):
    tcpdump = needs.tool("tcpdump")
    command(["run", "pcap:tcp port 80", str(capture), "-w", str(tmp_path / "ours")])
    subprocess.run(
        [tcpdump, "--time-stamp-precision=nano", "-r", capture, "-w", tmp_path / "theirs", "tcp port 80"], check=True, capture_output=True
    )

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@settings(max_examples=150)
@given(programs(net_relative=True), st.lists(st.binary(max_size=48), min_size=1, max_size=5))
def test_where_the_models_agree_libpcap_is_the_kernel(insns, packets):
    insns = tuple(SockFilter(*insn) for insn in insns)
    if models_agree(insns, "kernel"):
        for packet in packets:
            assert run(insns, packet, 60, "kernel") == run(insns, packet, 60, "libpcap") == libpcap.run(insns, packet, 60)


@settings(max_examples=150)
@given(programs(net_relative=True), st.lists(st.binary(max_size=48), min_size=1, max_size=5))
def test_the_interpreter_is_libpcaps(insns, packets):
    """bpf_filter() itself, on what our validator has passed."""
    insns = tuple(SockFilter(*insn) for insn in insns)
    if runs_in_libpcap(insns):
        for packet in packets:
            assert run(insns, packet, 60, "libpcap") == libpcap.run(insns, packet, 60)


@pytest.mark.parametrize(
    "insns",
    [
        [(0x30, 0, 0, 0xFFFFF004)],
        [(0x01, 0, 0, 0x80000000), (0x50, 0, 0, 0x80000000)],
        [(0x20, 0, 0, 0), (0x07, 0, 0, 0), (0x50, 0, 0, 1)],
        [(0x6C, 0, 0, 0)],
        [(0xFF, 0, 0, 0)],
    ],
)
def test_where_they_may_differ_the_fast_way_is_not_taken(insns):
    assert not models_agree([SockFilter(*insn) for insn in [*insns, (0x16, 0, 0, 0)]], "kernel")


def test_a_kernel_filter_with_ancillary_data(capture, capsys):
    text = "4,48 0 0 4294963204,21 0 1 4,6 0 0 0,6 0 0 65535"
    (capture.parent / "filter").write_text(text)

    assert command(["run", str(capture.parent / "filter"), str(capture)]) == 0
    assert capsys.readouterr().out == "150 of 150 packets match\n"
    assert command(["run", "--aux", "pkttype=4", str(capture.parent / "filter"), str(capture)]) == 0
    assert capsys.readouterr().out == "0 of 150 packets match\n"
    assert command(["run", "--aux", "pkttipe=4", str(capture.parent / "filter"), str(capture)]) == 2
    assert "pkttype" in capsys.readouterr().err


def test_the_command_says_counts_values_and_hits(capture, capsys):
    assert command(["run", "--profile", "--returns", "pcap:arp", str(capture)]) == 0
    assert capsys.readouterr().out == (
        "30 of 150 packets match\n\n     packets  return value\n         120  0\n          30  262144\n\n    executed       %\n"
        "         150  100.0%  l0:   ldh [12]\n         120   80.0%  l1:   jeq #0x806, l2, l3\n"
        "          30   20.0%  l2:   ret #0x40000\n          90   60.0%  l3:   ret #0x0\n"
    )
    assert command(["--json", "run", "--profile", "--returns", "pcap:arp", str(capture)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["packets"], record["matches"], record["model"]) == ("run/1", 150, 30, "libpcap")
    assert record["returns"] == [
        {"value": 0, "packets": 120, "meaning": "dropped"},
        {"value": 262144, "packets": 30, "meaning": "at most 262144 bytes are kept"},
    ]
    assert record["profile"][1] == {"pc": 1, "bytes": "1500000106080000", "text": "jeq #0x806, l2, l3", "hits": 120}


def test_protochain_runs_in_the_interpreter(capture, capsys):
    assert command(["run", "pcap:ip protochain 6", str(capture)]) == 0
    assert capsys.readouterr().out == "90 of 150 packets match\n"


def test_damage_is_partial(capture, capsys):
    capture.write_bytes(capture.read_bytes()[:-20])

    assert command(["run", "pcap:arp", str(capture)]) == 5
    out, err = capsys.readouterr()
    assert out == "30 of 148 packets match\n"
    assert "ends in packet 149: 50 bytes of 54" in err


def test_other_link_types_are_left_out(tmp_path, capsys):
    path = tmp_path / "x.pcapng"
    with open(path, "wb") as stream:
        write_pcapng(stream, [PACKETS[1], PACKETS[1]._replace(linktype=113), PACKETS[1]])

    assert command(["run", "pcap:arp", str(path)]) == 5
    out, err = capsys.readouterr()
    assert out == "2 of 2 packets match\n"
    assert "1 packets have another link type than EN10MB" in err


def test_the_capture_says_the_link_type_of_an_expression(tmp_path, capsys):
    path = tmp_path / "raw.pcap"
    with open(path, "wb") as stream:
        write_pcap(stream, [Packet(tcp(80)[14:], 66, 0, 101)], 101)

    assert command(["run", "pcap:tcp port 80", str(path)]) == 0
    assert capsys.readouterr().out == "1 of 1 packet matches\n"


def test_several_filters_are_named(capture, capsys, tmp_path):
    insns = " ".join(f"{hex(i.code)} {i.jt} {i.jf} {i.k}," for i in compiled("arp"))
    ss = "".join(f"p_raw UNCONN 0 0 *:{dev} * users:((\"x\",pid=1,fd=3))\n\tbpf filter (4): {insns}\n" for dev in ("eth0", "eth1"))
    (tmp_path / "ss").write_text(ss)

    assert command(["run", str(tmp_path / "ss"), str(capture)]) == 0
    assert [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()] == ["30 of 150 packets match"] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["pcap:arp", "missing.pcap"], 3, "No such file"),
        (["pcap:arp and", "x.pcap"], 3, "syntax error"),
        (["-", "-"], 2, "both"),
        (["pcap:arp", "x.pcap", "-w", "/nonexistent/y"], 3, "No such file"),
    ],
)
def test_mistakes_are_named(capture, capsys, monkeypatch, arguments, code, reason):
    monkeypatch.chdir(capture.parent)

    assert command(["run", *arguments]) == code
    assert reason in capsys.readouterr().err


def test_standard_input_and_output(capture):
    bpflens = [sys.executable, "-m", "bpflens"]
    done = subprocess.run([*bpflens, "run", "pcap:arp", "-", "-w", "-"], input=capture.read_bytes(), capture_output=True)
    again = subprocess.run([*bpflens, "run", "pcap:arp", "-"], stdin=open(capture, "rb"), capture_output=True)  # noqa: SIM115

    assert done.stderr == b"30 of 150 packets match\n"
    assert len(list(Capture(io.BytesIO(done.stdout), "out"))) == 30
    assert again.stdout == b"30 of 150 packets match\n"
