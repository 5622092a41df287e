"""Time and shape of decompiled C: `python bench/bench_decompile.py [OBJECT...]`.

Without objects: CPU time of a made program of 4,000 and of 16,000 instructions. With objects:
share of functions that are structured, gotos per 1,000 lines, casts per line, instructions, time per instruction.
"""

from __future__ import annotations

import re
import sys
import time

from bpflens.decompile.decompile import decompile
from bpflens.decompile.result import Level
from bpflens.isa.extended.insn import Insn, encode
from bpflens.program import Isa, Origin, Program
from bpflens.targets.open import open_target

CAST = re.compile(r"\((?:__[us]\d+|[us]\d+|void \*|[us]\d+ \*)\)")


def made_program(count: int) -> Program:
    """Reads of the context, comparisons, sums."""
    make = Insn.make
    insns = [make(0xBF, 6, 1), make(0xB7, 7), make(0xB7, 8), make(0xB7, 9)]
    for number in range(count // 5):
        insns += [make(0x61, 1, 6, 4 * (number % 5)), make(0x55, 1, 0, 2, number)]
        insns += [make(0x07, 7, 0, 0, 1), make(0x0F, 8, 7), make(0xBF, 9, 8)]
    code = encode([*insns, make(0xBF, 0, 9), make(0x95)])
    return Program(isa=Isa.EXTENDED, code=code, origin=Origin("made", "made"), name="made", type=3)


def speed() -> None:
    """The made programs."""
    for count in (4_000, 16_000):
        start = time.process_time()
        decompile([made_program(count)], "made")
        took = time.process_time() - start
        print(f"{count} instructions: {took:.2f} s CPU ({1000 * took / count:.3f} ms each)")


def shapes(paths: list[str]) -> None:
    """The objects."""
    functions = structured = lines = gotos = casts = insns = 0
    start = time.process_time()
    for path in paths:
        for function in decompile(open_target(path), path).functions:
            text = "\n".join(line.text for line in function.lines)
            functions += 1
            structured += function.level is Level.STRUCTURED
            lines += len(function.lines)
            gotos += len(re.findall(r"\bgoto \w", text))
            casts += len(CAST.findall(text))
            insns += function.insn_count
    took = time.process_time() - start
    print(f"{functions} functions, {insns} insns, {structured} structured; {1000 * gotos / lines:.1f} gotos per 1,000 lines")
    print(f"{casts / lines:.2f} casts per line; {lines / insns:.2f} lines per insn; {1000 * took / insns:.2f} ms per insn")


if __name__ == "__main__":
    shapes(sys.argv[1:]) if len(sys.argv) > 1 else speed()
