"""Dump, save and restore of a hash with a million entries beside `bpftool map dump` in the same run: CPU time and memory of processes.

    python bench/bench_snapshot.py [--entries 1000000] [--rounds 3]

The map is made, filled by batches, and removed; the file goes to a temporary directory. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from typing import NamedTuple

from bpflens.kernel.maps.map_batch import write_batch
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map

PREFIX = f"/sys/fs/bpf/bpflens-bench-{os.getpid()}"


class Used(NamedTuple):
    """CPU seconds (user and system) and peak resident memory in KiB of a process."""

    cpu: float
    peak: int


# The peak that wait4 reports is at least that of the process which forked; VmHWM begins anew with exec.
OURS = """
import sys
from bpflens.cli.main import run
code = run(sys.argv[2:])
with open("/proc/self/status") as status, open(sys.argv[1], "w") as out:
    out.write(next(line for line in status if line.startswith("VmHWM")).split()[1])
sys.exit(code)
"""


def ours(where: str, *arguments: str) -> Used:
    """Our command with its own peak."""
    used = measure([sys.executable, "-c", OURS, f"{where}/peak", *arguments])
    with open(f"{where}/peak", encoding="ascii") as stream:
        return used._replace(peak=int(stream.read()))


def measure(command: list[str]) -> Used:
    """Run a command to its end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 5):
        raise SystemExit(f"{' '.join(command)}: {process.returncode}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def fill(fd: int, entries: int, key_size: int, value_size: int) -> None:
    """Put the entries in."""
    for first in range(0, entries, 50_000):
        count = min(50_000, entries - first)
        keys = b"".join(number.to_bytes(4, "little").ljust(key_size, b"k") for number in range(first, first + count))
        values = b"".join(struct.pack("=Q", number * number).ljust(value_size, b"v") for number in range(first, first + count))
        write_batch(fd, keys, values, count)


def remove_pins() -> None:
    """Take the restored map away."""
    for base, directories, files in os.walk(PREFIX, topdown=False):
        for name in files:
            os.unlink(f"{base}/{name}")
        for name in directories:
            os.rmdir(f"{base}/{name}")
    if os.path.isdir(PREFIX):
        os.rmdir(PREFIX)


def one(entries: int, key_size: int, value_size: int, rounds: int, where: str) -> None:
    """A row of the table."""
    bpftool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    fd = create_map(1, key_size, value_size, entries, name="bl_bench")
    try:
        fill(fd, entries, key_size, value_size)
        id = str(map_by_fd(fd).id)
        path = f"{where}/x.bpfsnap"
        dumps, texts, jsons, saves, restores = [], [], [], [], []
        base = ours(where, "--version")
        for _ in range(rounds):
            dumps.append(measure([bpftool, "map", "dump", "id", id]))
            texts.append(ours(where, "map", "dump", f"map:{id}"))
            jsons.append(ours(where, "--json", "map", "dump", f"map:{id}"))
            saves.append(ours(where, "save", f"map:{id}", "-o", path, "--no-hashes"))
            restores.append(ours(where, "restore", path, "--apply", "--pin-prefix", PREFIX))
            remove_pins()
    finally:
        os.close(fd)
        remove_pins()

    def cpu(several: list[Used]) -> float:
        return statistics.median(used.cpu for used in several)

    def peak(several: list[Used]) -> float:
        return (max(used.peak for used in several) - base.peak) / 1024

    cells = [f"{entries:,} entries of {key_size} + {value_size} bytes", f"{cpu(dumps):.2f} s"]
    for several in (texts, jsons, saves, restores):
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(several, dumps, strict=True))
        cells.append(f"{cpu(several):.2f} s = {ratio:.2f}")
    print(f"| {' | '.join(cells)} | {' / '.join(f'{peak(several):.0f}' for several in (texts, jsons, saves, restores))} MiB |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| hash | `bpftool map dump` | `map dump` | `--json map dump` | save | restore | memory over the start, of these four |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as where:
        one(arguments.entries, 4, 8, arguments.rounds, where)
        one(arguments.entries, 16, 64, arguments.rounds, where)


if __name__ == "__main__":
    main()
