"""golang.org/x/net/bpf: what its instructions print as, and its structures in source."""

from __future__ import annotations

import pytest

from bpflens.errors import InputError
from bpflens.formats.dumps.languages import c_source, go_bpf
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import decode
from bpflens.program import Isa, Program

PRINTED = """package main
0: ldh [12]
1: jneq #2048,3
2: ld #vlan_tpr
3: jset x,1,0
4: ja 0
5: ret #262144 // accept
some words
ld #len
ret a
"""


def insns(program: Program) -> list[tuple[int, ...]]:
    assert program.isa is Isa.CLASSIC
    return [tuple(insn) for insn in decode(program.code)]


def test_printed_instructions() -> None:
    """Numbers behind a jump are skips; what was read is blank afterwards. A run without a jump behind other text is a program too."""
    text = SourceText(PRINTED.encode(), "-")
    first, second = go_bpf.read_text(text)
    assert insns(first) == [
        (0x28, 0, 0, 12), (0x15, 0, 3, 2048), (0x20, 0, 0, 0xFFFFF03C), (0x4D, 1, 0, 0), (0x05, 0, 0, 0), (6, 0, 0, 262144),
    ]  # fmt: skip
    assert insns(second) == [(0x80, 0, 0, 0), (0x16, 0, 0, 0)]
    assert (first.origin.source, first.origin.lineno, second.origin.lineno) == ("go-bpf", 2, 9)
    assert text.body.split() == ["package", "main", "some", "words"]


def test_labels_are_not_skips() -> None:
    """bpf_asm's own text is left to its reader."""
    assert go_bpf.read_text(SourceText(b"ldh [12]\njeq #1, ok, no\nok: ret #1\nno: ret #0\n", "-")) == []


def test_a_skip_too_far() -> None:
    with pytest.raises(InputError, match="insn 0 skips 1 instructions, but 1 follow") as raised:
        go_bpf.read_text(SourceText(b"\njeq #1,1,0\nret #0\n", "x"))
    assert raised.value.object == "x:2"


STRUCTS = """
const etherIP = 0x800
filter := []bpf.Instruction{
    bpf.LoadAbsolute{Off: 12, Size: 2}, // type
    bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIP, SkipTrue: 3},
    bpf.LoadExtension{Num: bpf.ExtLen},
    bpf.JumpIfX{Cond: bpf.JumpLessThan, SkipTrue: 1, SkipFalse: 2},
    bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 2},
    bpf.StoreScratch{Src: bpf.RegX, N: 3},
    bpf.RetConstant{Val: 0x40000},
}
other := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 7}, bpf.LoadMemShift{Off: 14}, bpf.TXA{}, bpf.RetA{}}
"""


def test_structures() -> None:
    """One list is one program; conditions that classic BPF has only the other way round are turned."""
    text = SourceText(STRUCTS.encode(), "-")
    one, two = go_bpf.read_structs(text)
    assert insns(one) == [
        (0x28, 0, 0, 12), (0x15, 0, 3, 0x800), (0x80, 0, 0, 0), (0x3D, 2, 1, 0), (0x74, 0, 0, 2), (0x03, 0, 0, 3), (6, 0, 0, 0x40000),
    ]  # fmt: skip
    assert insns(two) == [(0x01, 0, 0, 7), (0xB1, 0, 0, 14), (0x87, 0, 0, 0), (0x16, 0, 0, 0)]
    assert "bpf.RetA" not in text.body and "etherIP = 0x800" in text.body


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("bpf.RetConstant{Val: nobody}", "bpf.RetConstant: the value of nobody is not known here"),
        ("bpf.LoadAbsolute{Off: 1, Size: 3}", "bpf.LoadAbsolute: 3 is not known here"),
        ("bpf.JumpIf{Cond: bpf.JumpSideways}", "bpf.JumpIf: JumpSideways is not known here"),
    ],
)
def test_structures_that_cannot_be_read(item: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        go_bpf.read_structs(SourceText(item.encode(), "-"))


# --- the same text's raw structures, and those of C (c_source.py) ---


def read_c(text: str) -> list[Program]:
    return c_source.read(SourceText(text.encode(), "-"))


def test_runs_of_c() -> None:
    """A name in front is the program's; another structure between is another program; a table of other numbers is none."""
    text = """
static struct sock_filter first[] = {
    { 0x28, 0, 0, 12 }, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x800, 0, 1), { .code = 6, .k = -1 }, { 6 , 0, 0, 0 } };
struct bpf_insn second[] = { BPF_MOV64_IMM(BPF_REG_0, 2), BPF_LD_IMM64(BPF_REG_1, 0x1122334455667788), BPF_EXIT_INSN() };
"""
    one, two = read_c(text)
    assert (one.name, one.isa, one.origin.source) == ("first", Isa.CLASSIC, "c-classic")
    assert insns(one) == [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 0xFFFFFFFF), (6, 0, 0, 0)]
    assert (two.name, two.isa, two.origin.source) == ("second", Isa.EXTENDED, "c-extended")
    assert two.code.hex() == "b700000002000000" "1801000088776655" "0000000044332211" "9500000000000000"
    assert read_c("int matrix[][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } };") == []
    assert [insns(program) for program in read_c("{ 0x28, 0, 0, 12 }, { 0x6, 0, 0, 1 }")] == [[(0x28, 0, 0, 12), (6, 0, 0, 1)]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BPF_STMT(BPF_RET, 0), BPF_MOV64_IMM(0, 1)", "extended instruction among classic ones"),
        ("BPF_STMT(BPF_RET)", "BPF_STMT has 2 arguments, not 1"),
        ("struct sock_filter f[] = { { 6, 256, 0, 0 } , };BPF_STMT(6, 1 << 33)", "does not fit struct sock_filter"),
        ("{len=3, filter=[BPF_STMT(0x6, 0), ...]}", "cut: 1 of 3 instructions"),
        ("{len=3, filter=[BPF_STMT(0x6, 0)]}", "cut: 1 of 3 instructions"),
        ("{len=1, filter=[BPF_STMT(0x6, 0), BPF_STMT(0x6, 0)]}", "says 1 instructions, but 2 follow"),
        ("struct sock_filter f[] = { MINE, BPF_STMT(BPF_RET, 0) };", "'MINE' before this instruction"),
        ("struct sock_filter f[] = { BPF_STMT(BPF_RET, 0), MINE };", "'MINE' behind instructions"),
    ],
)
def test_lists_that_are_not_whole(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_c(text)


def test_what_a_reading_of_c_assumes() -> None:
    text = "struct sock_filter f[] = { BPF_JUMP(BPF_JMP | BPF_JEQ, %s, 0, 0), BPF_STMT(BPF_RET, %s) };"
    assert read_c(text % ("__NR_read", 0))[0].origin.warnings == (
        "the source names no architecture: system call numbers are those of x86_64",
    )  # fmt: skip
    assert read_c(text % ("htons(1)", 0))[0].origin.warnings == ("htons() and its like are read as on a little-endian machine",)
    assert read_c(text % ("__NR_read", "AUDIT_ARCH_AARCH64"))[0].origin.warnings == ()
    assert insns(read_c(text % ("__NR_read", "AUDIT_ARCH_AARCH64"))[0])[0] == (0x15, 0, 0, 63)
