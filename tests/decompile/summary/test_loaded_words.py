"""What is said of loaded programs: contents of their maps, programs behind tail calls, one instruction, one function."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run

HERE = Path(__file__).parents[1]
PINS = Path("/sys/fs/bpf/explain-words-test")
TAILS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __type(key, __u32); __type(value, __u32); __uint(max_entries, 4); } next SEC(".maps");
SEC("xdp/first") int first(struct xdp_md *ctx)
{
    unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 34 > end) return XDP_DROP;
    if (data[12] == 8 && data[13] == 0) bpf_tail_call(ctx, &next, 0);
    else if (data[12] == 0x86 && data[13] == 0xdd) bpf_tail_call(ctx, &next, 1);
    return XDP_PASS;
}
SEC("xdp/second") int second(struct xdp_md *ctx) { return XDP_TX; }
char _license[] SEC("license") = "GPL";
"""


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def pins() -> Iterator[Path]:
    """A directory of bpffs that is gone afterwards."""
    needs.root()
    needs.tool("bpftool")
    sh("rm", "-rf", str(PINS))
    PINS.mkdir()
    yield PINS
    sh("rm", "-rf", str(PINS))


def built(source: Path, out: Path) -> Path:
    clang = needs.tool("clang")
    sh(clang, "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", str(source), "-o", str(out))
    return out


def prog_id(pin: Path) -> int:
    found: int = json.loads(sh("bpftool", "-j", "prog", "show", "pinned", str(pin)))["id"]
    return found


def map_id(prog: int, name: str) -> int:
    ids = json.loads(sh("bpftool", "-j", "prog", "show", "id", str(prog)))["map_ids"]
    return next(id for id in ids if json.loads(sh("bpftool", "-j", "map", "show", "id", str(id)))["name"] == name)


def test_contents_in_the_words_of_the_program(pins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ports as ports, counters as what was counted, by value; nothing is said of what is empty."""
    object = built(HERE / "programs" / "firewall.c", tmp_path / "x.o")
    sh("bpftool", "prog", "load", str(object), str(pins / "fw"), "type", "xdp")
    id = prog_id(pins / "fw")
    assert run(["explain", f"id:{id}"]) == 0
    out = capsys.readouterr().out
    assert "Now it is empty." in out and "Now all its values are 0." in out and f"the pin {pins / 'fw'}" in out
    blocked = str(map_id(id, "h4blk"))
    sh("bpftool", "map", "update", "id", blocked, "key", "hex", "50", "00", "value", "3", *"0000000")
    sh("bpftool", "map", "update", "id", blocked, "key", "hex", "bb", "01", "value", *"00000000")
    assert run(["explain", f"id:{id}"]) == 0
    out = capsys.readouterr().out
    assert "Now 2 entries: 80 (http): 3 packets dropped, 443 (https): 0 packets dropped." in out
    assert len(out.splitlines()) <= 10


def test_programs_behind_indexes(pins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each index that the code uses, with the program that is there now."""
    (tmp_path / "tails.c").write_text(TAILS)
    object = built(tmp_path / "tails.c", tmp_path / "x.o")
    sh("bpftool", "prog", "loadall", str(object), str(pins), "type", "xdp", "pinmaps", str(pins / "maps"))  # unpinned arrays are emptied
    first, second = prog_id(pins / "first"), prog_id(pins / "second")
    sh("bpftool", "map", "update", "id", str(map_id(first, "next")), "key", *"0000", "value", "id", str(second))
    assert run(["explain", f"id:{first}"]) == 0
    out = capsys.readouterr().out
    assert f"Behind the indexes of next: 0 is xdp second (id {second}); 1 is empty." in out
    assert "For IPv4 packets, it goes on with the program in next at index 0, if there is one." in out


def test_one_instruction_and_one_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--at says what it is, in C, and when it runs; #NAME picks a function or a section; a wrong one is an error."""
    object = built(HERE / "exam" / "detour.c", tmp_path / "x.o")
    assert run(["explain", str(object), "--at", "0"]) == 0
    assert "detour, instruction 0: r6 = r1" in capsys.readouterr().out
    assert run(["explain", f"{object}#detour"]) == 0
    assert "connects to an IPv4 address" in capsys.readouterr().out
    assert run(["explain", f"{object}#cgroup/connect4", "--map"]) == 0
    assert "Maps, most used first: asked (lru_hash)." in capsys.readouterr().out
    assert run(["explain", f"{object}#nothing"]) == 3
    assert run(["explain", str(object), "--at", "4000"]) == 3
