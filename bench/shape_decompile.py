"""Does the C look as people write it? Gotos, casts, fields by name, lines beside those of the source.

    bench/shape_decompile.py OBJECT…

Prints one row of the table in docs/figures.md. Gotos and casts: per 1,000 lines and per line, without functions of more than 1,000
instructions. Fields: accesses of memory that are written as a member, an element or a variable, of all. Lines: those that say something (no
declarations, no closing braces), beside the distinct source lines that line information names for the same instructions; what is inlined
twice into one function counts once in the source and twice in the C.
"""

from __future__ import annotations

import collections
import re
import statistics
import sys
import time

from bpflens.decompile.decompile import decompile
from bpflens.decompile.result import Level
from bpflens.errors import BpflensError
from bpflens.program import Program
from bpflens.targets.open import open_target

CAST = re.compile(r"\((?:__[us]\d+|[us]\d+|void \*|long|[us]\d+ \*|struct \w+ \*)\)(?=[\w(*&])")
RAW = re.compile(r"\*\((?:const volatile )?[us]\d+ \*\)|\bmem_at\(")
NAMED = re.compile(r"\w(?:->|\.)(?=[A-Za-z_])|[A-Za-z_]\w*\[[^\]]*\](?=[^{]*;)")
GOTO = re.compile(r"\bgoto \w")
LARGE, SMALL = 1000, 200


def source_lines(program: Program, start: int, end: int) -> int:
    """Distinct lines that line information names for instructions `start` to `end`."""
    return len({(line.file, line.line) for line in program.lines if start <= line.off_insns < end and line.line})


def main() -> int:
    """Measure the objects."""
    count: collections.Counter[str] = collections.Counter()
    ratios: list[float] = []
    begun = time.process_time()
    for path in sys.argv[1:]:
        try:
            programs = open_target(path)
            made = decompile(programs, path)
        except BpflensError as error:
            print(f"{path}: {error}", file=sys.stderr)
            count["no answer"] += 1
            continue
        for function in made.functions:
            text = "\n".join(line.text for line in function.lines)
            gotos = len(GOTO.findall(text))
            count["functions"] += 1
            count["structured"] += function.level is Level.STRUCTURED
            count["insns"] += function.insn_count
            if function.insn_count <= SMALL:
                count["small"] += 1
                count["small without goto"] += not gotos
            if function.insn_count > LARGE or function.level is not Level.STRUCTURED:
                continue
            body = "\n".join(line.text for line in function.lines if line.slots)
            count["lines"] += len(function.lines)
            count["gotos"] += gotos
            count["casts"] += len(CAST.findall(text))
            count["raw"] += len(RAW.findall(body))
            count["named"] += len(NAMED.findall(body))
            program = next((p for p in programs if (p.section or "") == function.section), None)
            source = source_lines(program, function.start, function.end) if program is not None else 0
            said = sum(bool(line.slots) for line in function.lines)
            if source >= 5:
                ratios.append(said / source)
                count["said"] += said
                count["source"] += source
    lines, fields = max(count["lines"], 1), max(count["raw"] + count["named"], 1)
    print(
        f"{count['functions']} functions, {count['structured']} structured, {count['insns']} insns, {count['lines']} lines; "
        f"{1000 * count['gotos'] / lines:.1f} gotos per 1,000 lines; "
        f"{100 * count['small without goto'] / max(count['small'], 1):.1f} % of those to {SMALL} insns without goto; "
        f"{count['casts'] / lines:.2f} casts per line; {100 * count['named'] / fields:.0f} % of fields named; "
        f"lines {count['said'] / max(count['source'], 1):.2f} of the source's (median {statistics.median(ratios or [0]):.2f}); "
        f"{1000 * (time.process_time() - begun) / max(count['insns'], 1):.2f} ms per insn; {count['no answer']} without an answer"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
