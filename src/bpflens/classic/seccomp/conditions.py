"""Conditions of a seccomp policy in words of C: argument names, flags and constants.

    Test(0, Values(0x7e020000, ((0, 0),)))  of clone   ──►   clone_flags & (CLONE_NEWNS|CLONE_NEWCGROUP|...) == 0
    Test(0, Values(2^32-1, ((40, 40),), negated=True)) of socket   ──►   family != AF_VSOCK
    Test(0, Values(2^64-1, ((40, 40),), negated=True)) of socket   ──►   (u64)family != AF_VSOCK

A name alone is what the kernel takes of the register: all of it, or the low half of an int. (u64) and (u32) say that the filter looks at
all 64 bits of an argument of which the kernel takes fewer, or at the low half of one that it takes whole (`looked_at` in words).
"""

from __future__ import annotations

from bpflens.classic.seccomp.constants import value_text
from bpflens.classic.seccomp.policy.rules import Arm, Test
from bpflens.classic.seccomp.policy.values import FULL, LOW
from bpflens.isa.classic.syscalls import Arch, argument

__all__ = ("argument_name", "arm_text", "looked_at", "test_text")

_SHOWN_RANGES = 24


def argument_name(arch: Arch, syscall: str | None, index: int) -> str:
    """The name of an argument: args[i] where it is not known."""
    if index == -1:
        return "instruction_pointer"
    found = argument(arch.name, syscall, index)
    return found.name if found else f"args[{index}]"


def arm_text(arm: Arm, arch: Arch, syscall: str | None) -> str:
    """All conditions of an arm."""
    return " and ".join(test_text(test, arch, syscall) for test in arm.tests) or "always"


def test_text(test: Test, arch: Arch, syscall: str | None) -> str:
    """One condition as a C expression (with "in" for sets)."""
    if test.text:
        return test.text
    name = argument_name(arch, syscall, test.argument)
    values = test.values
    mask = values.mask
    if values.ranges is None:
        return f"{name} in a set of values that has no short form (for example {value_text(syscall, name, values.example, arch.name)})"
    found = argument(arch.name, syscall, test.argument) if test.argument >= 0 else None
    narrow = arch.bits == 32 or (found is not None and found.is_32_bit)
    if mask == FULL and narrow and arch.bits == 64:  # the kernel takes the low half only
        return _in_ranges(f"(u64){name}", values.ranges, values.negated, mask, syscall, name, arch)
    if mask == FULL or (mask == LOW and narrow):
        return _in_ranges(name, values.ranges, values.negated, mask, syscall, name, arch)
    if mask == LOW:
        return _in_ranges(f"(u32){name}", values.ranges, values.negated, mask, syscall, name, arch)
    if mask == FULL ^ LOW:
        shifted = tuple((low >> 32, high >> 32) for low, high in values.ranges)
        return _in_ranges(f"({name} >> 32)", shifted, values.negated, LOW, None, name, arch)
    bits = value_text(syscall, name, mask, arch.name)
    bits = f"({bits})" if "|" in bits else bits if bits[0].isalpha() else hex(mask)
    return _in_ranges(f"{name} & {bits}", values.ranges, values.negated, mask, syscall, name, arch)


def looked_at(test: Test, arch: Arch, syscall: str | None) -> dict[str, object]:
    """Which bits of an argument a test looks at ("all 64 bits", "the low half", ...), and how many the kernel takes of it."""
    found = argument(arch.name, syscall, test.argument) if test.argument >= 0 else None
    mask = test.values.mask
    which = "the low half" if mask <= LOW else "the high half" if mask & LOW == 0 else "all 64 bits" if mask == FULL else "both halves"
    return {
        "argument": test.argument,
        "name": argument_name(arch, syscall, test.argument),
        "looks_at": which,
        "mask": mask,
        "kernel_takes_bits": min(found.bits, arch.bits) if found is not None else None,
    }


def _in_ranges(
    left: str, ranges: tuple[tuple[int, int], ...], negated: bool, mask: int, syscall: str | None, name: str, arch: Arch
) -> str:
    masked = mask not in (FULL, LOW)

    def say(value: int) -> str:
        return "0" if masked and value == 0 else value_text(syscall, name, value, arch.name)

    if len(ranges) == 1:
        low, high = ranges[0]
        if low == high:
            return f"{left} {'!=' if negated else '=='} {say(low)}"
        if low == 0:
            return f"{left} {'>' if negated else '<='} {say(high)}"
        if high == mask:
            return f"{left} {'<' if negated else '>='} {say(low)}"
        return f"{left} < {say(low)} or {left} > {say(high)}" if negated else f"{say(low)} <= {left} <= {say(high)}"
    words = [say(low) if low == high else f"{say(low)}..{say(high)}" for low, high in ranges[:_SHOWN_RANGES]]
    if len(ranges) > _SHOWN_RANGES:
        words.append(f"... {len(ranges) - _SHOWN_RANGES} more")
    return f"{left} {'not in' if negated else 'in'} {{{', '.join(words)}}}"
