"""The programs of libbpf-tools and xdp-tools as this kernel holds them: every one is read, and its text is bpftool's."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import needs
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from live.real_programs import loaded_by, own

pytestmark = pytest.mark.live

# Every tool of the two packages; some load nothing here, because they ask first whether the kernel has what they attach to.
TOOLS = (
    "bashreadline", "bindsnoop", "biolatency", "biopattern", "biosnoop", "biostacks", "biotop", "bitesize", "cachestat", "capable",
    "cpudist", "cpufreq", "drsnoop", "execsnoop", "exitsnoop", "filelife", "filetop", "fsdist -t ext4", "fsslower -t ext4",
    "funclatency vfs_read", "gethostlatency", "hardirqs", "killsnoop", "klockstat", "ksnoop trace vfs_read", "llcstat", "mdflush",
    "mountsnoop", "numamove", "offcputime", "oomkill", "opensnoop", "readahead", "runqlat", "runqlen", "runqslower", "sigsnoop",
    "slabratetop", "softirqs", "solisten", "statsnoop", "syscount", "tcpconnect", "tcpconnlat", "tcplife", "tcprtt", "tcpstates",
    "tcpsynbl", "tcptop", "tcptracer", "vfsstat", "wakeuptime",
    "xdp-filter load lo -m skb", "xdp-monitor", "xdp-bench drop lo -m skb", "xdp-trafficgen probe",
)  # fmt: skip
LOADING_TOOLS = 44  # of them load at least one program on Linux 6.18; a kernel may have fewer of the things that they attach to

# Named faults of bpftool 7.1: its text and ours are brought together here only.
FAULTS = {
    # A call of a subprogram prints as the symbol of its machine code, bpf_prog_TAG_NAME, in place of the number that stands in imm.
    "subprogram by symbol": (re.compile(r"(call pc[+-]\d+)#\S+"), r"\1"),
    # The move of a per-cpu address (BPF_ADDR_PERCPU, kernel v6.10) prints as a plain move: bpftool 7.1 does not look at its offset.
    "per-cpu move as a move": (re.compile(r"(r\d) = &\(void __percpu \*\)\((r\d)\)"), r"\1 = \2"),
}


def normalised(text: str) -> str:
    """Text without what the two spell differently on purpose."""
    for pattern, replacement in FAULTS.values():
        text = pattern.sub(replacement, text)
    return re.sub(r"^\([0-9a-f]{2}\) ", "", text)


def theirs(id: int) -> tuple[list[str], list[tuple[int, str]]]:
    """bpftool's texts, one for each instruction, and (number of the instruction, source line) where one begins."""
    done = subprocess.run([needs.tool("bpftool"), "-j", "prog", "dump", "xlated", "id", str(id)], capture_output=True, check=True)
    texts: list[str] = []
    lines: list[tuple[int, str]] = []
    for item in json.loads(done.stdout):
        if "src" in item:
            # A named fault too: its JSON writes a backslash as a line feed (json_writer.c, jsonw_puts).
            lines.append((len(texts), item["src"].replace("\n", "\\")))
        if "disasm" in item:
            texts.append(normalised(item["disasm"]))
    return texts, lines


def ours(id: int, capsys: pytest.CaptureFixture[str]) -> tuple[list[int], list[str]]:
    """Slots and texts of `bpflens --json dis id:N`."""
    from bpflens.cli.main import run

    capsys.readouterr()
    assert run(["--json", "dis", f"id:{id}"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    insns: list[dict[str, Any]] = [record for record in records if "pc" in record]
    return [insn["pc"] for insn in insns], [normalised(insn["text"]) for insn in insns]


def named(fds: list[int]) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of the tool's own programs."""
    for fd in fds:
        if own(fd):
            yield fd, prog_info_by_fd(fd).id


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Tags compared already; and one "tool" entry for each tool that loaded something."""
    return set()


@pytest.mark.parametrize("tool", TOOLS)
def test_text_is_bpftools(tool: str, seen: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    from bpflens.kernel.programs.progs import read_program_fd

    needs.root()
    name, *args = tool.split()
    with loaded_by([needs.tool(name), *args]) as fds:
        for fd, id in named(fds):
            seen.add(f"tool {name}")
            program = read_program_fd(fd, f"id:{id}", jited=True)
            assert program.xlated and program.code and program.jited and not program.loaded.notes
            if program.tag in seen:
                continue
            seen.add(program.tag or "")
            slots, texts = ours(id, capsys)
            expected, lines = theirs(id)
            assert texts == expected
            at = {slot: number for number, slot in enumerate(slots)}
            shown = [(at[line.off_insns], line.text.strip()) for line in program.lines if line.text.strip()]
            assert [entry for entry in shown if entry not in lines] == []
            assert sum(len(part.code) for part in program.jited) == program.loaded.info.jited_len


def test_most_tools_load_something(seen: set[str]) -> None:
    tools = sorted(entry for entry in seen if entry.startswith("tool "))

    needs.kernel_feature(bool(tools), "everything that the tools attach to")
    assert len(tools) >= LOADING_TOOLS, tools
