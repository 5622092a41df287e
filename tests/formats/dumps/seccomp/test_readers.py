"""Each reader of seccomp filters by itself: the instructions that it makes of small texts, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from bpflens.classic.machine.interpreter import run
from bpflens.errors import InputError
from bpflens.formats.dumps.seccomp import oci_profile, pfc, seccomp_asm
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import decode
from bpflens.program import Origin, Program

X86_64, ARM64 = 0xC000003E, 0xC00000B7
ALLOW, KILL, EPERM = 0x7FFF0000, 0, 0x50001


def decides(program: Program, arch: int, nr: int, *args: int) -> int:
    """What the filter returns; its loads are big-endian here, so the data is written so (classic loads are in network order)."""
    words = [word for arg in args for word in (arg & 0xFFFFFFFF, arg >> 32)] + [0] * (12 - 2 * len(args))
    return run(decode(program.code), b"".join(word.to_bytes(4, "big") for word in (nr, arch, 0, 0, *words)))


# --- oci_profile ---


def profile(default: str = "ERRNO", arches: tuple[str, ...] = ("X86_64",), **entry: Any) -> Program:
    names = {"defaultAction": f"SCMP_ACT_{default}", "architectures": [f"SCMP_ARCH_{arch}" for arch in arches]}
    return oci_profile.read({**names, "syscalls": [{"action": "SCMP_ACT_ALLOW", **entry}] if entry else []}, Origin("json", "p.json"))


@pytest.mark.parametrize(
    ("value", "answer"),
    [({"defaultAction": "x"}, True), ({"defaultAction": "x", "syscalls": []}, True), ({"defaultAction": 1}, False), ({}, False),
     ([], False), ({"defaultAction": "x", "syscalls": {}}, False)],
)  # fmt: skip
def test_what_is_a_profile(value: Any, answer: bool) -> None:
    assert oci_profile.is_profile(value) is answer


def test_a_profile_of_two_architectures() -> None:
    """Each has its own numbers; the others, and x32 on x86_64, are killed."""
    program = profile(arches=("X86_64", "AARCH64"), names=["read", "no_such_call"])
    assert [decides(program, arch, nr) for arch, nr in ((X86_64, 0), (X86_64, 63), (ARM64, 63), (ARM64, 0), (1, 0))] == [
        ALLOW, EPERM, ALLOW, EPERM, KILL,
    ]  # fmt: skip
    assert decides(program, X86_64, 0x40000000) == KILL and decides(program, X86_64, 0xFFFFFFFF) == EPERM
    assert program.origin.linktype == "SECCOMP" and program.origin.note == "seccomp filter, made from a container's profile"


BIG = 0x1_0000_0005


@pytest.mark.parametrize(
    ("op", "holds"),
    [("EQ", [False, False, True, False]), ("NE", [True, True, False, True]), ("LT", [True, True, False, False]),
     ("LE", [True, True, True, False]), ("GT", [False, False, False, True]), ("GE", [False, False, True, True])],
)  # fmt: skip
def test_comparisons_of_64_bits(op: str, holds: list[bool]) -> None:
    """Below by the low half, below by the high half, equal, above by both."""
    program = profile(names=["read"], args=[{"index": 1, "value": BIG, "op": f"SCMP_CMP_{op}"}])
    values = (BIG - 1, 0x0_0000_0009, BIG, 0x2_0000_0000)
    assert [decides(program, X86_64, 0, 0, value) == ALLOW for value in values] == holds


def test_several_comparisons() -> None:
    """Of different arguments: all must hold; of one argument: one must, as runc has it; with a mask."""
    equal = [{"index": index, "value": value, "op": "SCMP_CMP_EQ"} for index, value in ((0, 1), (1, 2), (0, 3))]
    both, either = profile(names=["read"], args=equal[:2]), profile(names=["read"], args=equal[::2])
    assert [decides(both, X86_64, 0, a, b) == ALLOW for a, b in ((1, 2), (1, 0), (0, 2))] == [True, False, False]
    assert [decides(either, X86_64, 0, a) == ALLOW for a in (1, 3, 2)] == [True, True, False]
    masked = profile(names=["read"], args=[{"index": 0, "value": 0xF0 | 1 << 40, "valueTwo": 0x10, "op": "SCMP_CMP_MASKED_EQ"}])
    assert [decides(masked, X86_64, 0, a) == ALLOW for a in (0x1F, 0x2F, 1 << 40 | 0x10, 0x10)] == [True, False, False, True]


def test_errno_and_unknown_parts_of_profiles() -> None:
    with_errno = oci_profile.read({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}, Origin("json", "p"))
    assert decides(with_errno, X86_64, 0) == 0x50026
    with pytest.raises(InputError, match="no architecture 'SCMP_ARCH_PDP11'"):
        profile(arches=("PDP11",))
    with pytest.raises(InputError, match="no action 'SCMP_ACT_PANIC'"):
        profile("PANIC")
    program = profile(names=["bpf"], includes={"caps": ["CAP_BPF"]})
    assert program.origin.warnings == ("bpf: the rule depends on the container (includes, excludes): it is left out",)
    assert decides(program, X86_64, 321) == EPERM


# --- pfc ---

PFC = """#
# pseudo filter code start
#
if ($arch == 3221225534)
  # filter for syscall "ioctl" (16) [priority: 65532]
  if ($syscall == 16)
    if ($a1.hi32 & 0x00000000 == 0)
      if ($a1.lo32 & 0xffffffff == 21522)
        action ERRNO(1);
      else
        action ALLOW;
  # default action
  action TRAP;
# invalid architecture action
action KILL;
"""


def test_pseudo_code() -> None:
    """Nested as it is indented; x32, of which libseccomp does not speak, is killed."""
    text = SourceText(f"words\n{PFC}words\n".encode(), "-")
    (program,) = pfc.read(text)
    answers = [decides(program, X86_64, 16, 0, value) for value in (21522, 1, 7 << 32 | 21522)]
    assert answers == [EPERM, ALLOW, EPERM]
    assert [decides(program, arch, nr) for arch, nr in ((X86_64, 0), (X86_64, 0x40000010), (ARM64, 0))] == [0x30000, KILL, KILL]
    assert program.origin.lineno == 5 and "action" not in text.body.replace("# default action", "").replace("architecture action", "")


def test_two_pseudo_codes_of_one_text() -> None:
    programs = pfc.read(SourceText(b"if ($arch == 1)\n  action ALLOW;\naction KILL;\n" * 2, "-"))
    assert [decides(program, 1, 0) for program in programs] == [ALLOW, ALLOW]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("if ($arch == 1)\n  action PANIC;\naction KILL;", "no action PANIC"),
        ("if ($arch == 4294967296)\n  action KILL;\naction KILL;", "does not fit in 32 bits"),
        ("if ($arch ~ 1)\n  action KILL;\naction KILL;", "cannot read the condition"),
        ("if ($arch == 1)\n    action KILL;\n  action KILL;\naction KILL;", "fits no condition above it"),
        ("if ($arch == 1)\naction KILL;", "a condition without a body"),
        ("\n".join(" " * n + "if ($arch == 1)" for n in range(70)) + "\n" + " " * 70 + "action KILL;\naction KILL;", "deeper than 64"),
    ],
)
def test_damaged_pseudo_code(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pfc.read(SourceText(text.encode(), "-"))


# --- seccomp_asm ---


def assembled(text: str) -> list[tuple[int, ...]]:
    (program,) = seccomp_asm.read(SourceText(text.encode(), "-"))
    return [tuple(insn) for insn in decode(program.code)]


def test_statements() -> None:
    """Each is one instruction."""
    lines = {
        "A = arch": (0x20, 0, 0, 4), "A = sys_number": (0x20, 0, 0, 0), "A = args[5]": (0x20, 0, 0, 56),
        "A = args[5] >> 32": (0x20, 0, 0, 60), "A = instruction_pointer": (0x20, 0, 0, 8), "A = mem[0xf]": (0x60, 0, 0, 15),
        "X = mem[3]": (0x61, 0, 0, 3), "mem[1] = X": (3, 0, 0, 1), "mem[1] = A": (2, 0, 0, 1), "A = X": (0x87, 0, 0, 0),
        "X = A": (7, 0, 0, 0), "A = -A": (0x84, 0, 0, 0), "A = 12": (0, 0, 0, 12), "X = 0x10": (1, 0, 0, 16), "A += 1": (4, 0, 0, 1),
        "A >>= X": (0x7C, 0, 0, 0), "A ^= 255": (0xA4, 0, 0, 255), "A = len": (0x80, 0, 0, 0), "goto end": (5, 0, 0, 6),
        "A == ARCH_X86_64 ? next : end": (0x15, 0, 5, X86_64), "A != write ? end : next": (0x15, 0, 4, 1),
        "if (A >= 5) goto end": (0x35, 3, 0, 5), "if (!(A & 4)) goto end else next": (0x45, 0, 2, 4),
        "if (A < X) goto end": (0x3D, 0, 1, 0), "return ERRNO(5)": (6, 0, 0, 0x50005), "end: return A": (0x16, 0, 0, 0),
    }  # fmt: skip
    assert assembled("# comment\n" + "\n".join(lines)) == list(lines.values())


def test_names_of_calls_are_of_the_last_architecture() -> None:
    lines = ("A = arch", "A == ARCH_AARCH64 ? next : end", "A == read ? end : next", "A == i386.read ? next : next", "end: return 0")
    assert assembled("\n".join(lines))[1:4] == [(0x15, 0, 2, ARM64), (0x15, 1, 0, 63), (0x15, 0, 0, 3)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("X = arch", "only A is loaded from the system call's data"),
        ("X += 1", "only A is computed with"),
        ("mem[1] = 4", "only A and X are stored"),
        ("A = args[6]", r"'args\[6\]' is neither a number nor a system call"),
        ("A = args[6] >> 32", "neither a number nor a system call"),
        ("return PANIC", "no action PANIC"),
        ("goto nowhere", "no label 'nowhere'"),
        ("goto before", "cannot be reached"),
        ("A + 1 == 2 ? next : next", "cannot read the condition"),
        ("hello", "no statement: 'hello'"),
    ],
)
def test_statements_that_are_none(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        assembled(f"before: A = arch\n{line}\nreturn ALLOW")
    assert raised.value.object == "-:2"


def test_other_texts_are_no_assembler() -> None:
    assert seccomp_asm.looks_like_seccomp_asm("$A = $syscall_nr") and not seccomp_asm.looks_like_seccomp_asm("A = B")
    assert seccomp_asm.read(SourceText(b"ret #0", "-")) == []
