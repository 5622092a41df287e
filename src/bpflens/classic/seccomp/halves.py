"""Denials that the other half of an argument's register passes.

A filter sees 64-bit registers; the kernel casts each to the type of the argument. Mistakes follow:

    deny socket where all 64 bits of family == AF_INET    socket(0x100000002) is allowed, and the kernel takes an int: AF_INET
    deny kill where all 64 bits of pid == -1              kill(0xffffffff) is allowed, and the kernel takes an int: -1
    deny lseek where the low half of offset > 4096        lseek(0x100000000) is allowed, and the kernel takes all 64 bits

All are read from the policy's diagram exactly. For the first two: is there a low half that is denied with the high half that a caller
gives, and allowed with another? For the last: is the high half never looked at, while the low half is compared as a number and the largest
is denied? Every finding comes with a system call that was run through the filters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.seccomp.policy.actions import ALLOW, LOG, action_text, kind
from bpflens.classic.seccomp.policy.policy import Policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule
from bpflens.classic.seccomp.policy.stack import ARGS_OFFSET, Insns, run_stack, seccomp_data
from bpflens.classic.seccomp.policy.values import DATA, LOW, Place, cases, describe
from bpflens.isa.classic.syscalls import Arch, argument

__all__ = ("Passed", "passed_denials")

_LARGEST = LOW


class Passed(NamedTuple):
    """A denial that is passed: `syscall`'s `argument` (from 0); `denied` and `allowed` are values of it, `args` the whole call that passes.

    `narrow`: the kernel takes fewer bits than the filter looks at; else it takes more.
    """

    syscall: str
    argument: int
    name: str
    bits: int
    narrow: bool
    denied: int
    allowed: int
    args: tuple[int, ...]
    instead: int

    def text(self) -> str:
        """The finding in a sentence or two."""
        call = f"{self.syscall}({', '.join(_number(value) for value in self.args)})"
        if self.narrow:
            return (
                f"{self.name} of {self.syscall}: the filter looks at more than the {self.bits} bits that the kernel takes: "
                f"{_number(self.denied)} gets {action_text(self.instead)}, {call} is allowed and does the same"
            )
        return (
            f"{self.name} of {self.syscall}: the filter looks at the low half, and the kernel takes all 64 bits: "
            f"{_number(self.denied)} gets {action_text(self.instead)}, {call} is allowed"
        )


def _number(value: int) -> str:
    return str(value) if value < 10 else hex(value)


def passed_denials(policy: Policy, own: ArchPolicy) -> Iterator[Passed]:
    """Every argument of a known syscall of one architecture whose denial is passed by the half of its register, one for each argument."""
    if own.arch.bits < 64:
        return  # the filter sees registers of 32 bits: their high halves are 0
    for rule in own.known:
        if rule.node < 0 or not rule.arms:
            continue
        for index in range(6):
            found = argument(own.arch.name, rule.name, index)
            if found is None:
                continue
            passed = _narrow(policy, own.arch, rule, index, found.bits) if found.bits < 64 else _wide(policy, own.arch, rule, index)
            if passed is not None:
                yield passed


def _allows(value: int) -> bool:
    return kind(value) in (ALLOW, LOG)


def _narrow(policy: Policy, arch: Arch, rule: Rule, index: int, bits: int) -> Passed | None:
    """The kernel takes `bits` of the argument: what is denied as a caller gives it, and allowed with other bits above them.

    A caller gives a number with zeros above it, or a negative one with ones. Both are left out of what passes: a filter that allows one
    of them only wants exactly that value.
    """
    store = policy.store
    place = Place.of(ARGS_OFFSET + 8 * index, arch.big_endian)
    ignored = [store.variable(DATA, place.high + i) for i in range(4)]
    if bits == 16:
        ignored += [store.variable(DATA, place.low + i) for i in range(2)]
    if not any(store.depends(rule.node, variable) for variable in ignored):
        return None
    allowed = store.map_terminals(rule.node, lambda value: int(_allows(value)))
    passing = allowed
    for byte in (0, 255):
        passing = store.diff(passing, _all_are(store, ignored, byte))
    with_some = passing
    for variable in ignored:
        with_some = _exists(store, with_some, variable)
    negative = store.intervals(store.variable(DATA, place.low), ((128, 255),))
    for byte, candidates in ((0, with_some), (255, store.conj(with_some, negative) if bits == 32 else FALSE)):
        plain = allowed
        for variable in ignored:
            plain = store.restrict(plain, variable, byte)
        for path in _paths(store, store.diff(candidates, plain)):
            # a call that passes: those low bits, and some above them
            fixed = passing
            for variable, (low, _) in path.items():
                fixed = store.restrict(fixed, variable, low)
            above = store.path_to(fixed, bool)
            if above is None:
                continue
            args = _arguments(store, arch, {v: low for v, (low, _) in (above | path).items()})
            taken = args[index] & (1 << bits) - 1 | (_HIGH if byte else 0)
            found = _confirmed(policy.stack, arch, rule, index, bits, args, taken, True)
            if found is not None:
                return found
    return None


_HIGH = LOW << 32


def _all_are(store: Store, variables: list[int], byte: int) -> int:
    """Where all these bytes have one value."""
    node = TRUE
    for variable in sorted(variables, reverse=True):
        node = store.conj(store.intervals(variable, ((byte, byte),)), node)
    return node


def _wide(policy: Policy, arch: Arch, rule: Rule, index: int) -> Passed | None:
    """The kernel takes all 64 bits: the high half is not looked at, though the low half is compared as a number."""
    store = policy.store
    place = Place.of(ARGS_OFFSET + 8 * index, arch.big_endian)
    high, low = ([store.variable(DATA, start + i) for i in range(4)] for start in (place.high, place.low))
    if any(store.depends(rule.node, v) for v in high) or not any(store.depends(rule.node, v) for v in low):
        return None
    allowed = store.map_terminals(rule.node, lambda value: int(_allows(value)))
    largest = allowed
    for variable in low:
        largest = store.restrict(largest, variable, 255)
    for path in _paths(store, store.diff(allowed, largest)):
        others = {v: first for v, (first, _) in path.items() if v not in low}
        rest = allowed
        for variable, value in others.items():
            rest = store.restrict(rest, variable, value)
        if not _compared_as_number(store, rest, place):
            continue
        values = {v: first for v, (first, _) in path.items()} | {high[3]: 1}
        found = _confirmed(policy.stack, arch, rule, index, 64, _arguments(store, arch, values), _LARGEST, False)
        if found is not None:
            return found
    return None


def _compared_as_number(store: Store, node: int, place: Place) -> bool:
    """Whether what is allowed of the argument is said by ranges of its whole low half, not by some of its bits."""
    for rest, values in cases(store, node, place):
        if rest == FALSE:
            continue
        for sets in describe(store, values, place):
            if any(one.ranges is None or one.mask != LOW for one in sets):
                return False
    return True


def _exists(store: Store, node: int, variable: int) -> int:
    """Where some value of a byte satisfies the diagram."""
    return store.any(store.restrict(node, variable, start) for start in store.cuts(node, variable))


def _paths(store: Store, node: int) -> Iterator[dict[int, tuple[int, int]]]:
    path = store.path_to(node, bool) if node != FALSE else None
    if path is not None:
        yield path


def _arguments(store: Store, arch: Arch, values: dict[int, int]) -> list[int]:
    """Bytes of the six arguments as numbers."""
    data = bytearray(64)
    for variable, byte in values.items():
        field = store.field_of(variable)
        if field.base == DATA:
            data[field.offset] = byte
    words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, 64, 4)]
    places = [Place.of(ARGS_OFFSET + 8 * i, arch.big_endian) for i in range(6)]
    return [words[place.high // 4] << 32 | words[place.low // 4] for place in places]


def _confirmed(
    stack: Sequence[Insns], arch: Arch, rule: Rule, index: int, bits: int, args: list[int], taken: int, narrow: bool
) -> Passed | None:
    """The finding, if the filters do with both calls what is claimed: with `args`, and with `taken` in their place."""
    found = argument(arch.name, rule.name, index)
    assert found is not None and rule.name is not None
    if taken == args[index]:
        return None
    plain = [*args[:index], taken, *args[index + 1 :]]
    allowed = run_stack(stack, seccomp_data(arch, rule.first, args))
    instead = run_stack(stack, seccomp_data(arch, rule.first, plain))
    if not _allows(allowed) or _allows(instead):
        return None
    while args and args[-1] == 0 and len(args) > index + 1:
        args.pop()
    return Passed(rule.name, index, found.name, bits, narrow, taken, args[index], tuple(args), instead)
