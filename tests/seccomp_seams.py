"""Seccomp filters aimed at the seams of what is said about them, system calls to try, and the judge of every answer.

Rules compare words whole, by mask, by range and by arithmetic: the architecture by its low byte, by a shift, by a sum, with itself shifted,
with another word; the number by a product; arguments by one half, by both, by a mask over both. The judge is a plain interpreter
(tests/plain_machine.py).
"""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator, Sequence

from bpflens.classic.seccomp.policy.policy import Policy, policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy
from bpflens.isa.classic.check import check
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import ARCHES, Arch
from plain_machine import Insns, execute

ACTIONS = (0x80000000, 0x00000000, 0x00030000, 0x00050001, 0x00050026, 0x7FC00000, 0x7FF00001, 0x7FFC0000, 0x7FFF0000)
ALLOW = 0x7FFF0000
ARCH_VALUES = (0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3, 0x80000016, 0xC00000FC, 0x400000FC, 0x00000016, 0xC0009026)
NUMBERS = (0, 1, 2, 9, 41, 56, 57, 59, 60, 101, 157, 272, 435, 470, 511, 512, 0x40000000, 0x40000001, 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
VALUES = (0, 1, 2, 3, 16, 40, 0x5412, 0xFF, 0x100, 0xFFFF, 0x7E020000, 0x10000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
NR, ARCH = 0, 4


def _test(r: random.Random, word: int, values: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Code that leaves through the last jump's true branch, with a gap of -1 to be filled in, where a condition on a word holds."""
    load = [(0x20, 0, 0, word)]
    kind = r.randrange(13) if r.random() < 0.96 else 13  # the last takes its time
    value = r.choice(values)
    if kind < 5:
        return [*load, (r.choice((0x15, 0x15, 0x25, 0x35, 0x45)), -1, 0, value)]
    if kind == 5:
        mask = r.choice((0xFF, 0xFFFF, 0xFFFFFF00, 0x0F, 0x40000000, 0xC0000000, 0xFFFF0000))
        return [*load, (0x54, 0, 0, mask), (0x15, -1, 0, value & mask)]
    if kind == 6:
        shift = r.choice((1, 8, 16, 24, 30, 31))
        return [*load, (0x74, 0, 0, shift), (0x15, -1, 0, value >> shift)]
    if kind == 7:
        shift = r.choice((8, 16, 24))
        return [*load, (0x64, 0, 0, shift), (r.choice((0x15, 0x35)), -1, 0, value << shift & 0xFFFFFFFF)]
    if kind == 8:
        more = r.choice((1, 0xFFFFFFFF, 0x80000000, 16))
        return [*load, (0x04, 0, 0, more), (r.choice((0x15, 0x25)), -1, 0, value + more & 0xFFFFFFFF)]
    if kind == 9:
        factor = r.choice((3, 5, 0x10001, 6))
        return [*load, (0x24, 0, 0, factor), (0x15, -1, 0, value * factor & 0xFFFFFFFF)]
    if kind == 10:
        return [*load, (0xA4, 0, 0, value), (0x15, -1, 0, 0)]
    if kind == 11:  # with itself: no single byte decides
        shift = r.choice((1, 3, 9))
        return [*load, (0x07, 0, 0, 0), (0x74, 0, 0, shift), (0xAC, 0, 0, 0), (0x15, -1, 0, value ^ value >> shift)]
    if kind == 13:  # with another word
        other, code = r.choice((NR, ARCH, 16, 20)), r.choice((0xAC, 0x0C, 0x1C, 0x2D))
        compared = [(code, -1, 0, 0)] if code == 0x2D else [(code, 0, 0, 0), (0x15, -1, 0, r.choice((0, value, value ^ 0xC000003E)))]
        return [(0x20, 0, 0, other), (0x07, 0, 0, 0), *load, *compared]
    return [*load, (0x14, 0, 0, value), (0x35, -1, 0, r.choice((1, 4, 0x100)))]


def filters(r: random.Random) -> Iterator[list[tuple[int, int, int, int]]]:
    """Filters that the kernel takes, without end."""
    while True:
        blocks = []
        if r.random() < 0.8:
            blocks.append([*_test(r, ARCH, ARCH_VALUES), (0x06, 0, 0, r.choice(ACTIONS))])
        for _ in range(r.randrange(1, 5)):
            block = _test(r, NR, NUMBERS)
            if r.random() < 0.6:  # the number and then an argument, by one half or both
                index = 16 + 8 * r.randrange(6)
                block = [(*insn[:1], 0, -1, insn[3]) if insn[1] == -1 else insn for insn in block]
                for word in r.sample((index, index + 4), r.choice((1, 2))):
                    more = _test(r, word, VALUES)
                    block += [(*insn[:1], 0, -1, insn[3]) if insn[1] == -1 else insn for insn in more]
                blocks.append([*block, (0x06, 0, 0, r.choice(ACTIONS))])
            else:
                blocks.append([*block, (0x06, 0, 0, r.choice(ACTIONS))])
        program: list[tuple[int, int, int, int]] = []
        for block in blocks:
            size = len(block)
            for at, (code, jt, jf, k) in enumerate(block):
                # a branch of -1 leaves the block: past its return, or, where it is the true one, the false one skips the return
                if jt == -1 or jf == -1:
                    program.append((code, 0, size - at - 1, k))
                else:
                    program.append((code, jt, jf, k))
        yield [*program, (0x06, 0, 0, r.choice(ACTIONS))]


def data(audit: int, number: int, args: list[int], big_endian: bool) -> bytes:
    """struct seccomp_data in words as a filter loads them."""
    words = [number, audit, 0, 0]
    for value in args:
        low, high = value & 0xFFFFFFFF, value >> 32
        words += [high, low] if big_endian else [low, high]
    return b"".join(word.to_bytes(4, "big") for word in words)


def canonical(value: int) -> int:
    """What the kernel makes of a return value (kernel/seccomp.c, __seccomp_filter)."""
    action = value & 0xFFFF0000
    if action == 0x00050000:
        return action | min(value & 0xFFFF, 4095)
    if action in (0x00030000, 0x7FF00000):
        return value
    return action if action in (0, 0x80000000, 0x7FC00000, 0x7FFC0000, 0x7FFF0000) else 0x80000000


def _pick(r: random.Random, values: Sequence[int]) -> int:
    return values[int(r.random() * len(values))]


class PolicyJudge:
    """`lies`: what a policy said and a plain run of the filters does not do."""

    def __init__(self, r: random.Random, samples: int) -> None:
        self.r = r
        self.filters = filters(r)
        self.samples = samples
        self.counts: collections.Counter[str] = collections.Counter()
        self.lies: list[str] = []

    def one_policy(self) -> None:
        stack = [next(self.filters) for _ in range(self.r.choice((1, 1, 1, 2)))]
        insns = [[SockFilter(*insn) for insn in program] for program in stack]
        if any(check(program, "seccomp") for program in insns):
            self.counts["refused"] += 1
            return
        told = policy(insns)
        self.counts["policies"] += 1
        if told.unconfirmed is not None:
            self.counts["policies without a second key"] += 1
        interesting = [insn[3] for program in stack for insn in program if insn[0] & 7 == 5]
        chosen = [ARCHES[0], ARCHES[1], *self.r.sample(ARCHES[2:], 2)]
        known = {arch: told.of(arch) for arch in chosen}
        for _ in range(self.samples):
            self._sample(told, known, stack, interesting)

    def _sample(self, told: Policy, known: dict[Arch, ArchPolicy], stack: list[Insns], interesting: list[int]) -> None:
        r = self.r
        arch = r.choice(list(known))
        audit = arch.audit
        elsewhere = r.random() < 0.3
        if elsewhere:
            near = r.choice(ARCH_VALUES) ^ 1 << r.randrange(32)
            audit = r.choice((r.choice(ARCH_VALUES), r.choice(interesting), r.getrandbits(32), near))
            elsewhere = all(audit != one.audit for one in ARCHES)
            if not elsewhere:
                audit = arch.audit
        number = (_pick(r, NUMBERS), _pick(r, interesting), int(r.random() * 500), _pick(r, interesting) ^ 1 << int(r.random() * 32))[
            int(r.random() * 4)
        ]
        if arch.audit == 0xC000003E:
            arch = next(one for one in ARCHES if one.name == ("x32" if number & 0x40000000 and not number & 0x80000000 else "x86_64"))
        words = [(_pick(r, VALUES), _pick(r, interesting), r.getrandbits(32), 0)[int(r.random() * 4)] for _ in range(12)]
        args = [words[2 * i] << 32 | words[2 * i + 1] for i in range(6)]
        big_endian = arch.big_endian and not elsewhere
        expected = self._action(stack, data(audit, number, args, big_endian))
        self.counts["samples"] += 1
        if elsewhere:
            claimed = {told.other} if told.other is not None else set(told.elsewhere)
            if expected not in claimed:
                self.lies.append(f"{stack} arch {audit:#x} number {number} {args}: {expected:#x}, other architectures: {claimed}")
            return
        if not told.checks_arch:
            same = self._action(stack, data(ARCHES[0].audit if audit != ARCHES[0].audit else ARCH_VALUES[-1], number, args, big_endian))
            if same != expected:
                self.lies.append(f"{stack} number {number} {args}: the architecture is looked at")
        if told.checks_arch and arch.name != "x32" and all(one.arch != arch for one in told.arches):
            claimed = {told.other} if told.other is not None else set(told.elsewhere)
            if expected not in claimed:
                self.lies.append(f"{stack} {arch.name} is not listed, number {number} {args}: {expected:#x}, others: {claimed}")
        self._listed(known[arch], stack, number, args, expected)

    def _action(self, stack: list[Insns], seen: bytes) -> int:
        """What the kernel does with a system call: the strictest action, of equals the newest filter's."""
        action = ALLOW
        for program in reversed(stack):
            value = execute(program, seen)
            signed = [(x & 0xFFFF0000) - (2**32 if x & 0x80000000 else 0) for x in (value, action)]
            action = value if signed[0] < signed[1] else action
        return canonical(action)

    def _listed(self, told: ArchPolicy, stack: list[Insns], number: int, args: list[int], expected: int) -> None:
        rule = told.rule(number)
        if rule is None:
            self.counts["samples without a rule"] += 1
            return
        claimed = rule.otherwise
        for arm in rule.arms:
            held = [test.values.holds(args[test.argument]) if test.argument >= 0 and not test.text else None for test in arm.tests]
            if None in held:
                self.counts["samples under conditions that are text"] += 1
                return
            if all(held):
                claimed = arm.action
        if claimed != expected:
            shown = f"{told.arch.name} number {number} {list(map(hex, args))}"
            self.lies.append(f"{stack} {shown}: {expected:#x}, claimed {claimed:#x}: {rule}")
