"""Seccomp filters: the policy that they make together, exactly.

    policy([insns])  ──►  Policy: per architecture, what happens to each syscall, and under which conditions on its arguments

A filter is a classic program over struct seccomp_data (kernel/seccomp.c): the syscall's number, the architecture's AUDIT_ARCH_ value, the
instruction pointer and six 64-bit arguments, in words. It returns an action. A task may have several filters: the kernel runs the newest
first, and the most restrictive action wins (seccomp_run_filters), the newer filter's where they return the same. Each filter
becomes a decision diagram, the diagrams are combined as the kernel combines the actions, and the table is read from the result: it
holds for every system call, not only for those that a search has tried.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bpflens.classic.diagrams.condition import decided
from bpflens.classic.diagrams.diagram import FALSE, TRUE, Store, TooComplex, terminal
from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.symbolic import SECCOMP, run_in, value_terms
from bpflens.classic.diagrams.term import Load
from bpflens.classic.seccomp.actions import ALLOW, canonical, precedence
from bpflens.classic.seccomp.values import ALL, DATA, Place, Values, cases, describe
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import ARCHES, OTHER_ARCHES, X32_BIT, Arch, syscall_names

__all__ = (
    "ArchPolicy", "Arm", "Elsewhere", "Policy", "Rule", "Test", "cut_out", "describe_rule", "elsewhere", "for_arch", "for_number",
    "for_other", "is_seccomp", "numbers_of", "pieces_of", "policy", "run_stack", "seccomp_data", "second_key", "stack_node",
    "without_names",
)  # fmt: skip

NR = Field(DATA, 0, 32)
ARCH = Field(DATA, 4, 32)
IP_OFFSET, ARGS_OFFSET = 8, 16
_WORD = 0xFFFFFFFF
_PLACES = 7  # the instruction pointer and six arguments
_MOST_ARMS = 256

Insns = Sequence[SockFilter]


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


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stack of filters does. `arches` are those that it treats in their own way; `checks_arch` is false where it never looks.

    `other`: the action for every other architecture, None where it depends on the syscall or on more of the architecture's value:
    `elsewhere` has every action that occurs there, with an AUDIT_ARCH_ value for which it does. `unconfirmed`: why this is only what the
    decision diagrams say, None where a second engine agrees.
    """

    arches: tuple[ArchPolicy, ...]
    other: int | None
    checks_arch: bool
    store: Store
    node: int
    stack: tuple[Insns, ...]
    elsewhere: Mapping[int, int]
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
        return _arch_policy(self.store, arch, for_arch(self.store, self.node, arch))


def is_seccomp(insns: Insns) -> bool:
    """Whether a program looks like a seccomp filter: valid as one, loads of seccomp_data's words, returns that are actions.

    A filter on packets could look so too; what loads nothing is taken for one unless it returns nothing but actions other than 0.
    """
    from bpflens.isa.classic.check import check

    if check(insns, "seccomp"):
        return False
    loads = [insn.k for insn in insns if insn.code == 0x20]
    returns = [insn.k for insn in insns if insn.code == 0x06]
    known = all(value & 0xFFFF0000 in _ACTIONS for value in returns)
    if not known or any(insn.code == 0x16 for insn in insns):
        return False
    if not any(value & 0xFFFF0000 for value in returns):
        return False
    return bool(loads) or len(insns) == 1


_ACTIONS = frozenset((0x80000000, 0, 0x30000, 0x50000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000))


def stack_node(store: Store, stack: Sequence[Insns]) -> int:
    """The diagram of a stack of filters, oldest first as they were installed; its terminals are the actions taken."""
    result = terminal(ALLOW)
    for insns in reversed(stack):  # the newest runs first
        result = _stricter(store, result, run_in(store, insns, SECCOMP))
    terms = value_terms(store)
    return store.map_terminals(result, lambda value: value if value in terms else canonical(value))


def _stricter(store: Store, newer: int, older: int) -> int:
    """For each system call the action of lower precedence value; the newer one's where they are the same."""
    result = newer
    for value in store.terminals(older):
        where = store.map_terminals(older, lambda v, value=value: v == value)  # type: ignore[misc]
        beats = store.map_terminals(newer, lambda v, value=value: precedence(value) < precedence(v))  # type: ignore[misc]
        result = store.ite(store.conj(where, beats), terminal(value), result)
    return result


def seccomp_data(arch: Arch, number: int, args: Sequence[int] = (), instruction_pointer: int = 0) -> bytes:
    """struct seccomp_data as a filter's loads see it: each 32-bit word most significant byte first, for the interpreter."""
    words = [number & _WORD, arch.audit]
    for value in (instruction_pointer, *args, *(0,) * (6 - len(args))):
        low, high = value & _WORD, value >> 32 & _WORD
        words += [high, low] if arch.big_endian else [low, high]
    return b"".join(word.to_bytes(4, "big") for word in words)


def run_stack(stack: Sequence[Insns], data: bytes) -> int:
    """The action that a stack of filters (oldest first) takes for one system call, by running them as the kernel does."""
    from bpflens.classic.machine.interpreter import run
    action = ALLOW
    for insns in reversed(stack):
        value = run(insns, data)
        if precedence(value) < precedence(action):
            action = value
    return canonical(action)


def policy(stack: Sequence[Insns], arches: Sequence[Arch] = ()) -> Policy:
    """The policy of a stack of valid filters (oldest first). `arches` are listed even where the filters treat them like others.

    TooComplex where a diagram grows beyond its budget.
    """
    store = Store()
    node = stack_node(store, stack)
    checks = any(store.depends(node, variable) for variable in store.variables(ARCH))
    others = elsewhere(store, node)
    other_node = others.node if others.node is not None else for_other(store, node)
    other = next(iter(others.actions)) if len(others.actions) == 1 else None
    listed = []
    for arch in ARCHES:
        own = for_arch(store, node, arch)
        if arch in arches or (checks and own != other_node and arch.name != "x32"):
            listed.append(_arch_policy(store, arch, own))
        elif arch.name == "x32" and checks and own != other_node:
            x32 = _arch_policy(store, arch, own)
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


def for_arch(store: Store, node: int, arch: Arch) -> int:
    """What remains of a policy's diagram for one architecture."""
    return _restrict(store, node, ARCH, arch.audit)


class Elsewhere(NamedTuple):
    """What a policy's diagram says for AUDIT_ARCH_ values that no listed architecture has.

    `node`: what remains for them where it is the same for all, `actions`: every action that can occur, with one such value of the
    architecture for which it does. Exact: the values are not tried, the listed ones are cut out of the diagram.
    """

    node: int | None
    actions: dict[int, int]


_LISTED = 1 << 40  # no action: marks the architectures that are cut out


def elsewhere(store: Store, node: int) -> Elsewhere:
    """See `Elsewhere`."""
    rest = cut_out(store, node)
    actions = {value: _arch_for(store, rest, value) for value in sorted(store.terminals(rest) - {_LISTED})}
    sample = for_other(store, node)
    same = cut_out(store, node) == cut_out(store, sample)
    return Elsewhere(sample if same else None, actions)


_NO_ARCH = 0x0BADBEEF


def for_other(store: Store, node: int) -> int:
    """What remains of a policy's diagram for one architecture that has no name."""
    return _restrict(store, node, ARCH, _NO_ARCH)


def cut_out(store: Store, node: int) -> int:
    """The diagram with a mark, which is no action, for every listed architecture: two of them are the same where the others agree."""
    listed = FALSE
    for audit in sorted({arch.audit for arch in ARCHES}):
        listed = store.disj(listed, _is_arch(store, audit))
    return store.ite(listed, terminal(_LISTED), node)


def _is_arch(store: Store, audit: int) -> int:
    node = TRUE
    for variable, byte in zip(reversed(store.variables(ARCH)), reversed(audit.to_bytes(4, "big")), strict=True):
        node = store.conj(store.intervals(variable, ((byte, byte),)), node)
    return node


def _arch_for(store: Store, rest: int, action: int) -> int:
    """An architecture's value, one with a name if there is one, for which the action can occur."""
    for audit in OTHER_ARCHES:
        if action in store.terminals(_restrict(store, rest, ARCH, audit)):
            return audit
    path = store.path_to(rest, lambda value: value == action) or {}
    return sum(path.get(v, (0, 0))[0] << shift for v, shift in zip(store.variables(ARCH), (24, 16, 8, 0), strict=True))


def _restrict(store: Store, node: int, field: Field, value: int) -> int:
    """The diagram with a word fixed, and with it the conditions that only this word decides."""
    for variable, byte in zip(store.variables(field), value.to_bytes(4, "big"), strict=True):
        node = store.restrict(node, variable, byte)
    for variable in sorted(store.support(node)):
        base = store.field_of(variable).base
        if base.region == "atom":
            holds = decided(base.term, Load(DATA, field.offset, 4), value)
            if holds is not None:
                node = store.restrict(node, variable, int(holds))
    return node


def for_number(store: Store, node: int, number: int) -> int:
    """What remains of an architecture's diagram for one syscall number."""
    return _restrict(store, node, NR, number)


def numbers_of(arch: Arch) -> tuple[tuple[int, int], ...]:
    """The numbers that belong to an architecture, as ranges: x32 has those of x86_64 with bit 30."""
    if arch.name == "x32":
        return ((X32_BIT, 2 * X32_BIT - 1),)
    return ((0, X32_BIT - 1), (2 * X32_BIT, _WORD)) if arch.name == "x86_64" else ((0, _WORD),)


def pieces_of(store: Store, node: int, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """[(first, last number, what remains)] of one architecture within ranges of numbers; TooComplex where they are too many."""
    pieces = store.split(node, NR)
    return [(max(a, low), min(b, high), rest) for low, high in ranges for a, b, rest in pieces if b >= low and a <= high]


def describe_rule(store: Store, arch: Arch, first: int, last: int, name: str | None, node: int) -> Rule:
    """One rule from what remains for its numbers; for whole policies use `policy`."""
    return _Describer(store, arch, None).rule(first, last, name, node)


def _arch_policy(store: Store, arch: Arch, node: int) -> ArchPolicy:
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
    unknown = [describer.rule(start, end, None, rest) for first, last, rest in pieces for start, end in without_names(first, last, names)]
    return ArchPolicy(arch, known, tuple(unknown), default, partial)


def without_names(first: int, last: int, names: dict[int, str]) -> Iterator[tuple[int, int]]:
    """The parts of a range whose numbers have no name."""
    start = first
    for number in sorted(n for n in names if first <= n <= last):
        if number > start:
            yield start, number - 1
        start = number + 1
    if start <= last:
        yield start, last


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
        from bpflens.classic.seccomp.terms import condition_text

        condition = self.store.field_of(self.store.var[node]).base.term
        for kid, value in zip(self.store.kids[node], (False, True), strict=True):
            yield from self._atoms(kid, (*tests, Test(-2, ALL, condition_text(condition, value))))
