"""Dumps of the running kernel's classic filters by other tools, read back: ss beside tcpdump, tc, iptables. Own network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import needs
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.text import format_program
from bpflens.program import Holder

pytestmark = pytest.mark.live

SMALL = (SockFilter(0x28, 0, 0, 12), SockFilter(0x15, 0, 1, 0x800), SockFilter(6, 0, 0, 0xFFFFFFFF), SockFilter(6, 0, 0, 0))
BYTECODE = format_program(SMALL, "xt_bpf")


def in_namespace(script: str) -> str:
    """Standard output of a shell script in a network namespace of its own, which ends with it."""
    command = [needs.tool("unshare"), "-n", needs.tool("sh"), "-ec", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    for sign in ("TC action module", "TC classifier not found", "can't initialize iptables table"):
        needs.kernel_feature(sign not in result.stderr, f"a module: {result.stderr.splitlines()[0] if result.stderr else ''}")
    assert result.returncode == 0, result.stderr
    return result.stdout


@contextmanager
def tcpdump_on_lo(expression: str) -> Iterator[subprocess.Popen[str]]:
    """tcpdump capturing on lo of its own namespace, which its shell has brought up; it says so on stderr when the filter is set."""
    inner = f"ip link set lo up; exec {needs.tool('tcpdump')} -i lo -w /dev/null '{expression}'"
    process = subprocess.Popen(
        [needs.tool("unshare"), "-n", needs.tool("sh"), "-ec", inner], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("options", ["-0b", "-0bp", "-0bn", "-0bpne", "-0bHO"])
def test_ss_beside_tcpdump(options):
    """The filter that tcpdump has attached, read from ss's table, is what libpcap compiles."""
    expression = "tcp port 80 or udp portrange 5000-5100"
    with tcpdump_on_lo(expression) as process:
        command = [needs.tool("nsenter"), "-t", str(process.pid), "-n", needs.tool("ss"), options]
        table = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout
    programs = read_programs(table, "-")
    assert [program.code for program in programs] == [encode(libpcap.compile(expression, 1))]
    assert programs[0].origin.linktype == "EN10MB"
    if "p" in options:
        assert programs[0].holders == (Holder(process.pid, "tcpdump", programs[0].holders[0].fd),)


def attach(sock: socket.socket, insns) -> None:
    import ctypes

    code = encode(insns)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(insns), ctypes.addressof(buffer)))


def test_ss_of_cooked_sockets():
    """SOCK_DGRAM packet sockets: the row's protocol becomes the assumption, the link type is RAW."""
    needs.root()
    kinds = [(socket.SOCK_DGRAM, 0x800), (socket.SOCK_DGRAM, 0x86DD), (socket.SOCK_RAW, 0x888E), (socket.SOCK_DGRAM, 0x88B5)]
    sockets = [socket.socket(socket.AF_PACKET, kind, socket.htons(protocol)) for kind, protocol in kinds]
    try:
        for number, sock in enumerate(sockets):
            attach(sock, (SockFilter(6, 0, 0, 0x5EED0000 + number),))
        inodes = [str(os.fstat(sock.fileno()).st_ino) for sock in sockets]
        table = subprocess.run([needs.tool("ss"), "-0bpe"], capture_output=True, timeout=10, check=True).stdout
    finally:
        for sock in sockets:
            sock.close()
    mine = {program.origin.row["inode"]: program for program in read_programs(table, "-") if program.origin.row.get("inode") in inodes}
    found = [(mine[inode].code, mine[inode].origin.linktype, mine[inode].origin.given) for inode in inodes]
    expected = [("RAW", ("ip",)), ("RAW", ("ip6",)), (None, ("ether proto 0x888e",)), ("RAW", ())]
    assert found == [(encode([(6, 0, 0, 0x5EED0000 + number)]), *facts) for number, facts in enumerate(expected)]


def test_tc_filter_show():
    """cls_bpf on lo's clsact: text and JSON."""
    setup = f"ip link set lo up\ntc qdisc add dev lo clsact\ntc filter add dev lo ingress bpf bytecode '{BYTECODE}' flowid 1:1\n"
    tcp = format_program(libpcap.compile("tcp port 80", 1), "xt_bpf")
    setup += f"tc filter add dev lo ingress protocol ip prio 5 bpf bytecode '{tcp}' flowid 1:2\n"
    for flag in ("", "-d", "-s"):
        programs = read_programs(in_namespace(f"{setup}tc {flag} filter show dev lo ingress").encode(), "-")
        assert sorted(p.code for p in programs) == sorted([encode(SMALL), encode(libpcap.compile("tcp port 80", 1))])
        assert {p.origin.given for p in programs} == {(), ("ip",)}
    as_json = in_namespace(f"{setup}tc -j filter show dev lo ingress")
    assert json.loads(as_json)
    assert len(read_programs(as_json.encode(), "-")) == 2


def test_tc_actions():
    """act_bpf, where the kernel has it."""
    script = f"tc actions add action bpf bytecode '{BYTECODE}' drop\ntc actions list action bpf"
    programs = read_programs(in_namespace(script).encode(), "-")
    assert [program.code for program in programs] == [encode(SMALL)]


@pytest.mark.parametrize("tool", ["iptables", "ip6tables", "iptables-legacy"])
@pytest.mark.parametrize("listing", ["{tool}-save", "{tool} -S", "{tool} -L -n -v"])
def test_iptables(tool, listing):
    """xt_bpf rules; -save says the family."""
    needs.tool(tool)
    script = f"{tool} -A INPUT -m bpf --bytecode '{BYTECODE}' -j DROP\n{listing.format(tool=tool)}"
    programs = read_programs(in_namespace(script).encode(), "-")
    assert [program.code for program in programs] == [encode(SMALL)]
    assert programs[0].origin.linktype == "RAW"
    if "save" in listing:
        assert programs[0].origin.given == (("ip6",) if tool == "ip6tables" else ("ip",))


def test_bpftool_dumps(tmp_path):
    """A program with a subprogram and a map: every spelling of `bpftool prog dump xlated` gives the bytes of its `file` dump."""
    bpftool, clang = needs.tool("bpftool"), needs.tool("clang")
    source = """
    struct { int (*type)[2]; int (*max_entries)[4]; unsigned *key; unsigned long long *value; } m __attribute__((section(".maps"), used));
    static void *(*lookup)(void *map, const void *key) = (void *)1;
    static __attribute__((noinline)) int sub(int a) { return a * 3 + 1; }
    struct xdp_md { unsigned data, data_end; };
    __attribute__((section("xdp"), used)) int prog(struct xdp_md *ctx) {
        unsigned k = 0; unsigned long long *v = lookup(&m, &k);
        if (v) __sync_fetch_and_add(v, 1);
        return sub(ctx->data_end - ctx->data) & 3;
    }
    char _license[] __attribute__((section("license"), used)) = "GPL";
    """
    binary = tmp_path / "x.o"
    subprocess.run([clang, "-g", "-O2", "-target", "bpf", "-x", "c", "-c", "-", "-o", binary], input=source.encode(), check=True)
    pin = f"/sys/fs/bpf/bpflens_test_{tmp_path.name}"
    subprocess.run([bpftool, "prog", "load", binary, pin], check=True, capture_output=True)
    try:
        dump = [bpftool, "prog", "dump", "xlated", "pinned", pin]
        subprocess.run([*dump, "file", tmp_path / "raw"], check=True, capture_output=True)
        raw = (tmp_path / "raw").read_bytes()
        as_json = [bpftool, "-j", *dump[1:]]
        for command in (dump, [*dump, "opcodes"], [*dump, "linum"], as_json, [*as_json, "opcodes"], [*as_json, "linum"]):
            printed = subprocess.run(command, check=True, capture_output=True).stdout
            programs = read_programs(printed, "-")
            assert [program.code for program in programs] == [raw], command
            assert [function.name for function in programs[0].functions] == ["prog", "sub"]
        assert read_programs(raw, "-")[0].code == raw
    finally:
        subprocess.run(["rm", "-f", pin], check=True)


@pytest.mark.skipif(shutil.which("llvm-objdump") is None, reason="needs the program llvm-objdump")
def test_llvm_objdump_of_an_object(tmp_path):
    """Text with and without raw bytes gives the section's bytes."""
    source = "int f(int a, long *p) { if (a > 3) *p += a; return a * 7; }"
    binary = tmp_path / "x.o"
    subprocess.run([needs.tool("clang"), "-O1", "-target", "bpf", "-x", "c", "-c", "-", "-o", binary], input=source.encode(), check=True)
    section = tmp_path / "text"
    subprocess.run([needs.tool("llvm-objcopy"), "-O", "binary", "-j", ".text", binary, section], check=True)
    for flags in (["-d"], ["-d", "--no-show-raw-insn"], ["-dr"]):
        printed = subprocess.run(["llvm-objdump", *flags, binary], check=True, capture_output=True).stdout
        assert [program.code for program in read_programs(printed, "-")] == [section.read_bytes()]
