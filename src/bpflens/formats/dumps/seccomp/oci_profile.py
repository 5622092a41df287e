"""A seccomp profile of a container (OCI runtime-spec, config-linux.md; Docker's default.json) -> the filter that it asks for.

    {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [...]}]}

The code is made here; it decides as the profile says, and is not the code that libseccomp would load. Where several entries name one
system call, those with conditions are asked first, in order. What depends on the container (`includes`, `excludes`) is left out, and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bpflens.errors import InputError
from bpflens.formats.dumps.seccomp.seccomp_code import ARCH, ARG, NR, If, Return, Statement, Test, action_value, code_of
from bpflens.isa.classic.insn import encode
from bpflens.isa.classic.syscalls import ARCHES, X32_BIT, Arch, syscall_names
from bpflens.program import Isa, Origin, Program

__all__ = ("is_profile", "read")

_EPERM = 1
_KILL = 0
_LOW, _FULL = 0xFFFFFFFF, (1 << 64) - 1
_CONDITIONS = frozenset(("includes", "excludes"))


def is_profile(value: Any) -> bool:
    """An object with a default action and a list of system calls."""
    return isinstance(value, dict) and isinstance(value.get("defaultAction"), str) and isinstance(value.get("syscalls", []), list)


def read(profile: Mapping[str, Any], origin: Origin) -> Program:
    """The filter; InputError naming what of the profile cannot be read."""
    problems: dict[str, None] = {}
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"), origin)
    statements: list[Statement] = []
    for arch in _arches(profile, origin):
        body = [*_of_arch(profile, arch, origin, problems), Return(default)]
        statements.append(If((Test(ARCH, "==", arch.audit),), tuple(body)))
    statements.append(Return(_KILL))  # libseccomp's SCMP_FLTATR_ACT_BADARCH
    said = Origin(origin.source, origin.where, None, origin.lineno, "SECCOMP", note="seccomp filter, made from a container's profile",
                  warnings=tuple(problems))  # fmt: skip
    return Program(Isa.CLASSIC, encode(code_of(statements)), said)


def _arches(profile: Mapping[str, Any], origin: Origin) -> list[Arch]:
    names = profile.get("architectures")
    if names is None:
        table = profile.get("archMap") or []
        names = [each for row in table if isinstance(row, dict) for each in (row.get("architecture"), *(row.get("subArchitectures") or ()))]
    names = [name for name in names if isinstance(name, str)] or ["SCMP_ARCH_X86_64"]
    known = {arch.scmp: arch for arch in ARCHES if arch.scmp}
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(origin.where, f"no architecture {missing[0][:40]!r}")
    audits: dict[int, Arch] = {}
    for arch in sorted((known[name] for name in dict.fromkeys(names)), key=lambda arch: arch.name == "x32"):
        audits.setdefault(arch.audit, arch)
    return list(audits.values())


def _of_arch(profile: Mapping[str, Any], arch: Arch, origin: Origin, problems: dict[str, None]) -> Iterator[Statement]:
    """A decision for each system call that the profile names and the architecture has."""
    numbers = {name: number for number, name in syscall_names(arch.name).items()}
    if arch.name == "x86_64":
        yield If((Test(NR, ">=", X32_BIT), Test(NR, "!=", _LOW)), (Return(_KILL),))  # as libseccomp has it; -1 is a tracer's
    rules: dict[str, tuple[list[Statement], list[int]]] = {}
    for entry in profile.get("syscalls") or ():
        if not isinstance(entry, dict):
            raise InputError(origin.where, "an entry of syscalls is no object")
        names = [name for name in (*(entry.get("names") or ()), entry.get("name")) if isinstance(name, str)]
        if any(entry.get(key) for key in _CONDITIONS):
            problems[f"{_shown(names)}: the rule depends on the container (includes, excludes): it is left out"] = None
            continue
        action = _action(entry.get("action"), entry.get("errnoRet"), origin)
        alternatives = list(_alternatives(entry.get("args") or (), arch, origin))
        for name in names:
            conditional, unconditional = rules.setdefault(name, ([], []))
            if entry.get("args"):
                conditional += [If(tests, (Return(action),)) for tests in alternatives]
            else:
                unconditional.append(action)
    for name, (conditional, unconditional) in rules.items():
        if name in numbers:
            body = (*conditional, *map(Return, unconditional[-1:]))
            yield If((Test(NR, "==", numbers[name]),), body)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _action(name: Any, errno: Any, origin: Origin) -> int:
    data = errno if isinstance(errno, int) else _EPERM
    short = name.removeprefix("SCMP_ACT_") if isinstance(name, str) else ""
    value = action_value(short, data if short in ("ERRNO", "TRACE") else 0)
    if value is None:
        raise InputError(origin.where, f"no action {str(name)[:40]!r}")
    return value


def _alternatives(args: Any, arch: Arch, origin: Origin) -> Iterator[tuple[Test, ...]]:
    """Lists of tests; the entry applies where one list holds. Several comparisons of one argument are alternatives, as runc has it."""
    indexes = [arg.get("index") if isinstance(arg, dict) else None for arg in args]
    if any(not isinstance(index, int) or not 0 <= index < 6 for index in indexes):
        raise InputError(origin.where, "args: the index of an argument is 0 to 5")
    if len(set(indexes)) == len(indexes):
        lists: list[tuple[Test, ...]] = [()]
        for arg in args:
            lists = [(*before, *tests) for before in lists for tests in _comparison(arg, arch, origin)]
        yield from lists
    else:
        for arg in args:
            yield from _comparison(arg, arch, origin)


def _comparison(arg: Mapping[str, Any], arch: Arch, origin: Origin) -> list[tuple[Test, ...]]:
    """One comparison of a 64-bit argument as tests of its halves: alternatives, each a list that must hold."""
    op, value, second = arg.get("op"), arg.get("value"), arg.get("valueTwo", 0)
    if not isinstance(value, int) or not isinstance(second, int) or not 0 <= value <= _FULL or not 0 <= second <= _FULL:
        raise InputError(origin.where, "args: a value is a number of 64 bits")
    low = ARG + 8 * int(arg["index"]) + 4 * arch.big_endian
    high = ARG + 8 * int(arg["index"]) + 4 * (not arch.big_endian)
    top, bottom = value >> 32, value & _LOW
    match op:
        case "SCMP_CMP_EQ":
            return [(Test(high, "==", top), Test(low, "==", bottom))]
        case "SCMP_CMP_NE":
            return [(Test(high, "!=", top),), (Test(low, "!=", bottom),)]
        case "SCMP_CMP_MASKED_EQ":
            return [(Test(high, "==", second >> 32, value >> 32), Test(low, "==", second & _LOW, bottom))]
        case "SCMP_CMP_GT" | "SCMP_CMP_GE" | "SCMP_CMP_LT" | "SCMP_CMP_LE":
            strict = ">" if op[-2] == "G" else "<"
            last = strict + ("=" if op.endswith("E") else "")
            return [(Test(high, strict, top),), (Test(high, "==", top), Test(low, last, bottom))]
    raise InputError(origin.where, f"args: no comparison {str(op)[:40]!r}")
