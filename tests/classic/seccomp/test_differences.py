"""Seccomp policies compared, judged and exported: differences, findings, OCI profiles, the command."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings

from bpflens.classic.seccomp.difference import diff_policies
from bpflens.classic.seccomp.findings import findings
from bpflens.classic.seccomp.oci import profile
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.classic.seccomp.policy.stack import run_stack, seccomp_data
from bpflens.cli.main import run as command
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.isa.classic.syscalls import syscall_number
from seccomp_filters import ALLOW, ALLOWLIST, ARM64, CORPUS, DOCKER, ENOSYS, I386, X86_64, filters, holds, program

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
