"""Denials that the half of a register passes, and architectures that are told exactly; the running kernel is the judge of both."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import struct

import pytest

from bpflens.classic.seccomp.findings import findings
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import find_arch
from seccomp_seams import PolicyJudge

X86_64 = 0xC000003E
ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
ARCH = [(0x20, 0, 0, 4), (0x15, 1, 0, X86_64), (0x06, 0, 0, KILL)]


def program(*insns: tuple[int, int, int, int]) -> list[SockFilter]:
    return [SockFilter(*insn) for insn in (*ARCH, *insns)]


def denies(number: int, argument: int, value: int, both: bool) -> list[SockFilter]:
    """EPERM for one value of an argument, by both halves of its register or by the low one."""
    at = 16 + 8 * argument
    high = [(0x20, 0, 0, at + 4), (0x15, 0, 2, 0)] if both else []
    low = [(0x20, 0, 0, at), (0x15, 1, 0, value)]
    return program((0x20, 0, 0, 0), (0x15, 0, len(high) + 2, number), *high, *low, (0x06, 0, 0, ALLOW), (0x06, 0, 0, EPERM))


def halves(insns: list[SockFilter]) -> list[tuple[str, str]]:
    found = findings(policy([insns]), find_arch("x86_64"))
    return [(one.id, one.syscalls[0]) for one in found if one.id.startswith("high-half")]


def test_all_64_bits_of_an_int_are_passed_by_the_high_half() -> None:
    assert halves(denies(41, 0, 2, both=True)) == [("high-half-passes", "socket")]
    assert halves(denies(16, 1, 0x5412, both=True)) == [("high-half-passes", "ioctl")]
    assert halves(denies(41, 0, 2, both=False)) == []


def negative(number: int, argument: int, value: int, then: int, otherwise: int) -> list[SockFilter]:
    """`then` for one negative value of an argument in all 64 bits, ALLOW for every other system call."""
    at = 16 + 8 * argument
    compared = [(0x20, 0, 0, at + 4), (0x15, 0, 3, 0xFFFFFFFF), (0x20, 0, 0, at), (0x15, 0, 1, value)]
    return program((0x20, 0, 0, 0), (0x15, 0, 6, number), *compared, (6, 0, 0, then), (6, 0, 0, otherwise), (6, 0, 0, ALLOW))


def test_a_negative_int_in_all_64_bits_is_passed_by_the_high_half() -> None:
    assert halves(negative(62, 0, 0xFFFFFFFF, EPERM, ALLOW)) == [("high-half-passes", "kill")]
    assert halves(negative(257, 0, 0xFFFFFF9C, EPERM, ALLOW)) == [("high-half-passes", "openat")]  # AT_FDCWD


def test_what_allows_one_value_only_is_no_such_mistake() -> None:
    assert halves(negative(62, 0, 0xFFFFFFFF, ALLOW, EPERM)) == []
    only_unix = [(0x20, 0, 0, 20), (0x15, 0, 3, 0), (0x20, 0, 0, 16), (0x15, 0, 1, 1), (6, 0, 0, ALLOW), (6, 0, 0, EPERM)]
    assert halves(program((0x20, 0, 0, 0), (0x15, 0, 6, 41), *only_unix, (6, 0, 0, ALLOW))) == []


def test_the_low_half_of_a_long_is_passed_by_the_high_half() -> None:
    # truncate(path, length): more than 4096 bytes
    limited = program((0x20, 0, 0, 0), (0x15, 0, 2, 76), (0x20, 0, 0, 24), (0x25, 1, 0, 4096), (0x06, 0, 0, ALLOW), (0x06, 0, 0, EPERM))

    assert halves(limited) == [("high-half-ignored", "truncate")]


def test_flags_in_the_low_half_are_no_such_mistake() -> None:
    # mmap(..., prot): PROT_EXEC
    no_exec = program((0x20, 0, 0, 0), (0x15, 0, 2, 9), (0x20, 0, 0, 32), (0x45, 1, 0, 4), (0x06, 0, 0, ALLOW), (0x06, 0, 0, EPERM))

    assert halves(no_exec) == []


def test_an_allowlist_that_compares_all_64_bits_is_right() -> None:
    insns = program(
        (0x20, 0, 0, 0), (0x15, 0, 4, 41), (0x20, 0, 0, 20), (0x15, 0, 2, 0), (0x20, 0, 0, 16), (0x15, 1, 0, 1), (0x06, 0, 0, EPERM),
        (0x06, 0, 0, ALLOW),
    )  # fmt: skip

    assert halves(insns) == []


@pytest.mark.live
@pytest.mark.parametrize("both", [True, False])
def test_the_kernel_takes_the_low_half_of_family(both: bool) -> None:
    """In a child: socket(AF_INET) is denied; the same with something in the high half passes where the filter looks at all 64 bits."""
    if os.uname().machine != "x86_64":
        pytest.skip("this kernel lacks x86_64's numbers")
    insns = denies(41, 0, 2, both)
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *insn) for insn in insns))
    argument = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(insns), ctypes.addressof(code)))
    child = os.fork()
    if child == 0:
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        if libc.prctl(22, 2, argument, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            os._exit(9)
        libc.syscall.argtypes = (ctypes.c_long,) * 4
        plain = libc.syscall(41, 2, 1, 0)
        refused = plain == -1 and ctypes.get_errno() == errno.EPERM
        passed = libc.syscall(41, 0x100000002, 1, 0) >= 0
        os._exit(refused | passed << 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (3 if both else 1)


def test_an_architecture_told_by_its_low_half_is_allowed_elsewhere() -> None:
    insns = [(0x20, 0, 0, 4), (0x54, 0, 0, 65535), (0x15, 0, 1, 252), (0x06, 0, 0, ALLOW), (0x06, 0, 0, KILL)]
    found = policy([[SockFilter(*insn) for insn in insns]])

    assert found.other is None
    assert set(found.elsewhere) == {ALLOW, KILL}
    assert found.elsewhere[ALLOW] == 0x400000FC  # csky
    assert found.unconfirmed is None


def test_a_number_times_three_is_solved() -> None:
    insns = [(0x20, 0, 0, 4), (0x15, 0, 5, X86_64), (0x20, 0, 0, 0), (0x24, 0, 0, 3), (0x15, 1, 0, 177), (0x06, 0, 0, ALLOW),
             (0x06, 0, 0, EPERM), (0x06, 0, 0, KILL)]  # fmt: skip
    found = policy([[SockFilter(*insn) for insn in insns]]).of(find_arch("x86_64"))

    assert [rule.name for rule in found.known if rule.otherwise == EPERM] == ["execve"]
    assert found.default == ALLOW


@pytest.mark.parametrize("seed", range(3))
def test_no_sample_of_a_policy_is_false(seed: int) -> None:
    judge = PolicyJudge(random.Random(seed), 400)
    for _ in range(4):
        judge.one_policy()

    assert judge.lies == []
    assert judge.counts["samples"] > 900


WITH_ITSELF = [(0x20, 0, 0, 4), (0x07, 0, 0, 0), (0x74, 0, 0, 1), (0xAC, 0, 0, 0)]  # arch ^ arch >> 1
NR_AND_ARCH = [(0x20, 0, 0, 4), (0x07, 0, 0, 0), (0x20, 0, 0, 0), (0xAC, 0, 0, 0)]  # nr ^ arch


def ending(*insns: tuple[int, int, int, int]) -> list[SockFilter]:
    return [SockFilter(*insn) for insn in (*insns, (0x06, 0, 0, ALLOW), (0x06, 0, 0, KILL))]


def test_an_architecture_that_no_single_byte_decides_is_looked_at() -> None:
    """Compared with itself, or with the number: what is said of each architecture is what its value makes of the condition."""
    only = policy([ending(*WITH_ITSELF, (0x15, 0, 1, X86_64 ^ X86_64 >> 1))])
    assert only.checks_arch and only.other == KILL
    assert [own.arch.name for own in only.arches] == ["x86_64"] and {r.otherwise for r in only.arches[0].known} == {ALLOW}

    unnamed = policy([ending(*WITH_ITSELF, (0x15, 0, 1, 7))])
    assert unnamed.checks_arch and unnamed.elsewhere[ALLOW] == 5  # 5 ^ 2 = 7, and no other value does

    by_number = policy([ending(*NR_AND_ARCH, (0x15, 0, 1, X86_64))])
    (x86_64,) = (own for own in by_number.arches if own.arch.name == "x86_64")
    assert by_number.checks_arch
    assert [rule.name for rule in x86_64.known if rule.otherwise == ALLOW] == ["read"]


def test_an_action_that_no_architecture_gets_is_not_told() -> None:
    """No square is 3: z3 finds out that the condition of the diagram cannot hold."""
    never = policy([ending((0x20, 0, 0, 4), (0x07, 0, 0, 0), (0x2C, 0, 0, 0), (0x15, 0, 1, 3))])

    assert set(never.elsewhere) == {KILL}
