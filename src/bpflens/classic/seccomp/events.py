"""An audit line of seccomp and a policy: what the policy does to that system call, and which instruction said so.

    x86_64 brk (12), logged as KILL_THREAD   ──►   filter 1, instruction 31: KILL_THREAD
"""

from __future__ import annotations

from typing import NamedTuple

from bpflens.classic.seccomp.policy.actions import canonical, kind, precedence
from bpflens.classic.seccomp.policy.policy import Policy
from bpflens.classic.seccomp.policy.restrict import for_arch, for_number
from bpflens.classic.seccomp.policy.rules import Rule, describe_rule
from bpflens.classic.seccomp.reached import reached
from bpflens.isa.classic.syscalls import Arch, syscall_name

__all__ = ("Decision", "Verdict", "judge")


class Decision(NamedTuple):
    """A return instruction that the system call can reach: `filter` counts from 1, oldest first, `pc` from 0."""

    filter: int
    pc: int
    action: int


class Verdict(NamedTuple):
    """`rule`: what the policy does to the system call. `decisions`: the returns that give the logged action, or all that are
    possible where nothing was logged. `agrees`: the policy can do what was logged; None where nothing was, or not all was followed.
    """

    rule: Rule
    decisions: tuple[Decision, ...]
    agrees: bool | None


def judge(policy: Policy, arch: Arch, number: int, code: int | None) -> Verdict:
    """The policy's rule for a system call and the instructions behind the action that was logged (`code`, without its data)."""
    node = for_number(policy.store, for_arch(policy.store, policy.node, arch), number)
    rule = describe_rule(policy.store, arch, number, number, syscall_name(arch.name, number), node)
    possible: list[Decision] = []
    complete = True
    for index, insns in enumerate(policy.stack, 1):
        found = reached(insns, arch.audit, number)
        complete = complete and found is not None
        possible += [Decision(index, pc, canonical(value)) for pc, value in (found or {}).items() if value is not None]
    if code is None:
        return Verdict(rule, tuple(sorted(possible, key=lambda decision: precedence(decision.action))), None)
    wanted = kind(canonical(code))
    agrees = any(kind(action) == wanted for action in rule.actions)
    behind = tuple(decision for decision in possible if kind(decision.action) == wanted) if agrees else ()
    return Verdict(rule, behind, agrees if complete or not agrees else None)
