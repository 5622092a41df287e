"""Decisions in words, as libseccomp prints them or a container's profile has them -> the seccomp filter that makes them.

    [If(Test(0, "==", 16), [Return(0x50001)]), Return(0x7fff0000)]
        ──►  ld [0]; jeq #16, 1, 0; ja 1; ret #0x50001; ret #0x7fff0000

Far jumps go through `ja`, so that a body of any length can be skipped; a field that is in the accumulator already is not loaded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpflens.isa.classic.insn import SockFilter

__all__ = ("ACTIONS", "ARCH", "ARG", "NR", "If", "Return", "Statement", "Test", "action_value", "code_of")

NR, ARCH, ARG = 0, 4, 16
"""Byte offsets in struct seccomp_data (include/uapi/linux/seccomp.h); argument N begins at ARG + 8 * N, its low half first on
little-endian machines."""

ACTIONS = {
    "KILL_PROCESS": 0x80000000, "KILL_THREAD": 0, "KILL": 0, "TRAP": 0x30000, "ERRNO": 0x50000, "NOTIFY": 0x7FC00000,
    "USER_NOTIF": 0x7FC00000, "TRACE": 0x7FF00000, "LOG": 0x7FFC0000, "ALLOW": 0x7FFF0000,
}  # fmt: skip

_LD_ABS, _LD_IMM, _AND, _JA, _RET = 0x20, 0x00, 0x54, 0x05, 0x06
_JUMPS = {"==": (0x15, True), "!=": (0x15, False), ">": (0x25, True), "<=": (0x25, False), ">=": (0x35, True), "<": (0x35, False)}


@dataclass(frozen=True, slots=True)
class Test:
    """The word at `offset`, under `mask`, compared with `value`."""

    offset: int
    op: str
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Return:
    """The filter ends with this value."""

    value: int


@dataclass(frozen=True, slots=True)
class If:
    """`body` where all tests hold; then, where the body does not end, what follows."""

    tests: tuple[Test, ...]
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


Statement = If | Return


def action_value(name: str, data: int = 0) -> int | None:
    """The return value of an action by name, without its prefix: "ERRNO", 1 -> 0x50001. None: unknown."""
    action = ACTIONS.get(name)
    return None if action is None else action | (data & 0xFFFF)


def code_of(statements: Sequence[Statement]) -> tuple[SockFilter, ...]:
    """The instructions that make the decisions in order."""
    out: list[list[int]] = []
    _emit(statements, out, None)
    return tuple(SockFilter(*insn) for insn in out)


def _emit(statements: Sequence[Statement], out: list[list[int]], loaded: int | None) -> None:
    """`loaded`: the word that the accumulator holds unmasked, on every way here."""
    for statement in statements:
        if isinstance(statement, Return):
            out.append([_RET, 0, 0, statement.value])
            return
        skips = []
        for test in statement.tests:
            if loaded != test.offset:
                out.append([_LD_ABS, 0, 0, test.offset])
                loaded = test.offset
            if test.mask != 0xFFFFFFFF:
                out.append([_AND, 0, 0, test.mask])
                loaded = None
            code, positive = _JUMPS[test.op]
            out.append([code, int(positive), int(not positive), test.value])
            skips.append(len(out))
            out.append([_JA, 0, 0, 0])
        single = loaded if len(statement.tests) == 1 else None  # with several, the ways to the end differ
        _emit(statement.body, out, loaded)
        if statement.otherwise:
            ends = not _falls_through(statement.body)
            if not ends:
                out.append([_JA, 0, 0, 0])
            after = len(out) - 1
        for at in skips:
            out[at][3] = len(out) - at - 1
        if statement.otherwise:
            _emit(statement.otherwise, out, single)
            if not ends:
                out[after][3] = len(out) - after - 1
            single = None
        loaded = single if not _falls_through(statement.body) else None


def _falls_through(body: Sequence[Statement]) -> bool:
    """Execution may go on behind a body; said without looking into conditions."""
    if not body:
        return True
    last = body[-1]
    if isinstance(last, Return):
        return False
    return not last.otherwise or _falls_through(last.body) or _falls_through(last.otherwise)
