"""Each reader of listings by itself: what it takes from a text, what it leaves to others, what it refuses."""

from __future__ import annotations

import pytest

from bpflens.errors import InputError
from bpflens.formats.dumps.listings import classic_listing, extended_listing, gnu_objdump, llvm_objdump, own_listing
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import decode
from bpflens.program import Function, Isa, Program, Relocation, SourceLine


def source(text: str) -> SourceText:
    return SourceText(text.encode(), "x")


def insns(program: Program) -> list[tuple[int, ...]]:
    return [tuple(insn) for insn in decode(program.code)]


# --- classic_listing ---

TCPDUMP = "(000) ldh      [12]\n(001) jeq      #0x800           jt 2\tjf 3\nwarning: in between\n(002) ret #262144\n(003) ret #0\n"


def test_tcpdump() -> None:
    """Lines that others interrupt, two programs, lines that a mail has joined; what stands between is left."""
    text = source(f"{TCPDUMP}(000) ret #1 (001) ret #0\n")
    one, two = classic_listing.read_tcpdump(text)
    assert insns(one) == [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 262144), (6, 0, 0, 0)]
    assert insns(two) == [(6, 0, 0, 1), (6, 0, 0, 0)]
    assert (one.origin.lineno, two.origin.lineno) == (1, 6)
    assert text.body.split() == ["warning:", "in", "between"]


@pytest.mark.parametrize(
    ("text", "said"), [("(001) ret #0", r"\(001\) where \(000\)"), ("(000) ret #0\n(002) ret #0", r"\(002\) where \(001\)")]
)
def test_tcpdump_with_missing_lines(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        classic_listing.read_tcpdump(source(text))


def test_seccomp_tables() -> None:
    """Numbered in decimal, in hexadecimal (firejail) and from L0001 on (ceccomp); the words behind the numbers do not count."""
    row = "0x06 0x00 0x00 0x7fff0000"
    seccomp_tools = "".join(f" {number:04d}: {row}  return KILL\n" for number in range(11))
    firejail = "".join(f" {number:04x}: 06 00 00 7fff0000   ret ALLOW\n" for number in range(11))
    ceccomp = f"L0001: {row}\nL0002: {row}\n"
    programs = classic_listing.read_seccomp_dump(source(seccomp_tools + firejail + ceccomp))
    assert [insns(program) for program in programs] == [[(6, 0, 0, 0x7FFF0000)] * count for count in (11, 11, 2)]
    with pytest.raises(InputError, match="line 0002 where 0001 is expected"):
        classic_listing.read_seccomp_dump(source(f" 0000: {row}\n 0002: {row}\n"))


def test_bpf_asm_is_known_by_its_first_word() -> None:
    text = "; a comment\n/* another */\nstart: ldh [12]\n jne #0x800, drop\nret #-1\ndrop: ret #0\n"
    (program,) = classic_listing.read_bpf_asm(source(text))
    assert insns(program) == [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 0xFFFFFFFF), (6, 0, 0, 0)]
    assert classic_listing.read_bpf_asm(source("a letter: dear reader\n")) == []
    with pytest.raises(InputError):
        classic_listing.read_bpf_asm(source("ret #0\ndear reader\n"))


# --- extended_listing ---


def test_one_line() -> None:
    """Against its opcode; a subprogram's name is no part of the instruction."""
    assert extended_listing.assemble_line("r0 = 2", 0xB7).hex() == "b700000002000000"
    assert extended_listing.assemble_line("call pc+2#sub", 0x85).hex() == "8510000002000000"
    with pytest.raises(InputError, match=r"does not have the opcode \(bf\)"):
        extended_listing.assemble_line("r0 = 2", 0xBF)
    with pytest.raises(InputError, match="not one instruction"):
        extended_listing.assemble_line("r0 = 1\nr0 = 2\nexit")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("call pc+5#bpf_prog_12_sub", "bpf_prog_12_sub"), ("call bpf_map_lookup_elem#1", ""), ("call unknown#77", ""),
        ("call bpf_rbtree_add#12345", "bpf_rbtree_add"), ("call kfunc bpf_obj_new#5", "bpf_obj_new"), ("call pc+5", ""), ("r0 = 1", ""),
        ("call htab_map_lookup_elem#-12", "htab_map_lookup_elem"),
    ],
)  # fmt: skip
def test_called_names(line: str, name: str) -> None:
    """Only where the number alone does not say it."""
    assert extended_listing.called_name(line) == name


def test_source_lines() -> None:
    assert extended_listing.source_line(3, "x = 1; [file:/a b.c line_num:4 line_col:5]") == SourceLine(3, "/a b.c", 4, 5, "x = 1;")
    assert extended_listing.source_line(3, "x = 1; @ a.c:4") == SourceLine(3, "a.c", 4, 0, "x = 1;")
    assert extended_listing.source_line(3, "x = 1;") == SourceLine(3, "", 0, 0, "x = 1;")


def test_calls_are_numbered_by_where_subprograms_begin() -> None:
    """jit_subprogs: off is the distance, imm the number of the subprogram."""
    texts = {0: "call pc+4#b", 1: "r0 = 1", 2: "call pc+1#a"}
    assert {slot: code.hex() for slot, code in extended_listing.jited_calls(texts, [Function(7, "c")]).items()} == {
        0: "8510040002000000", 2: "8510010001000000",
    }  # fmt: skip
    assert extended_listing.jited_calls({0: "call pc+4"}, []) == {}


def test_bpftool_listing_with_a_hole() -> None:
    with pytest.raises(InputError, match="slot 2 where slot 1 is expected"):
        extended_listing.read_bpftool(source("   0: (b7) r0 = 0\n   2: (95) exit\n"))
    with pytest.raises(InputError, match="slot 0 is missing"):
        extended_listing.read_bpftool(source("   3: (b7) r0 = 0\n"))
    with pytest.raises(InputError, match="does not have the opcode"):
        extended_listing.read_bpftool(source("   0: (b7) exit\n"))


def test_assembler() -> None:
    assert extended_listing.looks_like_assembler("words\n  r1 += 4\n") and not extended_listing.looks_like_assembler("r11 = 1\nret #0")
    (program,) = extended_listing.read_assembler(source("\n  r0 = 1\n  exit\n"))
    assert (program.code.hex(), program.origin.lineno, program.isa) == ("b7000000010000009500000000000000", 2, Isa.EXTENDED)
    assert extended_listing.read_assembler(source("; nothing\n")) == []


# --- gnu_objdump ---

GNU = """
a.o:     file format elf64-bpf{order}

Disassembly of section .text:

0000000000000000 <one>:
   0:\t{call} \tcall -1
\t\t\t0: R_BPF_INSN_DISP32\t.text
   8:\t95 00 00 00 00 00 00 00 \texit

0000000000000010 <two>:
  10:\t{mov} \tmov %r0,2
  18:\t95 00 00 00 00 00 00 00 \texit

Disassembly of section xdp:

0000000000000000 <prog>:
   0:\t95 00 00 00 00 00 00 00 \texit
"""
LITTLE = {"order": "le", "call": "85 10 00 00 ff ff ff ff", "mov": "b7 00 00 00 02 00 00 00"}
BIG = {"order": "be", "call": "85 01 00 00 ff ff ff ff", "mov": "b7 00 00 00 00 00 00 02"}


@pytest.mark.parametrize("form", [LITTLE, BIG])
def test_gnu_objdump(form: dict[str, str]) -> None:
    """A program for each section, with its functions and what is relocated, whatever the byte order."""
    assert gnu_objdump.looks_like_gnu_objdump(GNU.format(**form))
    one, two = gnu_objdump.read(source(GNU.format(**form)))
    assert one.code.hex() == "85100000ffffffff" "9500000000000000" "b700000002000000" "9500000000000000"
    assert one.functions == (Function(0, "one"), Function(2, "two")) and one.section == ".text"
    assert one.relocations == (Relocation(0, "call", ".text", text="R_BPF_INSN_DISP32 .text"),)
    assert (two.section, two.name, two.insn_count, two.relocations) == ("xdp", "prog", 1, ())


def test_gnu_objdump_that_is_not_whole() -> None:
    assert not gnu_objdump.looks_like_gnu_objdump("0: exit\n")
    with pytest.raises(InputError, match="byte 0x10 where byte 0x8 is expected"):
        gnu_objdump.read(source("   0:\t95 00 00 00 00 00 00 00 \texit\n  10:\t95 00 00 00 00 00 00 00 \texit\n"))
    with pytest.raises(InputError, match="without the bytes"):
        gnu_objdump.read(source("   0:\tmov %r0,2\n   8:\texit\n"))


# --- llvm_objdump ---

LLVM = """
Disassembly of section xdp:

0000000000000000 <prog>:
; int prog() {{
       0:\t{text}
       1:\t95 00 00 00 00 00 00 00\texit

0000000000000010 <sub>:
       2:\t95 00 00 00 00 00 00 00\texit

Disassembly of section .strtab:

0000000000000000 <.strtab>:
       0:\t00 2e 74 65 78 74 00 2e\t<unknown>
"""


def test_llvm_objdump() -> None:
    """Sections without code are passed over; source lines belong to the slot below."""
    (program,) = llvm_objdump.read(source(LLVM.format(text="b7 00 00 00 02 00 00 00\tr0 = 2")))
    assert (program.section, program.insn_count) == ("xdp", 3)
    assert program.functions == (Function(0, "prog"), Function(2, "sub"))
    assert program.lines == (SourceLine(0, "", 0, 0, "int prog() {"),)


@pytest.mark.parametrize(
    ("call", "source_register"), [("call 0x1", 15), ("call 0x6", 0), ("call -0x1", 1), ("call 0x7fffffff", 0)]
)  # fmt: skip
def test_a_call_of_text_alone(call: str, source_register: int) -> None:
    """A function where it is negative, unknown where a function begins there, else a helper."""
    (program,) = llvm_objdump.read(source(LLVM.format(text=call)))
    assert program.code[1] >> 4 == source_register
    assert [relocation.kind for relocation in program.relocations] == (["extern"] if source_register == 15 else [])


def test_llvm_objdump_that_is_not_whole() -> None:
    with pytest.raises(InputError, match="slot 5 where slot 1 is expected"):
        llvm_objdump.read(source(LLVM.format(text="b7 00 00 00 02 00 00 00\tr0 = 2").replace("  1:", "  5:", 1)))
    (program,) = llvm_objdump.read(source(LLVM.format(text="<unknown>")))
    assert program.origin.warnings == ("1 instruction is <unknown> in the listing, without bytes: shown as unknown",)
    assert program.code[:8] == bytes(8)


# --- own_listing ---

OWN = """; x.o#xdp: xdp prog, section xdp, 2 insns, license GPL
; int prog(struct xdp_md *ctx)
prog:
       0:    (b7) r0 = 2
       1:    (95) exit
; x.o#other: classic, 1 insns
(000) ret      #0
; a comment with 7 insns
nothing of code
"""


def test_own_listing() -> None:
    """Both instruction sets by their headings; what does not assemble is left to others."""
    text = source(OWN)
    one, two = own_listing.read(text)
    assert (one.code.hex(), one.name, one.section, one.xlated) == ("b7000000020000009500000000000000", "prog", "xdp", False)
    assert one.functions == (Function(0, "prog", "int prog(struct xdp_md *ctx)"),)
    assert insns(two) == [(6, 0, 0, 0)]
    assert text.body.split("\n")[-3:] == ["; a comment with 7 insns", "nothing of code", ""]
