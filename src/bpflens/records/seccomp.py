"""The records of `bpflens --json seccomp`: a line for each architecture of a policy, for each finding, for one syscall, for a difference.

    {"schema": "seccomp/1", "program": "pid:812", "arch": "x86_64", "default": "kill the process", "rules": [{"syscall": "read", ...}], ...}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.classic.seccomp.conditions import arm_text, looked_at
from bpflens.classic.seccomp.findings import explain_rule
from bpflens.classic.seccomp.policy.actions import action_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.seccomp.difference import Change, PolicyDiff
    from bpflens.classic.seccomp.events import Verdict
    from bpflens.classic.seccomp.findings import Finding
    from bpflens.classic.seccomp.policy.policy import Policy
    from bpflens.classic.seccomp.policy.rules import Rule
    from bpflens.formats.dumps.seccomp.audit_events import AuditEvent
    from bpflens.isa.classic.syscalls import Arch
    from bpflens.records.schemas import Schema

__all__ = ("change_record", "difference_record", "event_record", "finding_record", "policy_records", "schemas", "syscall_record")


def policy_records(policy: Policy, where: str) -> Iterator[dict[str, Any]]:
    """A seccomp/1 line for each architecture, and one for all others."""
    for own in policy.arches:
        yield {
            "schema": "seccomp/1",
            "program": where,
            "filters": list(policy.insn_counts),
            "checks_arch": policy.checks_arch,
            "arch": own.arch.name,
            "audit_arch": own.arch.audit,
            "default": action_text(own.default),
            "default_value": own.default,
            "rules": [_rule_record(rule, own.arch) for rule in (*own.known, *own.unknown)],
            "partial": own.partial,
            "unconfirmed": policy.unconfirmed,
        }
    if policy.checks_arch or not policy.arches:
        yield {
            "schema": "seccomp/1",
            "program": where,
            "filters": list(policy.insn_counts),
            "checks_arch": policy.checks_arch,
            "arch": None,
            "default": None if policy.other is None else action_text(policy.other),
            "default_value": policy.other,
            "possible": [{"action": action_text(action), "audit_arch": audit} for action, audit in policy.elsewhere.items()],
            "unconfirmed": policy.unconfirmed,
            "rules": [],
        }


def _rule_record(rule: Rule, arch: Arch) -> dict[str, Any]:
    line: dict[str, Any] = {"syscall": rule.name, "number": rule.first}
    if rule.last != rule.first:
        line["last"] = rule.last
    if rule.arms:
        line["cases"] = [
            {
                "where": arm_text(arm, arch, rule.name),
                "action": action_text(arm.action),
                "value": arm.action,
                "looks_at": [looked_at(test, arch, rule.name) for test in arm.tests if not test.text],
            }
            for arm in rule.arms
        ]
    line["action"] = action_text(rule.otherwise)
    line["value"] = rule.otherwise
    return line


def finding_record(finding: Finding, where: str) -> dict[str, Any]:
    """One seccomp-finding/1 line."""
    return {"schema": "seccomp-finding/1", "program": where, **finding._asdict(), "syscalls": list(finding.syscalls)}


def syscall_record(rule: Rule, arch: Arch, args: Sequence[int | None], where: str) -> dict[str, Any]:
    """One seccomp-syscall/1 line."""
    return {"schema": "seccomp-syscall/1", "program": where, "arch": arch.name, "args": list(args), **_rule_record(rule, arch)}


def event_record(event: AuditEvent, verdict: Verdict, where: str) -> dict[str, Any]:
    """One seccomp-event/1 line."""
    return {
        "schema": "seccomp-event/1",
        "program": where,
        "arch": event.arch.name,
        "pid": event.pid or None,
        "comm": event.comm or None,
        "exe": event.exe or None,
        "logged": None if event.code is None else action_text(event.code).partition("(")[0],
        "agrees": verdict.agrees,
        "decided_by": [{"filter": d.filter, "pc": d.pc, "action": action_text(d.action)} for d in verdict.decisions],
        **_rule_record(verdict.rule, event.arch),
    }


def difference_record(difference: PolicyDiff, before: str, after: str) -> dict[str, Any]:
    """One seccomp-diff/1 line."""
    return {
        "schema": "seccomp-diff/1",
        "before": before,
        "after": after,
        "equal": difference.equal,
        "changes": [change_record(change) for change in difference.changes],
        "unknown_arches_differ": difference.other,
        "unconfirmed": difference.unconfirmed,
    }


def change_record(change: Change) -> dict[str, Any]:
    """One change of a diff."""
    witness = change.witness
    return {
        "arch": change.arch.name,
        "syscall": change.before.name,
        "number": change.before.first,
        "last": change.before.last,
        "before": explain_rule(change.before, change.arch),
        "after": explain_rule(change.after, change.arch),
        "witness": None
        if witness is None
        else {
            "number": witness.number,
            "args": list(witness.args),
            "before": action_text(witness.before),
            "after": action_text(witness.after),
            "confirmed": witness.confirmed,
        },
    }


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, TEXT, line, listing, maybe, one_of, record

    looked = record({
        "argument": INTEGER, "name": TEXT, "looks_at": one_of("all 64 bits", "the low half", "the high half", "both halves"),
        "mask": INTEGER, "kernel_takes_bits": maybe(INTEGER),
    })  # fmt: skip
    possible = record({"action": TEXT, "audit_arch": INTEGER})
    case = record({"where": TEXT, "action": TEXT, "value": INTEGER, "looks_at": listing(looked)})
    rule = ({"syscall": maybe(TEXT), "number": INTEGER, "action": TEXT, "value": INTEGER}, {"last": INTEGER, "cases": listing(case)})
    witness = record({"number": INTEGER, "args": listing(INTEGER), "before": TEXT, "after": TEXT, "confirmed": BOOLEAN})
    change = record({
        "arch": TEXT, "syscall": maybe(TEXT), "number": INTEGER, "last": INTEGER, "before": listing(TEXT), "after": listing(TEXT),
        "witness": maybe(witness),
    })  # fmt: skip
    return {
        "seccomp/1": line("seccomp/1", "What a policy does to the syscalls of one architecture; of all others where arch is null.", {
            "program": TEXT, "filters": listing(INTEGER), "checks_arch": BOOLEAN, "arch": maybe(TEXT), "default": maybe(TEXT),
            "default_value": maybe(INTEGER), "rules": listing(record(*rule)), "unconfirmed": maybe(TEXT),
        }, {"audit_arch": INTEGER, "partial": maybe(TEXT), "possible": listing(possible)}),
        "seccomp-finding/1": line("seccomp-finding/1", "A weakness of a policy.", {
            "program": TEXT, "severity": one_of("high", "medium", "low"), "id": TEXT, "arch": maybe(TEXT), "text": TEXT,
            "syscalls": listing(TEXT),
        }),
        "seccomp-syscall/1": line("seccomp-syscall/1", "What happens to one syscall.", {
            "program": TEXT, "arch": TEXT, "args": listing(maybe(INTEGER)), **rule[0],
        }, rule[1]),
        "seccomp-event/1": line("seccomp-event/1", "A system call of the audit log, and the rule and instructions that decided it.", {
            "program": TEXT, "arch": TEXT, "pid": maybe(INTEGER), "comm": maybe(TEXT), "exe": maybe(TEXT), "logged": maybe(TEXT),
            "agrees": maybe(BOOLEAN), "decided_by": listing(record({"filter": INTEGER, "pc": INTEGER, "action": TEXT})), **rule[0],
        }, rule[1]),
        "seccomp-diff/1": line("seccomp-diff/1", "The difference of two policies.", {
            "before": TEXT, "after": TEXT, "equal": BOOLEAN, "changes": listing(change), "unknown_arches_differ": BOOLEAN,
            "unconfirmed": maybe(TEXT),
        }),
    }  # fmt: skip
