"""Disassemble programs: a file, a dump, an object of the running kernel, an expression.

Extended code prints as the verifier and bpftool print it (--dialect kernel), or as llvm-objdump does (--dialect llvm). Classic code
prints as `tcpdump -d` does, or in the syntax of bpf_asm (--dialect kernel). Comments say what a slot refers to: map, variable, string,
function, relocation, source line. "bpflens asm" reads every listing back to the same bytes.

In Python: bpflens.dis("x.o#xdp"), or of a Program.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence

from bpflens.cli.settings import Settings
from bpflens.errors import BpflensError, InputError, NothingThere, NotPermitted, NotSupported, PartialResult, UsageError
from bpflens.lean import NamedTuple
from bpflens.program import Isa, Program
from bpflens.targets.open import Options, open_target

EXAMPLES = (
    "bpflens dis 'pcap:tcp port 80'",
    "tcpdump -ddd 'udp' | bpflens dis -",
    "bpflens dis id:12 --jited",
    "bpflens dis id:12 --annotate",
    "bpflens dis -S -l x.o",
    "bpflens dis x.o#xdp --function xdp_main --dialect llvm --opcodes",
    "bpflens --json dis x.o",
)

ARROWS_UP_TO_INSNS = 1 << 14
"""Listings up to this length have arrows unless told otherwise: longer ones are for programs and for searching."""

_EXTENDED = ("kernel", "llvm", "raw")
_CLASSIC = ("tcpdump", "kernel", "raw", "ss", "dd", "ddd", "xt_bpf")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="what to disassemble")
    text = parser.add_argument_group("text")
    text.add_argument(
        "--dialect", metavar="NAME", choices=tuple(dict.fromkeys((*_EXTENDED, *_CLASSIC))),
        help="extended: kernel (default), llvm, raw (C initialisers); "
        "classic: tcpdump (default), kernel (bpf_asm), raw or ss, dd, ddd, xt_bpf",
    )  # fmt: skip
    text.add_argument("--opcodes", "--raw-insn", "--show-raw-insn", dest="raw_insn", action="store_true", help="show the bytes too")
    text.add_argument("-S", "--source", action="store_true", help="source lines, where the program has line information")
    text.add_argument("-l", "--line-numbers", action="store_true", help="file, line and column of each source line")
    text.add_argument("--prototypes", action="store_true", help="C prototypes of the helpers and kfuncs that are called")
    text.add_argument(
        "-A", "--annotate", action="store_true",
        help="context fields and kernel structures by name, helpers that the verifier inlined, checks that it added",
    )  # fmt: skip
    text.add_argument("--no-notes", action="store_true", help="nothing beside the instructions")
    text.add_argument("--no-labels", action="store_true", help="no labels at jump targets")
    text.add_argument(
        "--arrows", action=argparse.BooleanOptionalAction, default=None,
        help=f"draw jumps in the margin (default: listings of up to {ARROWS_UP_TO_INSNS} insns)",
    )  # fmt: skip
    text.add_argument("--jited", action="store_true", help="the machine code of a loaded program, with the instructions it comes from")
    choice = parser.add_argument_group("which instructions")
    choice.add_argument("--function", metavar="NAME", help="only this function")
    choice.add_argument("--section", metavar="NAME", help="only programs of this section")
    choice.add_argument("--start", type=_slot, default=0, metavar="N", help="from this slot (8 bytes each, from 0)")
    choice.add_argument("--stop", type=_slot, default=None, metavar="N", help="up to before this slot")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--linktype", metavar="NAME", help="link type of pcap: expressions and of classic filters (default EN10MB)")
    reading.add_argument("--isa", choices=("classic", "extended"), help="what raw code is, where it could be either")
    reading.add_argument("--unoptimized", action="store_true", help="do not let libpcap optimize a pcap: expression")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print every program of every target."""
    options = Options(linktype=args.linktype, jited=args.jited, optimize=not args.unoptimized, isa=args.isa)
    programs: list[Program] = []
    failures: list[BpflensError] = []
    for target in args.targets:
        try:
            programs += open_target(target, options)
        except UsageError:
            raise
        except NothingThere as nothing:
            print(f"bpflens: note: {nothing}", file=sys.stderr)
        except BpflensError as error:
            failures.append(error)
    if not failures and not programs:
        return 0
    if failures and not programs:
        raise failures[0] if len(failures) == 1 else _together(failures, InputError)
    chosen = _choose(programs, args)
    _check_dialect(args.dialect, chosen)
    _check_effect(args, chosen)
    if args.jited:
        chosen = _with_machine_code(chosen, failures)
    if settings.json:
        _print_json(chosen, args)
    else:
        _print_text(chosen, args, settings)
    if args.source or args.line_numbers:
        _say_without_lines(chosen)
    if failures:
        raise _together(failures, PartialResult)
    return 0


def _check_effect(args: argparse.Namespace, chosen: list[Part]) -> None:
    """An option without effect is an error: --jited shows whole programs, and classic code has no prototypes."""
    if args.jited:
        for option in ("function", "section", "start", "stop", "dialect", "raw_insn", "prototypes", "annotate"):
            if getattr(args, option):
                name = "--opcodes" if option == "raw_insn" else f"--{option}"
                raise UsageError(name, "has no effect with --jited, which shows the whole machine code")
    if chosen and all(part.program.isa is Isa.CLASSIC for part in chosen):
        for option in ("prototypes", "annotate"):
            if getattr(args, option):
                raise UsageError(f"--{option}", f"is for extended programs, and {chosen[0].program.origin.where} is classic")


def _say_without_lines(chosen: list[Part]) -> None:
    """-S and -l showed nothing where nobody recorded lines: it is said, with what would record them."""
    if any(part.program.isa is Isa.EXTENDED and part.program.lines for part in chosen):
        return
    for part in chosen[:1]:
        if part.program.isa is Isa.CLASSIC:
            why = "classic code has no source lines"
        elif part.program.origin.source == "elf":
            why = "no source lines: neither .BTF.ext nor .debug_line has any (compile with -g)"
        else:
            why = "no source lines came with this program"
        print(f"bpflens: note: {part.program.origin.where}: {why}", file=sys.stderr)


class Part(NamedTuple):
    """What is printed of a program: the slots from `start` to before `stop`, in the dialect that fits it."""

    program: Program
    start: int
    stop: int | None
    dialect: str

    @property
    def commented(self) -> bool:
        """May lines that are not instructions be added?"""
        return self.dialect in ("kernel", "llvm", "tcpdump")


def _further_notes(part: Part, args: argparse.Namespace) -> Mapping[int, Sequence[str]]:
    """Notes that take an analysis of the whole program."""
    if not args.annotate or part.program.isa is Isa.CLASSIC:
        return {}
    from bpflens.analysis.argument_strings import argument_strings
    from bpflens.original.image.image_notes import image_notes

    notes: dict[int, list[str]] = {slot: list(said) for slot, said in image_notes(part.program).items()}
    for slot, said in argument_strings(part.program).items():
        notes.setdefault(slot, []).extend(said)
    return notes


def _slot(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no slot: a number from 0")
    return value


def _together(failures: Sequence[BpflensError], kind: type[BpflensError]) -> BpflensError:
    hint = next((failure.hint for failure in failures if failure.hint), None)
    error = kind("", "; ".join(str(failure) for failure in failures), hint)
    if kind is InputError:
        error.exit_code = max(failure.exit_code for failure in failures)
    return error


def _choose(programs: list[Program], args: argparse.Namespace) -> list[Part]:
    """Everything that is to be printed."""
    chosen: list[Part] = []
    for program in programs:
        if args.section is not None and program.section != args.section:
            continue
        if args.function is None:
            chosen.append(Part(program, args.start, args.stop, _dialect(program, args.dialect)))
            continue
        starts = sorted(function.start for function in program.functions)
        ranges = [
            (function.start, min((start for start in starts if start > function.start), default=program.insn_count))
            for function in program.functions
            if function.name == args.function
        ]
        if not ranges and program.name == args.function:
            ranges = [(0, program.insn_count)]
        for start, end in ranges:
            stop = end if args.stop is None else min(end, start + args.stop)
            chosen.append(Part(program, start + args.start, stop, _dialect(program, args.dialect)))
    if not chosen:
        if args.function is not None:
            names = sorted({f.name for p in programs for f in p.functions} | {p.name for p in programs if p.name})
            raise InputError("--function", f"no function {args.function!r}", _there_are("functions", names))
        names = sorted({p.section for p in programs if p.section})
        raise InputError("--section", f"no section {args.section!r}", _there_are("sections", names))
    return chosen


def _with_machine_code(chosen: list[Part], failures: list[BpflensError]) -> list[Part]:
    """Those that have machine code; the others are failures, or the error where none has any."""
    without: list[BpflensError] = [_no_machine_code(part.program) for part in chosen if not part.program.jited]
    if len(without) == len(chosen):
        raise without[0] if len(without) == 1 else _together([*failures, *without], InputError)
    failures += without
    return [part for part in chosen if part.program.jited]


def _no_machine_code(program: Program) -> BpflensError:
    where = program.origin.where
    kept_back = program.loaded.notes if program.loaded else ()
    said = next((note for note in kept_back if "machine code" in note), None)
    if said is not None:  # the kernel's reason
        return NotPermitted(where, said) if "CAP_" in said else NotSupported(where, said)
    return InputError(where, "has no machine code", "only a program that is loaded has some: bpflens dis --jited id:N")


def _there_are(what: str, names: list[str]) -> str | None:
    if not names:
        return f"the input has no {what}"
    return f"{what}: {', '.join(names[:20])}" + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _check_dialect(dialect: str | None, chosen: list[Part]) -> None:
    if dialect is None:
        return
    kinds = {part.program.isa for part in chosen}
    if not any(dialect in (_CLASSIC if isa is Isa.CLASSIC else _EXTENDED) for isa in kinds):
        isa = "classic" if Isa.CLASSIC in kinds else "extended"
        known = ", ".join(_CLASSIC if Isa.CLASSIC in kinds else _EXTENDED)
        raise UsageError("--dialect", f"{dialect} is no dialect of {isa} code", f"there are: {known}")


def _dialect(program: Program, dialect: str | None) -> str:
    known = _CLASSIC if program.isa is Isa.CLASSIC else _EXTENDED
    return dialect if dialect is not None and dialect in known else known[0]


def _print_text(chosen: list[Part], args: argparse.Namespace, settings: Settings) -> None:
    from bpflens.view.listing.heading import heading

    total = sum(part.program.insn_count for part in chosen)
    arrows = args.arrows if args.arrows is not None else total <= ARROWS_UP_TO_INSNS
    write = sys.stdout.write
    for number, part in enumerate(chosen):
        if part.commented:
            title = f"; {heading(part.program)}"
            write(f"{chr(10) if number else ''}{f'{chr(27)}[1m{title}{chr(27)}[0m' if settings.color else title}\n")
        for piece in _pieces(part, arrows, args, settings):
            write(piece)


def _pieces(part: Part, arrows: bool, args: argparse.Namespace, settings: Settings) -> Iterator[str]:
    program = part.program
    if args.jited:
        from bpflens.view.listing.jited import jited_listing

        return jited_listing(program, source=args.source, color=settings.color)
    if program.isa is Isa.CLASSIC:
        from bpflens.view.listing.classic import classic_listing

        return classic_listing(program, part.dialect, args.raw_insn, not args.no_notes, settings.color, part.start, part.stop)
    from bpflens.view.listing.extended import ListingOptions, listing

    options = ListingOptions(
        dialect=part.dialect,
        raw_insn=args.raw_insn,
        labels=not args.no_labels and part.commented,
        arrows=arrows and part.commented and not args.no_labels,
        source=args.source and part.commented,
        line_numbers=args.line_numbers and part.commented,
        notes=not args.no_notes and part.commented,
        prototypes=args.prototypes,
        start=part.start,
        stop=part.stop,
        color=settings.color,
    )
    return listing(program, options, _further_notes(part, args), _kfuncs(part, args))


def _kfuncs(part: Part, args: argparse.Namespace) -> Mapping[int, str]:
    """The prototypes of the kfuncs that are called, where they are asked for."""
    if not args.prototypes:
        return {}
    from bpflens.analysis.kfunc_prototypes import kfunc_prototypes

    return kfunc_prototypes(part.program)


def _print_json(chosen: list[Part], args: argparse.Namespace) -> None:
    import json

    from bpflens.analysis.kfunc_prototypes import kfunc_prototypes
    from bpflens.records.dis import records

    for part in chosen:
        source = args.source or args.line_numbers
        further, kfuncs = _further_notes(part, args), kfunc_prototypes(part.program)
        for record in records(part.program, part.start, part.stop, part.dialect, source, further, kfuncs):
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
