"""Are two filters equal? If not, what only one of them accepts, with the packet that tells them apart.

Each side is any target: an expression (pcap:...), a file, a dump, a live object. Exit code 0: equal, 1: different, 5: not decided.
Two seccomp filters are compared per syscall and action. Two snapshots (x.bpfsnap) are compared object by object: programs, maps with
their contents, attachments.

In Python: bpflens.diff("pcap:tcp", "pcap:ip proto 6").equal
"""

from __future__ import annotations

import argparse

from bpflens.cli.settings import Settings
from bpflens.cli.verbs.explain import _seconds
from bpflens.errors import InputError, PartialResult, UsageError
from bpflens.program import Isa, Program
from bpflens.targets.open import Options, open_target

EXAMPLES = (
    "bpflens diff 'pcap:tcp port 80 or tcp port 443' 'pcap:tcp and (port 80 or 443)'",
    "bpflens diff --unoptimized 'pcap:tcp port 80'",
    "bpflens diff x.bpfsnap x.bpfsnap",
    "echo '0x28 0 0 12, 0x15 0 1 0x800, 0x6 0 0 65535, 0x6 0 0 0' | bpflens diff - pcap:ip",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("a", metavar="A", help="a filter")
    parser.add_argument("b", metavar="B", nargs="?", help="another one")
    parser.add_argument("--unoptimized", action="store_true", help="compare a pcap: expression with its own unoptimized code")
    parser.add_argument("--linktype", metavar="NAME", help="link type of the packets (libpcap's name; default EN10MB)")
    parser.add_argument("--given", metavar="EXPRESSION", action="append", default=[], help="something that holds for every packet")
    parser.add_argument("--values", action="store_true", help="the return values must be equal too, not only what is accepted")
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=_seconds, default=10.0,
        help="budget for describing the difference in steps, 200,000 for each second (default 10): one to two seconds of an idle machine",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare and print; 0 equal, 1 different."""
    from bpflens.formats.snapshot.magic import is_snapshot

    if args.b is not None and is_snapshot(args.a) and is_snapshot(args.b):
        return _snapshots(args.a, args.b, settings)
    if args.b is not None and args.linktype is None:
        args.linktype = _linktype_for_expression(args)
    first = _one(args.a, args, optimize=True)
    if args.b is None:
        if not args.unoptimized:
            raise UsageError("", "two filters are needed", "--unoptimized compares one expression with its own unoptimized code")
        second = _one(args.a, args, optimize=False)
        note: tuple[str, str] | None = ("optimized", "unoptimized")
    else:
        second = _one(args.b, args, optimize=not args.unoptimized)
        note = None
    if args.b is not None and _both_seccomp(first, second):
        from bpflens.cli.verbs import seccomp

        policies = argparse.Namespace(
            target=[args.a, args.b], findings=False, oci=False, syscall=None, diff=True, args="", arch=None, all=False, seccomp=True
        )
        return seccomp.run(policies, settings)
    from bpflens.classic.diff import diff
    from bpflens.records.diff import difference_record
    from bpflens.view.text.explain import difference_text

    result = diff(first, second, given=args.given, linktype=args.linktype, deadline=args.deadline, values=args.values, names=note)
    if settings.json:
        import json

        print(json.dumps(difference_record(result)))
    else:
        print("\n".join(difference_text(result, settings.color)))
    if not result.equal and result.witness is None:
        raise PartialResult(f"{result.names[0]} and {result.names[1]}", f"not decided: {result.reason}")
    return 0 if result.equal else 1


def _snapshots(a: str, b: str, settings: Settings) -> int:
    """What is the same, changed, missing and new in the second."""
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.snapshot.compare import compare

    with Archive(a) as then, Archive(b) as now:
        changes = compare(then, now)
    if settings.json:
        import json

        from bpflens.records.snapshot import change_record

        for change in changes:
            print(json.dumps(change_record(change)))
    else:
        from bpflens.view.text.snapshot import changes_lines

        for line in changes_lines(changes, False, settings.color):
            print(line)
    return 1 if any(change.status != "same" for change in changes) else 0


def _linktype_for_expression(args: argparse.Namespace) -> str | None:
    """The link type for which an expression is compiled beside a filter whose context tells what its packets begin with."""
    filters = [target for target in (args.a, args.b) if not target.startswith("pcap:")]
    return _one(filters[0], args, optimize=True).origin.linktype if len(filters) == 1 and filters[0] != "-" else None


def _one(target: str, args: argparse.Namespace, optimize: bool) -> Program:
    programs = open_target(target, Options(linktype=args.linktype, optimize=optimize))
    if len(programs) != 1:
        names = ", ".join(program.name or program.origin.where for program in programs[:6])
        raise InputError(target, f"names {len(programs)} programs ({names}); name one, as in FILE#NAME")
    return programs[0]


def _both_seccomp(a: Program, b: Program) -> bool:
    from bpflens.classic.seccomp.policy.stack import is_seccomp
    from bpflens.isa.classic.insn import decode

    return all(
        program.isa is Isa.CLASSIC
        and (program.origin.source == "seccomp" or program.origin.linktype == "SECCOMP" or is_seccomp(decode(program.code)))
        for program in (a, b)
    )
