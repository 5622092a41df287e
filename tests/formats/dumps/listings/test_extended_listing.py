"""Listings of extended code by other tools, as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given

from bpflens.errors import BpflensError, InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.program import Function, Relocation, SourceLine
from bpflens.view.listing.extended import ListingOptions, listing
from bpflens.view.listing.heading import heading
from damage import damaged

XLATED = """\
int prog(struct xdp_md * ctx):
; u32 k = 0; [file:/src/x.c line_num:11 line_col:40]
   0: (b7) r1 = 0
; lookup(&m, &k)
   1: (18) r1 = map[id:28]
   3: (85) call bpf_map_lookup_elem#1
   4: (15) if r0 == 0x0 goto pc+1
   5: (85) call pc+2#bpf_prog_715e0f2e5866e0b2_sub
   6: (57) r0 &= 3
   7: (95) exit
int sub(int a):
   8: (bf) r0 = r1
   9: (95) exit
"""
OPCODES = [
    "b7 01 00 00 00 00 00 00",
    "18 11 00 00 1c 00 00 00 00 00 00 00 00 00 00 00",
    "85 00 00 00 01 00 00 00",
    "15 00 01 00 00 00 00 00",
    "85 10 02 00 01 00 00 00",  # as jit_subprogs leaves it: off is the distance, imm the number of the subprogram
    "57 00 00 00 03 00 00 00",
    "95 00 00 00 00 00 00 00",
    "bf 10 00 00 00 00 00 00",
    "95 00 00 00 00 00 00 00",
]
CODE = bytes.fromhex("".join(OPCODES))


def with_opcodes(text: str) -> str:
    lines, opcodes = [], iter(OPCODES)
    for line in text.splitlines():
        lines.append(line)
        if ": (" in line[:8]:
            lines.append("       " + next(opcodes))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("text", [XLATED, with_opcodes(XLATED), "".join(f"> {line}\n" for line in XLATED.splitlines())])
def test_xlated_text(text):
    program = read_programs(text.encode(), "-")[0]
    assert program.code == CODE
    assert program.name == "prog" and program.xlated
    assert program.functions == (Function(0, "prog", "int prog(struct xdp_md * ctx)"), Function(8, "sub", "int sub(int a)"))
    assert program.lines == (SourceLine(0, "/src/x.c", 11, 40, "u32 k = 0;"), SourceLine(1, "", 0, 0, "lookup(&m, &k)"))
    assert program.symbols == {5: "bpf_prog_715e0f2e5866e0b2_sub"}


def test_opcodes_win_over_the_text():
    """bpftool 7.1 prints movsx as mov: the bytes are the instruction."""
    text = "   0: (bf) r1 = r2\n       bf 21 08 00 00 00 00 00\n   1: (95) exit\n       95 00 00 00 00 00 00 00\n"
    program = read_programs(text.encode(), "-")[0]
    assert program.code.hex() == "bf210800000000009500000000000000"
    assert program.origin.note is None


def test_what_the_text_leaves_out_is_said():
    assert read_programs(XLATED.encode(), "-")[0].origin.note == "assembled from the listing's text; a dump with opcodes is exact"


def test_two_dumps():
    assert [p.code for p in read_programs((XLATED + XLATED).encode(), "-")] == [CODE, CODE]


def as_json(opcodes: bool) -> list[dict[str, object]]:
    items: list[dict[str, object]] = []
    item: dict[str, object] = {}
    raw = iter(OPCODES)
    for line in XLATED.splitlines():
        if line.startswith(";"):
            item["src"] = line[2:].partition(" [")[0]
        elif line.endswith("):"):
            item["proto"] = line[:-1]
        else:
            data = next(raw).split(" ")
            item["disasm"] = line.partition(": ")[2]
            if opcodes:
                code, regs = data[0], int(data[1], 16)
                registers = {"src_reg": f"{regs >> 4:#x}", "dst_reg": f"{regs & 15:#x}"}
                off, imm = [f"0x{b}" for b in data[2:4]], [f"0x{b}" for b in data[4:]]
                item["opcodes"] = {"code": f"0x{code}", **registers, "off": off, "imm": imm}
            items.append(item)
            item = {}
    return items


@pytest.mark.parametrize("opcodes", [False, True])
def test_xlated_json(opcodes):
    one = read_programs(json.dumps(as_json(opcodes)).encode(), "-")
    assert [p.code for p in one] == [CODE]
    assert [f.name for f in one[0].functions] == ["prog", "sub"]
    several = [{"id": id, "name": name, "tag": "0123456789abcdef", "insns": as_json(opcodes)} for id, name in ((7, "a"), (8, "b"))]
    programs = read_programs(json.dumps(several, indent=1).encode(), "-")
    assert [(p.id, p.name, p.code == CODE) for p in programs] == [(7, "a", True), (8, "b", True)]


def test_verifier_log():
    """Branches are explored more than once; the instructions are collected by slot."""
    log = """func#0 @0
Live regs before insn:
  0: .1........ (b7) r0 = 0
  1: 0......... (15) if r0 == 0x0 goto pc+1
  2: 0......... (b7) r0 = 1
  3: 0......... (95) exit
0: R1=ctx() R10=fp0
0: (b7) r0 = 0                        ; R0_w=0
1: (15) if r0 == 0x0 goto pc+1        ; R0_w=0
3: (95) exit

from 1 to 2: R0=1 R10=fp0
2: (b7) r0 = 1                        ; R0_w=1
3: (95) exit
processed 5 insns (limit 1000000) max_states_per_insn 0
"""
    programs = read_programs(log.encode(), "-")
    assert programs[0].code.hex() == "b700000000000000" "1500010000000000" "b700000001000000" "9500000000000000"
    assert programs[0].origin.source == "verifier-log" and not programs[0].xlated


LLVM = """
x.o:	file format elf64-bpf

Disassembly of section .text:

0000000000000000 <sub>:
; static int sub(int a)
       0:	bf 10 00 00 00 00 00 00	r0 = r1
       1:	95 00 00 00 00 00 00 00	exit

Disassembly of section xdp:

0000000000000000 <prog>:
       0:	18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00	r1 = 0 ll
		0000000000000000:  R_BPF_64_64	m
       2:	15 00 01 00 00 00 00 00	if r0 == 0 goto +1 <LBB0_2>
       3:	b7 01 00 00 01 00 00 00	r1 = 1

0000000000000020 <LBB0_2>:
       4:	95 00 00 00 00 00 00 00	exit
"""


def test_llvm_objdump():
    text, xdp = read_programs(LLVM.encode(), "-")
    assert (text.section, text.name, text.code.hex()) == (".text", "sub", "bf100000000000009500000000000000")
    assert (xdp.section, xdp.insn_count, xdp.functions) == ("xdp", 5, (Function(0, "prog"),))
    assert xdp.relocations == (Relocation(0, "map", "m", text="R_BPF_64_64 m"),)


def test_llvm_objdump_without_bytes():
    import re

    bare = re.sub(r":\t(?:[0-9a-f]{2} )+[0-9a-f]{2}\t", ":\t", LLVM)
    assert [p.code for p in read_programs(bare.encode(), "-")] == [p.code for p in read_programs(LLVM.encode(), "-")]


def test_assembler():
    program = read_programs(b"start:\n  r0 = 2\n  goto start\n  exit\n", "-")[0]
    assert program.code.hex() == "b700000002000000" "0500feff00000000" "9500000000000000"


REFUSED = [
    ("   0: (bf) r1 = r2\n       b7 21 08 00 00 00 00 00\n", "the bytes below are not an instruction with opcode (bf)"),
    ("   0: (b7) r0 = banana\n", "no instruction has the form 'r0 = banana'"),
    ("   0: (b7) r0 = 0\n   1: (95) exit\n   1: (b7) r0 = 1\n", "slot 1 is here something else than above"),
    ("       0:\tb7 00 00 00 00 00 00 00\tx\n       5:\tb7 00 00 00 00 00 00 00\tx\n", "slot 5 where slot 1 is expected"),
    ('[{"disasm": "(b7) r0 = 0"}, {"disasm": 3}]', "insn 1 has no disasm"),
    ('[{"disasm": "(b7) r0 = 0", "opcodes": {"code": "zz"}}]', "insn 0: cannot read"),
    ("r0 = 0\nr1 = banana\nexit\n", "no instruction has the form 'r1 = banana'"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refused(text, reason):
    with pytest.raises(InputError) as caught:
        read_programs(text.encode(), "-")
    assert caught.value.reason.startswith(reason)


@given(damaged([XLATED, with_opcodes(XLATED), LLVM, json.dumps(as_json(True)), json.dumps(as_json(False))]))
def test_damaged_dumps_are_programs_or_an_error(data):
    try:
        assert read_programs(data, "-")
    except BpflensError:
        pass


def test_names_of_calls_are_kept() -> None:
    dump = (
        "   0: (85) call __htab_map_lookup_elem#330864\n   1: (85) call unknown#77\n"
        "   2: (85) call pc+0#bpf_prog_a1_sub\n   3: (95) exit\n"
    )
    (program,) = read_programs(dump.encode(), "-")
    assert program.symbols == {0: "__htab_map_lookup_elem", 2: "bpf_prog_a1_sub"}

    items = [{"disasm": line[6:]} for line in dump.splitlines()]
    (program,) = read_programs(json.dumps(items).encode(), "-")
    assert program.symbols[0] == "__htab_map_lookup_elem" and 1 not in program.symbols

    text = heading(program) + "\n" + "".join(listing(program, ListingOptions()))
    assert "call __htab_map_lookup_elem#330864" in text
    (again,) = read_programs(f"; {text}".encode(), "-")
    assert again.code == program.code and again.symbols[0] == "__htab_map_lookup_elem"


def test_kfuncs_of_a_verifier_log() -> None:
    log = "func#0 @0\n0: (85) call bpf_cgroup_from_id#27896         ; R0=x\n1: (85) call bpf_get_prandom_u32#7 ; R0=x\n2: (95) exit\n"
    (program,) = read_programs(log.encode(), "-")

    assert program.code[1] == 0x20 and program.code[9] == 0
    assert "call kfunc bpf_cgroup_from_id#27896" in "".join(listing(program, ListingOptions()))


SOURCES = Path(__file__).parents[3] / "corpus/sources"


def test_gnu_objdump() -> None:
    """Its bytes are the program; relocations and functions are those of its lines; without bytes it is refused."""
    text = (SOURCES / "gnu-objdump.txt").read_text()
    two, one = read_programs(text.encode(), "-")
    assert [(p.declared.section, p.name, p.insn_count) for p in (two, one)] == [(".text", "two", 3), ("xdp", "one", 8)]
    assert [(r.off_insns, r.kind, r.symbol) for r in one.relocations] == [(1, "call", ".text"), (2, "map", "g")]
    bare = re.sub(r"\t(?:[0-9a-f]{2} ){8}", "", text)
    with pytest.raises(InputError) as caught:
        read_programs(bare.encode(), "-")
    assert caught.value.hint == "run it without --no-show-raw-insn"


def test_calls_that_a_text_does_not_tell_apart() -> None:
    """llvm-objdump without bytes prints the call of a helper and of a function alike: neither is claimed, but where a relocation tells."""
    text, xdp, tc = read_programs((SOURCES / "llvm-no-raw.txt").read_bytes(), "-")
    assert text.code[:2] == b"\x85\xf0" and text.relocations[0].text.startswith("call 0x6: a helper or a function")
    assert xdp.code[8:10] == b"\x85\x10"  # negative: a function
    assert tc.code[8:10] == b"\x85\x10"  # its relocation is against a section of code
