"""Seccomp filters in words: libseccomp's pseudo code, seccomp-tools' assembler, containers' profiles, firejail, Go. Oracle: libseccomp."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import pyseccomp
import pytest

from bpflens.classic.machine.interpreter import run
from bpflens.classic.seccomp.difference import diff_policies
from bpflens.errors import InputError, SourceWarning
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.dumps.seccomp import seccomp_code
from bpflens.formats.dumps.seccomp.seccomp_code import ARG, NR, If, Return, code_of
from bpflens.isa.classic.insn import decode, encode
from bpflens.program import Isa, Origin, Program

CASES = Path(__file__).parents[3] / "corpus/sources"
COMPARISONS = {"EQ": pyseccomp.EQ, "NE": pyseccomp.NE, "LT": pyseccomp.LT, "LE": pyseccomp.LE, "GT": pyseccomp.GT, "GE": pyseccomp.GE}


def read(text: str) -> Program:
    [program] = read_programs(text.encode(), "-")
    return program


def exported(filter: pyseccomp.SyscallFilter, what: str) -> bytes:
    with tempfile.TemporaryFile() as stream:
        getattr(filter, f"export_{what}")(stream)
        stream.seek(0)
        return stream.read()


def of_libseccomp(filter: pyseccomp.SyscallFilter) -> Program:
    return Program(Isa.CLASSIC, exported(filter, "bpf"), Origin("raw", "libseccomp"))


def same_policy(a: Program, b: Program) -> bool:
    return diff_policies(decode(a.code), decode(b.code)).equal


def random_rules(seed: int) -> tuple[pyseccomp.SyscallFilter, dict]:
    """The same rules as libseccomp's filter and as a profile; one entry for each call, so that their order cannot matter."""
    choose = random.Random(seed)
    filter = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
    entries = []
    for name in choose.sample(["read", "write", "socket", "clone", "ioctl", "prctl", "personality", "mmap", "openat", "kill"], 6):
        args, theirs = [], []
        for index in choose.sample(range(3), choose.randrange(3)):
            if choose.random() < 0.3:
                mask, value = choose.choice([0xFF, 0x7E020000, 1 << 40]), choose.choice([0, 0x20, 0x7E020000])
                args.append({"index": index, "value": mask, "valueTwo": value & mask, "op": "SCMP_CMP_MASKED_EQ"})
                theirs.append(pyseccomp.Arg(index, pyseccomp.MASKED_EQ, mask, value & mask))
            else:
                op, value = choose.choice(sorted(COMPARISONS)), choose.choice([0, 1, 16, 0x5412, 0x100005412, (1 << 64) - 1])
                args.append({"index": index, "value": value, "op": f"SCMP_CMP_{op}"})
                theirs.append(pyseccomp.Arg(index, COMPARISONS[op], value))
        filter.add_rule(pyseccomp.ALLOW, name, *theirs)
        entries.append({"names": [name], "action": "SCMP_ACT_ALLOW", **({"args": args} if args else {})})
    return filter, {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": entries}


@pytest.mark.parametrize("seed", range(12))
def test_pseudo_code_decides_as_the_filter(seed: int) -> None:
    """What libseccomp prints as pseudo code, read back, has the policy of the filter that it makes of the same rules."""
    filter, _ = random_rules(seed)
    program = read(exported(filter, "pfc").decode())
    assert (program.origin.source, program.origin.linktype) == ("pfc", "SECCOMP")
    assert same_policy(program, of_libseccomp(filter))


@pytest.mark.parametrize("seed", range(12))
def test_a_profile_decides_as_libseccomp(seed: int) -> None:
    """A container's profile has the policy of the filter that libseccomp makes of its rules."""
    filter, profile = random_rules(seed)
    assert same_policy(read(json.dumps(profile)), of_libseccomp(filter))


def test_a_rule_that_depends_on_the_container_is_told_of() -> None:
    """Docker's rules for capabilities and kernels cannot be decided from the file."""
    entry = {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]}
    with pytest.warns(SourceWarning, match="bpf: the rule depends on the container"):
        read(json.dumps(profile))


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "SCMP_ACT_NONE"},
        {"args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"args": [{"index": 1, "value": 1 << 64, "op": "SCMP_CMP_EQ"}]},
        {"args": [{"index": 1, "value": 1, "op": "?"}]},
    ],
)
def test_a_damaged_profile_is_refused(wrong: dict) -> None:
    """One line that says what cannot be read."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", **wrong}]}
    with pytest.raises(InputError):
        read(json.dumps(profile))


FORMS = {
    "firejail.txt": ((0x20, 0, 0, 4), 8),
    "go-text.txt": ((0x20, 0, 0, 4), 9),
    "go-structs.txt": ((0x28, 0, 0, 12), 6),
    "seccomp-tools.asm": ((0x20, 0, 0, 4), 9),
    "two-on-a-line.txt": ((0x28, 0, 0, 12), 12),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    """Each form is recognised, whole."""
    program = read((CASES / name).read_text())
    first, length = FORMS[name]
    insns = decode(program.code)
    assert (insns[0], len(insns)) == (first, length)


def test_what_the_forms_mean() -> None:
    """Spot checks against the numbers of the same filters."""
    assert decode(read((CASES / "go-text.txt").read_text()).code) == (
        (0x20, 0, 0, 4), (0x15, 0, 6, 0xC000003E), (0x20, 0, 0, 0), (0x35, 0, 1, 0x40000000), (6, 0, 0, 0x50026), (0x15, 1, 0, 59),
        (0x15, 0, 1, 57), (6, 0, 0, 0), (6, 0, 0, 0x7FFF0000),
    )  # fmt: skip
    assert decode(read((CASES / "seccomp-tools.asm").read_text()).code) == (
        (0x20, 0, 0, 4), (0x15, 0, 6, 0xC000003E), (0x20, 0, 0, 0), (0x35, 4, 0, 0x40000000), (0x15, 2, 0, 1), (0x15, 1, 0, 3),
        (6, 0, 0, 0x50005), (6, 0, 0, 0x7FFF0000), (6, 0, 0, 0),
    )  # fmt: skip
    assert decode(read((CASES / "go-structs.txt").read_text()).code) == (
        (0x28, 0, 0, 12), (0x15, 0, 3, 0x800), (0x30, 0, 0, 23), (0x15, 0, 1, 17), (6, 0, 0, 0x40000), (6, 0, 0, 0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A = arch\nA == ARCH_X86_64 ? next : gone\nreturn ALLOW", "no label 'gone'"),
        ("A = arch\nA = B C\nreturn ALLOW", "is neither a number nor a system call"),
        ("A = sys_number\nhello there\nreturn ALLOW", "no statement: 'hello there'"),
        ("if ($arch == 1)\naction ALLOW;\n", "a condition without a body"),
        ("if ($syscall ~ 1)\n  action ALLOW;\naction KILL;\n", "cannot read the condition"),
        ("ld [4]\njeq #1,7\nret #0", "skips 7 instructions, but 1 follow"),
        ("bpf.LoadAbsolute{Off: 12, Size: 3}", "is not known here"),
    ],
)
def test_damage_is_told(text: str, reason: str) -> None:
    """One line, with the place."""
    with pytest.raises(InputError) as caught:
        read(text)
    assert reason in caught.value.reason


@pytest.mark.parametrize("nr", [0, 1, 2])
@pytest.mark.parametrize("arg", [0, 5, 0xFFFFFFFF])
def test_decisions_as_code(nr: int, arg: int) -> None:
    """Nested, chained and alternative conditions do in code what they say."""
    inner = If((seccomp_code.Test(ARG, ">", 4), seccomp_code.Test(ARG, "!=", 6, 0xFF)), (Return(2),))
    statements = [
        If((seccomp_code.Test(NR, "==", 0),), (inner,), (If((seccomp_code.Test(NR, "==", 1),), (Return(3),)),)),
        If((seccomp_code.Test(ARG, "<=", 5, 0xFFFFFFFF),), (Return(4),)),
        Return(5),
    ]
    expected = 2 if nr == 0 and arg > 4 and arg & 0xFF != 6 else 3 if nr == 1 else 4 if arg <= 5 else 5
    data = nr.to_bytes(4, "big") + bytes(12) + arg.to_bytes(4, "big") + bytes(44)
    assert run(decode(encode(code_of(statements))), data) == expected


def test_numbers_of_lines() -> None:
    """firejail numbers lines in hexadecimal, ceccomp from L0001 on; a gap is told."""
    rows = ["20 00 00 00000000"] + [f"15 00 00 {nr:08x}" for nr in range(9)] + ["06 00 00 7fff0000", "06 00 00 00000000"]
    by_firejail = "\n".join(f" {at:04x}: {row}   words" for at, row in enumerate(rows))
    by_seccomp_tools = "\n".join(f" {at:04d}: {row}   words" for at, row in enumerate(rows))
    by_ceccomp = "\n".join(f" L{at:04d}: 0x{row.replace(' ', ' 0x')} words" for at, row in enumerate(rows, 1))

    assert read(by_firejail).code == read(by_seccomp_tools).code == read(by_ceccomp).code
    with pytest.raises(InputError) as caught:
        read(by_firejail.replace("0009:", "000e:"))
    assert "line 000e where 0009 is expected" in caught.value.reason


def test_the_assembler_of_ceccomp() -> None:
    ours = "A = sys_number\nA = args[2]\nA = args[1] >> 32\nif (A & 16) goto no\nreturn ALLOW\nno: return KILL"
    theirs = "$A = $syscall_nr\n$A = $low_args[2]\n$A = $high_args[1]\nif ($A & 16) goto no\nreturn ALLOW\nno: return KILL"
    assert read(ours).code == read(theirs).code == read(ours.replace("args[1] >> 32", "args_h[1]")).code
