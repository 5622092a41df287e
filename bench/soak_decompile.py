"""Is the C of random programs right? Every arithmetic form, jumps, stack and context memory, atomics; compiled and run beside the original.

    bench/soak_decompile.py [--programs N] [--length N] [--seed N] [--level LEVEL] [--engine kernel|interpreter]
                             [--graphs]

Each program is decompiled, compiled by clang, and run on 40 contexts of numbers at the edges, in the kernel (root) or the interpreter. What
differs is printed with its seed and kept as DIR/seed.c where --keep DIR is given. The exit code is 1 where anything differs or crashes.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bpflens.decompile.decompile import decompile_unit
from bpflens.decompile.result import Level
from bpflens.decompile.unit import make_unit
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Input, Scene, Verdict
from bpflens.execute.subject import Subject, subjects, to_program
from execute import random_programs

_SYSCALL = 31


def judge(seed: int, length: int, level: Level, engine: str, directory: Path, keep: Path | None, graphs: bool = False) -> tuple[str, str]:
    """(what became of the program, what to say)."""
    rnd = Random(seed)
    words = random_programs.graph(rnd, length) if graphs else random_programs.program(rnd, length)
    original = Subject(tuple(words), _SYSCALL, license="GPL", flags=1 << 4)
    made = decompile_unit(make_unit([to_program(original)], "random"), level)
    (function,) = made.functions
    if function.level is not level:
        return "lower level", "; ".join(function.refused)
    source, target = directory / "x.c", directory / "x.o"
    source.write_text(made.text())
    command = ["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if keep is not None:
        (keep / f"{seed}.c").write_text(made.text())
    if done.returncode:
        return "clang refuses it", next((line for line in done.stderr.splitlines() if "error" in line), "")
    (candidate,) = subjects(target.read_bytes(), "x.o").values()
    scenes = [Scene((Input(ctx=random_programs.context(rnd)),)) for _ in range(40)]
    result = compare(original, candidate, inputs=scenes, engine=engine)
    kind = {Verdict.EQUAL: "equal", Verdict.DIFFERENT: "DIFFERENT"}.get(result.verdict, "not compared")
    return kind, result.reason


def main() -> int:
    """Judge random programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", choices=[str(level) for level in Level], default="structured")
    parser.add_argument("--engine", choices=("kernel", "interpreter"), default="kernel")
    parser.add_argument("--graphs", action="store_true", help="programs whose blocks jump anywhere; only the interpreter takes them")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    count: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        for number in range(args.programs):
            seed = args.seed * 1_000_000 + number
            try:
                kind, said = judge(seed, args.length, Level(args.level), args.engine, Path(name), args.keep, args.graphs)
            except Exception as error:
                kind, said = "CRASHES", f"{type(error).__name__}: {error}"
            count[kind] += 1
            if kind != "equal":
                print(f"{seed}: {kind}: {said[:300]}", flush=True)
    print(", ".join(f"{n} {kind}" for kind, n in count.most_common()))
    return int(bool(count["DIFFERENT"] or count["CRASHES"]))


if __name__ == "__main__":
    sys.exit(main())
