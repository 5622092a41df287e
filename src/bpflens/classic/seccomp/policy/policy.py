"""Seccomp filters: the policy that they make together, exactly.

    policy([insns])  ──►  Policy: per architecture, what happens to each syscall, and under which conditions on its arguments

A filter is a classic program over struct seccomp_data (kernel/seccomp.c): the syscall's number, the architecture's AUDIT_ARCH_ value, the
instruction pointer and six 64-bit arguments, in words. It returns an action. A task may have several filters: the kernel runs the newest
first, and the most restrictive action wins (seccomp_run_filters), the newer filter's where they return the same. Each filter
becomes a decision diagram, the diagrams are combined as the kernel combines the actions, and the table is read from the result: it
holds for every system call, not only for those that a search has tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.symbolic import SECCOMP, run_in
from bpflens.classic.seccomp.policy.actions import action_text
from bpflens.classic.seccomp.policy.restrict import elsewhere, for_arch, for_other, looks_at_arch
from bpflens.classic.seccomp.policy.rules import ArchPolicy, arch_policy
from bpflens.classic.seccomp.policy.stack import Insns, stack_node
from bpflens.isa.classic.syscalls import ARCHES, OTHER_ARCHES, Arch

__all__ = ("Policy", "other_text", "policy", "second_key")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stack of filters does. `arches` are those that it treats in their own way; `checks_arch` is false where it never looks.

    `other`: the action for every other architecture, None where it depends on the syscall or on more of the architecture's value:
    `elsewhere` has every action that occurs there, with an AUDIT_ARCH_ value for which it does (None: it may occur).
    `unconfirmed`: why this is only what the decision diagrams say, None where a second engine agrees.
    """

    arches: tuple[ArchPolicy, ...]
    other: int | None
    checks_arch: bool
    store: Store
    node: int
    stack: tuple[Insns, ...]
    elsewhere: Mapping[int, int | None]
    unconfirmed: str | None = None

    @property
    def insn_counts(self) -> tuple[int, ...]:
        """How many instructions each filter has, oldest first."""
        return tuple(len(insns) for insns in self.stack)

    def of(self, arch: Arch) -> ArchPolicy:
        """The policy for one architecture, whether listed or not."""
        for found in self.arches:
            if found.arch == arch:
                return found
        return arch_policy(self.store, arch, for_arch(self.store, self.node, arch))


def policy(stack: Sequence[Insns], arches: Sequence[Arch] = ()) -> Policy:
    """The policy of a stack of valid filters (oldest first). `arches` are listed even where the filters treat them like others.

    TooComplex where a diagram grows beyond its budget.
    """
    store = Store()
    node = stack_node(store, stack)
    checks = looks_at_arch(store, node)
    others = elsewhere(store, node)
    other_node = others.node if others.node is not None else for_other(store, node)
    other = next(iter(others.actions)) if len(others.actions) == 1 else None
    listed = []
    for arch in ARCHES:
        own = for_arch(store, node, arch)
        if arch in arches or (checks and own != other_node and arch.name != "x32"):
            listed.append(arch_policy(store, arch, own))
        elif arch.name == "x32" and checks and own != other_node:
            x32 = arch_policy(store, arch, own)
            if {action for rule in (*x32.known, *x32.unknown) for action in rule.actions} != {listed[-1].default}:
                listed.append(x32)
    stack = tuple(tuple(insns) for insns in stack)
    return Policy(tuple(listed), other, checks, store, node, stack, others.actions, second_key(stack, store))


def second_key(stack: Sequence[Insns], store: Store) -> str | None:
    """Why no second engine confirms the diagrams of the filters; None where they are plain (proof/fragment.py) or z3 agrees."""
    from bpflens.classic.proof import equal, fragment

    for insns in stack:
        why = fragment.outside(insns, seccomp=True)
        if why is not None:
            missing = equal.diagram_of(insns, store, run_in(store, insns, SECCOMP), SECCOMP)
            if missing is not None:
                return f"{why}, and {missing}"
    return None


def other_text(policy: Policy) -> str:
    """What happens to the syscalls of every architecture that is not listed: one action, or each with an example of an architecture."""
    if policy.other is not None:
        return action_text(policy.other)
    shown = []
    for action, audit in policy.elsewhere.items():
        if audit is None:
            shown.append(f"perhaps {action_text(action)} for some (whether its conditions can hold is not known)")
            continue
        name = OTHER_ARCHES.get(audit)
        shown.append(f"{action_text(action)} for some (such as {f'{name}, {audit:#010x}' if name else f'{audit:#010x}'})")
    if len(set(policy.elsewhere.values())) == 1 and None not in policy.elsewhere.values():
        shown = [action_text(action) for action in policy.elsewhere]
        return f"{' or '.join(shown)}, depending on the syscall"
    return ", ".join(shown)
