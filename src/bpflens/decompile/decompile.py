"""Decompile: the programs of a target as one C file.

    unit = make_unit(programs, "x.o")
    decompile_unit(unit).text()

Each function comes out at the highest level that it can: structured C, one statement per instruction, assembly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.assembly import assembly_lines, byte_lines
from bpflens.decompile.c_text.file import file_head, file_tail
from bpflens.decompile.c_text.instructions import instruction_lines
from bpflens.decompile.c_text.signature import make_signatures
from bpflens.decompile.c_text.structured import Structured, structured_lines
from bpflens.decompile.function import Variable
from bpflens.decompile.lift.arity import arities_of, variable_arguments
from bpflens.decompile.lift.blocks import Unsayable, split_blocks
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.lift.regions import Regions, analyse_regions
from bpflens.decompile.passes import Options, build_structured
from bpflens.decompile.result import Decompiled, DecompiledFunction, Level, Line
from bpflens.decompile.types.demand import TooNarrow
from bpflens.decompile.unit import Code, Unit, make_unit
from bpflens.program import Program

__all__ = ("decompile", "decompile_function", "decompile_unit")

_MAX_RETRIES = 4
LADDER = (Level.STRUCTURED, Level.INSTRUCTIONS, Level.ASSEMBLY)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The highest level to try of a function, and the variant of structured C."""

    level: Level
    options: Options


@dataclass(slots=True)
class _Shared:
    """What the functions of a unit share."""

    scope: UnitScope
    arities: Mapping[str, int]
    signatures: Mapping[str, Signature]


def decompile(
    programs: Sequence[Program], where: str, level: Level = Level.STRUCTURED, names: Sequence[str] = (), style: str = "kernel"
) -> Decompiled:
    """The C file of the programs of a target; `names` picks functions, with what they call. `style`: "kernel", or "plain" with braces
    everywhere and comparisons written out. InputError where there is no extended code.
    """
    return decompile_unit(make_unit(programs, where), level, names, style=style)


def decompile_unit(
    unit: Unit, level: Level = Level.STRUCTURED, names: Sequence[str] = (), attempts: Mapping[str, Attempt] | None = None,
    style: str = "kernel",
) -> Decompiled:  # fmt: skip
    """The C file of a unit. `level`: the highest one to try; `attempts` the same, with options, for single functions."""
    chosen = _with_callees(unit, names) if names else list(unit.codes)
    arities = arities_of(unit)
    shared = _Shared(UnitScope.of(unit, style), arities, make_signatures(unit, arities))
    plain = Attempt(level, Options())
    functions = [decompile_function(unit.codes[name], shared, (attempts or {}).get(name, plain)) for name in chosen]
    body = [line.text for function in functions for line in function.lines]
    head = file_head(shared.scope, shared.signatures, chosen, body)
    made = Decompiled(unit.where, tuple(head), tuple(functions), tuple(file_tail(unit)), tuple(unit.notes))
    return retitled(made)


def retitled(made: Decompiled) -> Decompiled:
    """The file with a comment at its head that says of each function what is known now."""
    rest = made.before
    while rest and rest[0].text.startswith("/* ") and rest[0].text.endswith(" */"):
        rest = rest[1:]
    title = tuple(Line(f"/* {_in_comment(line)} */") for line in _title(made))
    return replace(made, before=(*title, *rest))


def decompile_function(code: Code, shared: _Shared, attempt: Attempt) -> DecompiledFunction:
    """A function at the highest level, from that of `attempt` down, that can say it."""
    refused: list[str] = []
    for level in LADDER[LADDER.index(attempt.level) :]:
        try:
            made = _WRITERS[level](code, shared, attempt.options)
        except Unsayable as reason:
            refused.append(f"{level}: {reason}")
            continue
        return replace(made, refused=tuple(refused))
    bytes_ = byte_lines(code, shared.signatures[code.name], shared.scope)
    lines = (Line("/* no level can say this function: its bytes, without what they refer to */"), *bytes_)
    return replace(_result(code, Level.ASSEMBLY, lines), refused=tuple(refused), reason="only its bytes: no level can say it")


def _structured(code: Code, shared: _Shared, options: Options) -> DecompiledFunction:
    regions = regions_of(code, shared)
    wide: frozenset[int] = frozenset()
    while True:
        made = build_structured(code, shared.scope.unit, regions, shared.arities, shared.signatures, options, wide)
        scope = Structured(
            shared.scope, dict(shared.signatures), code, made.function, made.types, made.widths, options.ctx_macro, made.pointees,
            made.narrow, made.fields, made.source_names,
        )  # fmt: skip
        try:
            lines = structured_lines(scope, code, made.tree, shared.signatures[code.name], made.webs.undefined, made.barred)
            break
        except TooNarrow as narrow:
            wide = wide | made.narrow if len(wide) > _MAX_RETRIES else wide | {narrow.web}
    for web in scope.names:
        if web in made.pointees:
            shared.scope.pointed_types[made.pointees[web]] = None
    return replace(
        _result(code, Level.STRUCTURED, tuple(lines)), asm_statements=scope.asm_statements, tree=made.tree, objects=made.function.objects,
        arguments=dict(made.function.arguments),
        variables={web: Variable(name, scope.type_name(made.types[web])) for web, name in scope.names.items()},
    )  # fmt: skip


def _instructions(code: Code, shared: _Shared, options: Options) -> DecompiledFunction:
    arity = shared.arities[code.name]
    regions = regions_of(code, shared)
    places = {slot: place for slot, place in regions.places.items() if place.kind == "ctx"}
    function = lift(code, arity, shared.arities, places, variable_arguments(code, arity))
    lines, count = instruction_lines(code, function, shared.scope, shared.signatures, frame_depth(regions))
    return replace(_result(code, Level.INSTRUCTIONS, tuple(lines)), asm_statements=count)


def _assembly(code: Code, shared: _Shared, options: Options) -> DecompiledFunction:
    relocated = any(ref.kind == "core" for ref in code.references.values())
    depth = frame_depth(regions_of(code, shared)) if relocated else 0
    return _result(code, Level.ASSEMBLY, tuple(assembly_lines(code, shared.signatures[code.name], shared.scope, shared.arities, depth)))


_WRITERS = {Level.STRUCTURED: _structured, Level.INSTRUCTIONS: _instructions, Level.ASSEMBLY: _assembly}


def regions_of(code: Code, shared: _Shared) -> Regions:
    """What the registers of a function point to."""
    blocks = split_blocks(code)
    slots = {id: block.end_slots for id, block in blocks.items()}
    return analyse_regions(code, blocks, code.start, slots, shared.arities[code.name], shared.arities)


def frame_depth(regions: Regions) -> int:
    """Bytes of the frame that are used; all 512 where an address was lost."""
    lowest = min([at for at, _ in regions.direct] + [at for at, _, _ in regions.passed] + list(regions.loose), default=0)
    return 512 if regions.unknown else max(0, -lowest)


def _result(code: Code, level: Level, lines: tuple[Line, ...]) -> DecompiledFunction:
    return DecompiledFunction(code.name, code.section, code.start, code.end, code.role, level, lines)


def _with_callees(unit: Unit, names: Sequence[str]) -> list[str]:
    """The functions asked for and all that they call, callees first."""
    wanted: set[str] = set()
    pending = [name for name in names if name in unit.codes]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending += [callee for callee in unit.callees(unit.codes[name]) if callee in unit.codes]
    return [name for name in unit.codes if name in wanted]


def _in_comment(text: str) -> str:
    """Text that neither ends a comment, nor begins a line, nor steers a terminal: names of files may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text.replace("*/", "* /"))


def _title(made: Decompiled) -> list[str]:
    """The comment at the head of the file."""
    out = [f"{made.where}, decompiled by bpflens. Compile: clang -O2 -g -target bpf -c FILE"]
    for function in made.functions:
        out.append(f"{function.name}: {function.level}, {function.insn_count} insns, {function.badge} ({function.reason})")
        out += [f"  not {why}" for why in function.refused]
    return out
