"""Decompile programs to C: an object file, a loaded program, a dump.

The C compiles as it is: "clang -O2 -g -target bpf -c x.c", without includes or other flags. Each function comes out at the highest of
three levels that can say it, and the file says which:
  structured    loops, conditions and expressions
  instructions  one statement per instruction, with gotos
  assembly      the instructions themselves, in one asm statement
With --check the exit code is 5 where a program could not be checked, as one that this kernel does not load: stderr says why.
Of a loaded program the original is recovered first, as "bpflens original" does. "x.o#function" decompiles one function and what it calls.

In Python: bpflens.decompile.decompile.decompile(bpflens.targets.open.open_target("x.o"), "x.o").text()"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, PartialResult, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.decompile.result import Decompiled
    from bpflens.program import Program

EXAMPLES = (
    "bpflens decompile x.o",
    "bpflens decompile x.o#xdp_main",
    "bpflens decompile id:12 -o x.c",
    "bpflens decompile x.o --level instructions --pc",
    "bpflens decompile x.o --style plain",
    "bpflens --json decompile x.o",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="what to decompile")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the C file there")
    parser.add_argument("--function", metavar="NAME", action="append", default=[], help="only this function, and what it calls")
    parser.add_argument(
        "--level", choices=("structured", "instructions", "assembly"), default="structured", help="the highest level to try"
    )
    parser.add_argument(
        "--check", action="store_true",
        help="compile, load and run it beside the original, prove it equal where that goes, and mend what is refused",
    )  # fmt: skip
    parser.add_argument("--inputs", type=int, default=2000, metavar="N", help="of --check: how many inputs to run (default 2000)")
    parser.add_argument(
        "--style", choices=("kernel", "plain"), default="kernel",
        help="kernel: no braces around one statement, \"if (x)\"; plain: braces everywhere, \"if (x != 0)\"",
    )  # fmt: skip
    parser.add_argument("--pc", action="store_true", help="the instructions of each line beside it, as dis numbers them")
    parser.add_argument("-S", "--source", action="store_true", help="source lines beside it, where the program has line information")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Decompile every target."""
    if args.output and len(args.targets) > 1:
        raise UsageError("-o", f"{len(args.targets)} targets do not go into one file", "name one of them")
    from bpflens.decompile.decompile import decompile
    from bpflens.decompile.result import Level

    unchecked: list[str] = []
    for target in args.targets:
        programs, function = _open(target)
        names = [*args.function, *([function] if function else [])]
        made = _checked(programs, target, names, args) if args.check else decompile(programs, target, Level(args.level), names, args.style)
        _check_names(made, names, target)
        _print(made, programs, args, settings)
        if args.check:
            unchecked += _unchecked(made)
    if unchecked:
        raise PartialResult("", f"not checked: {'; '.join(unchecked)}")
    return 0


def _unchecked(made: Decompiled) -> list[str]:
    """What the kernel was not asked, or refused, of programs that --check was to check: "x.o#bad (the kernel does not load ...)"."""
    from bpflens.decompile.result import Badge

    programs = [each for each in made.functions if each.role == "entry"] or made.functions
    return [f"{made.where}#{each.name} ({each.reason})" for each in programs if each.badge in (Badge.COMPILES, Badge.UNCHECKED)]


def _checked(programs: Sequence[Program], target: str, names: Sequence[str], args: argparse.Namespace) -> Decompiled:
    """Decompile with --check."""
    from bpflens.decompile.check import checked
    from bpflens.decompile.unit import make_unit
    from bpflens.execute.subject import Subject, from_program, subjects

    unit = make_unit(programs, target)
    originals: dict[str, Subject] = {}
    for program in programs:
        path = program.origin.where.rpartition("#")[0]
        if program.origin.source == "elf" and path and "@" not in path:
            from bpflens.targets.open import read_input

            originals.update(subjects(read_input(path), path))
        elif program.origin.source != "elf":
            for code in unit.codes.values():
                if code.role == "entry" and program.type is not None and not program.xlated:
                    with contextlib.suppress(InputError):  # without an original there is nothing to compare with, and the badge says so
                        originals[code.original_name] = from_program(program)
    return checked(unit, originals, names, inputs=args.inputs, style=args.style)


def _open(target: str) -> tuple[Sequence[Program], str]:
    """The programs of a target, originals of those that run in this kernel, and the function that "#" names."""
    from bpflens.formats.snapshot.magic import is_snapshot
    from bpflens.program import Isa
    from bpflens.targets.open import open_target

    path, mark, part = target.rpartition("#")
    if mark and not part.startswith((".", "/")) and not is_snapshot(path):  # whose programs are each their own object
        try:
            programs = open_target(path)
        except InputError:
            programs = []
        if any(f.name == part for p in programs for f in p.functions):
            return [_original(p) for p in programs], part
    programs = open_target(target)
    extended = [p for p in programs if p.isa is Isa.EXTENDED]
    if not extended:
        raise InputError(target, "classic code, which has no C", 'see "bpflens explain" and "bpflens dis"')
    return [_original(p) for p in extended], ""


def _original(program: Program) -> Program:
    """The program as it was loaded."""
    if program.origin.source != "kernel" or not program.id:
        return program
    from dataclasses import replace

    from bpflens.errors import BpflensError
    from bpflens.original.recover import recover
    from bpflens.original.to_program import to_program
    from bpflens.original.write_object import section_of

    original = recover(program.id, reload=False)
    made = to_program(original)
    try:
        return replace(made, declared=replace(made.declared, section=section_of(original)))
    except BpflensError:
        return made


def _check_names(made: Decompiled, names: Sequence[str], target: str) -> None:
    known = {f.name for f in made.functions}
    for name in names:
        if name not in known:
            raise InputError(target, f'no function "{name}"', f"there are: {', '.join(sorted(known))}" if known else None)


def _print(made: Decompiled, programs: Sequence[Program], args: argparse.Namespace, settings: Settings) -> None:
    if args.output:
        from bpflens.formats.whole_file import write_whole

        write_whole(args.output, made.text())
    if settings.json:
        import json

        from bpflens.records.decompile import records

        for record in records(made):
            sys.stdout.write(json.dumps(record) + "\n")
        return
    from bpflens.view.text.decompile import summary, text

    if args.output:
        for line in summary(made):
            print(line, file=sys.stderr)
        return
    for piece in text(made, programs, args.pc, args.source, settings.color):
        sys.stdout.write(piece)
