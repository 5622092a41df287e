"""How many functions of objects come back as C that is proved equal for all inputs, and why the rest does not (clang, no root).

    python bench/bench_proofs.py [--most 12000] [--steps 600000] [-o RESULTS.jsonl] OBJECT…

Each object is decompiled without its check and compiled with clang; each entry is given to the symbolic check with what it calls. Sizes
are the slots of the entry and of every function that it calls; a function is loop-free where none of them has a way back. Objects of more
than `--most` slots are counted and left out. RESULTS is read, so that a run that was stopped goes on, and each object is measured once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bpflens.analysis.cfg import build
from bpflens.decompile import check
from bpflens.decompile.decompile import decompile_unit
from bpflens.decompile.unit import Code, Unit, make_unit
from bpflens.errors import BpflensError
from bpflens.execute.symbolic import prove_equal
from bpflens.formats.elf.programs import read_object
from bpflens.program import Program

BUCKETS = (50, 100, 300, 1000, 1 << 30)


def loops(code: Code) -> bool:
    """Is there a way back in a function?"""
    cfg = build(list(code.insns))
    follow = {block.start: list(block.successors) for block in cfg.blocks}
    state: dict[int, int] = {}
    for start in follow:
        stack = [(start, iter(follow[start]))] if start not in state else []
        state.setdefault(start, 1)
        while stack:
            at, successors = stack[-1]
            to = next(successors, None)
            if to is None:
                state[at] = 2
                stack.pop()
            elif state.get(to) == 1:
                return True
            elif to in follow and to not in state:
                state[to] = 1
                stack.append((to, iter(follow[to])))
    return False


def recompiled(unit: Unit, clang: Sequence[str], directory: Path) -> tuple[Any, str]:
    """(the C that clang accepts, or None; why it does not)."""
    state = check._State(unit)
    for _ in range(check._ROUNDS):
        made = decompile_unit(unit, attempts=state.attempts())
        errors = check._compile(made, clang, directory)
        if errors is None:
            return made, ""
        if not check._lower_for(errors, made, state):
            break
    return None, errors[0][1]


def measured(path: str, clang: Sequence[str], steps: int) -> Iterator[dict[str, Any]]:
    """A row for each entry of an object."""
    programs = read_object(Path(path).read_bytes(), path)
    unit = make_unit(programs, path)
    with tempfile.TemporaryDirectory() as name:
        made, why = recompiled(unit, clang, Path(name))
        theirs: Sequence[Program] = read_object((Path(name) / "x.o").read_bytes(), "x.o") if made else ()
        ours = list({id(code.program): code.program for code in unit.codes.values()}.values())
        for function in made.functions if made else ():
            if function.role == "entry":
                yield {**row(unit, function.name, ours, theirs, steps), "level": str(function.level)}
        if not made:
            yield {"entry": "", "grade": "not compiled", "reason": why, "size": 0, "loops": False, "level": ""}


def row(unit: Unit, name: str, ours: Sequence[Program], theirs: Sequence[Program], steps: int) -> dict[str, Any]:
    """What the check says of an entry."""
    code = unit.codes[name]
    reached = [unit.codes[n] for n in check._reached(unit, name)]
    other = check._holding(theirs, name)
    start = time.process_time()
    assert other is not None
    try:
        result = prove_equal(
            code.program, replace(other, type=code.program.type), others_a=[p for p in ours if p is not code.program],
            others_b=[p for p in theirs if p is not other], entry_a=code.original_name, entry_b=name, steps=steps,
        )  # fmt: skip
        said = {"grade": result.grade, "method": result.method, "reason": result.reason or str(result.difference or "")}
    except BpflensError as error:
        said = {"grade": "error", "method": "", "reason": str(error)}
    size, own = sum(c.end - c.start for c in reached), code.end - code.start
    return {**said, "entry": name, "size": size, "own": own, "loops": any(map(loops, reached)), "seconds": time.process_time() - start}


def table(rows: list[dict[str, Any]]) -> None:
    """Print the shares and the reasons."""
    counts: dict[tuple[int, bool], Counter[str]] = defaultdict(Counter)
    times: dict[int, list[float]] = defaultdict(list)
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in rows:
        if not one["entry"]:
            print(f"{one['object']}: {one['grade']}: {one['reason'][:100]}")
            continue
        bucket = next(limit for limit in BUCKETS if one["size"] <= limit)
        counts[bucket, one["loops"]][one["grade"]] += 1
        times[bucket].append(one["seconds"])
        if one["grade"] != "proved":
            kind = "loops" if one["loops"] else "loop-free"
            reasons[one["reason"][:90]].append(f"{Path(one['object']).stem}#{one['entry']} ({one['size']}, {kind}, {one['seconds']:.1f} s)")
    for (bucket, looping), grades in sorted(counts.items()):
        spent, all_ = sorted(times[bucket]), grades.total()
        said = f"{grades['proved']} of {all_} proved, {100 * grades['proved'] / all_:.0f} %"
        name = f"to {bucket}" if bucket < 1 << 30 else "larger"
        print(f"{name}, {'with loops' if looping else 'loop-free'}: {said}; {dict(grades)}; median {spent[len(spent) // 2]:.2f} s")
    for reason, where in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(where):5} {reason}    {'; '.join(where[:4])}")


def main() -> int:
    """Measure the objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=600_000)
    parser.add_argument("--clang", default="clang")
    parser.add_argument("-o", dest="results", type=Path)
    parser.add_argument("objects", nargs="+")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        rows = [json.loads(line) for line in options.results.read_text().splitlines()]
    known = {one["object"] for one in rows}
    left_out = 0
    for path in options.objects:
        if path in known:
            continue
        try:
            if sum(program.insn_count for program in read_object(Path(path).read_bytes(), path)) > options.most:
                left_out += 1
                continue
            found = [{"object": path, **one} for one in measured(path, options.clang.split(), options.steps)]
        except BpflensError as error:
            found = [{"object": path, "entry": "", "grade": "not read", "reason": str(error), "size": 0, "loops": False}]
        rows += found
        if options.results:
            with options.results.open("a") as out:
                out.writelines(json.dumps(one) + "\n" for one in found)
    table([one for one in rows if one["object"] in set(options.objects)])
    print(f"{left_out} objects of more than {options.most} slots left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
