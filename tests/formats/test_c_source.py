"""C sources: initialisers and macros mean what a compiler makes of them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given

import needs
from bpflens.errors import BpflensError, InputError
from bpflens.formats.dumps.c_constants import _CLASSIC, _EXTENDED, _NETWORK, _SECCOMP
from bpflens.formats.dumps.c_source import _MACROS
from bpflens.formats.dumps.detect import read_programs
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


REFUSED = [
    ("f[] = { BPF_STMT(0, 0), ALLOW(read), BPF_STMT(6, 0) };", "'ALLOW' behind instructions is not one that is known here"),
    ("f[] = { CHECK, BPF_STMT(6, 0) };", "'CHECK' before this instruction is not one that is known here"),
    ("BPF_STMT(BPF_RET | BPF_K, __NR_read)", "the value of __NR_read is not known here"),
    ("BPF_STMT(BPF_RET | BPF_K, htons(80))", "htons() depends on the machine's byte order"),
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


def test_constants_are_those_of_the_headers():
    """clang compiles an array of every constant that the installed headers define; its values are ours."""
    if shutil.which("clang") is None:
        needs.tool("clang")
    constants = {**_CLASSIC, **_EXTENDED, **_NETWORK, **_SECCOMP}
    headers = ("bpf", "bpf_common", "filter", "if_ether", "in", "in6", "if_packet", "seccomp", "audit", "errno")
    lines = [f"#include <linux/{header}.h>" for header in headers]
    lines.append('__attribute__((section(".values"), used)) long long values[] = {')
    names = [name for name in constants if not name.startswith("BPF_REG_ARG") and name not in ("BPF_REG_CTX", "BPF_REG_FP")]
    for name in names:
        is_enum = name.startswith(("BPF_REG_", "IPPROTO_", "XDP_"))
        lines.append(f"{name}," if is_enum else f"\n#ifdef {name}\n(int){name},\n#else\n-77777777,\n#endif")
    lines.append("};")
    image = compiled("\n".join(lines))
    values = [int.from_bytes(image[at : at + 8], "little", signed=True) for at in range(0, len(image), 8)]
    wrong = {
        name: (value, constants[name])
        for name, value in zip(names, values, strict=True)
        if value not in (-77777777, (constants[name] & 0xFFFFFFFF ^ 0x80000000) - 0x80000000)
    }
    assert wrong == {}
    assert sum(value == -77777777 for value in values) < 20  # what these headers do not have yet


@pytest.mark.parametrize("macro", sorted(_MACROS))
def test_every_macro_makes_one_instruction(macro):
    """With plausible arguments, and the result disassembles."""
    row = _MACROS[macro]
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
