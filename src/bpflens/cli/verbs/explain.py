"""Say what a filter or program does: a classic one in words and as a tcpdump expression with proof, an extended one in sentences.

Of an extended program at most ten lines say when it runs, what it decides and under which conditions. They name what it changes and reads,
and its maps. "may" stands where a condition was left out. --why names the instructions behind each sentence. --check runs the program on
chosen inputs: the conditions of a sentence hold, then each of them is turned alone. The sentence is marked with what was seen. The exit
code is 1 where a run contradicts a sentence. Where this kernel refuses to load the program, a line before the sentences says so.

Of a classic filter the expression is compiled again by libpcap and proved equal to the filter. That holds for all packets, or for those
that are not cut short: libpcap's own optimizer keeps only that for some expressions. What tcpdump's language lacks (ancillary data,
offsets from the network header) is said in words, with terms that begin with @. Lines of a dump (ss, tc, iptables-save ...) are kept and
explained one by one.

In Python: bpflens.explain("pcap:tcp port 80") gives expression, words and proof.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from bpflens.cli.settings import Settings
from bpflens.errors import BpflensError, InputError, PartialResult, UsageError
from bpflens.program import Isa, Program
from bpflens.targets.open import Opened, Options, read_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.classic.explanation import Explanation

EXAMPLES = (
    "bpflens explain 'pcap:udp dst port 68 and ip'",
    "echo '0x28 0 0 12, 0x15 0 1 0x88cc, 0x6 0 0 65535, 0x6 0 0 0' | bpflens explain -",
    "tcpdump -ddd 'tcp port 80 or tcp port 443' | bpflens explain --expression -",
    "echo '4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0' | bpflens explain --linktype RAW --given ip -",
    "ss -0 -b | bpflens explain -",
    "bpflens explain x.o",
    "bpflens explain --check x.o",
    "bpflens explain id:12 --why",
    "bpflens explain x.o#xdp_main --at 4",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="filters to explain")
    parser.add_argument("-e", "--expression", action="store_true", help="print only the expression, one line per filter")
    parser.add_argument(
        "--linktype", metavar="NAME", help="link type of the packets, by libpcap's name (default: what the dump says, EN10MB)"
    )
    parser.add_argument(
        "--given",
        metavar="EXPRESSION",
        action="append",
        default=[],
        help="something that holds for every packet that the filter sees, such as ip; may be repeated",
    )
    parser.add_argument("--services", action="store_true", help="ports by the names of their services, where this machine knows them")
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=_seconds, default=10.0,
        help="budget of the search in steps, 200,000 for each second (default 10): what an idle machine does in about one to two seconds, "
        "a loaded one in more; the answer does not depend on the machine",
    )
    extended = parser.add_argument_group("extended programs")
    extended.add_argument("--all", action="store_true", help="every sentence, not only as many as fit in ten lines")
    extended.add_argument("--function", metavar="NAME", help="only this function, with what it calls; also TARGET#NAME")
    extended.add_argument("--at", metavar="PC", type=int, help="only this instruction: its C, when it runs, what is said of it")
    extended.add_argument("--map", action="store_true", help="first what it is made of: functions, maps (of large programs always)")
    extended.add_argument("--why", action="store_true", help="the instructions that each sentence rests on")
    extended.add_argument("--check", action="store_true", help="run the program and mark each sentence: held, not checked, contradicted")
    parser.add_argument("-O", "--no-optimize", action="store_true", help="compile pcap: expressions without libpcap's optimizer")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of seconds')
    return value


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Explain every filter of every target."""
    options = Options(linktype=args.linktype, optimize=not args.no_optimize)
    failures: list[BpflensError] = []
    wrong: list[str] = []
    printed = False
    for target in args.targets:
        try:
            opened, part = _opened(target, options, args.function)
        except UsageError:
            raise
        except BpflensError as error:
            failures.append(error)
            continue
        if opened.nothing is not None:
            print(f"bpflens: note: {opened.nothing}", file=sys.stderr)
        several = len(args.targets) > 1 or len(opened.programs) > 1
        for line in _explained(opened, args, settings, several, failures, wrong, part):
            print(line, flush=True)
            printed = True
    if failures:
        if not printed and len(failures) == 1:
            raise failures[0]
        message = "; ".join(str(error) for error in failures)
        raise PartialResult("", f"left out: {message}") if printed else InputError("", message)
    for each in wrong:
        print(f"bpflens: a run contradicts what is said of {each} (a fault of bpflens: please report it)", file=sys.stderr)
    return 1 if wrong else 0


def _check_effect(args: argparse.Namespace, programs: Sequence[Program], extended: Sequence[Program]) -> None:
    """An option without effect is an error."""
    if not programs:
        return
    where = programs[0].origin.where
    if not extended:
        for option in ("at", "map", "why", "check"):
            if getattr(args, option) not in (None, False):
                raise UsageError(f"--{option}", f"is for extended programs, and {where} is classic")
    elif len(extended) == len(programs) and args.given:
        raise UsageError("--given", f"is for classic filters, and {where} is an extended program")


def _opened(target: str, options: Options, function: str | None) -> tuple[Opened, str]:
    """The programs, and the function or section of them that is meant ("" for all). Of an object all sections are read, as a program calls
    functions of others.
    """
    from bpflens.formats.snapshot.magic import is_snapshot

    path, mark, part = target.rpartition("#")
    if mark and part and not os.path.exists(target) and not is_snapshot(path):  # whose programs are each their own object
        try:
            whole = read_target(path, options)
        except BpflensError:
            return read_target(target, options), function or ""
        if any(program.isa is Isa.EXTENDED for program in whole.programs):
            named = any(part in (f.name, program.name) for program in whole.programs for f in program.functions)
            named = named or any(part in (program.name, program.declared.section) for program in whole.programs)
            if named or any(program.id is not None for program in whole.programs):
                return whole, function or part
    return read_target(target, options), function or ""


def _explained(
    opened: Opened, args: argparse.Namespace, settings: Settings, several: bool, failures: list[BpflensError], wrong: list[str],
    part: str,
) -> Iterator[str]:
    programs = opened.programs
    extended = [program for program in programs if program.isa is Isa.EXTENDED]
    _check_effect(args, opened.programs, extended)
    if extended:
        from bpflens.cli.extended_words import explain_extended

        yield from explain_extended(extended, args, settings, wrong, part)
        programs = [program for program in programs if program.isa is not Isa.EXTENDED]
    lines = opened.text.splitlines() if opened.text is not None and not settings.json and not args.expression else []
    done = 0
    for program in programs:
        if lines:
            end = (program.origin.lineno or 1) - 1 + len((program.origin.line or "").splitlines())
            yield from lines[done:end]
            done = max(done, end)
        try:
            block = list(_one(program, args, settings))
        except UsageError:
            raise
        except BpflensError as error:
            if len(programs) == 1 and not lines:
                failures.append(error)
                continue
            failures.append(error)
            block = [f"    {error.reason}"] if lines else []
        if lines:
            yield from (f"        {line}" for line in block)
        else:
            if several and not settings.json and not args.expression:
                yield f"{program.origin.where}{': ' + program.name if program.name else ''}"
                block = [f"    {line}" for line in block]
            yield from block
    yield from lines[done:]


def _with_services(result: Explanation) -> Explanation:
    """Ports by name, where libpcap compiles the text to the same instructions."""
    from bpflens.classic.diagrams.diagram import Store
    from bpflens.classic.expression.find import Compiler
    from bpflens.classic.expression.names import with_services
    from bpflens.lean import replace

    compiler, shown = Compiler(Store(), result.linktype), result.expression or ""
    wanted = compiler.program(shown)

    def means_the_same(changed: str) -> bool:
        try:
            return compiler.program(changed) == wanted
        except InputError:
            return False

    return replace(result, expression=with_services(shown, means_the_same))


def _one(program: Program, args: argparse.Namespace, settings: Settings) -> Iterator[str]:
    from bpflens.classic.explain import explain
    from bpflens.classic.explain_policy import is_policy
    from bpflens.classic.refused import why_nothing_runs
    from bpflens.isa.classic.insn import decode

    insns = decode(program.code)
    malformed = None if is_policy(program, insns, args.linktype) else why_nothing_runs(insns)
    if malformed is not None:
        raise InputError(program.origin.where, malformed)
    result = explain(program, given=args.given, linktype=args.linktype, deadline=args.deadline)
    if args.services and result.expression is not None:
        result = _with_services(result)
    if settings.json:
        import json

        from bpflens.records.explain import explanation_record

        yield json.dumps(explanation_record(result))
    elif args.expression:
        if result.expression is None and result.extended is None:
            raise InputError(result.where, f"no expression: {result.proof.reason}")
        yield result.expression if result.expression is not None else str(result.extended)
    else:
        from bpflens.view.text.explain import explanation_text

        yield from explanation_text(result, settings.color)
