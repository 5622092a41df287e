"""Figures of the symbolic check: the same C compiled in several ways, how much is proved equal, in what time, and why the rest is not.

    python bench/bench_symbolic.py [--longest 300] [--ways 'clang -O1 -mcpu=v3,clang -O2 -mcpu=v1'] [-I DIRECTORY] [C FILE OR DIRECTORY...]

Without files: the programs of symbolic_pairs.py. Sizes count the functions that were executed. CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict

from bpflens.execute.symbolic import prove_equal
from bpflens.formats.elf.programs import read_object
from bpflens.program import Program
from symbolic_pairs import BASE, WAYS, compiled, entries, sources

BUCKETS = (50, 100, 300, 1000, 1 << 30)


def sizes(programs: list[Program]) -> dict[str, int]:
    """Slots by function."""
    found: dict[str, int] = {}
    for program in programs:
        starts = sorted({f.start for f in program.functions} | {program.insn_count})
        found |= {f.name: starts[starts.index(f.start) + 1] - f.start for f in program.functions}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=1 << 30)
    parser.add_argument("--ways", default=",".join(way for way in WAYS if way != BASE))
    parser.add_argument("-I", action="append", default=[], dest="include")
    parser.add_argument("-v", action="store_true", dest="verbose")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    flags = [f"-I{directory}" for directory in options.include]
    table: dict[int, Counter[str]] = defaultdict(Counter)
    times: dict[int, list[float]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for name, source in sources(options.files).items():
        base = compiled(source, BASE, flags)
        for way in options.ways.split(",") if base else ():
            other = compiled(source, way, flags)
            if base is None or other is None:
                continue
            first, second = read_object(base, name), read_object(other, name)
            slots = sizes(first)
            for program, function, size in entries(first):
                partner = next((p for p in second if p.section == program.section), None)
                if partner is None or function.name not in {f.name for f in partner.functions} or size > options.longest:
                    continue
                start = time.process_time()
                result = prove_equal(
                    program, partner, others_a=first, others_b=second, entry_a=function.name, entry_b=function.name
                )  # fmt: skip
                total = max(size, sum(slots.get(each, 0) for each in result.functions[0]))
                bucket = next(limit for limit in BUCKETS if total <= limit)
                times[bucket].append(time.process_time() - start)
                table[bucket][f"proved by {result.method}" if result.proved else result.grade] += 1
                if not result.proved:
                    reasons[result.reason or "a run differs"] += 1
                    if options.verbose:
                        print(name, way, function.name, total, result.grade, result.reason)
    for bucket in sorted(table):
        spent, all_ = sorted(times[bucket]), table[bucket].total()
        proved = sum(number for grade, number in table[bucket].items() if grade.startswith("proved"))
        print(f"to {bucket}: {all_} pairs, {100 * proved / all_:.0f} % proved {dict(table[bucket])}")
        print(f"    median {spent[len(spent) // 2]:.3f} s, 90 % {spent[int(len(spent) * 0.9)]:.2f} s, longest {spent[-1]:.1f} s")
    for reason, number in reasons.most_common():
        print(f"{number:5} {reason}")


if __name__ == "__main__":
    main()
