"""A seccomp filter in words: per architecture and action, the syscalls.

    x86_64: kill the process for open, openat and execve; else allow
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.classic.seccomp.conditions import arm_text
from bpflens.classic.seccomp.policy.actions import action_text
from bpflens.classic.seccomp.policy.policy import Policy, other_text, policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import host_arch

__all__ = ("policy_of", "policy_words")

_SHOWN = 400


def policy_of(insns: Sequence[SockFilter]) -> Policy:
    """The policy of one filter, for this machine where it does not look at the architecture. TooComplex where its diagram is too large."""
    found = policy([insns])
    return found if found.arches else policy([insns], [host_arch()])


def policy_words(found: Policy) -> tuple[str, ...]:
    """One sentence per architecture that a policy tells apart."""
    words = [] if found.checks_arch else ["The architecture is not looked at: numbers mean the same on every one."]
    words += [_sentence(own) for own in found.arches]
    if found.checks_arch:
        words.append(f"Every other architecture: {other_text(found)}.")
    return tuple(words)


def _sentence(own: ArchPolicy) -> str:
    always: dict[int, list[str]] = {}
    for rule in own.known:
        name = str(rule.name)
        for arm in rule.arms:
            always.setdefault(arm.action, []).append(f"{name} where {arm_text(arm, own.arch, name)}")
        if not rule.arms:
            always.setdefault(rule.otherwise, []).append(name)
        elif rule.otherwise != own.default:
            always.setdefault(rule.otherwise, []).append(f"{name} otherwise")
    parts = []
    for action, names in always.items():
        if action != own.default:
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            parts.append(f"{action_text(action)} for {shown}")
    exceptions = [name for name in always.get(own.default, ()) if " where " in name]
    if exceptions:
        parts.append(f"{action_text(own.default)} for {', '.join(exceptions)}")
    parts.append(f"{'else ' if parts else ''}{action_text(own.default)}")
    return f"{own.arch.name}: {'; '.join(parts)}."
