"""How much does the comparison by test runs see? Programs with one instruction changed, compared with what they were.

    bench/soak_oracle.py --per-program 12 --inputs 2000 --seed 1 [--engine interpreter] [FILE...]

Programs: those of the files (objects, or executables with objects inside), by default the C programs of the tests and the objects that
xdp-tools installs. A mutant that the kernel refuses is not counted. One on which no difference was found is given to the symbolic check:
what that proves equal was no mutant at all, what it can't prove counts as missed and is printed. `--engine interpreter` runs no kernel code
but for asking whether it takes the mutant.
"""

from __future__ import annotations

import argparse
import collections
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import objects
from bpflens.errors import BpflensError
from bpflens.execute.inputs.mutate import mutants
from bpflens.execute.inputs.packets import random_packet
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.interpreter.memory import SHIFT
from bpflens.execute.interpreter.packet import PACKET_REGION
from bpflens.execute.kernel_engine import refusal
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Input, Verdict
from bpflens.execute.subject import Subject, to_program
from bpflens.execute.subject import subjects as subjects_of
from bpflens.execute.symbolic.equal import prove_equal
from bpflens.formats.elf.embedded import find_embedded
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import lookup
from execute import c_programs


def programs(files: list[str]) -> Iterator[tuple[str, Subject]]:
    if not files:
        for name in c_programs.PROGRAMS:
            for cpu in ("v2", "v3"):
                if cpu == "v3" or not name.startswith("atomics"):
                    blob = objects.compiled(c_programs.source(name), f"-mcpu={cpu}")
                    yield f"{name} {cpu}", subjects_of(blob, name)["entry"]
        listed = subprocess.run(["dpkg", "-L", "xdp-tools", "libxdp1"], capture_output=True, text=True).stdout
        files = sorted({line for line in listed.split() if line.endswith(".o")})
    for path in files:
        for _, blob in find_embedded(Path(path).read_bytes()):
            try:
                found = subjects_of(blob, path)
            except BpflensError:
                continue
            for name, subject in found.items():
                yield f"{Path(path).name} {name}", subject


def text(subject: Subject, slot: int) -> str:
    insn = Insn(subject.words[slot])
    row = lookup(insn.word)
    name = row.name if row is not None else "?"
    return f"{name} dst={insn.dst} src={insn.src} off={insn.off} imm={insn.imm}"


def compares_addresses(subject: Subject, slot: int) -> bool:
    """Whether every run of the interpreter compares two packet addresses there."""
    program = InterpretedProgram(subject, trace=True)
    rnd = random.Random(1)
    for _ in range(200):
        program.run(Input(random_packet(rnd)))
    seen = [(left, right) for at, left, right in program.machine.trace if at == slot]
    return bool(seen) and all(left >> SHIFT == right >> SHIFT == PACKET_REGION for left, right in seen)


def proved(a: Subject, b: Subject) -> str:
    try:
        return prove_equal(to_program(a), to_program(b)).grade
    except Exception as error:  # what this script measures is the oracle
        return f"no answer ({type(error).__name__})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-program", type=int, default=12)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[tuple[str, str]] = collections.Counter()
    rnd = random.Random(options.seed)
    started = time.monotonic()
    spent = 0.0
    for name, subject in programs(options.files):
        if time.monotonic() - started > options.seconds:
            break
        if refusal(subject) is not None:
            counts["programs that this kernel refuses"] += 1
            continue
        counts["programs"] += 1
        for mutant in mutants(subject, rnd, options.per_program):
            if refusal(mutant.subject) is not None:
                counts["refused by the kernel"] += 1
                continue
            before = time.process_time()
            result = compare(subject, mutant.subject, inputs=options.inputs, engine=options.engine)
            spent += time.process_time() - before
            if result.verdict is Verdict.DIFFERENT:
                answer = "caught"
            elif result.verdict is Verdict.UNDETERMINED:
                answer = "undetermined"
                print(f"undetermined: {name}: {mutant.kind} at {mutant.slot}: {result.reason}")
            else:
                grade = proved(subject, mutant.subject)
                answer = "no change (proved equal)" if grade == "proved" else "missed"
                if answer == "missed" and mutant.kind == "condition of other sign" and compares_addresses(subject, mutant.slot):
                    answer = "no change (addresses of the kernel compare alike with either sign)"
                if answer == "missed":
                    reach = f"{result.coverage}, {result.engine}, symbolic check: {grade}"
                    change = f"{text(subject, mutant.slot)} -> {text(mutant.subject, mutant.slot)}"
                    print(f"missed: {name}: {mutant.kind} at {mutant.slot} of {len(subject.words)}: {change}: {reach}")
            counts[answer] += 1
            kinds[mutant.kind, answer] += 1
    for what, count in counts.most_common():
        print(f"{count:6} {what}")
    real = counts["caught"] + counts["missed"]
    if real:
        print(f"caught {counts['caught'] / real:.1%} of {real}; {spent / max(1, real):.2f} s of CPU time each")
    for kind in sorted({kind for kind, _ in kinds}):
        print(f"  {kind}: {kinds[kind, 'caught']} caught, {kinds[kind, 'missed']} missed")


if __name__ == "__main__":
    main()
