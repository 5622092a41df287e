"""A seccomp filter in words: per architecture and action, the syscalls.

    x86_64: kill the process for open, openat and execve; else allow
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpflens.classic.seccomp.grouped import conditions
from bpflens.classic.seccomp.policy.actions import ALLOW, LOG, action_text, kind
from bpflens.classic.seccomp.policy.policy import Policy, other_text, policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import host_arch

__all__ = ("policy_in_short", "policy_of", "policy_words")

_SHOWN = 400


def policy_of(insns: Sequence[SockFilter]) -> Policy:
    """The policy of one filter, for this machine where it does not look at the architecture. TooComplex where its diagram is too large."""
    found = policy([insns])
    return found if found.arches else policy([insns], [host_arch()])


def policy_words(found: Policy) -> tuple[str, ...]:
    """One sentence per architecture that a policy tells apart."""
    words = [] if found.checks_arch else ["The architecture is not looked at: numbers mean the same on every one."]
    said: dict[str, list[str]] = {}
    for own in found.arches:
        said.setdefault(_sentence(own), []).append(own.arch.name)
    words += [f"{', '.join(names)}: {sentence}" for sentence, names in said.items()]
    if found.checks_arch:
        words.append(f"Every other architecture: {other_text(found)}.")
    return tuple(words)


def policy_in_short(found: Policy) -> str:
    """What a policy does on its first architecture, in about five words: "denies 44 calls: EPERM", "allows 37 calls, else KILL_THREAD"."""
    own = found.arches[0]
    allowed = [rule for rule in own.known if kind(rule.otherwise) in (ALLOW, LOG) and not rule.arms]
    sometimes = [rule for rule in own.known if rule.arms and any(kind(action) in (ALLOW, LOG) for action in rule.actions)]
    unnamed = _without_name(own)
    if len(allowed) == len(own.known):
        named = " that has a name" if unnamed or kind(own.default) not in (ALLOW, LOG) else ""
        return f"allows every system call{named}" + (" (logged)" if kind(own.default) == LOG else "")
    by_arguments = f", {len(sometimes)} by arguments" if sometimes else ""
    if kind(own.default) not in (ALLOW, LOG):
        count = f"allows {_calls(len(allowed))}{by_arguments}" if allowed else f"allows {_calls(len(sometimes))} by arguments"
        count = count if allowed or sometimes else "allows no system call"
        if any(kind(action) in (ALLOW, LOG) for rule in unnamed for action in rule.actions):
            count += " that has a name" if not (allowed or sometimes) else " and numbers without a name"
        return f"{count}, else {_shorter(action_text(own.default))}"
    denied = [rule.otherwise for rule in own.known if rule not in allowed and rule not in sometimes]
    if not denied and not sometimes:
        return "denies numbers without a name"
    if not denied:
        return f"denies {sometimes[0].name if len(sometimes) == 1 else _calls(len(sometimes))} by arguments"
    often = sorted(dict.fromkeys(denied), key=lambda action: -denied.count(action))
    return f"denies {_calls(len(denied))}{by_arguments}: {_shorter(' or '.join(map(action_text, often[:2])))}"


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _shorter(actions: str) -> str:
    """ "EPERM" for "ERRNO(EPERM)"."""
    return re.sub(r"ERRNO\((\w+)\)", r"\1", actions)


def _sentence(own: ArchPolicy) -> str:
    always: dict[int, list[str]] = {}
    for rule in own.known:
        if not rule.arms and rule.otherwise != own.default:
            always.setdefault(rule.otherwise, []).append(str(rule.name))
    exceptions = []
    for rule in _without_name(own):
        span = f"number {rule.first}" if rule.first == rule.last else f"numbers {rule.first} to {rule.last}"
        for action in sorted(rule.actions - {own.default}):
            always.setdefault(action, []).append(f"{span} (no name{', by arguments' if rule.arms else ''})")
    for condition in conditions(own):
        if condition.action == own.default:
            exceptions.append(condition.text)
        else:
            always.setdefault(condition.action, []).append(condition.text)
    parts = []
    for action, names in always.items():
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        parts.append(f"{action_text(action)} for {shown}")
    if exceptions:
        parts.append(f"{action_text(own.default)} for {', '.join(exceptions)}")
    parts.append(f"{'else ' if parts else ''}{action_text(own.default)}")
    left_out = " (numbers without a name are left out)" if own.partial else ""
    return f"{'; '.join(parts)}{left_out}."


def _without_name(own: ArchPolicy) -> list[Rule]:
    """Rules for numbers that have no name here, and maybe one on a newer kernel. Negative numbers are no system calls of any kernel."""
    of_all = {group.names[0] for group in conditions(own) if group.everything}
    said = {rule.node for rule in own.known if rule.name in of_all}
    return [rule for rule in own.unknown if rule.first <= _LARGEST and rule.actions != {own.default} and rule.node not in said]


_LARGEST = (1 << 31) - 1
