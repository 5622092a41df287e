"""Printing and assembling classic code: what one writes the other reads, and both agree with libpcap's and the kernel's own words."""

from __future__ import annotations

import ctypes
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.table import ANCILLARY, BY_CODE, ROWS, SKF_AD_OFF, unused_fields
from bpflens.isa.classic.text import DIALECTS, format, format_insn, format_program

K = st.one_of(st.integers(0, 64), st.integers(0, 0xFFFFFFFF), st.sampled_from([SKF_AD_OFF + anc.offset for anc in ANCILLARY]))
CODE = st.one_of(st.sampled_from(sorted(BY_CODE)), st.integers(0, 0xFFFF))
SKIP = st.one_of(st.integers(0, 5), st.integers(0, 255), st.just(0))
WORDS = st.builds(SockFilter, CODE, SKIP, SKIP, K)
PROGRAMS = st.lists(WORDS, min_size=1, max_size=30).map(tuple)


@pytest.mark.parametrize("dialect", ["kernel", "tcpdump"])
@given(PROGRAMS)
def test_text_assembles_back(dialect, insns):
    assert assemble(format_program(insns, dialect)) == insns


@pytest.mark.parametrize("dialect", ["kernel", "tcpdump"])
def test_every_code_assembles_back(dialect):
    """The whole space of codes, as canonical words and with every other field filled."""
    rng = random.Random(1)
    for fill in (False, True):
        insns = tuple(
            SockFilter(code, rng.randrange(256), rng.randrange(256), rng.randrange(1 << 32)) if fill else SockFilter(code, 0, 0, 0)
            for code in range(0x10000)
        )
        assert assemble(format_program(insns, dialect)) == insns


@pytest.mark.parametrize("dialect", ["kernel", "tcpdump"])
def test_backward_jump_assembles_back(dialect):
    """libpcap's protochain jumps backward."""
    insns = libpcap.compile("ip6 protochain 6", 1)
    assert any(insn.code == 5 and insn.k > 0x80000000 for insn in insns)
    assert assemble(format_program(insns, dialect)) == insns
    assert ".insn" not in format_program(insns, dialect)


def bpf_image(insn: SockFilter, pc: int) -> str:
    image = ctypes.CDLL(libpcap.load().path).bpf_image
    image.restype = ctypes.c_char_p
    return image(ctypes.create_string_buffer(encode([insn]), 8), pc).decode()


def agrees(insn: SockFilter, pc: int) -> bool:
    """Our text is libpcap's, but for what bpf_image loses."""
    ours, theirs = format_insn(insn, pc, "tcpdump"), bpf_image(insn, pc)
    if "unimp" in theirs:  # loses jt, jf and k; 1.10 does not know ldx len
        return insn.code not in BY_CODE or insn.code in (0x81, 0x0E)
    ours, _, unused = ours.partition(" ;! ")  # bpf_image leaves out values in unused fields
    return ours == theirs and bool(unused) == bool(unused_fields(insn))


def test_tcpdump_dialect_is_bpf_image_for_every_form():
    edges = [0, 1, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFF00000, *(SKF_AD_OFF + off for off in range(70))]
    for row in ROWS:
        for k in edges:
            for jt, jf in ((0, 0), (3, 255)):
                for pc in (0, 7, 4095):
                    assert agrees(SockFilter(row.code, jt, jf, k), pc)


def test_tcpdump_dialect_is_bpf_image_for_real_programs():
    """The corpus of real software, instruction by instruction: no difference at all."""
    corpus = json.loads((Path(__file__).parents[2] / "corpus" / "cbpf_corpus.json").read_text())
    for entry in corpus:
        insns = [SockFilter(*insn) for insn in entry["insns"]]
        assert format(insns, "tcpdump") == [bpf_image(insn, pc) for pc, insn in enumerate(insns)], entry["name"]


@given(WORDS, st.integers(0, 4095))
def test_tcpdump_dialect_is_bpf_image(insn, pc):
    assert agrees(insn, pc)


@given(PROGRAMS)
def test_every_dialect_has_one_line_per_instruction(insns):
    for dialect in DIALECTS:
        lines = format(insns, dialect)
        assert len(lines) == len(insns)
        assert not any("\n" in line for line in lines)


def test_unknown_dialect():
    with pytest.raises(ValueError, match="no classic dialect 'arm'"):
        format([SockFilter(6, 0, 0, 0)], "arm")


ACCEPTED = [
    # every production of bpf_asm's grammar (tools/bpf/bpf_exp.y)
    ("ldb [x + 1]", (0x50, 0, 0, 1)),
    ("ldb [%x + 1]", (0x50, 0, 0, 1)),
    ("ldb [x+1]", (0x50, 0, 0, 1)),
    ("ldb [1]", (0x30, 0, 0, 1)),
    ("ldb proto", (0x30, 0, 0, SKF_AD_OFF)),
    ("ldh #vlan_tci", (0x28, 0, 0, SKF_AD_OFF + 44)),
    ("ldi #5", (0x00, 0, 0, 5)),
    ("ldi 5", (0x00, 0, 0, 5)),
    ("ld #0b101", (0x00, 0, 0, 5)),
    ("ld #017", (0x00, 0, 0, 15)),
    ("ld #-1", (0x00, 0, 0, 0xFFFFFFFF)),
    ("ld #len", (0x80, 0, 0, 0)),
    ("ld len", (0x80, 0, 0, 0)),
    ("ld rand", (0x20, 0, 0, SKF_AD_OFF + 56)),
    ("ld vlan_pr", (0x20, 0, 0, SKF_AD_OFF + 48)),
    ("ld M[3]", (0x60, 0, 0, 3)),
    ("LD m[3]", (0x60, 0, 0, 3)),
    ("ldxi #5", (0x01, 0, 0, 5)),
    ("ldxi 5", (0x01, 0, 0, 5)),
    ("ldx #len", (0x81, 0, 0, 0)),
    ("ldx M[15]", (0x61, 0, 0, 15)),
    ("ldxb 4*([14]&0xf)", (0xB1, 0, 0, 14)),
    ("ldx 4 * ( [14] & 15 )", (0xB1, 0, 0, 14)),
    ("st M[0]", (0x02, 0, 0, 0)),
    ("stx M[1]", (0x03, 0, 0, 1)),
    ("jmp l\nl:", (0x05, 0, 0, 0)),
    ("ja 1", (0x05, 0, 0, 0)),
    ("jeq %x, l, l\nl:", (0x1D, 0, 0, 0)),
    ("jset #1, l\nret #0\nl:", (0x45, 1, 0, 1)),
    ("jneq #1, l\nret #0\nl:", (0x15, 0, 1, 1)),
    ("jne x, l\nret #0\nl:", (0x1D, 0, 1, 0)),
    ("jlt #1, l\nret #0\nl:", (0x35, 0, 1, 1)),
    ("jle %x, l\nret #0\nl:", (0x2D, 0, 1, 0)),
    ("jne #1, a1, b1\na1: ret #0\nb1:", (0x15, 1, 0, 1)),
    ("mod #3", (0x94, 0, 0, 3)),
    ("neg", (0x84, 0, 0, 0)),
    ("xor %x", (0xAC, 0, 0, 0)),
    ("ret %a", (0x16, 0, 0, 0)),
    ("ret a", (0x16, 0, 0, 0)),
    ("ret x", (0x0E, 0, 0, 0)),
    ("ret", (0x16, 0, 0, 0)),
    ("tax", (0x07, 0, 0, 0)),
    (".insn 0xffff, 1, 2, 3", (0xFFFF, 1, 2, 3)),
    # tcpdump -d
    ("(000) ld       #pktlen", (0x80, 0, 0, 0)),
    ("(000) ldb      [vlanp]", (0x30, 0, 0, SKF_AD_OFF + 48)),
    ("(000) ldh      [x + -4096]", (0x48, 0, 0, SKF_AD_OFF)),
    ("(007) jeq      #0x800           jt 9\tjf 8", (0x15, 1, 0, 0x800)),
    ("(007) ja       -3", (0x05, 0, 0, 0xFFFFFFF5)),
    ("(000) ret      ", (0x16, 0, 0, 0)),
    ("(000) tax      ;! jt=0x1 k=0x5 ; a note", (0x07, 1, 0, 5)),
    ("neg ;! k=0x5", (0x84, 0, 0, 5)),
]


@pytest.mark.parametrize(("text", "insn"), ACCEPTED)
def test_accepted(text, insn):
    assert assemble(text)[0] == insn


def test_kernel_documentation_example():
    """Free form, comments, labels: Documentation/networking/filter.rst's style in one text."""
    text = "# arp only\n ldh [12] ; ethertype\n/* not\nARP? */ jne #0x806, drop\nret #-1 drop: ret #0\n"
    assert assemble(text) == ((0x28, 0, 0, 12), (0x15, 0, 1, 0x806), (6, 0, 0, 0xFFFFFFFF), (6, 0, 0, 0))


REFUSED = [
    ("", "line 1: no instructions"),
    ("ldh [12]\nfoo #1", "line 2: no instruction 'foo'"),
    ("ldhh [12]", "line 1: no instruction 'ldhh'; did you mean ldh?"),
    ("ret #0x1ffffffff", "line 1: 0x1ffffffff does not fit in 32 bits"),
    ("ret #-2147483649", "line 1: 2147483649 does not fit in 32 bits"),
    ("ret #08", "line 1: 08 is not an octal number"),
    ("ret #12abc", "line 1: cannot read '12abc'"),
    ("jeq #1, here\nret #0", "line 1: no label 'here'"),
    ("l: l: ret #0", "line 1: label 'l' is already insn 0"),
    ("back: ret #0\njeq #1, back", "line 2: label 'back' is -2 instructions ahead; a branch spans 0 to 255"),
    ("jeq #1, far\n" + "neg\n" * 256 + "far: ret #0", "line 1: label 'far' is 256 instructions ahead; a branch spans 0 to 255"),
    ("ld #foo", "line 1: no extension 'foo'"),
    ("ldh #5", "line 1: ldh does not take #k; it takes [k], [x + k]"),
    ("add 5", "line 1: add does not take number; it takes #k, x"),
    ("jeq #1", "line 1: expected ',', found the end of the text"),
    ("ldx 5*([14]&0xf)", "line 1: ldx computes 4*([k]&0xf) and nothing else"),
    ("ret #0 /* open", "line 1: comment /* without */"),
    ("(000) ldh [12]\n(002) ret #0", "line 2: instruction (002) where (001) is expected"),
    ("(000) unimp    0x81", "line 1: tcpdump prints unknown code as unimp and leaves out its jt, jf and k; use -dd or -ddd"),
    ("(000) jeq #1 jt 0 jf 1", "line 1: target 0 is not 0 to 255 instructions ahead"),
    ("tax ;! k=5", "line 1: cannot read ;! k=5; it is for unused fields, as in: tax ;! k=0x5"),
    (";! k=0x5\ntax", "line 1: cannot read ;! k=0x5"),
    (".insn 0x10000, 0, 0, 0", "line 1: .insn: code 0x10000 does not fit in 16 bits"),
    ("ldh [12", "line 1: expected ']', found the end of the text"),
    ("ld \N{SNOWMAN}", "line 1: cannot read '\\u2603'"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text, message):
    with pytest.raises(InputError) as caught:
        assemble(text)
    assert str(caught.value).startswith(message)


def test_refusal_names_the_file():
    with pytest.raises(InputError, match=r"^drop\.bpf:2: no label 'x1'$"):
        assemble("ldh [12]\njmp x1", "drop.bpf")


_WORDS = ["ldh", "ret", "jeq", "l0", "jt", "jf", "M", "x", "a", "ja", "neg", ".insn", "0x800", "000", "12", "9" * 20, "é"]
_SIGNS = [";! k=0x1", "#", ":", ",", "(", ")", "[", "]", "%", "&", "*", "-", "+", ";", "/*", "*/", "4*([14]&0xf)", "\n", " ", "\0"]
PIECES = st.sampled_from(_WORDS + _SIGNS)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join)))
def test_any_text_is_a_program_or_an_error(text):
    try:
        insns = assemble(text)
    except InputError:
        return
    assert assemble(format_program(insns, "kernel")) == insns


def test_time_is_linear():
    """100 000 instructions, labels and hostile beginnings of comments: each well under a second or refused at once."""
    assert len(assemble("ldh [12]\n" * 100_000)) == 100_000
    for text in ("/*" * 100_000, "(" * 100_000, "-" * 100_000, "1" * 100_000, "l" * 100_000, "#\n" * 100_000, "/" * 100_000):
        with pytest.raises(InputError):
            assemble(text)
