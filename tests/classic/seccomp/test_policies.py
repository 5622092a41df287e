"""Seccomp policies: the table is what the interpreter and the kernel do; tables of system calls are the maintained ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.seccomp.findings import explain_rule
from bpflens.classic.seccomp.policy.actions import action_text, canonical
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy
from bpflens.classic.seccomp.policy.stack import is_seccomp, run_stack, seccomp_data
from bpflens.errors import InputError
from bpflens.isa.classic.check import check
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.syscall_tables import NUMBERS
from bpflens.isa.classic.syscalls import ARCHES, argument, find_arch, host_arch, syscall_name, syscall_names, syscall_number
from seccomp_filters import ALLOW, ALLOWLIST, ARM64, CORPUS, DOCKER, ENOSYS, EPERM, I386, KILL, S390X, X32, X86_64, filters, holds, program

# ---- the table is what the filter does


def test_conditions_by_name():
    own = policy([ALLOWLIST]).of(X86_64)

    assert explain_rule(own.rule(1), X86_64) == ["ALLOW where (u64)fd <= 2", "otherwise ERRNO(ENOSYS)"]
    assert explain_rule(own.rule(56), X86_64) == ["ALLOW where clone_flags & CLONE_NEWUSER == 0", "otherwise ERRNO(ENOSYS)"]
    assert explain_rule(own.rule(60), X86_64) == ["ALLOW"]
    assert action_text(own.default) == "ERRNO(EPERM)"
    assert own.rule(0x3FFFFFFF).otherwise == EPERM
    assert {rule.otherwise for rule in policy([ALLOWLIST]).of(X32).known} == {KILL}


def test_dockers_default_filter():
    result = policy([DOCKER])
    own = result.of(X86_64)

    assert [a.arch.name for a in result.arches] == ["x86_64", "x32", "i386"]
    assert action_text(result.other) == "KILL_THREAD"
    assert own.default == EPERM
    assert sum(not rule.arms and rule.otherwise == ALLOW for rule in own.known) == 297
    assert explain_rule(own.rule(41), X86_64) == ["ALLOW where (u64)family not in {AF_ALG, AF_VSOCK}", "otherwise ERRNO(EPERM)"]
    assert explain_rule(own.rule(135), X86_64)[0] == (
        "ALLOW where (u64)personality in {PER_LINUX, PER_LINUX32, UNAME26, PER_LINUX32|UNAME26, 0xffffffff (only ask)}"
    )


NUMBERS_TRIED = st.one_of(st.integers(0, 70), st.sampled_from((0x40000001, 0xFFFFFFFF, 435, 0x3FFFFFFF)))
ARGUMENTS = st.lists(
    st.one_of(st.integers(0, 70), st.sampled_from((0x10000000, 1 << 32, (1 << 64) - 1, 0x8000, 0x7E020000 | 1 << 40))),
    min_size=6,
    max_size=6,
)


@settings(max_examples=80)
@given(st.lists(filters(), min_size=1, max_size=3), st.lists(st.tuples(NUMBERS_TRIED, ARGUMENTS), min_size=3, max_size=6))
def test_the_table_is_what_the_filters_do(stack, calls):
    result = policy(stack, [X86_64, I386, S390X])
    for arch in (X86_64, I386, S390X, ARM64):
        own = result.of(arch)
        for number, args in calls:
            expected = run_stack(stack, seccomp_data(arch, number, args, args[5]))
            arch_of_number = result.of(X32) if arch is X86_64 and 0x40000000 <= number < 0x80000000 else own
            rule = arch_of_number.rule(number)

            if rule is None:  # numbers without a name, where the filter takes them apart bit by bit
                assert arch_of_number.partial
                continue
            assert holds(rule, args, args[5]) == expected


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_filters_of_real_programs(name):
    """Against the interpreter, for every known syscall with a few arguments."""
    insns = CORPUS[name]
    assert is_seccomp(insns)
    result = policy([insns])
    for own in result.arches or (result.of(X86_64),):
        for rule in own.known[::3] + own.unknown:
            for args in ([0] * 6, [1, 2, 3, 4, 5, 6], [40, 0, 1 << 33, 7, 0, 0], [0x10000000] * 6):
                assert holds(rule, args, 0) == run_stack([insns], seccomp_data(own.arch, rule.first, args))


def test_stacks_of_filters():
    """The most restrictive action wins; among equals the newer filter's data."""
    older, newer = program("ret #0x50001"), program("ret #0x50026")
    trace, unknown = program("ret #0x7ff00001"), program("ret #0x12340000")

    assert policy([older, newer], [X86_64]).of(X86_64).default == ENOSYS
    assert policy([newer, older], [X86_64]).of(X86_64).default == EPERM
    assert policy([older, trace], [X86_64]).of(X86_64).default == EPERM
    assert policy([trace, program("ret #0x7fc00000")], [X86_64]).of(X86_64).default == 0x7FC00000
    assert policy([program("ret #0"), program("ret #0x80000000")], [X86_64]).of(X86_64).default == KILL
    assert policy([unknown], [X86_64]).of(X86_64).default == KILL
    assert canonical(0x50000 | 0xFFFF) == 0x50000 | 4095


def test_big_endian_arguments():
    """On s390x the high word comes first, and clone's flags are the second argument."""
    insns = program("ld [0]\njne #120, allow\nld [28]\njset #0x10000000, deny, allow\ndeny: ret #0x50001\nallow: ret #0x7fff0000")
    result = policy([insns], [S390X, X86_64])

    assert explain_rule(result.of(S390X).rule(120), S390X)[0] == "ERRNO(EPERM) where clone_flags & CLONE_NEWUSER != 0"
    assert explain_rule(result.of(X86_64).rule(120), X86_64)[0] == "ERRNO(EPERM) where egidp & 0x1000000000000000 != 0"  # getresgid


def test_words_tied_together_are_said():
    insns = program("ld [16]\ntax\nld [24]\njeq x, allow, deny\nallow: ret #0x7fff0000\ndeny: ret #0x50001")
    lines = explain_rule(policy([insns], [X86_64]).of(X86_64).rule(0), X86_64)

    assert any("args[0][0]" in line and "args[1][0]" in line for line in lines)


def test_what_is_a_seccomp_filter():
    assert is_seccomp(ALLOWLIST)
    assert not is_seccomp(program("ldh [12]\njeq #0x800, yes\nret #0\nyes: ret #65535"))
    assert not is_seccomp(program("ld [12]\njeq #0x800, yes\nret #0\nyes: ret #0x40000"))
    assert not is_seccomp(program("ret #0"))
    assert is_seccomp(program("ret #0x7fff0000"))


# ---- the kernel

CHILD = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
for text in sys.argv[2:]:
    code = bytes.fromhex(text)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    assert libc.prctl(22, 2, fprog, 0, 0) == 0, os.strerror(ctypes.get_errno())
results = []
for call in sys.argv[1].split(";"):
    ctypes.set_errno(0)
    value = libc.syscall(*(ctypes.c_long(int(word)) for word in call.split(",")))
    results.append(str(ctypes.get_errno() if value == -1 else 0))
print(" ".join(results), flush=True)
os._exit(0)
"""


def in_kernel(stack: list[list[SockFilter]], calls: list[tuple[int, ...]]) -> list[int]:
    """errno of each call (0: it succeeded) in a process with the filters installed, oldest first."""
    text = ";".join(",".join(map(str, call)) for call in calls)
    codes = [encode(insns).hex() for insns in stack]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", CHILD, text, *codes], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.live
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 machine")
def test_the_kernel_combines_and_answers_as_predicted():
    """getppid (110) and getpgid (121) under stacks whose answers depend on filter order and on 64-bit arguments."""
    first = program("""
        ld [0]
        jeq #110, deny
        jeq #121, args, allow
        args: ld [20]
        jne #0, deny
        allow: ret #0x7fff0000
        deny: ret #0x50007
    """)
    second = program("""
        ld [0]
        jeq #110, other
        jeq #121, args, allow
        args: ld [16]
        jeq #5, deny, allow
        other: ret #0x50008
        deny: ret #0x50009
        allow: ret #0x7fff0000
    """)
    calls = [(110,), (121, 0), (121, 5), (121, 1 << 32), (121, (1 << 32) + 5), (39,)]
    for stack in ([first, second], [second, first], [first], [second]):
        predicted = []
        for call in calls:
            action = run_stack(stack, seccomp_data(X86_64, call[0], list(call[1:])))
            rule = policy(stack, [X86_64]).of(X86_64).rule(call[0])
            assert holds(rule, [*call[1:], *[0] * (7 - len(call))], 0) == action
            predicted.append(None if action == ALLOW else action & 0xFFFF)

        for got, wanted in zip(in_kernel(stack, calls), predicted, strict=True):
            assert (wanted is None and got in (0, 3)) or got == wanted  # an allowed getpgid(5) may find no process


# ---- tables


@pytest.mark.parametrize("table", sorted(NUMBERS))
def test_tables_are_the_maintained_ones(table):
    """The PyPI package system-calls; a newer one may know more syscalls, but no number changes."""
    module = pytest.importorskip(f"system_calls.tables.{table}", reason="needs the package system-calls")
    arch = next(arch for arch in ARCHES if arch.table == table)
    ours = {name: number for number, name in syscall_names(arch.name).items()}

    theirs = getattr(module, f"syscalls_{table}")
    assert ours.items() <= theirs.items()
    assert len(ours) > 0.97 * len(theirs)


def test_the_running_kernel_has_the_numbers():
    assert syscall_number("x86_64", "openat") == 257
    assert syscall_name("arm64", 56) == "openat"
    assert syscall_name("i386", 11) == "execve"
    assert syscall_name("x32", 0x40000000 + 520) == "execve"
    assert syscall_name("x86_64", 100_000) is None
    assert argument("x86_64", "openat", 2).name == "flags"
    assert argument("x86_64", "vhangup", 0) is None


def test_names_of_architectures():
    assert {find_arch(name).name for name in ("amd64", "SCMP_ARCH_X86_64", "AUDIT_ARCH_X86_64", "x86-64")} == {"x86_64"}
    assert find_arch("aarch64").audit == 0xC00000B7
    assert host_arch() in ARCHES
    with pytest.raises(InputError, match="x86_65"):
        find_arch("x86_65")
    with pytest.raises(InputError) as caught:
        syscall_number("x86_64", "opnat")
    assert caught.value.hint == 'did you mean "openat"?'


def test_random_filters_are_valid():
    """The strategy makes what the kernel accepts (a check of the test itself)."""

    @settings(max_examples=50)
    @given(filters())
    def inner(insns):
        assert check(insns, "seccomp") == []

    inner()
    assert isinstance(policy([ALLOWLIST]).arches[0], ArchPolicy)


def test_a_mask_of_the_number_with_very_many_ranges_is_left_out_and_said() -> None:
    """65,536 ranges of x32 numbers: the named system calls are told all the same, and the rest is said to be left out."""
    insns = [
        (0x20, 0, 0, 4), (0x15, 0, 7, 0xC000003E), (0x20, 0, 0, 0), (0x54, 0, 0, 0xFFFF), (0x25, 0, 4, 511), (0x15, 3, 0, 600),
        (0x15, 2, 0, 777), (0x15, 1, 0, 5000), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0),
    ]  # fmt: skip
    told = policy([[SockFilter(*insn) for insn in insns]])
    x32 = told.of(next(arch for arch in ARCHES if arch.name == "x32"))
    assert x32.partial is not None and "too many" in x32.partial
    assert len(x32.unknown) == 0 and len(x32.known) > 300
