"""How well and how fast classic filters are explained and proved.

    bench/bench_explain.py                     the three lists of expressions, per class
    bench/bench_explain.py --quick             every fifth of them
    bench/bench_explain.py --hosts 500         one filter of 500 hosts
    bench/bench_explain.py --command           the DHCP client's filter from the command line, beside `tcpdump -d` compiling it

Every expression is compiled by libpcap (optimized) and only its instructions are given to explain(). Times are wall and CPU seconds of one
process on one core; the machine and the versions are printed first.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bpflens.classic.explain import Explanation, explain
from bpflens.classic.proof.equal import compare
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Origin, Program

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"
NETMASK = 0xFFFFFF00  # only `ip broadcast` asks for it
DHCP = (
    "0x28 0 0 12, 0x15 0 8 2048, 0x30 0 0 23, 0x15 0 6 17, 0x28 0 0 20, 0x45 4 0 8191, 0xb1 0 0 14, 0x48 0 0 16, 0x15 0 1 68, "
    "0x06 0 0 4294967295, 0x06 0 0 0\n"
)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, load {load:.1f}; Linux {platform.release()}, Python {platform.python_version()}, "
        f"libpcap {libpcap.version()}"
    )


def expressions(name: str) -> list[tuple[str, str, str]]:
    lines = (line.split("\t") for line in (CORPUS / name).read_text().splitlines() if not line.startswith("#"))
    return [(linktype, kind, expression) for linktype, kind, _, expression in lines]


def compiled(expression: str, linktype: str) -> Program:
    library = libpcap.load()
    insns = library.compile(expression, library.dlt_value(linktype), netmask=NETMASK)
    return Program(Isa.CLASSIC, encode(insns), Origin("bench", "filter", linktype=linktype))


def timed(program: Program, deadline: float) -> tuple[Explanation, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = explain(program, deadline=deadline)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def run_list(name: str, step: int, deadline: float) -> bool:
    rows: dict[str, list[tuple[str, Explanation, float, float]]] = {}
    wrong = 0
    for linktype, kind, expression in expressions(name)[::step]:
        program = compiled(expression, linktype)
        result, wall, cpu = timed(program, deadline)
        rows.setdefault(kind, []).append((expression, result, wall, cpu))
        if result.expression is not None and result.proof.grade == "none":
            wrong += 1
            print(f"  not proved: {expression} -> {result.expression}: {result.proof.reason}")
    print(f"{name}: class, expressions, proved for all packets, if not cut short, no answer; seconds of CPU; length of answer / original")
    everything = [row for group in rows.values() for row in group]
    for kind, group in [*rows.items(), ("all", everything)]:
        grades = [row[1].proof.grade for row in group]
        walls, cpus = [row[2] for row in group], [row[3] for row in group]
        ratios = [len(row[1].expression) / len(row[0]) for row in group if row[1].expression is not None]
        lengths = f"<= 1: {sum(r <= 1 for r in ratios) / len(group):.3f}  <= 1.2: {sum(r <= 1.2 for r in ratios) / len(group):.3f}"
        print(
            f"  {kind:10} {len(group):4} {grades.count('all-packets'):4} {grades.count('untruncated'):4} {grades.count('none'):4}   "
            f"cpu median {statistics.median(cpus):.3f} p90 {percentile(cpus, 0.9):.3f} max {max(cpus):.2f}   "
            f"wall median {statistics.median(walls):.3f} p90 {percentile(walls, 0.9):.3f} max {max(walls):.2f}   {lengths}"
        )
    return wrong == 0


def run_proofs(step: int) -> None:
    times: list[float] = []
    grades: list[str] = []
    for linktype, kind, expression in expressions("pcap_expressions.txt")[::step]:
        if kind == "protochain":
            continue
        library = libpcap.load()
        dlt = library.dlt_value(linktype)
        one, two = (library.compile(expression, dlt, optimize, netmask=NETMASK) for optimize in (True, False))
        start = time.process_time()
        grades.append(compare(one, two).grade)
        times.append(time.process_time() - start)
    counts = ", ".join(f"{grade} {grades.count(grade)}" for grade in ("all-packets", "untruncated", "none"))
    cpu = f"cpu median {statistics.median(times):.4f} p90 {percentile(times, 0.9):.3f} max {max(times):.2f}"
    print(f"optimized against unoptimized code: {counts}; {cpu}")


def run_hosts(count: int) -> None:
    generator = random.Random(1)
    hosts = [f"10.{generator.randrange(256)}.{generator.randrange(256)}.{generator.randrange(1, 255)}" for _ in range(count)]
    start = time.process_time()
    program = compiled(" or ".join(f"host {host}" for host in hosts), "EN10MB")
    compiling = time.process_time() - start
    result, wall, cpu = timed(program, 60)
    print(
        f"{count} hosts, {program.insn_count} instructions: {result.proof.grade}, answer of {len(result.expression or '')} characters; "
        f"wall {wall:.1f} s, cpu {cpu:.1f} s (libpcap's own compilation: cpu {compiling:.1f} s)"
    )


def run_command(times: int = 9) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    directory = tempfile.TemporaryDirectory()  # modules are compiled once, as they are where the package is installed
    environment["PYTHONPYCACHEPREFIX"] = directory.name

    def wall(command: list[str], stdin: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, env=environment)
        return time.perf_counter() - start

    wall([sys.executable, "-m", "bpflens", "explain", "-"], DHCP)
    explained = [wall([sys.executable, "-m", "bpflens", "explain", "-"], DHCP) for _ in range(times)]
    bare = [wall([sys.executable, "-c", "pass"], "") for _ in range(times)]
    print(f"explain of the DHCP client's filter, whole process: median {statistics.median(explained):.3f} s, best {min(explained):.3f} s")
    print(f"  beside python -c pass: median {statistics.median(bare):.3f} s")
    try:
        peer = [wall(["tcpdump", "-y", "EN10MB", "-d", "ip and udp dst port 68"], "") for _ in range(times)]
        print(f"  beside tcpdump -d of its expression: median {statistics.median(peer):.3f} s")
    except (OSError, subprocess.CalledProcessError):
        print("  tcpdump -d cannot be run here")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hosts", type=int, metavar="N")
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--deadline", type=float, default=10.0)
    args = parser.parse_args()
    print(machine())
    if args.hosts:
        run_hosts(args.hosts)
        return 0
    if args.command:
        run_command()
        return 0
    step = 5 if args.quick else 1
    good = run_list("pcap_expressions.txt", step, args.deadline)
    good &= run_list("more_expressions.txt", step, args.deadline)
    good &= run_list("further_expressions.txt", step, args.deadline)
    run_proofs(step)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
