"""Seccomp policies: the table is what the interpreter and the kernel do; syscall tables, differences, findings, OCI profiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bpflens.classic.seccomp.difference import diff_policies
from bpflens.classic.seccomp.findings import explain_rule, findings
from bpflens.classic.seccomp.oci import profile
from bpflens.classic.seccomp.policy.actions import action_text, canonical
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule
from bpflens.classic.seccomp.policy.stack import is_seccomp, run_stack, seccomp_data
from bpflens.cli.main import run as command
from bpflens.errors import InputError
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.check import check
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.isa.classic.syscall_tables import NUMBERS
from bpflens.isa.classic.syscalls import ARCHES, argument, find_arch, host_arch, syscall_name, syscall_names, syscall_number
from classic_oracles import corpus

X86_64, I386, X32, ARM64, S390X = (find_arch(name) for name in ("x86_64", "i386", "x32", "arm64", "s390x"))
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
CORPUS = {str(c["name"]): [SockFilter(*insn) for insn in c["insns"]] for c in corpus() if c["kind"] == "seccomp"}  # type: ignore[attr-defined]
DOCKER = CORPUS["docker-default-x86_64"]


def program(text: str) -> list[SockFilter]:
    return list(assemble(textwrap.dedent(text)))


ALLOWLIST = program("""
    ld [4]
    jne #0xc000003e, kill
    ld [0]
    jge #0x40000000, kill
    jeq #1, write
    jeq #60, allow
    jeq #56, clone
    ret #0x50001
    write: ld [20]
    jne #0, deny
    ld [16]
    jgt #2, deny
    allow: ret #0x7fff0000
    clone: ld [16]
    jset #0x10000000, deny, allow2
    allow2: ret #0x7fff0000
    deny: ret #0x50026
    kill: ret #0x80000000
""")


def holds(rule: Rule, args: list[int], pointer: int) -> int:
    """The action that a rule gives for arguments."""
    for arm in rule.arms:
        assume(not any(test.text for test in arm.tests))  # a condition in words: the soak's judge leaves it out, too
        verdicts = [test.values.holds(pointer if test.argument < 0 else args[test.argument]) for test in arm.tests]
        assume(None not in verdicts)  # a set without a short form is said as that, with an example
        if all(verdicts):
            return arm.action
    return rule.otherwise


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


@st.composite
def filters(draw: st.DrawFn) -> list[SockFilter]:
    """Valid seccomp filters: comparisons, masks and arithmetic of single words."""
    actions = (ALLOW, KILL, 0, EPERM, ENOSYS, 0x7FF00005, 0x30001, 0x7FFC0000, 0x7FC00000)
    count = draw(st.integers(2, 16))
    insns: list[SockFilter] = []
    word = st.sampled_from((0, 4, 8, 16, 20, 24, 28, 36, 60))
    value = st.one_of(st.integers(0, 70), st.sampled_from((0xC000003E, 0x40000003, 0x40000000, 0x10000000, 0xFFFFFFFF, 0x8000, 0x7E020000)))
    while len(insns) < count - 1:
        left = count - len(insns) - 2
        kind = draw(st.sampled_from(("load", "jump", "jump", "and", "ret", "add", "len")))
        if kind == "load" or not insns:
            insns.append(SockFilter(0x20, 0, 0, draw(word)))
        elif kind == "jump":
            code = draw(st.sampled_from((0x15, 0x25, 0x35, 0x45)))
            insns.append(SockFilter(code, draw(st.integers(0, left)), draw(st.integers(0, left)), draw(value)))
        elif kind == "and":
            insns.append(SockFilter(0x54, 0, 0, draw(value)))
        elif kind == "add":
            insns.append(SockFilter(0x04, 0, 0, draw(st.integers(0, 3))))
        elif kind == "len":
            insns.append(SockFilter(0x80, 0, 0, 0))
        else:
            insns.append(SockFilter(0x06, 0, 0, draw(st.sampled_from(actions))))
    return [*insns, SockFilter(0x06, 0, 0, draw(st.sampled_from(actions)))]


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


# ---- differences


def test_equal_is_proved():
    assert diff_policies(DOCKER, DOCKER).equal
    reordered = program("ld [0]\njeq #2, deny\njeq #1, deny\nret #0x7fff0000\ndeny: ret #0x50001")
    other = program("ld [0]\njgt #2, allow\njge #1, deny\nallow: ret #0x7fff0000\ndeny: ret #0x50001")
    assert diff_policies(reordered, other).equal


def changed(number: int) -> list[SockFilter]:
    """Docker's filter with another answer for one syscall number that it allows on x86_64, and for it alone."""
    guard = program(f"ld [4]\njne #0xc000003e, old\nld [0]\njne #{number}, old\nret #0x50026\nold: ret #0")
    return [*guard[:-1], *DOCKER]


@pytest.mark.parametrize("name", ["openat", "socket", "clone", "chmod"])
def test_exactly_the_changed_syscall_is_named(name):
    number = syscall_number("x86_64", name)
    difference = diff_policies(DOCKER, changed(number))

    assert [(change.arch.name, change.before.name) for change in difference.changes] == [("x86_64", name)]
    witness = difference.changes[0].witness
    assert witness is not None
    assert witness.confirmed
    assert witness.after == ENOSYS


@settings(max_examples=25)
@given(filters(), filters())
def test_differences_are_real(a, b):
    difference = diff_policies(a, b)
    calls = [(arch, n, [0] * 6) for arch in (X86_64, I386, ARM64) for n in (0, 1, 5, 60, 435)]
    differing = [call for call in calls if run_stack([a], seccomp_data(*call)) != run_stack([b], seccomp_data(*call))]
    if difference.equal:
        assert not differing
    else:
        assert difference.witness is not None
    for witness in (difference.witness, *(change.witness for change in difference.changes)):
        assert witness is None or witness.confirmed


# ---- findings


def ids(insns: list[SockFilter]) -> set[str]:
    return {finding.id for finding in findings(policy([insns]), X86_64)}


def test_findings():
    assert "no-arch-check" in ids(program("ld [0]\njne #59, allow\nret #0\nallow: ret #0x7fff0000"))
    no_x32 = program("ld [4]\njne #0xc000003e, kill\nld [0]\njeq #59, kill\nret #0x7fff0000\nkill: ret #0x80000000")
    found = findings(policy([no_x32]), X86_64)
    assert next(f for f in found if f.id == "x32-allowed").syscalls == ("execve",)
    assert {"denylist", "same-effect", "ptrace", "io_uring", "user-namespace"} <= {f.id for f in found}
    assert next(f for f in found if f.id == "same-effect").syscalls == ("execveat",)
    assert found[0].severity == "high"
    assert not ids(program("ld [4]\njne #0xc000003e, kill\nld [0]\njne #60, kill\nret #0x7fff0000\nkill: ret #0x80000000"))
    assert "user-namespace" not in ids(DOCKER)
    assert {"ptrace", "other-memory"} <= ids(DOCKER)
    assert "other-arch-allowed" in ids(CORPUS["seccomp-x32"])


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


# ---- OCI


def from_profile(document: dict[str, object]) -> list[SockFilter]:
    """The filter that libseccomp makes of a profile."""
    pyseccomp = pytest.importorskip("pyseccomp", reason="needs the package pyseccomp and libseccomp")

    def action(name: str, errno: int | None) -> int:
        return pyseccomp.ERRNO(errno) if name == "SCMP_ACT_ERRNO" else getattr(pyseccomp, name.removeprefix("SCMP_ACT_"))

    filter = pyseccomp.SyscallFilter(action(document["defaultAction"], document.get("defaultErrnoRet")))
    filter.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_THREAD)
    for entry in document["syscalls"]:
        for name in entry["names"]:
            args = []
            for arg in entry.get("args", ()):
                operator = getattr(pyseccomp, arg["op"].removeprefix("SCMP_CMP_"))
                second = (arg["valueTwo"],) if "valueTwo" in arg else ()
                args.append(pyseccomp.Arg(arg["index"], operator, arg["value"], *second))
            try:
                number = syscall_number("x86_64", name)
            except InputError:
                continue
            filter.add_rule(action(entry["action"], entry.get("errnoRet")), number, *args)
    read, write = os.pipe()
    with os.fdopen(write, "wb") as out:
        filter.export_bpf(out)
    with os.fdopen(read, "rb") as source:
        code = source.read()
    return list(decode(code))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 machine")
def test_a_profile_is_the_policy_again():
    """libseccomp compiles the profile; the policies are the same for x86_64."""
    document, problems = profile(policy([DOCKER]), [X86_64])
    assert problems == []
    again = policy([from_profile(json.loads(json.dumps(document)))])
    before, after = policy([DOCKER]).of(X86_64), again.of(X86_64)

    for one, two in zip(before.known, after.known, strict=True):
        for args in ([0] * 6, [38] * 6, [40] * 6, [39, 1, 1, 1, 1, 1], [0x10000000] * 6, [0x20008] * 6, [0xFFFFFFFF] * 6, [1 << 40] * 6):
            assert holds(one, args, 0) == holds(two, args, 0), one.name


def test_what_a_profile_cannot_say_is_named():
    insns = program("ld [0]\njne #1, allow\nld [16]\njlt #5, allow\njgt #90, allow\nret #0x50001\nallow: ret #0x7fff0000")
    document, problems = profile(policy([insns], [X86_64]), [X86_64])

    assert document["defaultAction"] == "SCMP_ACT_ALLOW"
    assert len(problems) == 1
    assert "write" in problems[0]


# ---- the command


@pytest.fixture
def files(tmp_path):
    for name, insns in (("docker", DOCKER), ("small", ALLOWLIST), ("changed", changed(257))):
        (tmp_path / name).write_bytes(encode(insns))
    return tmp_path


def test_the_command_prints_the_policy(files, capsys):
    assert command(["seccomp", str(files / "small")]) == 0
    out = capsys.readouterr().out
    assert "x86_64\n  ALLOW: 1 syscall always\n      exit\n      write where (u64)fd <= 2\n" in out
    assert "clone_flags & CLONE_NEWUSER" in out
    assert "x32 (numbers with bit 30 of x86_64)\n  KILL_PROCESS: everything\n" in out
    assert "every other architecture: KILL_PROCESS" in out
    assert command(["--json", "seccomp", str(files / "small")]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["arch"] for record in records] == ["x86_64", "x32", None]
    write = next(rule for rule in records[0]["rules"] if rule["syscall"] == "write")
    looks_at = [{"argument": 0, "name": "fd", "looks_at": "all 64 bits", "mask": (1 << 64) - 1, "kernel_takes_bits": 32}]
    assert write["cases"] == [{"where": "(u64)fd <= 2", "action": "ALLOW", "value": ALLOW, "looks_at": looks_at}]


def test_the_command_answers_for_one_syscall(files, capsys):
    for args, answer in (("CLONE_NEWUSER|CLONE_NEWNS", "ERRNO(ENOSYS)"), ("0x100", "ALLOW"), ("-1", "ERRNO(ENOSYS)")):
        assert command(["seccomp", "--syscall", "clone", f"--args={args}", str(files / "small")]) == 0
        assert capsys.readouterr().out.splitlines()[1].strip() == answer
    assert command(["seccomp", "--syscall", "clone", "--args", "?,1", str(files / "small")]) == 0
    assert "ALLOW where clone_flags & CLONE_NEWUSER == 0" in capsys.readouterr().out
    assert command(["seccomp", "--syscall", "clone", "--args", "CLONE_FOO", str(files / "small")]) == 2
    assert command(["seccomp", "--syscall", "clon", str(files / "small")]) == 3
    assert "did you mean" in capsys.readouterr().err
    assert command(["seccomp", "--syscall", "11", "--arch", "i386", str(files / "small")]) == 0
    assert capsys.readouterr().out.startswith("i386 execve (11)\n  KILL_PROCESS")


def test_the_command_compares(files, capsys):
    assert command(["seccomp", "--diff", str(files / "docker"), str(files / "docker")]) == 0
    assert "equal: proved" in capsys.readouterr().out
    assert command(["--json", "seccomp", "--diff", str(files / "docker"), str(files / "changed")]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [change["syscall"] for change in record["changes"]] == ["openat"]
    assert command(["seccomp", "--diff", str(files / "docker")]) == 2


def test_the_command_finds_and_exports(files, capsys):
    assert command(["seccomp", "--findings", str(files / "docker")]) == 1
    assert "high    ptrace" in capsys.readouterr().out
    assert command(["seccomp", "--oci", "--arch", "x86_64", str(files / "docker")]) == 0
    assert json.loads(capsys.readouterr().out)["defaultErrnoRet"] == 1


def test_the_command_takes_several_filters_as_a_stack(files, capsys):
    assert command(["seccomp", "--syscall", "openat", str(files / "docker"), str(files / "changed")]) == 0
    assert "ERRNO(ENOSYS)" in capsys.readouterr().out


def test_what_is_no_seccomp_filter_is_said(tmp_path, capsys):
    (tmp_path / "arp").write_text("4,40 0 0 12,21 0 1 2054,6 0 0 262144,6 0 0 0")
    (tmp_path / "words").write_text("4,32 0 0 12,21 0 1 2054,6 0 0 262144,6 0 0 0")

    assert command(["seccomp", str(tmp_path / "arp")]) == 3
    assert "not a valid seccomp filter" in capsys.readouterr().err
    assert command(["seccomp", str(tmp_path / "words")]) == 3
    assert "--seccomp" in capsys.readouterr().err
    assert command(["seccomp", "--seccomp", str(tmp_path / "words")]) == 0


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
