"""One instruction of a program: what it is in C, under which conditions it runs, and which sentences rest on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bpflens.decompile.decompile import decompile_unit
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.summary import Summary, summarise_function
from bpflens.decompile.summary.walk.sources import Scope, definitions_of
from bpflens.decompile.summary.walk.walk import Walk, walk
from bpflens.decompile.summary.walk.written import Written, writes_of
from bpflens.decompile.summary.words.naming import Namer
from bpflens.decompile.summary.words.phrases import way_of
from bpflens.decompile.unit import Unit
from bpflens.errors import InputError
from bpflens.isa.extended.text import format_insn

__all__ = ("Place", "place_at")


_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Place:
    """`insn`: the instruction; `c`: lines of C that say it, with one before and after; `when`: the conditions on the way to it in words,
    None where the walk does not know; `sentences`: those that rest on it.
    """

    function: str
    pc: int
    insn: str
    c: tuple[str, ...]
    when: str | None
    sentences: tuple[Sentence, ...]


def place_at(unit: Unit, entry: str, pc: int) -> Place:
    """The place at slot `pc` of the program or section that `entry` is in. InputError where no function has it."""
    home = unit.codes[entry]
    code = next((each for each in unit.codes.values() if each.program is home.program and each.start <= pc < each.end), None)
    if code is None:
        raise InputError(unit.where, f"has no instruction {pc} beside {entry}")
    made = decompile_unit(unit, names=[code.name])
    function = next(each for each in made.functions if each.name == code.name)
    hits = function.lines_of(pc)
    shown = sorted({at + near for at in hits for near in (-1, 0, 1) if 0 <= at + near < len(function.lines)})
    lines = tuple(f"{'>' if at in hits else ' '} {function.lines[at].text}" for at in shown)
    when = None
    if function.tree:
        scope = Scope(unit, code.prog_type, code.program.declared.section or "", definitions_of(function.tree, function.arguments.values()),
                      written=Written(writes_of({each.name: each.tree for each in made.functions if each.tree})))  # fmt: skip
        namer = Namer(unit, code.prog_type, code.program.declared.section or "", code)
        ways = list(dict.fromkeys(_conditions(walk(function.tree, scope, namer), pc, namer)))
        if ways:
            more = "; or in other cases" * (len(ways) > _SHOWN)
            when = "always" if "always" in ways else "; or if ".join(ways[:_SHOWN]) + more
    following = code.insns[pc - code.start + 1] if pc + 1 < code.end else None
    sentences = tuple(each for each in _said(unit, entry, code.name) if pc in each.slots and _of(each, code.name))
    return Place(code.name, pc, format_insn(code.insns[pc - code.start], following), lines, when, sentences)


def _said(unit: Unit, entry: str, own: str) -> tuple[Sentence, ...]:
    summary: Summary = summarise_function(unit, entry)
    return summary.sentences if own == entry else (*summary.sentences, *summarise_function(unit, own).sentences)


def _of(sentence: Sentence, function: str) -> bool:
    return sentence.says is None or sentence.says.function == function


def _conditions(walked: Walk, pc: int, namer: Namer) -> Iterator[str]:
    """The conditions of what is done, or returned, there."""
    for slots, conditions, may in [(each.statement.slots, each.conditions, each.may) for each in walked.done] + [
        (each.slots, each.conditions, each.may) for each in walked.returns
    ]:
        if pc in slots:
            way = way_of(conditions, may, namer)
            unsure = " and other conditions that have no words" * way.unsure
            said = " and ".join(part for part in (f"the packet is one of {way.noun}" * bool(way.noun), way.whole) if part)
            yield (said or "always") + unsure
