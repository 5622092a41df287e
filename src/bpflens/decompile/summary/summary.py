"""What an extended program does, in sentences of which each knows its instructions.

    summarise(program)  ──►  Summary: "drops IPv4 TCP packets (XDP_DROP) when map h4blk has an entry for the TCP destination port"

Facts come from the structured program (walk.py); words from fixed tables. "may" stands where a condition was left out or has no name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bpflens.decompile.summary.decisions import decisions
from bpflens.decompile.summary.deeds import Deeds
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.walk.pointed import Pointed
from bpflens.decompile.summary.walk.sources import Definitions, Scope, definitions_of
from bpflens.decompile.summary.walk.walk import Walk, walk
from bpflens.decompile.summary.walk.written import Written, writes_of
from bpflens.decompile.summary.words.naming import Namer
from bpflens.decompile.summary.words.occasions import occasion
from bpflens.decompile.summary.words.phrases import noted_once, slots_of
from bpflens.decompile.summary.words.verdicts import has_verdict
from bpflens.decompile.unit import Code, Unit, make_unit
from bpflens.errors import BpflensError
from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.isa.extended.uapi import ProgType
from bpflens.program import Program

__all__ = ("Sentence", "Summary", "entries_of", "summarise", "summarise_function")

SHOWN_LINES = 10
_MOST_RESULTS = 4


@dataclass(frozen=True, slots=True)
class Summary:
    """A program in words: `head` says what it is and when it runs; `sentences` are all, most telling first; `complete` is False where
    some of the code was not understood, which `gaps` names.
    """

    where: str
    name: str
    type: str
    head: str
    insn_count: int
    sentences: tuple[Sentence, ...]
    gaps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """All functions were walked to their ends."""
        return not self.gaps

    def short(self, lines: int = SHOWN_LINES) -> tuple[Sentence, ...]:
        """As many of the sentences as fit below the head, and a last one that says how many are left."""
        room = lines - 1 - bool(self.gaps)
        if len(self.sentences) <= room:
            return self.sentences
        return self.sentences[: room - 1]


def summarise(program: Program, name: str = "") -> Summary:
    """What an extended program does; `name` picks a function. InputError where there is none."""
    unit = make_unit([program], program.origin.where)
    names = [code.name for code in unit.codes.values() if name in (code.name, code.original_name) or (not name and code.role == "entry")]
    return summarise_function(unit, names[0] if names else next(iter(unit.codes)))


def entries_of(unit: Unit) -> list[str]:
    """The functions that the kernel calls, or, where there is none, all."""
    return [code.name for code in unit.codes.values() if code.role == "entry"] or list(unit.codes)


def summarise_function(unit: Unit, name: str) -> Summary:
    """What a function of a unit does, with all that it calls."""
    from bpflens.decompile.decompile import decompile_unit

    made = decompile_unit(unit, names=[name])
    entry = next(function for function in made.functions if function.name == name)
    program = unit.codes[name].program
    gaps: list[str] = []
    found: list[Sentence] = []
    writes = writes_of({function.name: function.tree for function in made.functions if function.tree})
    for function in made.functions:
        if not function.tree:
            gaps.append(f"{function.name} has no structured form ({'; '.join(function.refused) or function.level})")
            continue
        definitions = definitions_of(function.tree, function.arguments.values())
        scope = Scope(unit, program.type or 0, program.declared.section or "", definitions, written=Written(writes))
        code, own = unit.codes[function.name], function is entry
        if code.role != "entry":
            scope.parameters = _parameters(unit, code, function.arguments, definitions)
        namer = Namer(unit, program.type or 0, program.declared.section or "", unit.codes[name])
        walked = walk(function.tree, scope, namer)
        if not walked.complete:
            gaps.append(f"{function.name} is nested too deeply to be followed to its ends")
        if code.role != "entry":
            found += _results(function.name, walked, namer, own)
        elif own and program.type == ProgType.STRUCT_OPS and not _is_void(unit, code):
            found += _results(function.name, walked, namer, len(walked.returns) > 1 or any(each.value is None for each in walked.returns))
        elif own and has_verdict(program.type or 0, program.declared.section or ""):
            found += decisions(name, walked, namer, program.type or 0)
        pointed = Pointed(function.tree, set(function.arguments.values()))
        found += Deeds(function.name, unit, namer, walked, pointed, "" if own else f"in {function.name}, ").all()
    order = ("alarm", "decides", "effect", "map", "calls", "reads", "note")
    found.sort(key=lambda sentence: order.index(sentence.kind))
    kind = type_name(PROG_TYPES, program.type or 0)
    insns = sum(function.insn_count for function in made.functions)
    head = _head(program, name, insns, len(made.functions) - 1)
    return Summary(program.origin.where, name, kind, head, insns, tuple(_once(found)), tuple(gaps))


def _parameters(unit: Unit, code: Code, arguments: Mapping[int, int], definitions: Definitions) -> dict[int, str]:
    """Variable -> name of each parameter of a function that the program itself calls; "1", "2" ... where BTF has no names."""
    names: list[str] = []
    if unit.btf is not None and code.type_id:
        try:
            proto = unit.btf.name_and_ref(code.type_id)[1]
            names = [parameter.name for parameter in unit.btf.params(proto)]
        except BpflensError:
            names = []
    kept = {var: register for register, var in arguments.items() if var not in definitions.several and var not in definitions}
    return {var: names[register - 1] if register <= len(names) and names[register - 1] else str(register) for var, register in kept.items()}


def _is_void(unit: Unit, code: Code) -> bool:
    """BTF says that a function gives nothing back."""
    return unit.btf is not None and bool(code.type_id) and unit.btf.name_and_ref(unit.btf.name_and_ref(code.type_id)[1])[1] == 0


def _results(name: str, walked: Walk, namer: Namer, own: bool) -> Iterator[Sentence]:
    """What a function that the program itself calls gives back; of a callee only where it is one of few numbers."""
    said = list(decisions(name, walked, namer, 0))
    if own:
        yield from said
    elif walked.returns and 1 < len(said) <= _MOST_RESULTS and all(each.says is not None and each.says.value is not None for each in said):
        texts = [(each.text[:1].lower() + each.text[1:]).rstrip(".") for each in said]
        yield Sentence("calls", f"In {name}: {'; '.join(texts)}.", slots_of(each.slots for each in said))


def _once(found: Iterable[Sentence]) -> Iterator[Sentence]:
    seen: dict[str, None] = {}
    for sentence in found:
        if sentence.text not in seen:
            seen[sentence.text] = None
            yield replace(sentence, text=_tidy(sentence.text), whole=_tidy(sentence.whole))


def _tidy(text: str) -> str:
    """Arguments have numbers and no article; what is assumed of a header is said once."""
    return noted_once(text.replace("the argument ", "argument "))


def _head(program: Program, name: str, insns: int, callees: int) -> str:
    typed = type_name(PROG_TYPES, program.type) if program.type else "function" if program.section else "code"
    kind = "program" if name == "program" and typed == "code" else typed
    runs = occasion(program.type or 0, program.declared.section or "")
    size = f"{insns} instructions" + (f" in {callees + 1} functions" if callees else "")
    return f"{kind} {name}" + (f": runs {runs}" if runs else "") + f" ({size})"
