"""Policies in words and in a few of them; conditions that many calls share; newer calls that are refused with the wrong error."""

from __future__ import annotations

import pytest

from bpflens.classic.explain import explain
from bpflens.classic.explain_policy import explain_policy, is_policy
from bpflens.classic.seccomp.findings import findings
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.classic.seccomp.words import policy_in_short, policy_of, policy_words
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.pcap.libpcap import compile_program
from bpflens.isa.classic.insn import SockFilter, decode
from bpflens.isa.classic.syscalls import find_arch
from bpflens.program import Program
from bpflens.view.text.seccomp import policy_text

HEAD = "32 0 0 4,21 1 0 3221225534,6 0 0 0,32 0 0 0,53 0 1 1073741824,6 0 0 0"


def _program(*rest: str) -> Program:
    insns = [*HEAD.split(","), *rest]
    return read_programs("\n".join([str(len(insns)), *insns]).encode(), "-")[0]


BY_POINTER = _program("32 0 0 12", "21 0 3 32512", "32 0 0 8", "53 0 1 65536", "6 0 0 2147418112", "6 0 0 196608")
EPERM, ENOSYS, ALLOW, KILL = "6 0 0 327681", "6 0 0 327718", "6 0 0 2147418112", "6 0 0 2147483648"
SHORT = [
    (_program("21 0 1 435", EPERM, ALLOW), "denies 1 call: EPERM"),
    (_program("21 1 0 59", "21 0 1 57", KILL, ALLOW), "denies 2 calls: KILL_PROCESS"),
    (_program("21 0 3 16", "32 0 0 24", "21 0 1 21522", EPERM, ALLOW), "denies ioctl by arguments"),
    (_program("21 1 0 0", "21 0 1 1", ALLOW, KILL), "allows 2 calls, else KILL_PROCESS"),
    (_program(ALLOW), "allows every system call"),
    (_program(KILL), "allows no system call, else KILL_PROCESS"),
    (BY_POINTER, "allows 373 calls by arguments, else TRAP"),
]


@pytest.mark.parametrize(("program", "short"), SHORT)
def test_a_policy_in_a_few_words(program: Program, short: str) -> None:
    assert explain_policy(program, decode(program.code)).short == short


def test_a_condition_of_all_is_said_once() -> None:
    where = "0x7f0000010000 <= instruction_pointer <= 0x7f00ffffffff"
    assert explain(BY_POINTER).words[0] == f"x86_64: ALLOW for everything where {where}; else TRAP."
    text = list(policy_text(policy([decode(BY_POINTER.code)])))
    assert f"      everything where {where}" in text and len(text) < 16


def test_newer_calls_need_enosys() -> None:
    arch = find_arch("x86_64")

    def found(program: Program) -> list[tuple[str, tuple[str, ...]]]:
        every = findings(policy([decode(program.code)]), arch)
        return [(finding.severity, finding.syscalls) for finding in every if finding.id == "no-fallback"]

    assert found(_program("21 0 1 435", EPERM, ALLOW)) == [("medium", ("clone3",))]
    assert found(_program("21 0 1 435", ENOSYS, ALLOW)) == []
    assert found(_program("21 0 1 334", EPERM, ALLOW)) == [("low", ("rseq",))]


def test_who_decides_on_system_calls() -> None:
    packets = compile_program("ip[0:4] = 0 and len > 3")
    assert not is_policy(packets, decode(packets.code), None)
    assert is_policy(BY_POINTER, decode(BY_POINTER.code), None) and not is_policy(BY_POINTER, decode(BY_POINTER.code), "EN10MB")
    assert is_policy(packets, decode(packets.code), "seccomp")


def test_numbers_without_a_name_are_told() -> None:
    """Number 1000 has no name here and may have one on a newer kernel: "KILL_PROCESS" alone would be false."""
    arch = [SockFilter(0x20, 0, 0, 4), SockFilter(0x15, 1, 0, 0xC000003E), SockFilter(6, 0, 0, 0x80000000)]

    def filter_of(then: int, otherwise: int) -> list[SockFilter]:
        number = [SockFilter(0x20, 0, 0, 0), SockFilter(0x15, 0, 1, 1000), SockFilter(6, 0, 0, then), SockFilter(6, 0, 0, otherwise)]
        return [*arch, *number]

    one, none = policy_of(filter_of(0x7FFF0000, 0x80000000)), policy_of(filter_of(0x80000000, 0x7FFF0000))
    assert policy_words(one)[0] == "x86_64: ALLOW for number 1000 (no name); else KILL_PROCESS."
    assert policy_in_short(one) == "allows no system call that has a name, else KILL_PROCESS"
    assert policy_words(none)[0] == "x86_64: KILL_PROCESS for number 1000 (no name); else ALLOW."
    assert policy_in_short(none) == "allows every system call that has a name"
