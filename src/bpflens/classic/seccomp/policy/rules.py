"""Rules: what happens to syscall numbers of one architecture, and under which conditions on the arguments.

    the diagram of openat   ──►   Rule(257, 257, "openat", arms: (args[2] & 3 == 0 → allow), otherwise: errno 1)"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.seccomp.policy.actions import precedence
from bpflens.classic.seccomp.policy.restrict import for_number, numbers_of, pieces_of, without_names
from bpflens.classic.seccomp.policy.stack import IP_OFFSET
from bpflens.classic.seccomp.policy.terms import condition_text
from bpflens.classic.seccomp.policy.values import ALL, Place, Values, cases, describe
from bpflens.isa.classic.syscalls import Arch, syscall_names

__all__ = ("ArchPolicy", "Arm", "Rule", "Test", "arch_policy", "describe_rule")

_PLACES = 7  # the instruction pointer and six arguments


class Test(NamedTuple):
    """One condition: the `argument`'s number (-1: the instruction pointer) and its `values`; `text` where it ties several together."""

    argument: int
    values: Values
    text: str = ""


class Arm(NamedTuple):
    """`action` (as the kernel acts on it) where all `tests` hold."""

    tests: tuple[Test, ...]
    action: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Numbers `first` to `last` of one architecture. Arms exclude each other; where none holds the action is `otherwise`."""

    first: int
    last: int
    name: str | None
    arms: tuple[Arm, ...]
    otherwise: int
    node: int

    @property
    def actions(self) -> frozenset[int]:
        """Every action that can occur."""
        return frozenset((self.otherwise, *(arm.action for arm in self.arms)))


@dataclass(frozen=True, slots=True)
class ArchPolicy:
    """One architecture: a rule for each known syscall, in order of their numbers, and rules for ranges of numbers that have no name.

    `default` is the action for numbers that no kernel has yet. `partial`: why the ranges are not given, None where they are.
    """

    arch: Arch
    known: tuple[Rule, ...]
    unknown: tuple[Rule, ...]
    default: int
    partial: str | None = None

    def rule(self, number: int) -> Rule | None:
        """The rule for a number, None where only known syscalls are given and this is none of them."""
        for rules in (self.known, self.unknown):
            index = bisect_right(rules, number, key=lambda rule: rule.first) - 1
            if index >= 0 and rules[index].last >= number:
                return rules[index]
        return None


def describe_rule(store: Store, arch: Arch, first: int, last: int, name: str | None, node: int) -> Rule:
    """One rule from what remains for its numbers; for whole policies use `policy`."""
    return _Describer(store, arch, None).rule(first, last, name, node)


def arch_policy(store: Store, arch: Arch, node: int) -> ArchPolicy:
    names = syscall_names(arch.name)
    partial = None
    try:
        pieces = pieces_of(store, node, numbers_of(arch))
    except TooComplex as error:
        pieces, partial = [], str(error)
    default_node = for_number(store, node, max(names) + 4096)
    default = _most_likely(store, default_node)
    describer = _Describer(store, arch, default)
    known = tuple(describer.rule(n, n, name, for_number(store, node, n)) for n, name in sorted(names.items()))
    named = sorted(names)
    unknown = [describer.rule(start, end, None, rest) for first, last, rest in pieces for start, end in without_names(first, last, named)]
    return ArchPolicy(arch, known, tuple(unknown), default, partial)


def _most_likely(store: Store, node: int) -> int:
    """The action of a diagram; where it depends on the arguments, the one that most values of the first bytes lead to."""
    while node >= 0:
        starts, kids = store.starts[node], store.kids[node]
        width: dict[int, int] = {}
        for start, end, kid in zip(starts, starts[1:], kids, strict=False):
            width[kid] = width.get(kid, 0) + min(end, 256) - start
        node = max(width, key=lambda kid: width[kid])
    return ~node


class _Describer:
    """Says diagrams over the arguments as arms; keeps what it has said, since many syscalls share a diagram."""

    def __init__(self, store: Store, arch: Arch, default: int | None) -> None:
        self.store = store
        self.places = [Place.of(IP_OFFSET + 8 * i, arch.big_endian) for i in range(_PLACES)]
        self.default = default
        self.memo: dict[int, tuple[tuple[Arm, ...], int]] = {}

    def rule(self, first: int, last: int, name: str | None, node: int) -> Rule:
        found = self.memo.get(node)
        if found is None:
            found = self.memo[node] = self._describe(node)
        return Rule(first, last, name, found[0], found[1], node)

    def _describe(self, node: int) -> tuple[tuple[Arm, ...], int]:
        if node < 0:
            return (), ~node
        actions = self.store.terminals(node)
        otherwise = self.default if self.default is not None and self.default in actions else min(actions, key=precedence)
        return tuple(arm for arm in self._arms(node, 0, ()) if arm.action != otherwise), otherwise

    def _arms(self, node: int, index: int, tests: tuple[Test, ...]) -> Iterator[Arm]:
        if node < 0:
            yield Arm(tests, ~node)
            return
        if index == _PLACES:
            yield from self._atoms(node, tests)
            return
        place = self.places[index]
        for rest, values in cases(self.store, node, place):
            for sets in describe(self.store, values, place):
                yield from self._arms(rest, index + 1, (*tests, *(Test(index - 1, one) for one in sets if one != ALL)))

    def _atoms(self, node: int, tests: tuple[Test, ...]) -> Iterator[Arm]:
        """Below the arguments are conditions that tie several words together."""
        if node < 0:
            yield Arm(tests, ~node)
            return
        condition = self.store.field_of(self.store.var[node]).base.term
        for kid, value in zip(self.store.kids[node], (False, True), strict=True):
            yield from self._atoms(kid, (*tests, Test(-2, ALL, condition_text(condition, value))))
