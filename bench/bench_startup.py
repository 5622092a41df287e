"""CPU time of short commands, beside an older tree or `python -c pass`, in the same run.

    python bench/bench_startup.py [BASE_TREE] [--runs 21] [--only explain]       # as root; live rows are left out elsewhere
    python bench/bench_startup.py [BASE_TREE] --instructions                     # counted by valgrind: the same on a loaded machine

Whole processes, CPU time (user + system of the child), output to /dev/null, the commands of all trees alternating. The figure is the
minimum of the runs: start-up is the same work each time, and what is more is another process's. Modules are compiled once into a cache of
their own, as they are where the package is installed. With --instructions the figure is millions of instructions in user space, of one run;
no bar is judged. The object and the program are those of tests/objects.py, compiled and loaded here.

Bars: `--help` at most 2 times `python -c pass`, `explain` of an everyday filter at most 60 ms, no command slower than the base tree.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
START = "from bpflens.cli.main import main; main()"
EVERYDAY = "pcap:tcp port 80"


COUNT = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def _environment(source: str, cache: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def instructions(argv: list[str], source: str, cache: str) -> float:
    """Instructions of one process in user space, by thousands of millions: shown as the milliseconds are, they are millions."""
    environment = {**_environment(source, cache), "PYTHONHASHSEED": "0"}
    done = subprocess.run([*COUNT, sys.executable, *argv], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    return int(found[1].replace(",", "")) / 1e9 if found else float("nan")


def cpu_seconds(argv: list[str], source: str, cache: str) -> float:
    """CPU seconds of one process."""
    environment = _environment(source, cache)
    null = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *argv], env=environment, stdin=null, stdout=null, stderr=null)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def commands(where: str) -> Iterator[list[tuple[str, ...]]]:
    """What is measured: files first, then what is loaded as long as the context lives."""
    import objects
    from live.loaded import program_with_map

    source, object = os.path.join(where, "x.c"), os.path.join(where, "x.o")
    Path(source).write_text(objects.MAPS_AND_CALLS)
    clang = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{objects.INCLUDE}", "-c", source, "-o", object]
    subprocess.run(clang, check=True)
    rows: list[tuple[str, ...]] = [
        ("--help",), ("dis", object), ("--json", "dis", object), ("show", object), ("dis", EVERYDAY), ("explain", "pcap:arp"),
        ("explain", EVERYDAY), ("asm", "/dev/null"), ("explain", "--help"),
    ]  # fmt: skip
    if os.geteuid():
        yield rows
        return
    with program_with_map() as loaded:
        target = f"id:{loaded.id}"
        yield [*rows, ("dis", target), ("show", "--no-attachments", target), ("original", target), ("ls", target), ("ls", "dev:lo")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path, metavar="BASE_TREE")
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--only", default="", help="commands that have this text")
    parser.add_argument("--instructions", action="store_true", help="count instructions with valgrind, once each")
    args = parser.parse_args()

    kept = True
    measure, unit, runs = (instructions, "M ", 0) if args.instructions else (cpu_seconds, "ms", args.runs)
    with tempfile.TemporaryDirectory() as where, commands(where) as rows:
        trees = [ROOT, *([args.base.resolve()] if args.base else [])]
        caches = [os.path.join(where, f"cache{number}") for number in range(len(trees))]
        print(f"{'command':34} {'now':>8} {'base':>8} {'ratio':>6} {'of pass':>8}")
        for row in rows:
            if args.only not in " ".join(row):
                continue
            bare = 9.0
            least = [9.0] * len(trees)
            for number, tree in enumerate(trees):
                cpu_seconds(["-c", START, *row], str(tree / "src"), caches[number])  # fills the caches
            for _ in range(runs or 1):
                bare = min(bare, measure(["-c", "pass"], "", caches[0]))
                for number, tree in enumerate(trees):
                    least[number] = min(least[number], measure(["-c", START, *row], str(tree / "src"), caches[number]))
            now, base = least[0], least[1] if args.base else 0.0
            ratio = f"{now / base:6.2f}" if base else "     -"
            shown = " ".join(row).replace(where, "")
            print(f"{shown:34} {now * 1e3:5.1f} {unit} {base * 1e3:5.1f} {unit} {ratio} {now / bare:8.2f}", flush=True)
            if args.instructions:
                continue
            kept &= not base or now <= base * 1.03
            kept &= row != ("--help",) or now <= 2 * bare
            kept &= row != ("explain", EVERYDAY) or now <= 0.060
    if args.instructions:
        return 0
    print("all bars are kept" if kept else "a bar is not kept")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
