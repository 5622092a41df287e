"""Decompiled C as text, with its instructions or its source lines beside it where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.decompile.result import Decompiled, DecompiledFunction, Line
    from bpflens.program import Program

__all__ = ("summary", "text")

_WIDE = 64


def text(made: Decompiled, programs: Sequence[Program], pc: bool, source: bool, color: bool) -> Iterator[str]:
    """The C file in pieces. Notes stand in comments, so that it still compiles."""
    if not pc and not source:
        yield made.text()
        return
    for line in made.before:
        yield line.text + "\n"
    for function in made.functions:
        yield "\n"
        sources = _sources(programs, function) if source else {}
        yield from _function(function, pc, sources)
    yield "\n"
    for line in made.after:
        yield line.text + "\n"


def _sources(programs: Sequence[Program], function: DecompiledFunction) -> dict[int, str]:
    """Source text by the slot that it starts at."""
    for program in programs:
        if (program.section or "") == function.section and program.lines:
            return {line.off_insns: line.text.strip() for line in program.lines if function.start <= line.off_insns < function.end}
    return {}


def _function(function: DecompiledFunction, pc: bool, sources: dict[int, str]) -> Iterator[str]:
    last = ""
    for line in function.lines:
        if sources:
            said = [sources[slot] for slot in line.slots if slot in sources]
            said = [s for s in dict.fromkeys(said) if s and s != last]
            if said:
                last = said[-1]
                indent = line.text[: len(line.text) - len(line.text.lstrip("\t"))]
                for each in said:
                    yield f"{indent}// {each}\n".replace("\\\n", "\n")
        yield (_with_slots(line) if pc and line.slots else line.text) + "\n"


def _with_slots(line: Line) -> str:
    shown = line.text.expandtabs(8)
    return f"{line.text}{' ' * max(1, _WIDE - len(shown))}// {_ranges(line.slots)}"


def _ranges(slots: Sequence[int]) -> str:
    """1, 2, 3, 7  ->  "1-3 7"."""
    out: list[list[int]] = []
    for slot in slots:
        if out and slot - out[-1][1] <= 1:
            out[-1][1] = slot
        else:
            out.append([slot, slot])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def summary(made: Decompiled) -> Iterator[str]:
    """One line per function: level and badge."""
    for f in made.functions:
        yield f"{f.name}: {f.level}, {f.insn_count} insns, {f.badge} ({f.reason})"
        for why in f.refused:
            yield f"    not {why}"
