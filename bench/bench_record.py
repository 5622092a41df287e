"""What keeping originals costs: time of loads, bytes in the store, and whether everything is kept when programs are loaded at full speed.

    python bench/bench_record.py time              CPU microseconds of BPF_PROG_LOAD, without and with the recorder in turn
    python bench/bench_record.py burst             1,000 programs of 2 to 100,000 instructions by 4 processes
    python bench/bench_record.py store [--tools N] libbpf-tools, xdp-tools, systemd and the tests' matrix, in bytes

Root. `time` compiles a loader with cc; `store` runs each tool for some seconds and needs the tests' files.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import os
import random
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bpflens.isa.extended.insn import words
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_ids, prog_info, prog_info_by_fd
from bpflens.kernel.recorder.recorder import Recorder
from bpflens.original.image.tag import tags
from bpflens.original.recover import recover
from bpflens.original.result import Grade
from bpflens.original.store.base import base_of
from bpflens.original.store.record import Recorded, Way, encode, numbered, sizes
from bpflens.original.store.store import Store
from bpflens.snapshot.record import record, store_at

SOCKET_FILTER = 1
LOADER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
int main(int count, char **args)
{
    int insns = atoi(args[1]), loads = atoi(args[2]);
    unsigned long long *code = malloc(8 * insns);
    double *us = malloc(loads * sizeof(*us));
    for (int i = 0; i < insns - 1; i++) code[i] = 0xb7ULL | (unsigned long long)(7 + (i & 0xff)) << 32;
    code[insns - 1] = 0x95;
    for (int i = 0; i < loads; i++) {
        unsigned char attr[144] = {0};
        *(unsigned *)attr = 1;
        *(unsigned *)(attr + 4) = insns;
        *(unsigned long *)(attr + 8) = (unsigned long)code;
        *(unsigned long *)(attr + 16) = (unsigned long)"GPL";
        memcpy(attr + 48, "bl_bench", 8);
        double begin = now();
        int fd = syscall(SYS_bpf, 5, attr, sizeof(attr));
        us[i] = now() - begin;
        if (fd < 0) return 1;
        close(fd);
    }
    qsort(us, loads, sizeof(*us), order);
    printf("%.2f %.2f\n", us[loads / 2], us[loads / 10]);
    return 0;
}
"""


def measured(where: str, sizes_and_loads: tuple[tuple[int, int], ...], rounds: int) -> None:
    """Rounds without and with the recorder and its reader, in turn. Of each round the time that a tenth of the loads did not reach, which
    other work on the machine disturbs least; of these the least, and the median of the rounds' ratios.
    """
    source, loader = f"{where}/loader.c", f"{where}/loader"
    Path(source).write_text(LOADER)
    subprocess.run(["cc", "-O2", "-o", loader, source], check=True)

    def one(insns: int, loads: int) -> float:
        return float(subprocess.run([loader, str(insns), str(loads)], capture_output=True, text=True, check=True).stdout.split()[1])

    print("| instructions | without, CPU us | with, CPU us | ratio of the least | median of the ratios |")
    print("|---|---|---|---|---|")
    for insns, loads in sizes_and_loads:
        pairs = []
        for _ in range(rounds):
            without = one(insns, loads)
            with Recorder() as recorder:
                done = threading.Event()
                reader = threading.Thread(target=drained, args=(recorder, done))
                reader.start()
                pairs.append((without, one(insns, loads)))
                done.set()
                reader.join()
        least, most = min(a for a, _ in pairs), min(b for _, b in pairs)
        median = statistics.median(b / a for a, b in pairs)
        print(f"| {insns:,} | {least:.1f} | {most:.1f} | {most / least:.3f} | {median:.3f} |", flush=True)


def drained(recorder: Recorder, done: threading.Event) -> None:
    """The reader without what it does with records, which other CPUs have time for."""
    while not done.is_set():
        recorder.wait(100)
        recorder.loads()


def burst_loader(seed: int, count: int, largest: int, out: int, go: int) -> None:
    """Load programs at full speed, keep them, and tell their tags; ends when `go` is closed."""
    dice = random.Random(seed)
    codes = []
    for _ in range(count):
        length = int(math.exp(dice.uniform(math.log(2), math.log(largest))))
        body = b"".join(struct.pack("<BBhI", 0xB7, dice.randrange(10), 0, dice.getrandbits(32)) for _ in range(length - 1))
        codes.append(struct.pack("<BBhI", 0xB7, 0, 0, seed) + body + bytes.fromhex("9500000000000000"))
    os.write(out, b"r")
    os.read(go, 1)
    begin = time.monotonic()
    fds = [load_program(code, SOCKET_FILTER, name=f"burst{seed}") for code in codes]
    took = time.monotonic() - begin
    said = " ".join(prog_info_by_fd(fd).tag for fd in fds)
    os.write(out, f"{took:.2f} {sum(len(code) // 8 for code in codes)} {said}\n".encode())
    os.read(go, 1)


def burst(where: str, processes: int, count: int, largest: int) -> int:
    """Everything that was loaded is in the store, with the kernel's tag."""
    store = store_at(f"{where}/store")
    ready, starts, pids = [], [], []
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    for seed in range(processes):
        told, tell = os.pipe()
        go, start = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start)
            burst_loader(seed, count // processes, largest, tell, go)
            os._exit(0)
        os.close(tell)
        os.close(go)
        ready.append(told)
        starts.append(start)
        pids.append(pid)
    for told in ready:
        os.read(told, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept: Counter[str] = Counter()
    late = time.monotonic() + 300
    with Recorder() as recorder:
        for start in starts:
            os.write(start, b"g")
        expected, said, lengths = set[str](), [], 0
        cpu = time.process_time()
        for one in record(store, None, recorder=recorder, stop=lambda: settled(kept, count) or time.monotonic() > late):
            if one.load.name.startswith("burst"):
                kept[one.how] += 1
        cpu = time.process_time() - cpu
        counters = recorder.counters()
    for told in ready:
        line = b""
        while not line.endswith(b"\n") and (piece := os.read(told, 1 << 20)):
            line += piece
        took, insns, *own = line.decode().split()
        said.append(float(took))
        lengths += int(insns)
        expected |= set(own)
    for start in starts:
        os.close(start)
    for pid in pids:
        os.waitpid(pid, 0)
    store = store_at(f"{where}/store")
    proved = sum((found := store.get(tag)) is not None and tag in tags(words(found.code)) for tag in expected)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    print(f"{count} loads by {processes} processes in {max(said):.1f} s, {lengths:,} instructions ({lengths * 8 / 1e6:.0f} MB), "
          f"{len(expected)} different tags: {proved} in the store and proved; {dict(kept)}; no room {counters['no_room']}; "
          f"recorder's CPU {cpu:.1f} s, its memory + {grown:.0f} MiB; store {store.total_bytes() / 1e6:.1f} MB")  # fmt: skip
    return int(proved != len(expected))


def settled(kept: Counter[str], count: int) -> bool:
    """Every load came in."""
    return sum(kept.values()) >= count


def real_programs(every: int) -> Iterator[tuple[str, Recorded, int]]:
    """(group, program as it was loaded, id while it is loaded)."""
    from live.real_programs import loaded_by
    from live.test_real_programs import TOOLS
    from original.load import loaded
    from original.matrix import ROWS

    with Recorder() as recorder:

        def recorded(ids: list[int], group: str) -> Iterator[tuple[str, Recorded, int]]:
            by_time = {load.load_time: load for load in recorder.loads()}
            for id in ids:
                load = by_time.get(prog_info(id).load_time)
                if load is not None and load.complete:
                    yield group, Recorded(
                        prog_info(id).tag, load.name, load.type, load.expected_attach_type, load.license, numbered(load.code),
                        load.attributes, load.func_info, load.line_info,
                    ), id  # fmt: skip

        for tool in TOOLS[::every]:
            name, *rest = tool.split()
            path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            if path:
                recorder.loads()
                with loaded_by([path, *rest], 4.0) as fds:
                    ids = [info.id for fd in fds if (info := prog_info_by_fd(fd)).name and not info.name.startswith("libbpf_")]
                    yield from recorded(ids, "xdp-tools" if name.startswith("xdp") else "libbpf-tools")
        for row in ROWS:
            recorder.loads()
            with contextlib.suppress(Exception), loaded(row) as program:
                yield from recorded([program.id], "matrix of the tests")
    for id in prog_ids():  # systemd's were loaded before us, and have an exact original or none
        with contextlib.suppress(Exception):
            if (info := prog_info(id)).name.startswith("sd_") and (found := recover(id, reload=False)).grade is Grade.EXACT:
                made = Recorded(info.tag, info.name, info.type, 0, "GPL", numbered(found.code), {}, found.func_info, found.line_info)
                yield "systemd", made, id


def stored(where: str, every: int) -> None:
    """Bytes by way, for each different program once."""
    rows: dict[str, Counter[str]] = {}
    seen = set[str]()
    alone: dict[str, Store] = {}
    for group, program, id in real_programs(every):
        base = base_of(id)
        if program.tag in seen or base is None:
            continue
        seen.add(program.tag)
        exact = recover(id, reload=False).grade is Grade.EXACT
        light = sizes(encode(program, Way.EXACT if exact else Way.DELTA, base))
        plain = sizes(encode(program, Way.FULL))
        full = alone.setdefault(group, store_at(f"{where}/{group}"))
        full.add(program)
        row = rows.setdefault(group, Counter())
        row.update({
            "programs": 1, "exact": int(exact), "code": len(program.code),
            "infos": 8 * len(program.func_info) + 16 * len(program.line_info),
            "small": light[1], "small head": light[0], "small infos": light[2], "deflated": plain[1],
        })  # fmt: skip
    total: Counter[str] = Counter()
    for group, row in rows.items():
        row["full"] = alone[group].total_bytes()
        total.update(row)
    print("| programs | different | given back by inversion | full copies, bytes | while loaded: instructions | with attributes "
          "| with func and line info, of full copies of these too | after unloading, everything |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for group, row in (*rows.items(), ("all", total)):
        code, everything = row["code"], row["code"] + row["infos"]
        small = row["small"] + row["small head"]
        with_infos = small + row["small infos"]
        cells = [f"{group} | {row['programs']} | {row['exact']} | {code:,} + {row['infos']:,} of info"]
        shares = ((row["small"], code), (small, code), (with_infos, everything), (row["full"], everything))
        cells += [f"{size:,} = {size / of:.1%}" for size, of in shares]
        print(f"| {' | '.join(cells)} |")


def main() -> int:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "burst", "store"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--tools", type=int, default=1, metavar="N", help="every N-th tool only")
    arguments = parser.parse_args()
    ctypes.CDLL(None)
    with tempfile.TemporaryDirectory() as where:
        if arguments.what == "time":
            measured(where, ((10, 2000), (1000, 400), (10_000, 50), (100_000, 8)), arguments.rounds)
        elif arguments.what == "store":
            stored(where, arguments.tools)
        else:
            return burst(where, arguments.processes, arguments.count, arguments.largest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
