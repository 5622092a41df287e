"""What a seccomp filter allows: the policy as a table, exactly, for every system call.

TARGET is any source of classic code: a dump, raw bytes, or a live process (pid:N). Several filters, or several TARGETs,
are the stack of one task, oldest first. They are combined as the kernel does: the most restrictive action wins.

The table has the action of every syscall, for each architecture that the filter tells apart. Conditions name arguments, flags and
constants.

  --findings   what weakens the policy (no architecture check, x32, syscalls that undo it); exit code 1 where there is something
  --syscall    what happens to one syscall: --syscall openat --args -100,?,O_RDONLY
  --event      the rule and the instruction behind a line of the audit log (type=SECCOMP, type=1326): the line itself, a file, or -
  --oci        the policy as an OCI (Docker) seccomp profile; what a profile cannot say is named on stderr, and the exit code is 5
  --diff A B   the syscalls that two policies treat differently; exit code 0 where there is none, which is a proof, else 1

In Python: bpflens.seccomp("pid:812") gives the policy.
"""

from __future__ import annotations

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, PartialResult, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bpflens.classic.seccomp.policy.policy import Policy
    from bpflens.classic.seccomp.policy.rules import Rule
    from bpflens.isa.classic.insn import SockFilter
    from bpflens.isa.classic.syscalls import Arch
    from bpflens.program import Program

__all__ = ("EXAMPLES", "configure", "run")

EXAMPLES = (
    "bpflens seccomp filter.bpf",
    "bpflens seccomp --findings filter.bpf",
    "bpflens seccomp filter.bpf --syscall clone --args CLONE_NEWUSER",
    'bpflens seccomp filter.bpf --event "type=SECCOMP sig=31 arch=c000003e syscall=59 code=0x50000"',
    "bpflens seccomp --diff filter.bpf other.bpf",
    "bpflens --json seccomp --oci filter.bpf",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("target", metavar="TARGET", nargs="+", help="filters")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--findings", "--audit", action="store_true", help="what weakens the policy")
    what.add_argument("--oci", action="store_true", help="as an OCI seccomp profile (JSON)")
    what.add_argument("--syscall", metavar="NAME", action="append", help="what happens to this syscall (name or number)")
    what.add_argument("--event", metavar="LINE", action="append", help="an audit line, or a file with some: which rule decided")
    what.add_argument("--diff", action="store_true", help="compare two targets")
    parser.add_argument("--args", metavar="A,B,...", default="", help='with --syscall: arguments: numbers, constants, "?" for any')
    parser.add_argument("--arch", metavar="NAME", action="append", help="architecture to show, however the filter treats it")
    parser.add_argument("--all", action="store_true", help="names of the default action and numbers without a name too")
    parser.add_argument("--seccomp", action="store_true", help="take the code for a seccomp filter though it does not look like one")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read the stack, build its policy, say what was asked for."""
    from bpflens.classic.diagrams.nodes import TooComplex

    try:
        return _diff(args, settings) if args.diff else _policy(args, settings)
    except TooComplex as error:
        raise InputError(" ".join(args.target), f"the policy is too complex: {error}") from None


def _policy(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.classic.seccomp.policy.policy import policy
    from bpflens.isa.classic.syscalls import find_arch, host_arch
    from bpflens.records import seccomp as records
    from bpflens.view.text import seccomp as view

    stack, programs = _stack(args.target, args.seccomp)
    where = " ".join(args.target)
    asked = [find_arch(name) for name in args.arch or ()]
    machine = next((program.arch for program in programs if program.arch), None)
    host = asked[0] if asked else find_arch(machine) if machine else host_arch()
    result = policy(stack, asked)
    if not result.arches:
        result = policy(stack, [host])
    if args.findings:
        return _findings(result, host, where, settings)
    if args.oci:
        return _oci(result, asked, host, where)
    if args.syscall:
        own = asked or [a.arch for a in result.arches if a.arch == host] or [result.arches[0].arch]
        for name in args.syscall:
            for arch in own:
                _syscall(result, arch, name, args.args, where, settings)
        return 0
    if args.event:
        return _events(result, args.event, where, settings)
    if settings.json:
        _print_json(records.policy_records(result, where))
    else:
        for line in view.policy_text(result, args.all):
            print(line)
    return 0


def _print_json(records: Iterable[dict[str, Any]]) -> None:
    import json

    for record in records:
        print(json.dumps(record))


def _stack(targets: Sequence[str], forced: bool) -> tuple[list[tuple[SockFilter, ...]], list[Program]]:
    """The filters that the targets name, oldest first; InputError for what is no valid seccomp filter."""
    from bpflens.classic.seccomp.policy.stack import is_seccomp
    from bpflens.cli.filters import classic_programs
    from bpflens.isa.classic.check import check
    from bpflens.isa.classic.insn import decode

    stack, programs = [], []
    for target in targets:
        for program in _of_process(target) if target.startswith("pid:") else classic_programs(target):
            insns = decode(program.code)
            refusals = check(insns, "seccomp")
            if refusals:
                raise InputError(program.origin.where, f"is not a valid seccomp filter: {refusals[0]}")
            if not (forced or program.origin.source == "seccomp" or program.origin.linktype == "SECCOMP" or is_seccomp(insns)):
                hint = "--seccomp takes it for one all the same"
                raise InputError(program.origin.where, "does not look like a seccomp filter (its return values are no actions)", hint)
            stack.append(insns)
            programs.append(program)
    return stack, programs


def _of_process(target: str) -> list[Program]:
    """The seccomp filters of pid:N. Where they cannot be read, the status of its threads may still say that there is none."""
    import os

    from bpflens.cli.filters import classic_programs
    from bpflens.errors import KernelError
    from bpflens.kernel.seccomp import has_no_filter

    refused = None
    try:
        found = [program for program in classic_programs(target) if "seccomp" in (program.origin.source, _linktype(program))]
    except KernelError as error:
        found, refused = [], error
    name = target.removeprefix("pid:")
    from bpflens.targets.numbers import as_number

    pid = os.getpid() if name == "self" else as_number(name) or 0
    if not found and pid and has_no_filter(pid):
        raise InputError(target, "no seccomp filter hangs on it", f"/proc/{pid}/task/*/status says so of each thread")
    if refused is not None:
        raise refused
    if not found:
        raise InputError(target, "has no seccomp filter")
    return found


def _linktype(program: Program) -> str:
    return (program.origin.linktype or "").lower()


def _findings(result: Policy, host: Arch, where: str, settings: Settings) -> int:
    from bpflens.classic.seccomp.findings import findings
    from bpflens.records import seccomp as records
    from bpflens.view.text import seccomp as view

    found = findings(result, host)
    if settings.json:
        _print_json(records.finding_record(finding, where) for finding in found)
    else:
        for line in view.findings_text(found):
            print(line)
    return 1 if found else 0


def _oci(result: Policy, asked: list[Arch], host: Arch, where: str) -> int:
    import json

    from bpflens.classic.seccomp.oci import profile

    arches = asked or [own.arch for own in result.arches if own.arch.scmp]
    arches.sort(key=lambda arch: arch != host)
    document, problems = profile(result, arches)
    print(json.dumps(document, indent=2))
    if problems:
        shown = "; ".join(problems[:20]) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise PartialResult(where, f"the profile does not say everything: {shown}")
    return 0


def _syscall(result: Policy, arch: Arch, name: str, text: str, where: str, settings: Settings) -> None:
    from bpflens.isa.classic.syscalls import syscall_name, syscall_number
    from bpflens.records import seccomp as records
    from bpflens.view.text import seccomp as view

    number = syscall_number(arch.name, name)
    values = _arguments(text, arch, syscall_name(arch.name, number))
    rule = _rule(result, arch, number, values)
    if settings.json:
        _print_json([records.syscall_record(rule, arch, values, where)])
    else:
        for line in view.syscall_text(rule, arch, values):
            print(line)


def _events(result: Policy, sources: Sequence[str], where: str, settings: Settings) -> int:
    """What the policy did to the calls of audit lines; 1 where one of them was decided elsewhere."""
    from bpflens.classic.seccomp.events import judge
    from bpflens.formats.dumps.seccomp.audit_events import read_events
    from bpflens.records import seccomp as records
    from bpflens.targets.open import read_input
    from bpflens.view.text import seccomp as view

    agree = True
    for source in sources:
        text, name = (source, "--event") if "syscall=" in source else (read_input(source).decode("utf-8", "replace"), source)
        for event in read_events(text, name):
            verdict = judge(result, event.arch, event.number, event.code)
            agree = agree and verdict.agrees is not False
            if settings.json:
                _print_json([records.event_record(event, verdict, where)])
            else:
                for line in view.event_text(event, verdict, len(result.stack)):
                    print(line)
    return 0 if agree else 1


def _rule(result: Policy, arch: Arch, number: int, values: Sequence[int | None]) -> Rule:
    """What remains of the policy for one number and the given arguments."""
    from bpflens.classic.seccomp.policy.restrict import for_arch, for_number
    from bpflens.classic.seccomp.policy.rules import describe_rule
    from bpflens.classic.seccomp.policy.stack import ARGS_OFFSET
    from bpflens.classic.seccomp.policy.values import DATA, Place
    from bpflens.isa.classic.syscalls import syscall_name

    store = result.store
    node = for_number(store, for_arch(store, result.node, arch), number)
    for index, value in enumerate(values):
        if value is None:
            continue
        place = Place.of(ARGS_OFFSET + 8 * index, arch.big_endian)
        for offset, word in ((place.low, value & 0xFFFFFFFF), (place.high, value >> 32)):
            for i, byte in enumerate(word.to_bytes(4, "big")):
                node = store.restrict(node, store.variable(DATA, offset + i), byte)
    return describe_rule(store, arch, number, number, syscall_name(arch.name, number), node)


def _arguments(text: str, arch: Arch, syscall: str | None) -> list[int | None]:
    """The values of --args; UsageError where one is no number and no constant of its argument."""
    from bpflens.classic.seccomp.conditions import argument_name
    from bpflens.classic.seccomp.constants import values_of

    values: list[int | None] = []
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if len(words) > 6:
        raise UsageError("--args", f"{len(words)} arguments; a syscall has at most 6")
    for index, word in enumerate(words):
        if word in ("?", ""):
            values.append(None)
            continue
        value = values_of(syscall or "", argument_name(arch, syscall, index), word, arch.name)
        if value is None or not -(1 << 63) <= value < 1 << 64:
            raise UsageError("--args", f'"{word}" is neither a 64-bit number nor a constant of argument {index} of {syscall}')
        values.append(value & (1 << 64) - 1)
    return values


def _diff(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.classic.seccomp.difference import diff_policies
    from bpflens.records import seccomp as records
    from bpflens.view.text import seccomp as view

    if len(args.target) != 2:
        raise UsageError("--diff", f"compares two targets, and there are {len(args.target)}")
    before, after = args.target
    difference = diff_policies(_stack([before], args.seccomp)[0], _stack([after], args.seccomp)[0])
    if settings.json:
        _print_json([records.difference_record(difference, before, after)])
    else:
        for line in view.diff_text(difference, before, after):
            print(line)
    if difference.equal and difference.unconfirmed is not None:
        raise PartialResult(f"{before} and {after}", f"equal by their decision diagrams only: {difference.unconfirmed}")
    return 0 if difference.equal else 1


