"""Sources as people write them: conditional compilation, macros with arguments, constants and small functions of C, Rust and Go."""

from __future__ import annotations

import warnings

import pytest

from bpflens.errors import InputError, SourceWarning
from bpflens.formats.dumps.detect import read_programs
from bpflens.isa.classic.insn import decode

CONDITIONAL = """
#define FAIL SECCOMP_RET_KILL
#ifdef DEBUG
# undef FAIL
# define FAIL SECCOMP_RET_TRAP
#endif
#if __BYTE_ORDER == __LITTLE_ENDIAN
# define LOW 0
#else
# define LOW sizeof(uint32_t)
#endif
#define DENY(_nr, _errno) \\
	BPF_JUMP(BPF_JMP+BPF_JEQ+BPF_K, (_nr), 0, 1), \\
	BPF_STMT(BPF_RET+BPF_K, SECCOMP_RET_ERRNO|(_errno))
#define ARG(_arg, _value) \\
	/* low word */ \\
	BPF_STMT(BPF_LD+BPF_W+BPF_ABS, offsetof(struct seccomp_data, args[(_arg)]) + LOW), \\
	BPF_JUMP(BPF_JMP+BPF_JEQ+BPF_K, (uint32_t)((uint64_t)(_value) & 0xFFFFFFFF), 0, 1)
static const struct sock_filter insns[] = {
	BPF_STMT(BPF_LD+BPF_W+BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef __NR_lstat
	DENY(__NR_lstat, EACCES),
#endif
#ifdef __NR_lstat64
	DENY(__NR_lstat64, EACCES),
#endif
#if defined(__s390x__) && !defined(OTHER)
	ARG(1, 0x7100),
#elif defined(__x86_64__) || defined(__aarch64__)
	ARG(2, 5),
#else
	ARG(3, 6),
#endif
	BPF_STMT(BPF_RET+BPF_K, FAIL),
	BPF_STMT(BPF_RET+BPF_K, ARCH),
};
"""
X86 = "32 0 0 0,21 0 1 6,6 0 0 327693,32 0 0 32,21 0 1 5,6 0 0 0,6 0 0 3221225534"
ARM64 = "32 0 0 0,32 0 0 32,21 0 1 5,6 0 0 0,6 0 0 3221225655"
S390X = "32 0 0 0,21 0 1 107,6 0 0 327693,32 0 0 28,21 0 1 28928,6 0 0 0,6 0 0 2147483670"
ARP = "40 0 0 12,21 0 1 2054,6 0 0 4294967295,6 0 0 0"

TEXTS = [
    (CONDITIONAL.replace("ARCH)", "AUDIT_ARCH_X86_64)"), X86),
    (CONDITIONAL.replace("ARCH)", "AUDIT_ARCH_AARCH64)"), ARM64),
    (CONDITIONAL.replace("ARCH)", "AUDIT_ARCH_S390X)"), S390X),
    (
        "const LD: u16 = 0x28;\nconst JEQ_K: u16 = 0x15;\nconst ANSWER: u32 = ARP_TYPE;\nconst ARP_TYPE: u32 = 0x0806;\nlet f = [\n"
        "libc::sock_filter { code: LD, jt: 0, jf: 0, k: 12 },\nlibc::sock_filter { code: JEQ_K, jt: 0, jf: 1, k: ANSWER as u32, },\n"
        "libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX },\n"
        "libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 },\n];",
        ARP,
    ),
    (
        "let op = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };\n"
        "vec![ op(0x28, 0, 0, 12), // the type\n op(0x15, 0, 1, 0x806), op(6, 0, 0, u32::MAX), op(6, 0, 0, 0), ]",
        ARP,
    ),
    (
        "fn stmt(code: u16, k: u32) -> libc::sock_filter {\n    libc::sock_filter { code, jt: 0, jf: 0, k }\n}\n"
        "fn jeq(k: u32, jt: u8, jf: u8) -> libc::sock_filter {\n    libc::sock_filter { code: 0x15, jt, jf, k }\n}\n"
        "let all = [stmt(0x28, 12), jeq(0x0806, 0, 1), stmt(0x06, 0xffff_ffff), stmt(0x06, 0)];",
        ARP,
    ),
    (
        "func stmt(code uint16, k uint32) unix.SockFilter {\n\treturn unix.SockFilter{Code: code, K: k}\n}\n"
        "f := []unix.SockFilter{ stmt(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, 12), {Code: 0x15, Jf: 1, K: unix.ETH_P_ARP},"
        " stmt(6, 0xffffffff), stmt(6, 0) }",
        ARP,
    ),
    (
        "const (\n\tarpType = 0x0806\n\ttypeOffset uint32 = 12\n)\nreturn []bpf.Instruction{\n"
        "\tbpf.LoadAbsolute{Off: typeOffset, Size: 2},\n\tbpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpType, SkipTrue: 1},\n"
        "\tbpf.RetConstant{Val: 0xffffffff},\n\tbpf.RetConstant{Val: 0},\n}",
        ARP,
    ),
    ("[{40 0 0 12} {21 0 1 2054} {6 0 0 4294967295} {6 0 0 0}]", ARP),
    ("[{Op:40 Jt:0 Jf:0 K:12} {Op:21 Jt:0 Jf:1 K:2054} {Op:6 Jt:0 Jf:0 K:-1} {Op:6 Jt:0 Jf:0 K:0}]", ARP),
    ("filter = [[0x28, 0, 0, 12], [0x15, 0, 1, 0x806], [6, 0, 0, -1], [6, 0, 0, 0]]", ARP),
    ("> 4\n> 40 0 0 12\n> 21 0 1 2054\n> 6 0 0 -1\n> 6 0 0 0\n", ARP),
    ("enum { TYPE = 12, NEXT };\nstatic const uint32_t arp = 0x0806;\nstruct sock_filter f[] = {\n BPF_STMT(BPF_LD|BPF_H|BPF_ABS, TYPE),\n"
     " BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K, arp, 0, NEXT - 12),\n BPF_STMT(BPF_RET|BPF_K, UINT32_MAX),\n BPF_STMT(BPF_RET|BPF_K, 0),\n};", ARP),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_sources(text: str, expected: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        (program,) = read_programs(text.encode(), "-")
    assert ",".join(" ".join(map(str, insn)) for insn in decode(program.code)) == expected


def test_what_the_reading_rests_on_is_said() -> None:
    with pytest.warns(SourceWarning, match="taken as not defined: WITH_LOG"):
        read_programs(b"#ifdef WITH_LOG\nBPF_STMT(6, SECCOMP_RET_LOG),\n#else\nBPF_STMT(6, 0),\n#endif\n", "-")
    with pytest.warns(SourceWarning, match="as on a little-endian machine"):
        (program,) = read_programs(b"BPF_STMT(BPF_RET | BPF_K, htons(0x1234))", "-")
    assert decode(program.code)[0][3] == 0x3412
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (program,) = read_programs(b"#if 0\nBPF_STMT(6, 1),\n#endif\nBPF_STMT(6, 2)", "-")
    assert decode(program.code) == ((6, 0, 0, 2),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("const A: u32 = 1; const A: u32 = 2; f[] = { BPF_STMT(6, A) };", "A has several values here"),
        ("const A: u32 = B; const B: u32 = A; f[] = { BPF_STMT(6, A) };", "the value of A refers to itself"),
        ("{len=11, filter=0x55d0c8b8a0e0}, 16) = 0", "strace shows the address of a filter"),
        ("bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 1}", "bpf.JumpIf: the value of port is not known here"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_programs(text.encode(), "-")
    assert caught.value.reason.startswith(reason)
