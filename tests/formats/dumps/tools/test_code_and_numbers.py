"""Code as numbers, bytes and JSON: each reader by itself."""

from __future__ import annotations

import json as python_json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import InputError
from bpflens.formats.dumps.source_text import SourceText
from bpflens.formats.dumps.tools import json, own_lines, quads, raw_code, ss, tc
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.isa.extended.asm import assemble
from bpflens.program import Function, Isa, Map, Origin, Program, SourceLine

AT = Origin("raw", "x")
FILTER = (SockFilter(0x28, 0, 0, 12), SockFilter(0x15, 0, 1, 0x800), SockFilter(6, 0, 0, 0xFFFFFFFF), SockFilter(6, 0, 0, 0))
QUADS = "40 0 0 12\n21 0 1 2048\n6 0 0 4294967295\n6 0 0 0\n"
EXTENDED = assemble("r0 = 2\nexit")


def source(text: str) -> SourceText:
    return SourceText(text.encode(), "x")


# --- quads ---


@pytest.mark.parametrize(
    ("token", "value"),
    [("12", 12), ("0x1F", 31), ("-1", 0xFFFFFFFF), ("-2147483648", 0x80000000), ("-2147483649", -2147483649), ("9" * 21, -1)],
)
def test_numbers(token: str, value: int) -> None:
    """Negative ones, as some print k, are those of 32 bits."""
    assert quads.number(token) == value


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFFFFF)), max_size=4))
def test_fours(insns: list[tuple[int, ...]]) -> None:
    numbers = [number for insn in insns for number in insn]
    assert quads.numbers_of(" ".join(map(str, numbers))) == numbers
    assert quads.parse(numbers, "x") == tuple(insns)


@pytest.mark.parametrize("numbers", [[65536, 0, 0, 0], [6, 256, 0, 0], [6, 0, -1, 0], [6, 0, 0, 1 << 32]])
def test_numbers_that_do_not_fit(numbers: list[int]) -> None:
    with pytest.raises(InputError, match=r"insn 1: .* does not fit struct sock_filter"):
        quads.parse([6, 0, 0, 0, *numbers], "x")


@pytest.mark.parametrize(
    ("text", "source_name", "lineno"),
    [
        (f"words\n4\n{QUADS}", "tcpdump-ddd", 2),
        ("4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0\n", "bytecode", 1),
        (QUADS, "numbers", 1),
        ("0x28 0 0 12, 0x15 0 1 2048, 0x06 0 0 -1, 0x06 0 0 0,", "numbers", 1),
        ("\n[(0x28, 0, 0, 12), (0x15, 0, 1, 2048), (6, 0, 0, 4294967295), (6, 0, 0, 0)]", "numbers", 2),
        ("[{40 0 0 12} {21 0 1 2048} {Op:6 Jt:0 Jf:0 K:4294967295} {6 0 0 0}]", "numbers", 1),
    ],
)
def test_blocks_of_fours(text: str, source_name: str, lineno: int) -> None:
    (program,) = quads.read(source(text))
    assert (decode(program.code), program.origin.source, program.origin.lineno) == (FILTER, source_name, lineno)


@pytest.mark.parametrize("text", ["1 2 3 4\n5 6 7 8\n", "28 00 00 00 0c 00 00 06\n", "40 0 0\n", "(1, 2, 3, 4)", "1 2 3 4, 20, 6 0 0 0\n"])
def test_other_tables_of_numbers(text: str) -> None:
    """What does not end in a ret, bytes, too few, other tables: left as it is."""
    read = source(text)
    assert quads.read(read) == [] and read.body == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4\n40 0 0 12\n6 0 0 0\n", "cut: 2 of 4 instructions"),
        ("1,40 0 0 12,6 0 0 0\n", "says 1 instructions, but 2 follow"),
        ("0x28 0 0 12\n0x06 0 0\n", "7 numbers; an instruction has four"),
    ],
)
def test_blocks_that_are_not_whole(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        quads.read(source(text))


# --- raw_code ---


@pytest.mark.parametrize(
    ("data", "isa", "note"),
    [
        (encode(FILTER), Isa.CLASSIC, "raw struct sock_filter"),
        (encode(FILTER[:1]), Isa.CLASSIC, "raw struct sock_filter, not a complete program"),
        (EXTENDED, Isa.EXTENDED, "raw struct bpf_insn"),
        (EXTENDED[:8], Isa.EXTENDED, "raw struct bpf_insn, not a complete program"),
        (EXTENDED[:8] * 20 + bytes((0xFF, *range(7))) + EXTENDED, Isa.EXTENDED, "raw struct bpf_insn, with unknown instructions"),
        (assemble("r1 = 0x1122334455667788 ll\nexit"), Isa.EXTENDED, "raw struct bpf_insn"),
    ],
)
def test_instruction_sets(data: bytes, isa: Isa, note: str) -> None:
    """Found by what the bytes would mean, in both byte orders; how sure it is stands in the note."""
    program = raw_code.from_bytes(data, AT)
    assert (program.isa, program.code, program.origin.note) == (isa, data, note)
    swapped = b"".join(
        slot[1::-1] + slot[2:4] + slot[:3:-1] if isa is Isa.CLASSIC
        else bytes((slot[0], slot[1] >> 4 | slot[1] << 4 & 0xF0)) + slot[3:1:-1] + slot[:3:-1]
        for slot in (data[at : at + 8] for at in range(0, len(data), 8))
    )  # fmt: skip
    if "unknown" in note:
        return  # whose byte order nobody can tell: little-endian is taken
    program = raw_code.from_bytes(swapped, AT)
    words = note.partition(",")
    assert (program.isa, program.code, program.origin.note) == (isa, data, f"{words[0]}, big-endian{words[1]}{words[2]}")


def test_what_is_no_code() -> None:
    for data in (b"", bytes(7), b"\xff" * 8):
        with pytest.raises(InputError):
            raw_code.from_bytes(data, AT)
    assert raw_code.from_bytes(b"\xff" * 8, AT, Isa.EXTENDED).origin.note == "raw struct bpf_insn, with unknown instructions"


HEX = encode(FILTER)


@pytest.mark.parametrize(
    "text",
    [
        HEX.hex(), HEX.hex(" "), HEX.hex(" ", 8), '"' + "".join(f"\\x{byte:02x}" for byte in HEX) + '"',
        "{" + ", ".join(map(hex, HEX)) + "}",
        "00000000: " + HEX[:16].hex(" ", 2) + "  ....\n00000010: " + HEX[16:].hex(" ", 2) + "  ....\n",
        "00000000  " + HEX[:16].hex(" ") + "  |....|\n00000010  " + HEX[16:].hex(" ") + "  |....|\n00000020\n",
    ],
)  # fmt: skip
def test_hex(text: str) -> None:
    (program,) = raw_code.read_hex(source(f"\n{text}"))
    assert (program.code, program.origin.source, program.origin.lineno) == (HEX, "hex", 2)


@pytest.mark.parametrize("text", ["words", "12 345 6", "0x123 0x4", "28 00", ""])
def test_no_hex(text: str) -> None:
    assert raw_code.read_hex(source(text)) == []


# --- json ---


def read_json(value: Any) -> list[Program]:
    return json.read(source(python_json.dumps(value)))


def test_lists_of_numbers() -> None:
    """Four are classic, five extended; the object around names the program. Several are numbered."""
    (program,) = read_json({"name": "f", "linktype": "RAW", "insns": FILTER})
    assert (decode(program.code), program.name, program.origin.linktype) == (FILTER, "f", "RAW")
    (program,) = read_json([[0xB7, 0, 0, 0, 2], [0x95, 0, 0, 0, 0]])
    assert (program.isa, program.code) == (Isa.EXTENDED, EXTENDED)
    assert [program.origin.where for program in read_json([{"insns": FILTER}, {"filter": FILTER[2:]}])] == ["x#1", "x#2"]
    assert [read_json(value) for value in ([[1, 2, 3]], [[1, 2, 3, "4"]], {"a": []}, [True], [[6, 0, 0, True]])] == [[]] * 5
    assert json.read(source("not JSON")) == [] and json.read(source("{broken")) == []


def test_objects_and_lines() -> None:
    quad = [{"code": 40, "k": 12}, {"code": 6, "jt": 0, "jf": 0, "k": 0}]
    lines = "\n".join(python_json.dumps({"bytecode": {"insns": quad}}) for _ in range(2))
    text = source(lines)
    assert [decode(program.code) for program in json.read(text)] == [((40, 0, 0, 12), (6, 0, 0, 0))] * 2
    assert not text.body.strip()


def test_bpftool_json() -> None:
    """With opcodes the bytes are exact; without, the text is assembled, and the note says so."""
    opcodes = {"code": "0xb7", "src_reg": "0x0", "dst_reg": "0x0", "off": ["0x00", "0x00"], "imm": ["0x02", "0x00", "0x00", "0x00"]}
    insns = [
        {"proto": "int prog(void *ctx)", "src": "return 2;", "file": "a.c", "line_num": 7, "line_col": 3, "disasm": "(b7) r0 = 1",
         "opcodes": opcodes},
        {"disasm": "(95) exit"},
    ]  # fmt: skip
    (program,) = read_json([{"id": 12, "tag": "ab", "insns": insns}])
    assert (program.code, program.name, program.id, program.tag, program.xlated) == (EXTENDED, "prog", 12, "ab", True)
    assert program.functions == (Function(0, "prog", "int prog(void *ctx)"),)
    assert program.lines == (SourceLine(0, "a.c", 7, 3, "return 2;"),)
    assert program.origin.note == "assembled from the listing's text; a dump with opcodes is exact"
    (program,) = read_json(insns[:1])
    assert (program.code, program.origin.note) == (EXTENDED[:8], None)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[6, 0, 0, 1 << 32]], "insn 0: .* does not fit struct sock_filter"),
        ([[0x95, 16, 0, 0, 0]], "insn 0: .* does not fit struct bpf_insn"),
        ([{"disasm": "(b7) r0 = 1"}, {}], "insn 1 has no disasm"),
        ([{"disasm": "(b7) r0 = 1", "opcodes": {"code": "0x"}}], "insn 0: cannot read"),
        ([{"disasm": "(95) r0 = 1"}], r"insn 0: .* does not have the opcode \(95\)"),
    ],
)
def test_json_that_is_damaged(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_json(value)
    with pytest.raises(InputError, match="nested too deeply"):
        json.read(source("[" * 200_000))


# --- own_lines ---

ABOUT = {
    "source": "elf", "where": "a.o#p", "isa": "extended", "name": "p", "type": "xdp", "attach_type": None, "linktype": None,
    "given": ["ip"], "note": None, "arch": None, "xlated": False, "id": None, "tag": None, "section": "xdp", "license": "GPL", "insns": 2,
    "functions": [{"pc": 0, "name": "p", "proto": None}],
}  # fmt: skip
MAP = {
    "id": None, "name": "m", "type": "hash", "key_size": 4, "value_size": 8, "max_entries": 2, "flags": ["no_prealloc"], "key": "u32",
    "value": None, "variables": [], "data": "0102", "pins": ["left out"], "map_extra": 3,
}  # fmt: skip


def test_lines_of_dis() -> None:
    lines = [
        {"schema": "dis/1", "program": "a.o#p", "pc": 0, "bytes": EXTENDED[:8].hex(), "about": {**ABOUT, "maps": [MAP]},
         "refers": {"kind": "map", "symbol": "m", "value": 0, "text": "map m", "section": ""}},
        {"schema": "dis/1", "program": "a.o#p", "pc": 1, "bytes": EXTENDED[8:].hex(), "symbol": "named",
         "source": {"file": "a.c", "line": 3, "col": 1, "text": "}"}},
    ]  # fmt: skip
    (program,) = own_lines.read_lines(lines, AT)
    assert (program.code, program.name, program.type, program.section, program.license) == (EXTENDED, "p", 6, "xdp", "GPL")
    assert program.maps == (
        Map("m", 1, 4, 8, 2, 1, key="u32", data=b"\x01\x02", fields={"map_extra": 3}),
    )  # fmt: skip
    assert [(r.off_insns, r.kind, r.symbol) for r in program.relocations] == [(0, "map", "m")]
    assert (program.symbols, program.lines) == ({1: "named"}, (SourceLine(1, "a.c", 3, 1, "}"),))
    (part,) = own_lines.read_lines(lines[1:], AT)
    assert (part.code, part.name) == (EXTENDED[8:], "")


def test_lines_of_ls() -> None:
    """Only classic programs have code there; the details say what its packets begin with."""
    line = {"schema": "ls/1", "kind": "packet", "object": "lo", "insns": HEX.hex(), "details": {"linktype": "RAW", "given": ["ip"]}}
    (program,) = own_lines.read_lines([line, {**line, "insns": None}], AT)
    assert (program.code, program.origin.source, program.origin.where) == (HEX, "packet", "lo")
    assert (program.origin.linktype, program.origin.given) == ("RAW", ("ip",))


def test_other_and_damaged_lines() -> None:
    assert own_lines.read_lines([{"schema": "dis/1"}, {"schema": "ls/1"}], AT) == []
    assert own_lines.read_lines([{"schema": "map/1"}], AT) == [] and own_lines.read_lines([1], AT) == []
    for value in ({"schema": "dis/1"}, {"schema": "show/1", "program": {}, "maps": []}, {"schema": "ls/1", "insns": "0"}):
        with pytest.raises(InputError, match="is no whole JSON of bpflens"):
            own_lines.read_lines([value], AT)


# --- ss, tc ---


def test_what_a_row_of_ss_says() -> None:
    """The row belongs to the filter below it, and to no other; a filter that is cut is refused."""
    filter = "bpf filter (1): 0x06 0 0 0,"
    one, two = ss.read(source(f"p_dgr 0 0 ipv6:eth0 * users:((\"a\",pid=3,fd=4))\n\t{filter}\n{filter}\n"))
    assert (one.origin.linktype, one.origin.given, one.holders[0].pid) == ("RAW", ("ip6",), 3)
    assert (two.origin.linktype, two.origin.note, two.holders) == (None, None, ())
    with pytest.raises(InputError, match="bpf filter cut: 1 of 2 instructions"):
        ss.read(source("bpf filter (2): 0x06 0 0 0,"))
    with pytest.raises(InputError, match="withheld"):
        ss.read(source("bpf filter (0):"))


CODE = "1,6 0 0 0"


def test_what_rules_of_tc_and_iptables_say() -> None:
    (filter,) = tc.read_tc(source(f"filter dev lo protocol ip pref 1 bpf direct-action bytecode '{CODE}'"))
    assert filter.origin.row == {"dev": "lo", "protocol": "ip", "pref": "1", "direct-action": "true"} and filter.origin.given == ("ip",)
    (action,) = tc.read_tc(source(f"action order 1: bpf bytecode '{CODE}' default-action drop"))
    assert action.origin.row == {"kind": "action"} and action.origin.note == "tc action"
    rules = f'# Generated by ip6tables-save\n-A INPUT -m bpf --bytecode "{CODE}" -j DROP\nmatch bpf 6 0 0 0\n'
    one, two = tc.read_iptables(source(rules))
    assert (one.origin.linktype, one.origin.given, one.origin.row) == ("RAW", ("ip6",), {"chain": "INPUT"})
    assert one.code == two.code == encode([(6, 0, 0, 0)]) and two.origin.given == ()


@pytest.mark.parametrize(
    ("code", "said"),
    [("'2,6 0 0 0'", "cut: 1 of 2"), ("'1,6 0 0 0,6 0 0 0'", "of 1 instructions, but 2 follow"), ("'0,'", "is empty"),
     ("'1,6 0 0 0", "quotation mark")],
)  # fmt: skip
def test_bytecode_that_is_not_whole(code: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tc.read_tc(source(f"filter bytecode {code}"))
