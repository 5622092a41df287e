"""Audit lines of seccomp: read in every form, and mapped to the rule and the instruction behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.classic.machine.interpreter import trace
from bpflens.classic.seccomp.events import judge
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.classic.seccomp.policy.stack import seccomp_data
from bpflens.classic.seccomp.reached import reached
from bpflens.errors import BpflensError, InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.dumps.seccomp.audit_events import has_events, read_events
from bpflens.isa.classic.insn import decode
from bpflens.isa.classic.syscalls import ARCHES, find_arch

FILTER = (
    "10,32 0 0 4,21 1 0 3221225534,6 0 0 0,32 0 0 0,21 3 0 12,21 0 3 41,32 0 0 16,21 0 1 10,6 0 0 327681,6 0 0 2147418112"
)
INSNS = decode(read_programs(FILTER.encode(), "-")[0].code)
NUMERIC = 'audit: type=1326 audit(1611907092.540:26626): pid=7743 comm="cc" sig=0 arch=c000003e syscall=12 compat=0 ip=0x7f code=0x50000'
LINES = [
    (NUMERIC, ("x86_64", 12, 0x50000, 7743, "cc")),
    (
        "type=SECCOMP msg=audit(03/04/2025 07:39:37.599:201) : auid=unset pid=6464 comm=addconn exe=/usr/libexec/ipsec/addconn sig=SIGSYS "
        "arch=aarch64 syscall=faccessat compat=0 ip=0xffff92e23698 code=kill-thread",
        ("arm64", 48, 0, 6464, "addconn"),
    ),
    (
        'audit[7053]: SECCOMP auid=4294967295 uid=998 pid=7053 comm="pyzor" exe="/usr/bin/python2.7" sig=31 arch=c000003e syscall=141 '
        "compat=0 ip=0x7f085ec6abf7 code=0x0",
        ("x86_64", 141, 0, 7053, "pyzor"),
    ),
    ("type=1326 sig=31 arch=c000003e syscall=1073741825 compat=0 code=0x80000000", ("x32", 0x40000001, 0x80000000, 0, "")),
    ("type=SECCOMP sig=31 arch=40000003 syscall=5 compat=1 ip=0xf7 code=0x0", ("i386", 5, 0, 0, "")),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_forms(line: str, expected: tuple[object, ...]) -> None:
    (event,) = read_events(line, "-")
    assert (event.arch.name, event.number, event.code, event.pid, event.comm) == expected and has_events(line)


def test_what_is_none() -> None:
    for line in ("type=SYSCALL arch=c000003e syscall=2 success=yes", ""):
        with pytest.raises(InputError):
            read_events(line, "-")
    with pytest.raises(BpflensError):
        read_events("type=SECCOMP sig=31 arch=deadbeef syscall=2 code=0x0", "-")


def test_the_rule_and_the_instruction() -> None:
    found = policy([INSNS])
    x86 = find_arch("x86_64")

    brk = judge(found, x86, 12, 0x50000)
    assert brk.agrees and [(d.filter, d.pc) for d in brk.decisions] == [(1, 8)] and brk.rule.otherwise == 0x50001
    socket = judge(found, x86, 41, 0x80000000)
    assert socket.agrees is False and socket.decisions == ()
    assert judge(found, find_arch("i386"), 5, 0).decisions[0].pc == 2
    assert {d.pc for d in judge(found, x86, 41, None).decisions} == {8, 9}


@given(st.sampled_from(ARCHES), st.integers(0, 500), st.lists(st.integers(0, (1 << 64) - 1), min_size=6, max_size=6))
def test_what_runs_is_reached(arch, number, args) -> None:
    data = seccomp_data(arch, number, args)
    last = list(trace(INSNS, data))[-1]
    found = reached(INSNS, arch.audit, number)
    assert found is not None and last.pc in found
