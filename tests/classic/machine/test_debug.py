"""The debugger: what bpf_dbg can, backwards, conditions, and fields by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bpflens.classic.machine.debugger import COMMANDS, HELP, Session
from bpflens.classic.machine.packet_source import PacketSource
from bpflens.cli.main import run as command
from bpflens.errors import InputError, UsageError
from bpflens.formats.pcap import libpcap
from bpflens.formats.pcap.capture import Packet
from bpflens.formats.pcap.write import write_pcap

IP = bytes.fromhex("4500003c00010000400600000a0000010a000002")
FRAMES = [
    bytes(12) + b"\x08\x00" + IP + b"\x12\x34\x00\x50" + bytes(16),
    bytes(12) + b"\x08\x06" + bytes(28),
    bytes(12) + b"\x08\x00" + IP + b"\x12\x34\x01\xbb" + bytes(16),
]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "x.pcap"
    with open(path, "wb") as stream:
        write_pcap(stream, [Packet(frame, len(frame), 0, 1) for frame in FRAMES], 1)
    return str(path)


@pytest.fixture
def session(capture):
    return Session(libpcap.compile("tcp dst port 80", 1), PacketSource(capture), "libpcap")


def script(session: Session, *lines: str) -> list[str]:
    return [text for line in lines for text in session.execute(line)]


def test_stepping_shows_what_was_read(session):
    assert script(session, "step") == [
        "    read [12:2] = 08 00  ether.type 0x0800 IPv4",
        "l1:   jeq #0x86dd, l2, l6            A=0x800 (2048) X=0x0 (0)",
    ]
    assert script(session, "step 2")[-1].startswith("l7:   ldb [23]")
    assert "returns 262144 (accepted), packet 1" in script(session, "continue")[-1]


def test_back_is_the_state_before(session):
    forward = [script(session, "step") for _ in range(6)]
    backward = [script(session, "step -1") for _ in range(5)]

    assert backward == forward[-2::-1]
    assert script(session, "back 99")[-1].startswith("l0:")
    assert script(session, "step 9999")[-1].startswith("returns")


def test_run_counts_all_packets(session):
    assert script(session, "run") == ["bpf passes:1 fails:2 (the end; back at packet 1)"]
    assert script(session, "run 2") == ["bpf passes:1 fails:1"]
    assert session.number == 2
    assert script(session, "run") == ["bpf passes:0 fails:1 (the end; back at packet 1)"]


def test_breakpoints_stop_before_the_instruction(session):
    assert script(session, "breakpoint 8") == ["breakpoint 8"]
    lines = script(session, "run")
    assert lines[0] == "packet 1: breakpoint 8"
    assert lines[-1].startswith("l8:")
    assert session.states[session.at].pc == 8
    lines = script(session, "run")
    assert lines[0] == "packet 3: breakpoint 8"
    assert lines[-1] == "bpf passes:1 fails:1"
    assert script(session, "delete 8", "run")[-1] == "bpf passes:0 fails:1 (the end; back at packet 1)"


def test_conditions_stop_where_they_become_true(session):
    lines = script(session, "break if A == 443", "run")

    assert lines[0:2] == ["break if A == 443", "packet 3: break if A == 443"]
    assert lines[2] == "    read [36:2] = 01 bb  tcp.dport 443"
    assert script(session, "delete", "break if X >= 0x14 and A != 0", "restart", "continue")[2].startswith("l0:")
    assert "break if X >= 0x14 and A != 0" in script(session, "break")


def test_select_and_packet(session):
    lines = script(session, "select 2")

    assert lines[0] == "packet 2: 42 bytes"
    assert "    12:2     ether.type 0x0806 ARP" in lines
    assert script(session, "select")[0] == "packet 3: 54 bytes"
    script(session, "select 1", "step")
    assert "[08][00]" in "\n".join(script(session, "packet"))
    with pytest.raises(UsageError, match="ends before"):
        script(session, "select 4")


def test_disassemble_and_dump(session):
    script(session, "step", "breakpoint 3")
    lines = script(session, "disassemble")

    assert lines[1].startswith("> l1:")
    assert lines[3].startswith(" *l3:")
    assert script(session, "disassemble 0") == ["  l0:   ldh [12]"]
    assert script(session, "dump")[0].startswith("16,40 0 0 12,21 0 4 34525,48 0 0 20,")


def test_registers_and_memory(capture):
    from bpflens.isa.classic.asm import assemble

    session = Session(assemble("ld #7\nst M[3]\ntax\nret a"), PacketSource(capture))
    assert script(session, "step 3")[-1].endswith("A=0x7 (7) X=0x7 (7) M[3]=0x7")
    assert "M[3]  0x00000007 7" in script(session, "registers")
    assert script(session, "break if M[3] == 7", "restart", "continue")[2] == "break if M[3] == 7"


def test_ancillary_data_and_models(capture):
    from bpflens.isa.classic.asm import assemble

    session = Session(assemble("ld type\nret a"), PacketSource(capture))
    assert script(session, "aux pkttype=4", "verdict")[-1] == "packet 1: returns 4 (accepted) after 2 instructions"
    assert script(session, "model libpcap", "verdict")[-1] == "packet 1: returns 0 (rejected) after 1 instructions"


def test_short_forms_and_mistakes(session):
    assert script(session, "s")[-1].startswith("l1:")
    assert script(session, "", "# a remark") == []
    assert script(session, "help") == HELP.split("\n")
    for line, reason in (
        ("foo", "is no command"), ("re", "ambiguous"), ("break if A = 5", "no condition"), ("break if M[16] == 0", "no condition"),
        ("breakpoint 999", "instructions"), ("step x", "not a number"), ("load", "load bpf TARGET"), ("load bpf pcap:arp", "nothing"),
        ("model x86", "neither"), ("aux pkttype=z", "not a number"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=reason):
            script(session, line)
    assert not session.done
    script(session, "quit")
    assert session.done


def test_every_command_is_in_the_help():
    for name in COMMANDS:
        assert any(line.startswith(name) or f", {name}" in line for line in HELP.split("\n")), name


def test_a_damaged_capture_is_said(capture, tmp_path):
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(open(capture, "rb").read()[:-1])  # noqa: SIM115
    session = Session(libpcap.compile("arp", 1), PacketSource(str(damaged)))

    assert script(session, "run")[-1] == "the capture is damaged: the file ends in packet 3: 53 bytes of 54"


def test_loops_do_not_hang(capture):
    from bpflens.isa.classic.insn import SockFilter

    session = Session([SockFilter(5, 0, 0, 0xFFFFFFFF), SockFilter(6, 0, 0, 0)], PacketSource(capture), "libpcap")
    assert "has not returned" in script(session, "verdict")[0]


def test_the_command_runs_scripts(capture, capsys):
    assert command(["debug", "pcap:tcp dst port 80", capture, "-c", "step; registers", "-c", "run"]) == 0
    assert "bpf passes:1 fails:2" in capsys.readouterr().out
    assert command(["debug", "-c", f"load bpf 1,6 0 0 65535; load pcap {capture}; run; load bpf pcap:arp; run"]) == 0
    out = capsys.readouterr().out
    assert "bpf passes:3 fails:0" in out
    assert "bpf passes:1 fails:2" in out
    assert command(["debug", "pcap:arp", capture, "-c", "nonsense; run"]) == 2
    out, err = capsys.readouterr()
    assert "nonsense" in err
    assert "passes:1" in out


def test_the_command_reads_standard_input(capture):
    done = subprocess.run(
        [sys.executable, "-m", "bpflens", "debug", "pcap:arp", capture], input="select 2\nstep\nquit\nrun\n", capture_output=True, text=True
    )

    assert done.returncode == 0
    assert "read [12:2] = 08 06  ether.type 0x0806 ARP" in done.stdout
    assert "passes" not in done.stdout


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError):
        PacketSource(str(tmp_path / "missing"))
    assert command(["debug", "pcap:arp", str(tmp_path / "missing"), "-c", "run"]) == 3
