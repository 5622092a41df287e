"""Parts of an object's programs: a section, or one function as a program of its own."""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import SourceLines
from bpflens.lean import replace
from bpflens.program import Program

__all__ = ("MAX_SHOWN", "by_function", "one_function", "select", "some")

MAX_SHOWN = 20


def by_function(program: Program) -> list[Program]:
    """The programs of a section as the loader sees them, one per function; .text and a section of one function stay whole."""
    starts = [function.start for function in program.functions]
    if program.section in (None, ".text") or program.xlated or len(starts) < 2:
        return [program]
    return [one_function(program, index) for index in range(len(starts))]


def select(programs: Sequence[Program], part: str, where: str) -> list[Program]:
    """The section (or, where there is none of that name, the functions) called `part`."""
    sections = [p for p in programs if p.section is not None and part in (p.section, p.section.removeprefix("?"))]
    if sections:
        return sections
    found = []
    for program in programs:
        index = next((index for index, function in enumerate(program.functions) if function.name == part), None)
        if index is not None:
            found.append(one_function(program, index))
    if found:
        return found
    names = [p.section or "" for p in programs]
    functions = [f.name for p in programs for f in p.functions]
    raise InputError(
        where, f"no section or function {part!r}", f"sections: {some(names)}" + (f"; functions: {some(functions)}" if functions else "")
    )


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:MAX_SHOWN]) + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")


def one_function(program: Program, index: int) -> Program:
    """Function `index` of a program as a program of its own."""
    function = program.functions[index]
    start = function.start
    end = min((f.start for f in program.functions if f.start > start), default=program.insn_count)
    path = program.origin.where.partition("#")[0]
    known = program.lines
    inside = known.between(start, end) if isinstance(known, SourceLines) else [line for line in known if start <= line.off_insns < end]
    lines = [replace(line, off_insns=line.off_insns - start) for line in inside]
    relocations = [replace(r, off_insns=r.off_insns - start) for r in program.relocations if start <= r.off_insns < end]
    return replace(
        program,
        code=program.code[8 * start : 8 * end],
        origin=replace(program.origin, where=f"{path}#{function.name}"),
        name=function.name,
        functions=(replace(function, start=0),),
        lines=tuple(lines),
        relocations=tuple(relocations),
    )
