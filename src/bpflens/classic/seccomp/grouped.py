"""The conditions of one architecture's policy, those that many system calls share said once.

    read where ip >= 0x7f0000010000, write where ip >= 0x7f0000010000, ...   ──►   everything where instruction_pointer >= 0x7f0000010000

Calls whose conditions are the same diagram have the same conditions, however their arguments are called: from `MANY` calls on they are
written with args[i].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bpflens.classic.seccomp.conditions import arm_text
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule

__all__ = ("MANY", "Condition", "conditions")

MANY = 8


class Condition(NamedTuple):
    """`action` for `names` under the condition `where`; "" where nothing else of these calls holds. `everything`: "" where the names are
    to be said, else what stands for them ("everything", "everything else")."""

    action: int
    names: tuple[str, ...]
    where: str
    everything: str

    @property
    def text(self) -> str:
        """`read where fd == 0`, `everything where ...`, `read otherwise`."""
        what = self.everything or ", ".join(self.names)
        return f"{what} where {self.where}" if self.where else f"{what} otherwise"


def conditions(own: ArchPolicy) -> Iterator[Condition]:
    """Every condition, in the order of the first call that has it."""
    groups: dict[int, list[Rule]] = {}
    for rule in own.known:
        if rule.arms:
            groups.setdefault(rule.node, []).append(rule)
    for rules in groups.values():
        if len(rules) < MANY:
            for rule in rules:
                yield from _of_rule(own, rule, (str(rule.name),), rule.name, "")
        else:
            names = tuple(str(rule.name) for rule in rules)
            yield from _of_rule(own, rules[0], names, None, _everything(own, rules))


def _of_rule(own: ArchPolicy, rule: Rule, names: tuple[str, ...], called: str | None, everything: str) -> Iterator[Condition]:
    for arm in rule.arms:
        yield Condition(arm.action, names, arm_text(arm, own.arch, called), everything)
    if rule.otherwise != own.default:
        yield Condition(rule.otherwise, names, "", everything)


def _everything(own: ArchPolicy, rules: list[Rule]) -> str:
    """ "everything" where the rules are all that there are, "everything else" where each other call is spoken of by itself."""
    if len(rules) == len(own.known):
        return "everything"
    spoken_of = all(rule.node == rules[0].node or rule.arms or rule.otherwise != own.default for rule in own.known)
    return "everything else" if spoken_of and 2 * len(rules) > len(own.known) else ""
