"""CPU time of short commands, beside an older tree or `python -c pass`, in the same run.

    python bench/bench_startup.py [BASE_TREE] [--runs 21] [--only explain]       # as root; live rows are left out elsewhere

Whole processes, CPU time (user + system of the child), output to /dev/null, the commands of all trees alternating. The figure is the
minimum of the runs: start-up is the same work each time, and what is more is another process's. Modules are compiled once into a cache of
their own, as they are where the package is installed. The object and the program are those of tests/objects.py, compiled and loaded here.

Bars: `--help` at most 2 times `python -c pass`, `explain` of an everyday filter at most 60 ms, no command slower than the base tree.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
START = "from bpflens.cli.main import main; main()"
EVERYDAY = "pcap:tcp port 80"


def cpu_seconds(argv: list[str], source: str, cache: str) -> float:
    """CPU seconds of one process."""
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
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
    args = parser.parse_args()

    kept = True
    with tempfile.TemporaryDirectory() as where, commands(where) as rows:
        trees = [ROOT, *([args.base.resolve()] if args.base else [])]
        caches = [os.path.join(where, f"cache{number}") for number in range(len(trees))]
        print(f"{'command':34} {'now':>8} {'base':>8} {'ratio':>6} {'of pass':>8}")
        for row in rows:
            if args.only not in " ".join(row):
                continue
            bare = 9.0
            least = [9.0] * len(trees)
            for _ in range(args.runs + 1):  # the first fills the caches
                bare = min(bare, cpu_seconds(["-c", "pass"], "", caches[0]))
                for number, tree in enumerate(trees):
                    seconds = cpu_seconds(["-c", START, *row], str(tree / "src"), caches[number])
                    least[number] = min(least[number], seconds)
            now, base = least[0], least[1] if args.base else 0.0
            ratio = f"{now / base:6.2f}" if base else "     -"
            shown = " ".join(row).replace(where, "")
            print(f"{shown:34} {now * 1e3:5.1f} ms {base * 1e3:5.1f} ms {ratio} {now / bare:8.2f}", flush=True)
            kept &= not base or now <= base * 1.03
            kept &= row != ("--help",) or now <= 2 * bare
            kept &= row != ("explain", EVERYDAY) or now <= 0.060
    print("all bars are kept" if kept else "a bar is not kept")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
