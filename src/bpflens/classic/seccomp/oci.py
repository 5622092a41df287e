"""A seccomp policy as the `linux.seccomp` object of an OCI runtime configuration (runtime-spec, config-linux.md), which Docker takes too.

    profile(policy, [x86_64])  ──►  {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": [...], "syscalls": [...]}

A profile has one list of syscalls for all its architectures, and conditions that compare one argument with one number. What a filter does
beyond that is left out and said: the second result names each syscall and why. Where it is empty the profile is the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bpflens.classic.seccomp.policy.actions import oci_action
from bpflens.classic.seccomp.policy.policy import Policy
from bpflens.classic.seccomp.policy.rules import Arm, Rule
from bpflens.classic.seccomp.policy.values import FULL, LOW, Values
from bpflens.isa.classic.syscalls import X32_BIT, Arch

__all__ = ("profile",)

_MOST_ENTRIES = 64
_MOST_VALUES = 32
_64_BIT = 0x80000000  # __AUDIT_ARCH_64BIT


def profile(policy: Policy, arches: Sequence[Arch]) -> tuple[dict[str, Any], list[str]]:
    """The profile for the given architectures (the first one decides where they differ), and what it does not say."""
    problems: list[str] = []
    own = [policy.of(arch) for arch in arches]
    first = own[0]
    action, errno = oci_action(first.default)
    result: dict[str, Any] = {"defaultAction": action}
    if errno is not None:
        result["defaultErrnoRet"] = errno
    result["architectures"] = [arch.scmp for arch in arches if arch.scmp]
    problems += [f"{arch.name} has no name in OCI profiles" for arch in arches if not arch.scmp]
    entries: dict[str, list[dict[str, Any]]] = {}
    differing: list[str] = []
    for other in reversed(own):
        for rule in other.known:
            assert rule.name is not None
            said = list(_entries(rule, other.default, problems, other.arch))
            if rule.name in entries and entries[rule.name] != said:
                differing.append(rule.name)
            entries[rule.name] = said
    if differing:
        problems.append(f"one syscall, different between architectures: {' '.join(differing)} (written as for the first that has it)")
    for other in own:
        if other.default != first.default:
            problems.append(f"the default of {other.arch.name} differs from {first.arch.name}'s")
        problems += [
            f"numbers {rule.first} to {rule.last} of {other.arch.name} have no name and an action of their own"
            for rule in other.unknown
            if rule.actions != {other.default} and rule.first < X32_BIT
        ]
    result["syscalls"] = list(_grouped(entries))
    return result, list(dict.fromkeys(problems))


def _entries(rule: Rule, default: int, problems: list[str], arch: Arch) -> Iterator[dict[str, Any]]:
    """What the profile says of one syscall, without its name."""
    if rule.otherwise != default:
        if rule.arms:
            problems.append(f"{rule.name} of {arch.name}: two conditional actions besides the default")
        action, errno = oci_action(rule.otherwise)
        yield {"action": action, **({"errnoRet": errno} if errno is not None else {})}
        return
    for arm in rule.arms:
        combinations = _combinations(arm, arch)
        if combinations is None:
            problems.append(f"{rule.name} of {arch.name}: a condition that no comparison of a profile can state")
            continue
        action, errno = oci_action(arm.action)
        for args in combinations:
            yield {"action": action, **({"errnoRet": errno} if errno is not None else {}), "args": args}


def _combinations(arm: Arm, arch: Arch) -> list[list[dict[str, Any]]] | None:
    """Alternatives, each a list of comparisons that must all hold; None where there is no such form."""
    if len({test.argument for test in arm.tests}) < len(arm.tests):
        return None  # one comparison for each argument
    combinations: list[list[dict[str, Any]]] = [[]]
    for test in arm.tests:
        if test.argument < 0 or test.text:
            return None
        values = test.values
        if values.mask == LOW and (not arch.audit & _64_BIT or arch.name == "x32"):
            values = values._replace(mask=FULL)  # registers of 32 bits: the low word is all
        choices = _comparisons(values)
        if choices is None or len(combinations) * len(choices) > _MOST_ENTRIES:
            return None
        combinations = [[*before, *({"index": test.argument, **c} for c in choice)] for before in combinations for choice in choices]
    return combinations


def _comparisons(values: Values) -> list[list[dict[str, Any]]] | None:
    """Alternatives for one argument: any of the lists must hold."""
    if values.ranges is None:
        return None
    mask, ranges = values.mask, values.ranges
    if mask != FULL:
        if values.negated:
            if ranges == ((0, 0),):
                bits = [1 << bit for bit in range(64) if mask >> bit & 1]
                return [[_compare("MASKED_EQ", bit, bit)] for bit in bits]
            return None
        if all(low == high for low, high in ranges):
            return [[_compare("MASKED_EQ", mask, low)] for low, _ in ranges]
        return None
    if values.negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return [[_compare("NE", ranges[0][0])]]
    alternatives: list[list[dict[str, Any]]] = []
    for low, high in _gaps(ranges) if values.negated else ranges:
        # libseccomp takes one comparison for each argument of a rule, and runc ors several: a range with two ends has none
        if low == high or (high - low < _MOST_VALUES and low and high < FULL):
            alternatives += [[_compare("EQ", value)] for value in range(low, high + 1)]
        elif low == 0:
            alternatives.append([_compare("LE", high)])
        elif high == FULL:
            alternatives.append([_compare("GE", low)])
        else:
            return None
    return alternatives


def _gaps(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = 0
    for low, high in ranges:
        if low > start:
            yield start, low - 1
        start = high + 1
    if start <= FULL:
        yield start, FULL


def _compare(operator: str, value: int, second: int | None = None) -> dict[str, Any]:
    return {"value": value, **({"valueTwo": second} if second is not None else {}), "op": f"SCMP_CMP_{operator}"}


def _grouped(entries: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Syscalls with the same entry share it, as profiles are written."""
    groups: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for name in sorted(entries):
        for entry in entries[name]:
            groups.setdefault(repr(entry), ([], entry))[0].append(name)
    for names, entry in groups.values():
        yield {"names": names, **entry}
