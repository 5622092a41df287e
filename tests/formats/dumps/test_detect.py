"""Every source is recognised by its content, whatever terminals and mail did to it; anything else is one clear error."""

from __future__ import annotations

import json
import struct
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpflens.errors import BpflensError, InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.text import DIALECTS, format_program
from bpflens.program import Isa, Program
from damage import damaged

CORPUS = json.loads((Path(__file__).parents[2] / "corpus" / "cbpf_corpus.json").read_text())
INSNS = [tuple(SockFilter(*insn) for insn in entry["insns"]) for entry in CORPUS]
SMALL = (SockFilter(0x28, 0, 0, 12), SockFilter(0x15, 0, 1, 0x800), SockFilter(6, 0, 0, 0xFFFFFFFF), SockFilter(6, 0, 0, 0))


def read(text: str | bytes, **options: str) -> list[Program]:
    return read_programs(text.encode() if isinstance(text, str) else text, "-", **options)


def one(text: str | bytes, **options: str) -> Program:
    programs = read(text, **options)
    assert len(programs) == 1
    return programs[0]


def swapped(insns) -> bytes:
    return b"".join(struct.pack(">HBBI", *insn) for insn in insns)


def wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))


SPELLINGS = {
    **{dialect: (lambda insns, dialect=dialect: format_program(insns, dialect)) for dialect in DIALECTS},
    "ss row": lambda insns: f"p_raw 0 0 *:lo *\n\t{format_program(insns, 'ss')}\n",
    "ss wrapped": lambda insns: wrap(format_program(insns, "ss"), 72),
    "tc": lambda insns: f"filter protocol all pref 1 bpf chain 0 handle 0x1 bytecode '{format_program(insns, 'xt_bpf')}'",
    "iptables-save": lambda insns: f'-A INPUT -m bpf --bytecode "{format_program(insns, "xt_bpf")}" -j DROP',
    "iptables wrapped": lambda insns: wrap(f'-A INPUT -m bpf --bytecode "{format_program(insns, "xt_bpf")}" -j DROP', 72),
    "iptables -L": lambda insns: "match bpf " + format_program(insns, "xt_bpf").partition(",")[2] + "\0\n",
    "xt_bpf wrapped": lambda insns: wrap(format_program(insns, "xt_bpf"), 60),
    "bpf_asm mail": lambda insns: "".join(f"> {line}\n" for line in format_program(insns, "kernel").split("\n")),
    "tcpdump mail": lambda insns: "".join(f">> {line}\r\n" for line in format_program(insns, "tcpdump").split("\n")),
    "fenced": lambda insns: f"```\n$ tcpdump -dd\n{format_program(insns, 'dd')}\n```\n",
    "C array": lambda insns: f"static struct sock_filter f[] = {{\n{format_program(insns, 'dd')}\n}};\n",
    "C macros": lambda insns: "".join(f"BPF_JUMP({i.code}, {i.k}u, {i.jt}, {i.jf}),\n" for i in insns),
    "designated": lambda insns: "".join(f"{{ .code = {i.code}, .jt = {i.jt}, .jf = {i.jf}, .k = {i.k:#x} }},\n" for i in insns),
    "hex": lambda insns: encode(insns).hex(),
    "hex bytes": lambda insns: encode(insns).hex(" "),
    "hex escapes": lambda insns: '"' + "".join(f"\\x{byte:02x}" for byte in encode(insns)) + '"',
    "C bytes": lambda insns: "{" + ", ".join(f"{byte:#x}" for byte in encode(insns)) + "}",
    "raw": encode,
    "raw big-endian": swapped,
    "hex big-endian": lambda insns: swapped(insns).hex(),
    "Python": lambda insns: "f = [" + ", ".join(f"({i.code:#x}, {i.jt}, {i.jf}, {i.k})" for i in insns) + "]",
    "JSON": lambda insns: json.dumps(insns),
    "JSON objects": lambda insns: json.dumps([insn._asdict() for insn in insns], indent=2),
    "JSON program": lambda insns: json.dumps({"name": "x", "insns": insns}),
    "JSON hex": lambda insns: json.dumps({"schema": "ls/1", "insns": encode(insns).hex()}),
    "UTF-16": lambda insns: format_program(insns, "ddd").encode("utf-16"),
    "terminal": lambda insns: f"\x1b]0;title\x07\x1b[1m{format_program(insns, 'ss')}\x1b[0m",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_corpus_in_every_spelling(spelling):
    """51 programs of real software, each read back from each way to write it."""
    write = SPELLINGS[spelling]
    wrong = [entry["name"] for entry, insns in zip(CORPUS, INSNS, strict=True) if one(write(insns)).code != encode(insns)]
    assert len(CORPUS) == 51
    assert wrong == []


def xxd_row(at: int, row: bytes) -> str:
    return f"{at:08x}: {' '.join(row[i : i + 2].hex() for i in range(0, len(row), 2))}  ....\n"


def hexdump_row(at: int, row: bytes) -> str:
    return f"{at:08x}  {row[:8].hex(' ')}  {row[8:].hex(' ')}  |....|\n"


@pytest.mark.parametrize("tool", [xxd_row, hexdump_row])
def test_hex_dumps_of_tools(tool):
    """xxd and hexdump -C."""
    data = encode(INSNS[0])
    assert one("".join(tool(at, data[at : at + 16]) for at in range(0, len(data), 16)) + f"{len(data):08x}\n").code == data


def test_several_programs_of_several_kinds():
    """A mail with three dumps in it; origins keep the original lines."""
    ddd, listing, ss = (format_program(SMALL, dialect) for dialect in ("ddd", "tcpdump", "ss"))
    mail = f"Hello,\n\n> {ddd.replace(chr(10), chr(10) + '> ')}\n\nis this the same as\n\n{listing}\n\nor\n\n\t{ss}\n\nRegards\n"
    programs = read(mail)
    assert [program.origin.source for program in programs] == ["tcpdump-ddd", "tcpdump-d", "ss"]
    assert {program.code for program in programs} == {encode(SMALL)}
    assert [program.origin.lineno for program in programs] == [3, 11, 18]
    assert programs[0].origin.line == "> 4\n> 40 0 0 12\n> 21 0 1 2048\n> 6 0 0 4294967295\n> 6 0 0 0"
    assert programs[2].origin.where == "-:18"


@pytest.mark.parametrize("dialect", ["ddd", "tcpdump", "ss", "xt_bpf"])
def test_programs_one_after_the_other(dialect):
    text = "\n".join(format_program(insns, dialect) for insns in INSNS)
    assert [program.code for program in read(text)] == [encode(insns) for insns in INSNS]


def test_part_selects():
    text = "\n".join(format_program(insns, "ddd") for insns in INSNS[:3])
    assert one(text, part="2").code == encode(INSNS[1])
    named = f"struct sock_filter first[] = {{ {format_program(SMALL, 'dd')} }};\nstruct sock_filter second[] = {{{{6,0,0,0}}}};"
    assert one(named, part="second").insn_count == 1
    with pytest.raises(InputError, match=r"^-#third: no such program; - holds 2 programs: first, second$"):
        read(named, part="third")


def test_linktype_overrides_the_context():
    text = f"p_dgr 0 0 ip:* *\n\t{format_program(SMALL, 'ss')}"
    assert one(text).origin.linktype == "RAW"
    assert one(text, linktype="PPP").origin.linktype == "PPP"


EXTENDED = bytes.fromhex("b700000002000000 9500000000000000")


def test_isa_of_raw_bytes():
    assert one(EXTENDED).isa is Isa.EXTENDED
    assert one(encode(SMALL)).isa is Isa.CLASSIC
    assert one(encode(SMALL), isa="extended").code == encode(SMALL)
    assert one(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", isa="classic").isa is Isa.CLASSIC
    assert one(encode(SMALL)).origin.note == "raw struct sock_filter"
    assert one(swapped(SMALL)).origin.note == "raw struct sock_filter, big-endian"
    assert one(bytes.fromhex("b700000000000002 9500000000000000")).code == EXTENDED  # big-endian
    with pytest.raises(InputError, match="holds classic code, not extended"):
        read(format_program(SMALL, "ddd"), isa="extended")
    with pytest.raises(InputError, match="there are classic and extended"):
        read(encode(SMALL), isa="arm")


REFUSED = [
    (b"", "-: is empty"),
    (b" \n\t\n", "-: is empty"),
    (b"hello\n", "-: no BPF program recognised"),
    (b"\xd4\xc3\xb2\xa1" + bytes(20), "-: is a packet capture (pcap), not a BPF program"),
    (b"\x1f\x8b\x08\0\0\0\0\0", "-: is compressed (gzip), not a BPF program"),
    (bytes(range(1, 14)), "-: 13 bytes are not a whole number of 8-byte instructions"),
    (bytes(range(200, 216)), "-: 16 bytes are neither classic nor extended BPF code in either byte order"),
    (b"12\n40 0 0 12\n21 0 1 2048\n", "-:1: cut: 2 of 12 instructions"),
    (b"bpf filter (3):  0x28 0 0 12, 0x06 0 0 0,", "-:1: bpf filter cut: 2 of 3 instructions"),
    (b"x\nbytecode '3,40 0 0 12,6 0 0 0'", "-:2: bytecode cut: 2 of 3 instructions"),
    (b'--bytecode "2,40 0 0 12,6 0 0 0', "-:1: the closing quotation mark of the bytecode is missing"),
    (b"3,40 0 0 12,21 0 1 2048,6 0 0 65535,6 0 0 0", "-:1: says 3 instructions, but 4 follow"),
    (b"bytecode '3,40 0 0 12,21 0 1 2048,6 0 0 65535,6 0 0 0'", "-:1: bytecode of 3 instructions, but 4 follow"),
    (b"(000) ldh [12]\n(002) ret #0\n", "-:2: instruction (002) where (001) is expected"),
    (b"ldh [12]\nfoo\n", "-:2: no instruction 'foo'"),
    (b"40 0 0 12\n6 0 300 12\n", "-:1: insn 1: 6 0 300 12 does not fit struct sock_filter"),
    (b"{0x28, 0, 0, 12},\n{0x28, 0, foo, 12},", "-:2: the value of foo is not known here"),
    (b"p_raw 0 0 *:lo *\n\tbpf filter (0):", "-:2: the filters are withheld (length 0)"),
    (b"Netid Recv-Q Send-Q\np_raw 0 0 *:lo *\n", "-: an ss table without filters"),
    (b"filter protocol all pref 1 bpf chain 0 handle 0x1 x.o:[tc] direct-action id 12", "-: this list names"),
    (b"-A INPUT -m bpf --object-pinned /sys/fs/bpf/x -j DROP\n", "-: the rule names a pinned program, without its code"),
    (b"   1: (b7) r0 = 0\n", "-:1: the listing begins at slot 1; slot 0 is missing"),
    (b"   0: (b7) r0 = 0\n   2: (95) exit\n", "-:2: slot 2 where slot 1 is expected"),
    (b"   0: (b7) exit\n", "-:1: 'exit' does not have the opcode (b7)"),
    (b"[[40, 0, 300, -1]]", "-: insn 0: [40, 0, 300, -1] does not fit struct sock_filter"),
    (b"1,2,3,4\n5,6,7,8\n", "-: no BPF program recognised"),
    (b"int a[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}};", "-: no BPF program recognised"),
    (b"points = [(1, 2, 3, 4), (5, 6, 7, 8)]", "-: no BPF program recognised"),
    (b"{1, , 2, 3}", "-: no BPF program recognised"),
    (b"[" * 100_000, "-: is JSON nested too deeply"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_refused(data, message):
    with pytest.raises(InputError) as caught:
        read(data)
    assert str(caught.value).startswith(message)


FRAGMENTS = [
    *(format_program(SMALL, dialect) for dialect in DIALECTS),
    *("bpf filter (", "): ", "0x28 0 0 12, ", "(000) ", "(001) ret #0\n", "4,", "bytecode '", '--bytecode "', "' ", '"'),
    *("p_raw 0 0 *:lo *\n", "filter protocol ip ", "# Generated by iptables", "-A INPUT ", "match bpf ", "00000000: 2800 0000 "),
    *("{ ", " },", "BPF_STMT(", "BPF_LD | ", "BPF_EXIT_INSN(),", ")", ".code = ", "ldh [12]\n", "l0: ", "exit\n", "r0 = "),
    *("0: (b7) r0 = 0\n", "1: (95) exit\n", "b7 00 00 00 00 00 00 00\n", "int f(int a):\n", "; src\n"),
    *("; x: classic, 3 insns\n", "; x: 2 insns\n"),
    *("Disassembly of section xdp:\n", "0000000000000000 <f>:\n", "       0:\tb7 00 00 00 00 00 00 00\tr0 = 0\n"),
    *("[", "]", "{", "}", '"insns": ', '"disasm": "(95) exit"', '"opcodes": {}', ",", "\n", "\n> ", "0", "-1"),
    *("9" * 30, "é", "\x1b[", "\0"),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)))
@example("; :0 insn")  # a heading without a program
def test_any_text_is_programs_or_an_error(text):
    try:
        programs = read(text)
    except BpflensError:
        return
    assert programs
    assert all(program.code and len(program.code) % 8 == 0 for program in programs)
    assert all(1 <= (program.origin.lineno or 1) <= text.count("\n") + 1 for program in programs)


@given(st.binary())
def test_any_bytes_are_programs_or_an_error(data):
    for isa in (None, "classic", "extended"):
        try:
            assert read_programs(data, "-", isa=isa)
        except BpflensError:
            pass


TEXTS = [written for written in (write(SMALL) for write in SPELLINGS.values()) if isinstance(written, str)]


@given(damaged(TEXTS))
def test_damaged_dumps_are_programs_or_an_error(data):
    try:
        assert read(data)
    except BpflensError:
        pass


HOSTILE = {
    "braces": "{", "open initialisers": "{1,", "ors": "{1|", "macros": "BPF_STMT(", "numbers": "1 ", "digits": "1", "hex": "ab ",
    "filters": "bpf filter (4): ", "bytecodes": "bytecode '1,", "matches": "match bpf 1 1 1 1,", "arrays": "[", "objects": '{"a":',
    "listings": "(000) ldh [12]\n", "slots": "0: (b7) r0 = 0\n", "comments": "/*", "blanks": " ", "lines": "\n", "labels": "l:",
    "calls": "a)", "sources": ";a\n", "raw": "0: aa aa aa aa aa aa aa aa\n", "quotes": "> ", "escapes": "\x1b[",
    "rows": "p_raw 0 0 *:lo *\n",
    "strings": '"a', "dumps": "0000: 2800 ", "arrays of names": "a[] = ", "tc": "filter protocol all\n", "zeros": "00000000",
}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear(piece):
    """80 kB of a pattern that invites backtracking take well under a second, and 320 kB not much more than four times that."""

    def seconds(size: int) -> float:
        text = (HOSTILE[piece] * (size // len(HOSTILE[piece])) + "x").encode()
        begin = time.process_time()
        try:
            read(text)
        except BpflensError:
            pass
        return time.process_time() - begin

    assert any(seconds(320_000) < 10 * seconds(80_000) + 0.2 for _attempt in range(4))  # a busy machine slows one measurement down


SECCOMP = """ line  CODE  JT   JF      K
=================================
 0000: 0x20 0x00 0x00 0x00000004  A = arch
 0001: 0x15 0x01 0x00 0xc000003e  if (A == ARCH_X86_64) goto 0003
 0002: 0x06 0x00 0x00 0x00000000  return KILL
 0003: 0x06 0x00 0x00 0x7fff0000  return ALLOW
"""


def test_seccomp_dump():
    assert one(SECCOMP).code == encode([(0x20, 0, 0, 4), (0x15, 1, 0, 0xC000003E), (6, 0, 0, 0), (6, 0, 0, 0x7FFF0000)])
    with pytest.raises(InputError, match=r"^-:5: line 0002 where 0001 is expected$"):
        read(SECCOMP.replace(" 0001", "-0001"))


def test_corpus_file():
    """A JSON list of programs: numbered, with the names and link types that it gives."""
    programs = read(json.dumps(CORPUS))
    assert [program.code for program in programs] == [encode(insns) for insns in INSNS]
    assert [program.name for program in programs] == [entry["name"] for entry in CORPUS]
    assert (programs[1].origin.where, one(json.dumps(CORPUS), part="2").code) == ("-#2", encode(INSNS[1]))


def test_raw_code_with_one_unknown_instruction() -> None:
    """One slot of a hundred that nobody knows does not hide the others; an odd second half of ld_imm64 is no sign of byte order."""
    objects = Path(__file__).parents[2] / "corpus/objects"
    [program] = read_programs((objects / "unknown_1_of_101.bin").read_bytes(), "x")
    assert (program.insn_count, program.origin.note) == (101, "raw struct bpf_insn, with unknown instructions")
    data = (objects / "lddw_second_op.bin").read_bytes()
    [program] = read_programs(data, "x")
    assert program.code == data
    cut = bytes.fromhex("1801000001000000")
    odd = cut + data[:8]
    for code, note in ((cut, "not a complete program"), (odd, "with unknown instructions")):
        [program] = read_programs(code, "x")
        assert (program.code, program.origin.note) == (code, f"raw struct bpf_insn, {note}")
    with pytest.raises(InputError):
        read_programs(bytes(range(3, 251)) * 4, "x")
