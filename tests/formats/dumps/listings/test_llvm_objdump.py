"""llvm-objdump as its newest release prints (22): both byte orders, with and without addresses, bytes, source lines."""

from __future__ import annotations

import re

import pytest

from bpflens.errors import SourceWarning
from bpflens.formats.dumps.detect import read_programs

ADDRESSES = """
a.o:	file format elf64-bpf

Disassembly of section xdp:

0000000000000000 <prog>:
; prog():
; /src/a.c:8
; SEC("xdp") int prog(u32 *ctx) {
       0:	bf 17 00 00 00 00 00 00	r7 = r1
       1:	61 71 08 00 00 00 00 00	w1 = *(u32 *)(r7 + 0x8)
; /src/a.c:10
;   if (!v) return 0;
       2:	85 00 00 00 01 00 00 00	call 0x1
       3:	18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00	r1 = 0x5 ll
		0000000000000018:  R_BPF_64_64	m
       5:	db 10 00 00 e1 00 00 00	r1 = xchg_64(r0 + 0x0, r1)
       6:	16 01 01 00 00 00 00 00	if w1 == 0x0 goto +0x1 <prog+0x40>
       7:	05 00 00 00 00 00 00 00	goto +0x0 <prog+0x40>
       8:	95 00 00 00 00 00 00 00	exit
"""
CODE = bytes.fromhex("".join("".join(found) for found in re.findall(r"\d:\t((?:[0-9a-f]{2} )+[0-9a-f]{2})\t", ADDRESSES)).replace(" ", ""))
NO_BYTES = re.compile(r"(?:[0-9a-f]{2} )+[0-9a-f]{2}\t")
NO_ADDRESS = re.compile(r"^(?: *\d+:|0{16} (?=<)|(?<=\t)\t[0-9a-f]{16}: +)", re.MULTILINE)


def _swapped(text: str) -> str:
    def swap(match: re.Match[str]) -> str:
        raw = bytes.fromhex(match[0])
        slots = [raw[at : at + 8] for at in range(0, len(raw), 8)]
        big = b"".join(bytes((s[0], s[1] >> 4 | (s[1] & 15) << 4, s[3], s[2], s[7], s[6], s[5], s[4])) for s in slots)
        return big.hex(" ") + "\t"

    return NO_BYTES.sub(swap, text)


FORMS = {
    "as it is": ADDRESSES,
    "no bytes": NO_BYTES.sub("", ADDRESSES),
    "no addresses": NO_ADDRESS.sub("", ADDRESSES).replace("\t\t0000000000000018:  ", "\t\t"),
    "neither": NO_BYTES.sub("", NO_ADDRESS.sub("", ADDRESSES).replace("\t\t0000000000000018:  ", "\t\t")),
    "big-endian": _swapped(ADDRESSES),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_program_in_every_form(form: str) -> None:
    (program,) = read_programs(FORMS[form].encode(), "-")

    assert program.code.hex(" ", 8) == CODE.hex(" ", 8)
    assert (program.section, program.name) == ("xdp", "prog")
    assert [(line.off_insns, line.file, line.line, line.text) for line in program.lines] == [
        (0, "/src/a.c", 8, 'SEC("xdp") int prog(u32 *ctx) {'), (2, "/src/a.c", 10, "if (!v) return 0;")
    ]  # fmt: skip
    assert [(r.off_insns, r.kind, r.symbol) for r in program.relocations] == [(3, "map", "m")]
    assert program.declared.byte_order == ("big" if form == "big-endian" else None)


def test_a_call_is_a_helper_where_no_function_begins_at_its_target() -> None:
    text = "x.o:\tfile format elf64-bpf\n\nDisassembly of section xdp:\n\n0000000000000000 <a>:\n       0:\tcall 0x1\n       1:\texit\n"
    second = "\n0000000000000010 <b>:\n       2:\tr0 = 0x1\n       3:\texit\n"

    (alone,) = read_programs(text.encode(), "-")
    (both,) = read_programs((text + second).encode(), "-")

    assert alone.code[1] == 0
    assert both.code[1] == 0xF0 and "a helper or a function" in both.relocations[0].text


def test_unknown_instructions_and_sections_of_data() -> None:
    text = (
        "x.o:\tfile format elf64-bpf\n\nDisassembly of section .strtab:\n\n0000000000000000 <.strtab>:\n       0:\t<unknown>\n"
        "\nDisassembly of section tc:\n\n0000000000000000 <a>:\n       0:\t<unknown>\n       1:\texit\n"
    )
    with pytest.warns(SourceWarning, match="1 instruction is <unknown> in the listing"):
        (program,) = read_programs(text.encode(), "-")
    assert program.section == "tc" and program.code == bytes(8) + b"\x95" + bytes(7)


_CALLER = "0000000000000000 <a>:\n       0:\tcall 0x2\n       1:\texit\n       2:\texit\n"


@pytest.mark.parametrize(
    ("listing", "known"),
    [
        ("Disassembly of section xdp:\n\n" + _CALLER, True),  # 3 is behind the end of the section
        (_CALLER, False),  # a piece of a listing: a function may follow
        ("Disassembly of section xdp:\n\n" + _CALLER.replace("2:\texit", "2:\tr0 = 1"), False),  # cut, for the last instruction goes on
        ("Disassembly of section xdp:\n\n" + _CALLER + "       3:\texit\n", False),  # behind an exit: perhaps a stripped static function
        ("Disassembly of section xdp:\n\n" + _CALLER.replace("2:\texit", "2:\tr0 = 1") + "       3:\texit\n", True),  # inside of a function
        ("Disassembly of section xdp:\n\n" + _CALLER.replace("1:\texit", "1:\tif r0 == 0 goto +1") + "       3:\texit\n", True),  # a branch
    ],
)
def test_a_bare_call_is_a_helper_only_where_no_function_can_begin(listing: str, known: bool) -> None:
    (program,) = read_programs(f"x.o:\tfile format elf64-bpf\n\n{listing}".encode(), "-")

    assert (program.code[1] == 0) is known
