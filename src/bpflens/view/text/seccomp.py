"""A seccomp policy as text: tables, findings, differences, answers for one syscall."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from bpflens.classic.seccomp.difference import Change, PolicyDiff
from bpflens.classic.seccomp.events import Verdict
from bpflens.classic.seccomp.findings import Finding, explain_rule
from bpflens.classic.seccomp.grouped import MANY, Condition, conditions
from bpflens.classic.seccomp.policy.actions import action_text, precedence
from bpflens.classic.seccomp.policy.policy import Policy, other_text
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule
from bpflens.formats.dumps.seccomp.audit_events import AuditEvent
from bpflens.isa.classic.syscalls import Arch

__all__ = ("diff_text", "event_text", "findings_text", "policy_text", "syscall_text")

_WIDTH = 120


def policy_text(policy: Policy, everything: bool = False) -> Iterator[str]:
    """The table per action of each architecture; `everything` shows the numbers without a name too."""
    count = len(policy.insn_counts)
    insns = " + ".join(str(n) for n in policy.insn_counts)
    yield f"{count} filter{'s' if count != 1 else ''}, {insns} instructions{', oldest first' if count > 1 else ''}"
    if not policy.checks_arch:
        yield "the architecture is not looked at: the same for every architecture, by number"
    for own in policy.arches:
        yield ""
        yield from _arch_text(own, everything, "" if policy.checks_arch else " (by its numbers)")
    if policy.checks_arch:
        yield ""
        yield f"every other architecture: {other_text(policy)}"
    if policy.unconfirmed is not None:
        yield ""
        yield f"this is only what the decision diagrams say: {policy.unconfirmed}"


def _arch_text(own: ArchPolicy, everything: bool, remark: str) -> Iterator[str]:
    by_action: dict[int, list[str]] = {}
    lines: dict[int, list[str]] = {}
    for rule in own.known:
        if not rule.arms:
            by_action.setdefault(rule.otherwise, []).append(str(rule.name))
    shared: set[int] = set()
    for group in conditions(own):
        lines.setdefault(group.action, []).append(_condition_text(group))
        if group.everything:
            shared |= {rule.node for rule in own.known if rule.name == group.names[0]}
    for rule in own.unknown:
        if rule.node in shared and not everything:
            continue
        if everything or rule.actions != {own.default}:
            span = f"number {rule.first}" if rule.first == rule.last else f"numbers {rule.first} to {rule.last}"
            for line, action in zip(explain_rule(rule, own.arch), [*(arm.action for arm in rule.arms), rule.otherwise], strict=True):
                condition = line.partition(" where ")[2]
                lines.setdefault(action, []).append(f"{span} (no name){' where ' + condition if condition else ''}")
    suffix = " (numbers with bit 30 of x86_64)" if own.arch.name == "x32" else remark
    yield f"{own.arch.name}{suffix}"
    if not lines and set(by_action) == {own.default}:
        yield f"  {action_text(own.default)}: everything"
        return
    for action in sorted({*by_action, *lines, own.default}, key=lambda action: (action == own.default, -precedence(action))):
        names = by_action.get(action, [])
        default = action == own.default
        count = f"{len(names)} syscall{'s' if len(names) != 1 else ''} always" if names else ""
        what = ", ".join(filter(None, ("everything else" if default else "", count)))
        yield f"  {action_text(action)}:{what and f' {what}'}"
        if names and (not default or everything or len(names) <= 100):
            yield from textwrap.wrap(" ".join(names), _WIDTH, initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False)
        for line in lines.get(action, []):
            yield f"      {line}"
    if own.partial:
        yield f"  numbers without a name are left out: {own.partial}"


def _condition_text(condition: Condition) -> str:
    """One line; the names of many calls before their condition."""
    if condition.everything or len(condition.names) < MANY:
        return condition.text
    return f"{' '.join(condition.names)}: {f'where {condition.where}' if condition.where else 'otherwise'}"


def findings_text(found: Sequence[Finding]) -> Iterator[str]:
    """One paragraph for each finding."""
    if not found:
        yield "no findings"
    for finding in found:
        where = f" [{finding.arch}]" if finding.arch else ""
        names = f": {' '.join(finding.syscalls)}" if finding.syscalls else ""
        yield from textwrap.wrap(
            f"{finding.severity:6}  {finding.id}{where}{names}", _WIDTH, subsequent_indent="            ", break_on_hyphens=False
        )
        yield from textwrap.wrap(finding.text, _WIDTH, initial_indent="          ", subsequent_indent="          ", break_on_hyphens=False)


def syscall_text(rule: Rule, arch: Arch, args: Sequence[int | None]) -> Iterator[str]:
    """What happens to one syscall."""
    number = rule.first & 0xFFFFFFFF
    given = ", ".join("?" if value is None else hex(value) if value > 9 else str(value) for value in args)
    yield f"{arch.name} {rule.name or 'without a name'} ({number}){f' with ({given})' if args else ''}"
    for line in explain_rule(rule, arch):
        yield f"  {line}"


def event_text(event: AuditEvent, verdict: Verdict, filters: int) -> Iterator[str]:
    """An audit line, the rule for its system call and the instructions that returned what was logged."""
    task = " ".join(filter(None, (event.comm, f"(pid {event.pid})" if event.pid else "")))
    logged = "" if event.code is None else f", logged as {action_text(event.code).partition('(')[0]}"
    call = f"{event.arch.name} {verdict.rule.name or 'without a name'} ({event.number & 0xFFFFFFFF})"
    yield f"{f'{task}: ' if task else ''}{call}{logged}"
    for line in explain_rule(verdict.rule, event.arch):
        yield f"  {line}"
    if verdict.agrees is False:
        yield "  this policy never does that to this system call: another filter of the task did, or another version of this one"
    for decision in verdict.decisions:
        which = f"filter {decision.filter}, " if filters > 1 else ""
        yield f"  by {which}instruction {decision.pc}: ret {action_text(decision.action)}"


def diff_text(difference: PolicyDiff, before: str, after: str) -> Iterator[str]:
    """The changed syscalls; those that change in the same way together."""
    if difference.equal:
        if difference.unconfirmed is not None:
            yield f"equal by their decision diagrams only: {difference.unconfirmed}"
            return
        yield "equal: proved for every system call of every architecture"
        return
    groups: dict[tuple[str, int, int], list[Change]] = {}
    for change in difference.changes:
        groups.setdefault((change.arch.name, change.before.node, change.after.node), []).append(change)
    arch = ""
    for (name, _, _), changes in groups.items():
        if name != arch:
            arch = name
            yield f"{name}:"
        first = changes[0]
        yield from textwrap.wrap(" ".join(_span(change) for change in changes), _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for label, rule in ((before, first.before), (after, first.after)):
            for line in explain_rule(rule, first.arch):
                yield f"      {label}: {line}"
        witness = first.witness
        if witness is not None:
            call = f"{first.before.name or witness.number}({', '.join(hex(a) if a > 9 else str(a) for a in witness.args)})"
            state = "run" if witness.confirmed else "not confirmed by running"
            yield f"      e.g. {call}: {action_text(witness.before)} / {action_text(witness.after)} ({state})"
    if difference.other:
        yield "architectures that have no name here differ too"
    if not difference.changes and difference.witness is not None:
        shown = difference.witness
        where = f"architecture {shown.audit_arch:#x}, number {shown.number}"
        yield f"different: {where}: {action_text(shown.before)} / {action_text(shown.after)}"


def _span(change: Change) -> str:
    rule = change.before
    if rule.name:
        return rule.name
    span = f"number {rule.first}" if rule.first == rule.last else f"numbers {rule.first}-{rule.last}"
    return f"{span} (no name{f', and {change.more} more ranges' if change.more else ''})"
