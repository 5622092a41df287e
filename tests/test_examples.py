"""Every example of every verb's help runs, in a directory that holds the files they name."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.cli.verb_table import VERBS
from bpflens.kernel.programs.load import load_program
from live.loaded import RETURN_0, SOCKET_FILTER

EXAMPLES = [example for verb in VERBS for example in importlib.import_module(f"bpflens.cli.verbs.{verb.module}").EXAMPLES]

SO_ATTACH_FILTER = 26

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); } counters SEC(".maps");
SEC("xdp") int xdp_main(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *value = bpf_map_lookup_elem(&counters, &key);
    if (value)
        *value += ctx->data_end - ctx->data;
    return XDP_PASS;
}
SEC("tc") int handle(struct __sk_buff *skb) { return skb->len > 100; }
char _license[] SEC("license") = "GPL";
"""

POLICY = """
ld [4]
jne #0xc000003e, kill
ld [0]
jge #0x40000000, kill
jeq #56, clone
jeq #{denied}, deny
ret #0x7fff0000
clone: ld [16]
jset #0x10000000, deny
ret #0x7fff0000
deny: ret #0x50001
kill: ret #0x80000000
"""


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line with this interpreter's `bpflens` first on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The directory, and what the examples' ids stand for here."""
    clang = needs.tool("clang")
    where = tmp_path_factory.mktemp("examples")
    (where / "x.c").write_text(SOURCE)
    include = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    subprocess.run(
        [clang, "-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I/usr/include/{include}", "-c", "x.c", "-o", "x.o"], cwd=where, check=True
    )
    for name, denied in (("filter.bpf", 101), ("other.bpf", 165)):
        (where / "policy").write_text(POLICY.format(denied=denied))
        done = shell(f"bpflens asm policy --isa classic --format raw -o {name}", where)
        assert done.returncode == 0, done.stderr
    done = shell("bpflens packets 'pcap:tcp port 80 or arp or icmp' -w x.pcap", where)
    assert done.returncode == 0, done.stderr
    pins = where / "bpffs"
    pins.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", pins], check=True)
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: it receives nothing
    code = ctypes.create_string_buffer(bytes.fromhex("0600000000000000"))
    packet.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(code)))
    try:
        bpftool = needs.tool("bpftool")
        subprocess.run([bpftool, "prog", "loadall", "x.o", pins / "p", "pinmaps", pins / "m"], cwd=where, check=True, capture_output=True)
        prog = json.loads(subprocess.run([bpftool, "-j", "prog", "show", "pinned", pins / "p/handle"], capture_output=True).stdout)
        map = json.loads(subprocess.run([bpftool, "-j", "map", "show", "pinned", pins / "m/counters"], capture_output=True).stdout)
        own = Path("/proc/self/comm").read_text().strip()  # there may be no systemd
        done = shell(f"bpflens save pin:{pins} -o x.bpfsnap", where)
        assert done.returncode in (0, 5), done.stderr
        yield where, {"id:12": f"id:{prog['id']}", "map:7": f"map:{map['id']}", "comm:systemd*": f"comm:{own}*"}
    finally:
        packet.close()
        subprocess.run(["umount", pins], check=True)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """A program is loaded again and again, so that there is something to record."""
    end = threading.Event()

    def load() -> None:
        while not end.wait(0.05):
            os.close(load_program(RETURN_0, SOCKET_FILTER, name="example"))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.live
@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: str, playground: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    files, names = playground
    where = shutil.copytree(files, tmp_path / "here", ignore=shutil.ignore_patterns("bpffs"))
    command = re.sub(r"\b(id:12\b|map:7\b|comm:systemd\*)", lambda match: names[match[0]], example)

    with loading() if " record " in command else contextlib.nullcontext():
        done = shell(command, where)

    # 1 is an answer ("different", "findings"); 5 is a part that this machine's privileges keep back
    assert done.returncode in (0, 1, 5), done.stderr
    writes_file = any(option in command for option in (" -o ", " -w ", " --export-templates "))
    assert done.stdout or writes_file or re.match(r"bpflens (ls|tree|map dump|map watch) .", command)
    assert "internal error" not in done.stderr
