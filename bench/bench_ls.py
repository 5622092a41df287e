"""`bpflens --json ls` beside bpftool and ss: CPU time and memory with 1,000 loaded programs and 200 attachments.

    python bench/bench_ls.py            # as root; 5 rounds, each tool once in each round
    python bench/bench_ls.py --small    # one program on each of five kinds of hooks

bpftool and ss together answer less (see docs/inventory.md), but they are what one would run instead. The programs are loaded in a process
and a network namespace of their own: 40 tc filters, 40 links on devices (XDP, tcx), 40 cgroups, 40 filtered packet sockets, 40 links on
tracepoints. Figures: CPU seconds (user + system) of the child process, median of the rounds; the bar is 1.0 of the tools' sum, and 100 MB.

`--explain 0`: the walk is measured, not the search for expressions, which has a budget of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

TOOLS = (
    "bpftool prog show -j", "bpftool net show -j", "bpftool cgroup tree -j", "bpftool link show -j", "bpftool perf show -j", "ss -0 -b",
)  # fmt: skip
OURS = (sys.executable, "-m", "bpflens", "--json", "ls", "--explain", "0")
PROGRAMS, EACH = 1000, 40
_MOST_DISTURBED = 50


def attach(lab: object) -> int:
    """200 attachments and programs up to PROGRAMS; returns the number of programs."""
    import socket
    import struct

    from bpflens.kernel.sys.bpf import Buffer, bpf, cmd
    from live.attach_lab import ATTACH, Lacking, setsockopt

    made = 0
    for number in range(EACH // 2):
        lab.run("ip", "link", "add", f"b{number}", "type", "veth", "peer", "name", f"c{number}")
        for device in (f"b{number}", f"c{number}"):
            index = socket.if_nametoindex(device)
            lab.run("tc", "qdisc", "add", "dev", device, "clsact")
            prog, _ = lab.load("sched_cls")
            path = lab.pin(prog, device)
            lab.run("tc", "filter", "add", "dev", device, "ingress", "bpf", "da", "object-pinned", path)
            os.unlink(path)
            made += 2
            try:
                lab.link(lab.load("sched_cls", "tcx_ingress")[0], index, "tcx_ingress", extra=bytes(16))
            except Lacking:
                lab.link(lab.load("xdp", "xdp", "r0 = 2\nexit")[0], index, "xdp", 2)
    for number in range(EACH):
        path = lab.cgroup(f"/{number}" if number else "")
        fd = lab.fd(os.open(lab.cgroup_mount + path, os.O_RDONLY))
        lab.link(lab.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit")[0], fd, "cgroup_inet_egress")
        setsockopt(lab.socket(17, 3, 0x0300), 1, 26, lab.fprog(lab.classic()))
        name = Buffer(b"sched_process_exit\0")
        prog, _ = lab.load("raw_tracepoint", text="r0 = 0\nexit")
        lab.fd(bpf(cmd.RAW_TRACEPOINT_OPEN, struct.pack("<QII", name.address, prog, 0))[0])
        made += 2
    assert ATTACH
    for _ in range(PROGRAMS - made):
        lab.load("socket_filter", text=f"r0 = {lab.mark()}\nexit")
    return PROGRAMS


def attach_few(lab: object) -> int:
    """A tc filter, XDP, a cgroup, a filtered packet socket, a tracepoint; returns the number of programs."""
    import socket
    import struct

    from bpflens.kernel.sys.bpf import Buffer, bpf, cmd
    from live.attach_lab import setsockopt

    lab.run("tc", "qdisc", "add", "dev", "v0", "clsact")
    path = lab.pin(lab.load("sched_cls")[0], "filter")
    lab.run("tc", "filter", "add", "dev", "v0", "ingress", "bpf", "da", "object-pinned", path)
    lab.link(lab.load("xdp", "xdp", "r0 = 2\nexit")[0], socket.if_nametoindex("v1"), "xdp", 2)
    group = lab.fd(os.open(lab.cgroup_mount + lab.cgroup(""), os.O_RDONLY))
    lab.link(lab.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit")[0], group, "cgroup_inet_egress")
    setsockopt(lab.socket(17, 3, 0x0300), 1, 26, lab.fprog(lab.classic()))
    name = Buffer(b"sched_process_exit\0")
    lab.fd(bpf(cmd.RAW_TRACEPOINT_OPEN, struct.pack("<QII", name.address, lab.load("raw_tracepoint", text="r0 = 0\nexit")[0], 0))[0])
    return 4


def cost(argv: tuple[str, ...]) -> tuple[float, int, bool]:
    """(CPU seconds, peak memory in KB, whether a filter was explained) of a command."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        out.seek(0)
        explained = b'"expression":"' in out.read()
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss, explained


def main() -> None:
    """Attach, measure in alternation, print a table; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    from live.attach_lab import Lab

    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    with tempfile.TemporaryDirectory() as cache, Lab() as lab, lab.inside("a"):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = cache  # compiled once, as an installed package is
        cost(OURS)
        (attach_few if arguments.small else attach)(lab)
        commands = {tool: tuple(tool.split()) for tool in TOOLS} | {"bpflens --json ls": OURS}
        figures: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
        made = disturbed = 0
        while made < arguments.rounds and disturbed < _MOST_DISTURBED:
            costs = {name: cost(argv) for name, argv in commands.items()}
            if any(explained for _, _, explained in costs.values()):
                disturbed += 1
                continue
            made += 1
            for name, (seconds, kilobytes, _) in costs.items():
                figures[name].append((seconds, kilobytes))
    if made < arguments.rounds:
        sys.exit(f"only {made} of {arguments.rounds} rounds were not disturbed by filters of others")
    medians = {name: statistics.median(seconds for seconds, _ in values) for name, values in figures.items()}
    memory = {name: max(kilobytes for _, kilobytes in values) / 1024 for name, values in figures.items()}
    for name, seconds in medians.items():
        print(f"{name:24} {seconds * 1000:8.1f} ms  {memory[name]:6.1f} MB")
    theirs = sum(medians[name] for name in TOOLS)
    without = theirs - medians["bpftool cgroup tree -j"]
    ours = medians["bpflens --json ls"]
    bar = 2.0 if arguments.small else 1.0
    print(f"ratio {ours / theirs:.2f} of all six (bar {bar}); {ours / without:.2f} of them without the cgroup tree")
    sys.exit(ours > bar * theirs or memory["bpflens --json ls"] > 100)


if __name__ == "__main__":
    main()
