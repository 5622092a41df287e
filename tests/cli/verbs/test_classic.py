"""The verbs on classic filters: what they print, their exit codes, what they refuse."""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import pytest

from bpflens.cli.filters import packet_filters, parse_aux, title, unknown_aux
from bpflens.cli.verbs import asm, completion, debug, diff, dis, explain, help_topics, packets, seccomp
from bpflens.cli.verbs import run as run_verb
from bpflens.errors import InputError, PartialResult, UsageError
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Origin, Program
from cli.verbs.calls import Calls

CODE = "ldh [12]\njeq #0x800, ip, drop\nip: ret #65535\ndrop: ret #0\n"
POLICY = "ld [4]\njne #0xc000003e, kill\nld [0]\njeq #59, deny\nret #0x7fff0000\ndeny: ret #0x50001\nkill: ret #0x80000000\n"
EXTENDED = "r0 = 1\nexit\n"


@pytest.fixture
def capture(tmp_path: Path) -> str:
    """Two frames, of IPv4 and of ARP."""
    frames = [bytes(12) + kind + bytes(46) for kind in (b"\x08\0", b"\x08\6")]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path = tmp_path / "x.pcap"
    path.write_bytes(head + b"".join(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in frames))
    return str(path)


# --- asm, dis ---


def test_asm(verbs: Calls, tmp_path: Path) -> None:
    """The text shows which set of instructions it is; each format; what is no program."""
    assert verbs.call(asm, "-", "--format", "hex", stdin=CODE) == 0
    assert verbs.out.splitlines() == ["280000000c000000", "1500000100080000", "06000000ffff0000", "0600000000000000"]
    assert verbs.call(asm, "-", stdin=EXTENDED) == 0 and verbs.out.splitlines() == ["b700000001000000", "9500000000000000"]
    assert verbs.call(asm, "-", "--format", "c", stdin=EXTENDED) == 0 and verbs.out.startswith("struct bpf_insn insns[] = {")
    assert verbs.call(asm, "-", "--format", "ddd", stdin=CODE) == 0 and verbs.out.splitlines()[:2] == ["4", "40 0 0 12"]
    assert verbs.call(asm, "-", "-o", str(tmp_path / "x"), stdin=EXTENDED) == 0
    assert (tmp_path / "x").read_bytes() == bytes.fromhex("b700000001000000 9500000000000000") and verbs.out == ""
    for stdin, options, error in (
        ("; only a comment\n", (), InputError), (b"\xff\xfe", (), InputError), (EXTENDED, ("--format", "ddd"), UsageError),
        ("r0 = = 1\n", (), InputError),
    ):  # fmt: skip
        with pytest.raises(error):
            verbs.call(asm, "-", *options, stdin=stdin)


def test_dis(verbs: Calls) -> None:
    """Each dialect of the code; parts of it; options that mean nothing are refused."""
    hexed = "280000000c000000 1500000100080000 06000000ffff0000 0600000000000000"
    assert verbs.call(dis, "-", "--isa", "classic", stdin=hexed) == 0 and "(000) ldh      [12]" in verbs.out
    extended = "b700000001000000 0500010000000000 b700000002000000 9500000000000000"
    assert verbs.call(dis, "-", "--isa", "extended", "--start", "1", "--stop", "2", stdin=extended) == 0
    assert "goto pc+1" in verbs.out and "r0 = 1" not in verbs.out
    assert verbs.call(dis, "-", "--isa", "extended", "--dialect", "llvm", stdin=extended) == 0 and "goto +0x1" in verbs.out
    assert verbs.call(dis, "-", "--isa", "extended", json=True, stdin=extended) == 0
    assert json.loads(verbs.out.splitlines()[0])["schema"] == "dis/1"
    for options, message in (
        (("--dialect", "tcpdump"), "tcpdump is no dialect of extended code"), (("--function", "f"), "no function 'f'"),
        (("--section", "s"), "no section 's'"), (("--jited",), "has no machine code"),
    ):  # fmt: skip
        with pytest.raises((UsageError, InputError), match=message):
            verbs.call(dis, "-", "--isa", "extended", *options, stdin=extended)
    with pytest.raises(argparse.ArgumentError, match="is no slot"):
        verbs.call(dis, "-", "--start", "-1", stdin=extended)


# --- explain, diff, packets ---


def test_explain(verbs: Calls) -> None:
    assert verbs.call(explain, "-e", "pcap:ip and ip") == 0 and verbs.out == "ip\n"
    assert verbs.call(explain, "pcap:ip", json=True) == 0
    record = json.loads(verbs.out)
    assert record["expression"] == "ip" and record["schema"].startswith("explain/")
    for argv, error in (
        (("--at", "3", "pcap:ip"), UsageError), (("--check", "pcap:ip"), UsageError), (("pcap:nonsense here",), InputError),
    ):  # fmt: skip
        with pytest.raises(error):
            verbs.call(explain, *argv)
    with pytest.raises(PartialResult, match="left out"):
        verbs.call(explain, "-e", "pcap:ip", "/nosuch/file")
    assert verbs.call(explain, "-", stdin="b700000001000000 9500000000000000") == 0 and "Derived from the code" in verbs.out


def test_diff(verbs: Calls) -> None:
    """0 equal, 1 different; one expression alone is compared with its unoptimized code where that is asked for."""
    assert verbs.call(diff, "pcap:ip", "pcap:ip and ip") == 0 and verbs.out.startswith("equal")
    assert verbs.call(diff, "pcap:ip", "pcap:arp") == 1 and verbs.out.startswith("different")
    assert verbs.call(diff, "--unoptimized", "pcap:ip") == 0
    with pytest.raises(UsageError, match="two filters are needed"):
        verbs.call(diff, "pcap:tcp")


def test_packets(verbs: Calls, tmp_path: Path) -> None:
    assert verbs.call(packets, "pcap:ip", "-n", "2", json=True) == 0
    records = [json.loads(line) for line in verbs.out.splitlines()]
    assert {record["schema"] for record in records} == {"packets/1"} and b"\x08\0" in bytes.fromhex(records[0]["data"])
    path = tmp_path / "x.pcap"
    assert verbs.call(packets, "pcap:ip", "--accepted", "-w", str(path)) == 0 and path.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"
    with pytest.raises(UsageError, match="is not a number of alternatives"):
        verbs.call(packets, "pcap:ip", "-n", "0")


# --- run, debug ---


def test_run(verbs: Calls, capture: str, tmp_path: Path) -> None:
    """How many match; the packets that do; what each instruction did."""
    assert verbs.call(run_verb, "pcap:ip", capture) == 0 and "1" in verbs.out and "2" in verbs.out
    assert verbs.call(run_verb, "pcap:ip", capture, "--profile", "--returns", json=True) == 0
    (record,) = [json.loads(line) for line in verbs.out.splitlines()]
    assert (record["packets"], record["matches"], [row["hits"] for row in record["profile"]]) == (2, 1, [2, 2, 1, 1])
    written = tmp_path / "out.pcap"
    assert verbs.call(run_verb, "pcap:arp", capture, "-w", str(written)) == 0
    assert written.read_bytes()[24 + 16 + 12 : 24 + 16 + 14] == b"\x08\6" and written.stat().st_size == 24 + 16 + 60
    with pytest.raises(UsageError, match="can't both be standard input"):
        verbs.call(run_verb, "-", "-")


def test_debug(verbs: Calls, capture: str) -> None:
    """Commands one after the other; one that is none makes the exit code 2."""
    assert verbs.call(debug, "pcap:ip", capture, "-c", "step 1; break; run", "-c", "packet") == 0 and "jeq #0x800" in verbs.out
    assert verbs.call(debug, "pcap:ip", capture, "-c", "nonsense") == 2


# --- seccomp ---


def policy() -> str:
    return encode(assemble(POLICY)).hex()


def test_seccomp(verbs: Calls, tmp_path: Path) -> None:
    path = tmp_path / "policy.bin"
    path.write_bytes(encode(assemble(POLICY)))
    assert verbs.call(seccomp, str(path), "--seccomp", "--arch", "x86_64", "--syscall", "execve") == 0 and "ERRNO" in verbs.out.upper()
    assert verbs.call(seccomp, str(path), str(path), "--seccomp", "--diff") == 0
    assert verbs.call(seccomp, str(path), "--seccomp", "--findings") in (0, 1)
    assert verbs.call(seccomp, str(path), "--seccomp", "--arch", "x86_64", json=True) == 0
    assert all(json.loads(line)["schema"].startswith("seccomp/") for line in verbs.out.splitlines())
    for argv, message in (
        (("--diff",), "compares two targets, and there are 1"), (("--syscall", "execve", "--args", "1,2,3,4,5,6,7"), "at most 6"),
        (("--syscall", "execve", "--args", "x"), "neither a 64-bit number nor a constant"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            verbs.call(seccomp, str(path), "--seccomp", *argv)
    with pytest.raises(InputError):
        verbs.call(seccomp, "pcap:tcp")


# --- help and completion ---


def test_help_topics(verbs: Calls) -> None:
    assert verbs.call(help_topics) == 0 and "targets" in verbs.out
    assert verbs.call(help_topics, "targets") == 0 and "pcap:" in verbs.out
    with pytest.raises(UsageError):
        verbs.call(help_topics, "nothing")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(verbs: Calls, shell: str) -> None:
    """Of every verb with its options; of targets what is there."""
    assert verbs.call(completion, shell) == 0
    for word in ("decompile", "--how-to-detach", "--linktype"):
        assert word.removeprefix("--") in verbs.out
    assert verbs.call(completion, "targets", "dev:l") == 0 and "dev:lo" in verbs.out.splitlines()


# --- what they share ---


def test_ancillary_data_of_an_option() -> None:
    assert parse_aux(["mark=0x10", "ifindex=none", "vlan_tag=5"]) == {"mark": 16, "ifindex": None, "vlan_tag": 5}
    for items, hint in ((["marks=1"], 'did you mean "mark=..."?'), (["mark"], 'did you mean "mark=..."?'), (["mark=x"], None)):
        with pytest.raises(UsageError) as caught:
            parse_aux(items)
        assert caught.value.hint == hint
    insns = assemble("ld mark\nld cpu\nld [0]\nret #1\n")
    assert unknown_aux(insns, {"mark": 1}) == ["cpu"]


def test_filters_on_packets(tmp_path: Path) -> None:
    """Not seccomp filters, whether they say so or look so, unless that is insisted on; not extended code."""
    ((program, insns),) = packet_filters("pcap:ip")
    assert title(program) == (program.name or program.origin.where) and len(insns) > 1
    path = tmp_path / "policy.bin"
    path.write_bytes(encode(assemble("ld [4]\njeq #0xc000003e, a, k\na: ret #0x7fff0000\nk: ret #0x80000000\n")))
    with pytest.raises(InputError, match="looks like a seccomp filter"):
        packet_filters(str(path))
    assert len(packet_filters(str(path), forced=True)) == 1
    path.write_bytes(bytes.fromhex("b700000001000000 9500000000000000"))
    with pytest.raises(InputError, match="is an extended BPF program"):
        packet_filters(str(path))
    assert title(Program(Isa.CLASSIC, b"", Origin("raw", "x"))) == "x"
