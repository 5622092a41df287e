"""C sources: initialisers and macros mean what a compiler makes of them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given

import needs
from bpflens.errors import BpflensError, InputError, SourceWarning
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.dumps.languages.c_macros import MACROS
from bpflens.formats.dumps.languages.header_structs import STRUCTS
from bpflens.formats.dumps.languages.header_values import CLASSIC, NETWORK, SYSTEM_CALLS
from bpflens.formats.dumps.languages.header_values import EXTENDED as OF_EXTENDED
from bpflens.isa.classic.insn import decode
from bpflens.program import Isa
from damage import damaged

SECCOMP = """
/* refuse everything but x86-64 */
static struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offsetof(struct seccomp_data, arch))),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0), // else kill
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_LD + BPF_W + BPF_ABS, offsetof(struct seccomp_data, args[1])),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
};
"""


def test_classic_macros():
    program = read_programs(SECCOMP.encode(), "-")[0]
    assert decode(program.code) == ((32, 0, 0, 4), (21, 1, 0, 0xC000003E), (6, 0, 0, 0x80000000), (32, 0, 0, 24), (6, 0, 0, 0x50001))
    assert (program.name, program.origin.lineno, program.origin.source) == ("filter", 4, "c-classic")


def test_extended_initialisers():
    text = "struct bpf_insn prog[] = { {0xb7, 0, 0, 0, -1}, { .code = BPF_JMP | BPF_EXIT } };"
    program = read_programs(text.encode(), "-")[0]
    assert (program.isa, program.code.hex()) == (Isa.EXTENDED, "b7000000ffffffff9500000000000000")


def test_code_around_it():
    """Other initialisers, strings and functions are no programs."""
    text = 'int m[3] = {1, 2, 3};\nconst char *s = "{ 6, 0, 0, 0 }";\nvoid f(void) { if (x) { g(1, 2, 3, 4); } }\n'
    text += "foo[] = {\n{ 6, 0, 0, 0 },\n};\n"
    programs = read_programs(text.encode(), "-")
    assert [(p.name, p.origin.lineno) for p in programs] == [("foo", 5)]


def test_integers_that_the_text_defines():
    text = """#define PORT 67 + 1 /* client */
#define PORTS (PORT << 16)
#define KILL BPF_STMT(BPF_RET | BPF_K, 0)
#define BOTH \\
    BPF_STMT(6, 1), \\
    BPF_STMT(6, 2)
f[] = { BPF_STMT(BPF_LD, PORT), BPF_STMT(6, PORTS) };
"""
    programs = read_programs(text.encode(), "-")
    assert [decode(p.code) for p in programs] == [((0, 0, 0, 68), (6, 0, 0, 68 << 16))]


READ = [
    ("BPF_STMT(BPF_RET+BPF_K, (u_int)-1)", (6, 0, 0, 0xFFFFFFFF)),
    ("BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct ethhdr, h_proto))", (0x28, 0, 0, 12)),
    ("BPF_STMT(BPF_LD+BPF_B+BPF_ABS, sizeof(struct ether_header) + offsetof(struct ip, ip_p))", (0x30, 0, 0, 23)),
    ("BPF_STMT(0x28, ETHER_HDR_LEN - 2)", (0x28, 0, 0, 12)),
    ("BPF_JUMP(BPF_JMP+BPF_JSET+BPF_K, TH_SYN | TH_ACK, 0, 1)", (0x45, 0, 1, 0x12)),
    ("#define DENY(n) BPF_JUMP(0x15, __NR_##n, 0, 1)\n AUDIT_ARCH_AARCH64; DENY(ptrace)", (0x15, 0, 1, 117)),
    ("AUDIT_ARCH_X86_64; BPF_JUMP(0x15, SCMP_SYS(execve), 1, 0)", (0x15, 1, 0, 59)),
    ("filter.push(sock_filter { code: 0x15, jt: 0, jf: 1, k: 0xc000_003e });", (0x15, 0, 1, 0xC000003E)),
    ("libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX & 1u32 }", (6, 0, 0, 1)),
    ("vec![BPF_STMT!(libc::BPF_RET, 7u32)]", (6, 0, 0, 7)),
    ("[]unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4}}", (0x20, 0, 0, 4)),
    ("[]bpf.RawInstruction{ bpf.RawInstruction{Op: 0x6, Jt: 0, Jf: 0, K: 0x40000} }", (6, 0, 0, 0x40000)),
]


@pytest.mark.parametrize(("text", "insn"), READ)
def test_spellings_of_one_instruction(text: str, insn: tuple[int, ...] | None) -> None:
    """Casts, sizes, offsets, header constants, the text's own macros; the same structures in Rust and Go."""
    if insn is None:
        with pytest.raises(InputError):
            read_programs(text.encode(), "-")
        return
    [program] = read_programs(text.encode(), "-")
    assert decode(program.code) == (insn,)


def test_appended_one_by_one() -> None:
    """`filter.push(...)` for each instruction is one program."""
    [program] = read_programs(
        b"f.push(sock_filter { code: 0x20, jt: 0, jf: 0, k: 4 });\nf.push(sock_filter { code: 6, jt: 0, jf: 0, k: 0 });", "-"
    )
    assert decode(program.code) == ((0x20, 0, 0, 4), (6, 0, 0, 0))


def test_system_calls_of_an_unnamed_architecture_are_told_of() -> None:
    """A number that was assumed is said to be."""
    with pytest.warns(SourceWarning, match="names no architecture: system call numbers are those of x86_64"):
        read_programs(b"BPF_JUMP(0x15, __NR_read, 0, 1)", "-")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "{len=4, filter=[BPF_STMT(BPF_LD|BPF_H|BPF_ABS, 0xc), BPF_JUMP(BPF_JMP|BPF_K|BPF_JEQ, 0x806, 0, 0x1), ...]}",
            "cut: 2 of 4 instructions",
        ),
        ("{len=2, filter=[BPF_STMT(BPF_RET|BPF_K, 0)]}", "cut: 1 of 2 instructions"),
        ("{len=1, filter=[BPF_STMT(BPF_LD, 0), BPF_STMT(BPF_RET|BPF_K, 0)]}", "says 1 instructions, but 2 follow"),
        ("struct sock_filter f[] = { BPF_STMT(BPF_RET|BPF_K, 0), ... };", "cut: 1 instructions"),
    ],
)
def test_lists_that_were_cut(text: str, reason: str) -> None:
    """What somebody has shortened is no program."""
    with pytest.raises(InputError) as caught:
        read_programs(text.encode(), "-")
    assert caught.value.reason == reason


REFUSED = [
    ("f[] = { BPF_STMT(0, 0), ALLOW(read), BPF_STMT(6, 0) };", "'ALLOW' behind instructions is not one that is known here"),
    ("f[] = { CHECK, BPF_STMT(6, 0) };", "'CHECK' before this instruction is not one that is known here"),
    ("BPF_STMT(BPF_RET | BPF_K, __NR_no_such_call)", "the value of __NR_no_such_call is not known here"),
    ("BPF_STMT(6)", "BPF_STMT has 2 arguments, not 1"),
    ("BPF_STMT(6, 1 / 0)", "division by 0"),
    ("BPF_STMT(6, 1 << 64)", "shift by 64"),
    ("BPF_STMT(6, 0x100000000)", "{6, 0, 0, 4294967296} does not fit struct sock_filter"),
    ("BPF_STMT(6, 0", "no closing )"),
    ("BPF_STMT(6, 0), BPF_EXIT_INSN()", "extended instruction among classic ones"),
    ("BPF_STMT(6, " + "(" * 100 + "0" + ")" * 100 + ")", "not an integer expression"),
    ("BPF_STMT(6, 0), {1, 2, 3, }", "3 values in braces"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refused(text, reason):
    with pytest.raises(InputError) as caught:
        read_programs(text.encode(), "-")
    assert caught.value.reason.startswith(reason)


def compiled(source: str) -> str:
    """The output of a C program; the compiler is the oracle."""
    clang = needs.tool("clang")
    binary = subprocess.run(
        [clang, "-x", "c", "-", "-o", "-", "-c", "-O1"],
        input=source.encode(),
        capture_output=True,
        check=True,
    ).stdout
    from io import BytesIO

    from elftools.elf.elffile import ELFFile

    return ELFFile(BytesIO(binary)).get_section_by_name(".values").data()


LINUX = tuple(
    f"linux/{name}.h"
    for name in (
        "bpf", "bpf_common", "filter", "if_ether", "in", "in6", "if_packet", "seccomp", "audit", "errno", "sched", "netlink", "rtnetlink",
        "prctl", "icmpv6",
    )
)
LIBC = (
    "net/ethernet.h", "net/if_arp.h", "netinet/if_ether.h", "netinet/ip.h", "netinet/ip6.h", "netinet/tcp.h", "netinet/udp.h",
    "netinet/ip_icmp.h", "netinet/icmp6.h", "sys/socket.h", "sys/mman.h", "sys/ioctl.h", "errno.h", "limits.h", "stdint.h",
)  # fmt: skip
ABSENT = -77777777


def values_of(headers: tuple[str, ...], expressions: list[str]) -> list[int]:
    """What clang makes of expressions in the presence of these headers."""
    lines = [f"#include <{header}>" for header in headers]
    lines.append('__attribute__((section(".values"), used)) long long values[] = {')
    image = compiled("\n".join(["#include <stddef.h>", *lines, *expressions, "};"]))
    return [int.from_bytes(image[at : at + 8], "little", signed=True) for at in range(0, len(image), 8)]


def test_constants_are_those_of_the_headers():
    """clang compiles an array of every constant that the installed headers define; its values are ours."""
    if shutil.which("clang") is None:
        needs.tool("clang")
    constants = {**CLASSIC, **OF_EXTENDED, **NETWORK, **SYSTEM_CALLS}
    names = [name for name in constants if not name.startswith("BPF_REG_ARG") and name not in ("BPF_REG_CTX", "BPF_REG_FP")]
    unknown = set(names)
    for headers in (LINUX, LIBC):
        enums = ("BPF_REG_", "IPPROTO_", "XDP_") if headers is LINUX else ()
        lines = [f"{n}," if n.startswith(enums) else f"\n#ifdef {n}\n(int){n},\n#else\n{ABSENT},\n#endif" for n in names]
        known = {name: value for name, value in zip(names, values_of(headers, lines), strict=True) if value != ABSENT}
        wrong = {name: value for name, value in known.items() if value != (constants[name] & 0xFFFFFFFF ^ 0x80000000) - 0x80000000}
        assert wrong == {}
        unknown -= known.keys()
    assert len(unknown) < 40, unknown  # what these headers do not have, or have as enums


@pytest.mark.parametrize(
    ("headers", "structs"),
    [
        (tuple(f"linux/{name}.h" for name in ("if_ether", "ip", "ipv6", "tcp", "udp", "icmp", "seccomp", "netlink")),
         {"ethhdr": "h_", "iphdr": "", "ipv6hdr": "", "tcphdr": "", "udphdr": "", "icmphdr": "", "seccomp_data": "", "nlmsghdr": ""}),
        (LIBC, {"ether_header": "ether_", "ip": "ip_", "ip6_hdr": "ip6_", "tcphdr": "th_", "udphdr": "uh_", "arphdr": "ar_",
                "ether_arp": "arp_"}),
    ],
)  # fmt: skip
def test_structures_are_those_of_the_headers(headers: tuple[str, ...], structs: dict[str, str]) -> None:
    """Sizes and offsets, as clang has them; `__SIZE` lines are asserted by a value each."""
    needs.tool("clang")
    rows = [(name, member, offset) for name, prefix in structs.items() for member, offset in STRUCTS[name][1].items()
            if member.startswith(prefix) and ("_" in member or headers is not LIBC)]  # fmt: skip
    if headers is not LIBC:
        rows = [row for row in rows if not row[1].startswith(("ether_", "ip_", "ip6_", "th_", "uh_", "icmp"))]
    expressions = [f"offsetof(struct {name}, {member})," for name, member, _ in rows] + [f"sizeof(struct {name})," for name in structs]
    expected = [offset for _, _, offset in rows] + [STRUCTS[name][0] for name in structs]
    assert values_of(headers, expressions) == expected


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_every_macro_makes_one_instruction(macro):
    """With plausible arguments, and the result disassembles."""
    row = MACROS[macro]
    sample = {"size": "BPF_W", "op": "BPF_ADD", "type": "BPF_X", "d": "BPF_REG_1", "s": "BPF_REG_2", "off": "-4", "len": "16"}
    sample |= {"imm": "7", "func": "BPF_FUNC_map_lookup_elem", "c": "BPF_RET", "k": "1", "t": "0", "f": "0"}
    arguments = ", ".join(sample[parameter] for parameter in row.parameters.split())
    program = read_programs(f"{macro}({arguments})".encode(), "-")[0]
    assert program.insn_count == (2 if row.wide else 1)


EXTENDED = {
    "BPF_MOV64_IMM(BPF_REG_0, 2)": "b700000002000000",
    "BPF_LD_IMM64(BPF_REG_1, 0x1122334455667788)": "18010000887766550000000044332211",
    "BPF_LD_MAP_FD(BPF_REG_1, 5)": "18110000050000000000000000000000",
    "BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, -4)": "630afcff00000000",
    "BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 2)": "1500020000000000",
    "BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem)": "8500000001000000",
    "BPF_EMIT_CALL(BPF_FUNC_get_prandom_u32)": "8500000007000000",
    "BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, 0)": "db10000000000000",
    "BPF_ALU32_REG(BPF_XOR, BPF_REG_3, BPF_REG_4)": "ac43000000000000",
    "BPF_ENDIAN(BPF_TO_BE, BPF_REG_1, 16)": "dc01000010000000",
    "BPF_CALL_REL(3)": "8510000003000000",
    "BPF_MOVSX64_REG(BPF_REG_1, BPF_REG_2, 8)": "bf21080000000000",
    "BPF_LD_ABS(BPF_B, 9)": "3000000009000000",
    "BPF_EXIT_INSN()": "9500000000000000",
}


@pytest.mark.parametrize("text", EXTENDED)
def test_extended_macros(text):
    assert read_programs(text.encode(), "-")[0].code.hex() == EXTENDED[text]


@given(damaged([SECCOMP, ",\n".join(EXTENDED)]))
def test_damaged_dumps_are_programs_or_an_error(data):
    try:
        assert read_programs(data, "-")
    except BpflensError:
        pass
