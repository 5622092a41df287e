"""Explanations of many objects held against runs in the interpreter: how many sentences hold, and which a run contradicts.

    bench/check_explain.py OBJECT...           60 s of CPU at most; objects in random order, --seed 1

A contradicted sentence is a fault: its object, program and text are printed.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from pathlib import Path

from bpflens.decompile.summary.check import check
from bpflens.decompile.summary.check.check import Grade, checked
from bpflens.decompile.summary.summary import entries_of, summarise_function
from bpflens.decompile.unit import make_unit
from bpflens.errors import BpflensError
from bpflens.execute.subject import subject_of
from bpflens.targets.open import open_target

LARGEST, MOST_PROGRAMS = 800, 6  # instructions of a program; programs of an object


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("objects", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    setattr(check, "kernel_runs", lambda subject, runs: ("", []))  # the interpreter alone  # noqa: B010
    random.Random(args.seed).shuffle(args.objects)
    start, programs, marks = time.process_time(), 0, Counter[Grade]()
    for path in args.objects:
        if time.process_time() - start > args.seconds:
            break
        try:
            unit = make_unit(open_target(path), path)
            for name in entries_of(unit)[:MOST_PROGRAMS]:
                code = unit.codes[name]
                if code.end - code.start > LARGEST:
                    continue
                summary = summarise_function(unit, name)
                found = checked(summary, unit, subject_of(Path(path).read_bytes(), path, code.original_name))
                programs += 1
                for sentence, mark in zip(summary.sentences, found.marks, strict=True):
                    marks[mark.grade] += 1
                    if mark.grade is Grade.CONTRADICTED:
                        print(f"{path}#{name}: a run {mark.reason}: {sentence.text}")
        except BpflensError as error:
            print(f"left out: {error}")
    print(f"{programs} programs; sentences: " + ", ".join(f"{count} {grade.value}" for grade, count in marks.items()))


if __name__ == "__main__":
    main()
