"""Speed of `bpflens original`: real programs, size, and the command line beside bpftool, in the same run.

    python bench/bench_original.py [--runs 5]

1. every program of libbpf-tools and xdp-tools that this kernel loads: time of recover with cached templates, median and 90th percentile;
2. a program of 1,000 to 100,000 instructions (context loads, divisions, look-ups): time, time per instruction, loading it for comparison;
3. whole processes, alternating: `bpflens original id:N` beside `bpftool prog dump xlated id N`, medians of CPU time and of the ratio.

All times are CPU time (the machine may be busy), in 1 and 2 with wall time beside it.

Limits: median under 10 ms, a 4,000-instruction program under 300 ms, time per instruction at 100,000 at most twice that at 4,000,
command line at most 3 times bpftool. Exit code 1 where one is not kept. The goal for 8,000 instructions is bpftool's time.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.recover import recover

COMMAND = str(Path(sysconfig.get_path("scripts")) / "bpflens")
DIRECTORY = Path("/usr/sbin")


def main() -> int:
    """Measure and print; 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles its modules again
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}")
    kept = [real_programs(), sizes(), command_line(args.runs)]
    return 0 if all(kept) else 1


def real_programs() -> bool:
    """Times of distinct real programs, without the first of each type, which learns the templates."""
    from original.libbpf import library, loaded, objects_in

    if library() is None:
        print("real programs: libbpf is not installed")
        return True
    times, grades, seen = [], {}, set()
    for path in sorted(DIRECTORY.iterdir()):
        if not path.is_file() or path.is_symlink():
            continue
        for blob in objects_in(path):
            with loaded(blob) as programs:
                for program in programs:
                    info = prog_info_by_fd(program.fd)
                    if info.tag in seen:
                        continue
                    seen.add(info.tag)
                    recover(info.id)
                    start = time.process_time()
                    original = recover(info.id)
                    times.append((time.process_time() - start) * 1e3)
                    grades[str(original.grade)] = grades.get(str(original.grade), 0) + 1
    times.sort()
    median, p90 = statistics.median(times), times[len(times) * 9 // 10]
    told = ", ".join(f"{count} {grade}" for grade, count in sorted(grades.items()))
    print(f"real programs: {len(times)} ({told}); median {median:.1f} ms (limit 10), 90 % {p90:.1f} ms, longest {times[-1]:.1f} ms")
    return median < 10


def sizes() -> bool:
    """Growth with the number of instructions."""
    kept, per_insn = True, {}
    for count in (1_000, 4_000, 20_000, 100_000):
        map = create_map(1, 4, 8, 16)
        try:
            start = time.perf_counter()
            fd = load_program(program(count, map), 3)
            load_ms = (time.perf_counter() - start) * 1e3
            try:
                id = prog_info_by_fd(fd).id
                recover(id)
                start, cpu = time.perf_counter(), time.process_time()
                original = recover(id)
                wall_ms, took = (time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3
            finally:
                os.close(fd)
        finally:
            os.close(map)
        per_insn[count] = took / count
        limit = " (limit 300)" if count == 4_000 else ""
        kept &= not (count == 4_000 and took >= 300) and str(original.grade) == "exact"
        print(
            f"{count:7} insns, {len(original.image)} xlated: {original.grade} in {took:.1f} ms CPU{limit}, {wall_ms:.1f} ms wall, "
            f"{took / count * 1e3:.1f} us per insn; the kernel took {load_ms:.1f} ms to load it"
        )
    growth = per_insn[100_000] / per_insn[4_000]
    print(f"time per insn at 100,000 / at 4,000: {growth:.2f} (limit 2)")
    return kept and growth < 2


def program(count: int, map: int) -> bytes:
    """About `count` instructions: context loads, divisions, a look-up, a jump, then plain arithmetic, and so on.

    Mostly plain, because the kernel moves the whole rest of the program for every instruction that it makes longer.
    """
    block = [
        Insn.make(op.LDX | op.MEM | op.W, 2, 6, 0),
        Insn.make(op.LDX | op.MEM | op.W, 3, 6, 40),
        Insn.make(op.ALU64 | op.DIV | op.X, 2, 3),
        Insn.make(op.ALU64 | op.ADD | op.X, 7, 2),
        Insn.make(op.LDX | op.MEM | op.H, 4, 6, 16),
        Insn.make(op.ALU | op.MOD | op.X, 4, 3),
        Insn.make(op.STX | op.MEM | op.W, 10, 4, -4),
        Insn.make(op.JMP | op.JEQ | op.K, 4, 0, 6, 5),
        Insn.make(op.ALU64 | op.MOV | op.X, 2, 10),
        Insn.make(op.ALU64 | op.ADD | op.K, 2, imm=-4),
        Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_FD, 0, map),
        Insn(0),
        Insn.make(op.CALL_CODE, imm=1),
        Insn.make(op.ALU64 | op.MOV | op.K, 7, imm=0),
        Insn.make(op.ALU64 | op.XOR | op.K, 7, imm=7),
        Insn.make(op.ALU | op.AND | op.K, 7, imm=0xFFFF),
    ]
    insns = [Insn.make(op.ALU64 | op.MOV | op.X, 6, 1), Insn.make(op.ALU64 | op.MOV | op.K, 7)]
    operations = (op.ADD, op.XOR, op.OR, op.MUL) * 16
    plain = [Insn.make(op.ALU64 | operation | op.K, 7, imm=number + 1) for number, operation in enumerate(operations)]
    while len(insns) < count - 2:
        insns += [*block, *plain]
    return encode([*insns, Insn.make(op.ALU64 | op.MOV | op.K, 0), Insn.make(op.EXIT_CODE)])


def command_line(runs: int) -> bool:
    """Whole processes beside bpftool."""
    kept = True
    map = create_map(1, 4, 8, 16)
    for count in (50, 4_000, 8_000):
        fd = load_program(program(count, map), 3)
        try:
            id = str(prog_info_by_fd(fd).id)
            ours, peer = [COMMAND, "original", f"id:{id}"], ["bpftool", "prog", "dump", "xlated", "id", id]
            cpu_ms(ours), cpu_ms(peer)
            pairs = [(cpu_ms(ours), cpu_ms(peer)) for _ in range(runs)]
        finally:
            os.close(fd)
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        kept &= ratio <= 3
        print(f"command line, {count} insns: {mine:.0f} ms CPU, bpftool {theirs:.0f} ms, ratio {ratio:.2f} (limit 3)")
    os.close(map)
    return kept


def cpu_ms(command: list[str]) -> float:
    """Milliseconds of CPU of a process, in user and kernel mode."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


if __name__ == "__main__":
    sys.exit(main())
