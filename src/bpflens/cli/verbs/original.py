"""The program as it was loaded: undo the verifier's rewriting, and prove it.

The kernel shows only what its verifier made of a program. Each reconstruction carries its grade:
  exact       the tag, the kernel's hash over what was loaded, is that of the reconstruction
  equivalent  loaded again with the same maps and types, it becomes the identical image (code was removed when it was loaded)
  unproven    none of these; what is known is said
Proving by reload loads the reconstruction for a moment; nothing is attached and nothing stays.

The exit code is 1 if a program is unproven.

In Python: bpflens.original("id:12") gives grade, reason and code.
"""

from __future__ import annotations

import argparse
import json
import sys

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.original.result import Original
    from bpflens.program import Program

_CLASSIC = "classic code is never rewritten: it is its own original"
EXAMPLES = (
    "bpflens original id:12",
    "bpflens original id:12 --side-by-side",
    "bpflens original id:12 -o x.o",
    "bpflens original id:12 --objects /usr/sbin",
    "bpflens --json original id:12",
    "bpflens original --export-templates kernel.json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="loaded programs, or dumps of xlated code")
    show = parser.add_argument_group("what to print")
    show.add_argument("--dialect", choices=("kernel", "llvm", "raw"), default="kernel", help="of the listing (default: kernel)")
    show.add_argument("-S", "--source", action="store_true", help="source lines, where the program has line information")
    show.add_argument("--side-by-side", action="store_true", help="beside the image, with the name of each rewrite")
    show.add_argument("-o", "--output", metavar="FILE", help="write an ELF object that libbpf and bpftool load")
    work = parser.add_argument_group("how")
    work.add_argument("--no-reload", action="store_true", help="load nothing into the kernel: proof by tag only")
    work.add_argument("--budget", type=int, metavar="STEPS", help="of the search among ambiguous readings (default 32768)")
    work.add_argument("--objects", nargs="+", metavar="PATH", default=[], help="files and directories to look in for the object it is from")
    work.add_argument("--store", metavar="DIR", help="where `bpflens record` keeps originals: asked where the reconstruction is not exact")
    work.add_argument("--type", metavar="NAME", help="program type of a dump that does not tell (sched_cls, xdp ...)")
    work.add_argument("--tag", metavar="HEX", help="tag of a dump that does not tell")
    work.add_argument("--templates", metavar="FILE", help="rewriting rules of another kernel, for dumps from there")
    work.add_argument("--kernel-btf", metavar="FILE", help="without rules: the types of the kernel that the dump is from (its vmlinux BTF)")
    work.add_argument("--export-templates", metavar="FILE", help="write this kernel's rewriting rules")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Recover every program of every target."""
    if args.export_templates:
        from bpflens.original.kernels.exported import export_templates

        count = export_templates(args.export_templates)
        print(f"{args.export_templates}: {count} rules of this kernel", file=sys.stderr)
        if not args.targets:
            return 0
    if not args.targets:
        raise UsageError("", "no TARGET", 'see "bpflens original --help"')
    _check(args)
    unproven = False
    first = True
    for target in args.targets:
        originals = _originals(target, args)
        if args.output and len(originals) * len(args.targets) > 1:
            raise UsageError("-o", f"{len(originals) * len(args.targets)} programs do not go into one file", "name one of them: id:N")
        for original in originals:
            unproven |= str(original.grade) == "unproven"
            _print(original, args, settings, first)
            first = False
    return 1 if unproven else 0


def _check(args: argparse.Namespace) -> None:
    """Options that would silently mean nothing."""
    for option, shown in (("-S", args.source), ("--side-by-side", args.side_by_side)):
        if shown and args.output:
            raise UsageError(option, "has no effect with -o, which prints no listing")
    if args.source and args.side_by_side:
        raise UsageError("-S", "has no effect with --side-by-side, which shows instructions only")
    if args.tag is not None:
        args.tag = args.tag.lower().removeprefix("0x")
        if len(args.tag) != 16 or not set(args.tag) <= set("0123456789abcdef"):
            raise UsageError("--tag", f'"{args.tag}" is no tag', "it has 16 hex digits, as bpftool prog show prints them")
    if args.budget is not None and args.budget < 0:
        raise UsageError("--budget", f"{args.budget} is no number of steps")


def _originals(target: str, args: argparse.Namespace) -> list[Original]:
    from bpflens.original.invert.tag_search import STEPS
    from bpflens.original.recover import recover

    steps = STEPS if args.budget is None else args.budget
    ids = _ids(target, args)
    if ids is not None:
        originals = [recover(id, steps=steps, reload=not args.no_reload) for id in ids]
    else:
        originals = _from_elsewhere(target, args, steps)
    if args.store:
        from bpflens.original.from_record import from_record
        from bpflens.original.store.store import Store

        originals = [from_record(original, Store(args.store)) for original in originals]
    if args.objects:
        from bpflens.original.find_object import look_up

        originals = [look_up(original, args.objects) for original in originals]
    return originals


def _from_elsewhere(target: str, args: argparse.Namespace, steps: int) -> list[Original]:
    """Of a snapshot, whose originals were saved, and of dumps."""
    from bpflens.original.image.image import of_program
    from bpflens.original.kernels.exported import kernel_of
    from bpflens.original.recover import recover
    from bpflens.snapshot.originals import saved_originals

    saved = saved_originals(target)
    if saved is not None:
        return saved
    images = [of_program(program) for program in _open(target, args)]
    return [recover(image, kernel_of(args.templates, args.kernel_btf, image), steps=steps) for image in images]


def _ids(target: str, args: argparse.Namespace) -> list[int] | None:
    """Ids of the programs that a target names, where they run in this kernel."""
    from bpflens.targets.program_ids import program_ids

    ids = program_ids(target)
    if ids is None:
        return None
    if not ids:
        raise InputError(target, _CLASSIC, 'see "bpflens dis"')
    for_dumps = {"--templates": args.templates, "--kernel-btf": args.kernel_btf, "--type": args.type, "--tag": args.tag}
    if option := next((option for option, given in for_dumps.items() if given), None):
        raise UsageError(option, f"{target} runs in this kernel, which is asked itself", "it is for dumps")
    return ids


def _open(target: str, args: argparse.Namespace) -> list[Program]:
    from bpflens.lean import replace
    from bpflens.program import Isa
    from bpflens.targets.open import open_target

    programs = open_target(target)
    for index, program in enumerate(programs):
        if program.isa is not Isa.EXTENDED:
            raise InputError(target, _CLASSIC, 'see "bpflens dis"')
        if program.origin.source == "elf" or not (program.xlated or args.type or args.tag):
            hint = 'for bytes dumped by "bpftool prog dump xlated id N file F" give --type and --tag'
            raise InputError(target, "this is no image of a loaded program: it is its own original", hint)
        wanted = _type(args.type) if args.type else program.type
        programs[index] = replace(program, xlated=True, type=wanted, tag=args.tag or program.tag)
    return programs


def _type(name: str) -> int:
    from bpflens.isa.extended.names import PROG_TYPES

    for number, known in PROG_TYPES.items():
        if known == name:
            return number
    raise UsageError("--type", f'no program type "{name}"', f"there are: {', '.join(PROG_TYPES.values())}")


def _print(original: Original, args: argparse.Namespace, settings: Settings, first: bool) -> None:
    from bpflens.view.text import original as view

    write = sys.stdout.write
    if args.output:
        from bpflens.original.write_object import write_original

        write_original(original, args.output)
        if original.layout is not None and original.code != original.layout.code():
            print(f"{args.output}: refers to maps by name, not by index as the original does, so that its tag differs", file=sys.stderr)
    if settings.json:
        from bpflens.records.original import record

        write(json.dumps(record(original), ensure_ascii=False) + "\n")
        return
    from bpflens.original.to_program import call_names, notes_of, to_program

    program = to_program(original)
    if not first:
        write("\n")
    if args.output:
        write("\n".join([*view.heading_lines(original, program), f"; written to {args.output}"]) + "\n")
        return
    pieces = (
        view.side_by_side(original, program, call_names(original.image), settings.color)
        if args.side_by_side
        else view.text(original, program, args.dialect, settings.color, args.source, notes_of(original, program))
    )
    for piece in pieces:
        write(piece)
