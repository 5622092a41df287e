"""Audit lines of seccomp: which system call a filter refused, as the kernel, the audit daemon or the journal prints it.

    type=SECCOMP msg=audit(1611907092.540:26626): ... pid=7743 comm="cc" sig=31 arch=c000003e syscall=12 compat=0 ip=0x7f code=0x0
    audit: type=1326 audit(1611907092.540:26626): ...                                       the kernel's log
    ... sig=SIGSYS arch=aarch64 syscall=faccessat compat=0 ip=0xfff2 code=kill-thread       ausearch -i

audit_seccomp() of kernel/auditsc.c, Linux 6.18, writes the architecture and the code in hexadecimal, the number in decimal, no arguments.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bpflens.errors import InputError
from bpflens.isa.classic.syscalls import ARCHES, X32_BIT, Arch, find_arch, syscall_number

__all__ = ("AuditEvent", "has_events", "read_events")

_LINE = re.compile(r"^[^\n]*\barch=(?P<arch>\S+) syscall=(?P<call>\S+)[^\n]*$", re.MULTILINE)
_SIGN = re.compile(r"\bSECCOMP\b|\btype=1326\b|\bcode=|\bsig=")
_FIELD = re.compile(r'\b(pid|comm|exe|ip|code)=("[^"\n]*"|\S+)')
_CODES = {
    "kill-process": 0x80000000, "kill_process": 0x80000000, "kill-thread": 0, "kill": 0, "kill_thread": 0, "trap": 0x30000,
    "errno": 0x50000, "user-notif": 0x7FC00000, "trace": 0x7FF00000, "log": 0x7FFC0000, "allow": 0x7FFF0000,
}  # fmt: skip


class AuditEvent(NamedTuple):
    """One line: `number` as the filter sees it (x32's with bit 30), `code` the action without its data, None where the line has none.

    `pid`, `comm` and `exe` are those of the task, 0 and "" where the line has none; `line` counts from 1.
    """

    arch: Arch
    number: int
    code: int | None
    pid: int
    comm: str
    exe: str
    line: int


def has_events(text: str) -> bool:
    """Is there an audit line of seccomp in a text?"""
    return any(_SIGN.search(match[0]) for match in _LINE.finditer(text))


def read_events(text: str, where: str) -> list[AuditEvent]:
    """Every audit line of seccomp in a text; InputError where there is none, or an architecture or a system call has no meaning."""
    events = [_event(match, text.count("\n", 0, match.start()) + 1) for match in _LINE.finditer(text) if _SIGN.search(match[0])]
    if not events:
        raise InputError(where, "no audit line of seccomp", "such a line has arch=, syscall= and code=: journalctl -k -g type=1326")
    return events


def _event(match: re.Match[str], line: int) -> AuditEvent:
    fields = {name: value.strip('"') for name, value in _FIELD.findall(match[0])}
    arch = _arch(match["arch"])
    number = syscall_number("x32" if arch.name == "x32" else arch.name, match["call"])
    if arch.name == "x86_64" and number & X32_BIT and not number >> 31:
        arch = find_arch("x32")
    pid = fields.get("pid", "")
    task = int(pid) if pid.isascii() and pid.isdigit() else 0, fields.get("comm", ""), fields.get("exe", "")
    return AuditEvent(arch, number, _code(fields.get("code")), *task, line)


def _arch(text: str) -> Arch:
    """By its AUDIT_ARCH_ value in hexadecimal, or by its name (ausearch -i)."""
    try:
        value = int(text, 16)
    except ValueError:
        return find_arch(text)
    for arch in ARCHES:
        if arch.audit == value:
            return arch
    raise InputError(f"arch={text}", "is no architecture whose system calls are known here")


def _code(text: str | None) -> int | None:
    if text is None:
        return None
    if text.lower() in _CODES:
        return _CODES[text.lower()]
    try:
        return int(text, 16) & 0xFFFFFFFF
    except ValueError:
        return None
