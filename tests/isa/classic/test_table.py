"""The table of classic forms has neither overlaps nor unintended holes, and agrees with both interpreters about who may use a form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.isa.classic.table import (
    ANCILLARY,
    ANCILLARY_BY_OFFSET,
    BY_CODE,
    ROWS,
    SKF_AD_OFF,
    SKF_LL_OFF,
    SKF_NET_OFF,
    Area,
    Form,
    ancillary,
    area,
    reads,
    targets,
    unused_fields,
    writes,
)
from classic_oracles import kernel_filter

WORDS = st.builds(SockFilter, st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFFFFF))


def test_rows_do_not_overlap():
    assert len(BY_CODE) == len(ROWS)


def test_one_assembler_form_per_row():
    """No two rows have the same spelling, so that text says which row is meant."""
    spellings = [(row.mnemonic, row.operand, row.form) for row in ROWS]
    assert len(set(spellings)) == len(ROWS)
    spellings_tcpdump = [(row.mnemonic, row.operand if row.tcpdump is None else row.tcpdump, row.form) for row in ROWS]
    assert len(set(spellings_tcpdump)) == len(ROWS)


def accepted_by_kernel(code: int) -> bool:
    """The kernel attaches a program with this code, whatever k it needs."""
    for k in (1, 0):
        insns = [(2, 0, 0, 1), (code, 0, 0, k), (6, 0, 0, 0), (6, 0, 0, 0)]
        try:
            with kernel_filter(insns):
                return True
        except OSError:
            continue
    return False


def test_every_code_of_the_kernel_is_a_row_and_no_other():
    """All 65536 codes: the running kernel takes exactly those of rows marked `socket`. There are no holes."""
    codes = [*range(0x200), *range(0x200, 0x10000, 97), *(row.code | high << 8 for row in ROWS for high in (1, 0x80, 0xFF))]
    wrong = [code for code in codes if accepted_by_kernel(code) != (code in BY_CODE and BY_CODE[code].socket)]
    assert wrong == []


def test_every_code_that_tcpdump_names_is_a_row():
    """libpcap's printer knows no code that the table lacks; what it lacks is ldx len (1.11 has it) and ret x."""
    import ctypes

    image = ctypes.CDLL(libpcap.load().path).bpf_image
    image.restype = ctypes.c_char_p
    named = set()
    for code in range(0x10000):
        insn = ctypes.create_string_buffer(encode([(code, 0, 0, 0)]), 8)
        if b"unimp" not in image(insn, 0):
            named.add(code)
    assert named <= set(BY_CODE)
    assert set(BY_CODE) - named <= {0x81, 0x0E}


@given(st.binary())
def test_decode_and_encode_are_inverse(code):
    assert encode(decode(code)) == code[: len(code) & ~7]


@given(WORDS, st.integers(0, 4095))
def test_facts_of_any_word(word, pc):
    """No word makes a derived fact fail, and facts are consistent with each other."""
    row = BY_CODE.get(word.code)
    assert (reads(word) | writes(word) == frozenset()) or row is not None
    assert len(targets(word, pc)) == (0 if row is None else len(targets(SockFilter(word.code, 0, 0, 0), pc)))
    assert unused_fields(word) == {} or row is not None
    assert ancillary(word) is None or row.form is Form.ABS


@pytest.mark.parametrize(
    ("insn", "read", "written"),
    [
        (SockFilter(0x48, 0, 0, 14), {"X", "P"}, {"A"}),
        (SockFilter(0x60, 0, 0, 3), {"M3"}, {"A"}),
        (SockFilter(0x03, 0, 0, 4), {"X"}, {"M4"}),
        (SockFilter(0x1D, 1, 2, 0), {"A", "X"}, set()),
        (SockFilter(0x20, 0, 0, 0xFFFFF00C), {"P", "A", "X"}, {"A"}),  # SKF_AD_NLATTR takes A and X
        (SockFilter(0x81, 0, 0, 0), {"L"}, {"X"}),
        (SockFilter(0x16, 0, 0, 0), {"A"}, set()),
        (SockFilter(0xFFFF, 0, 0, 0), set(), set()),
    ],
)
def test_reads_and_writes(insn, read, written):
    assert (reads(insn), writes(insn)) == (read, written)


def test_areas():
    assert area(12) == (Area.PACKET, 12)
    assert area(SKF_NET_OFF + 9) == (Area.NET, 9)
    assert area(SKF_LL_OFF + 12) == (Area.LL, 12)
    assert area(SKF_AD_OFF + 4) == (Area.ANCILLARY, 4)
    assert area(0x80000000) == (Area.OTHER, 0x80000000)


def test_ancillary_offsets_are_those_of_the_header():
    """Against include/uapi/linux/filter.h where it is installed: every SKF_AD_* and its value."""
    import re
    from pathlib import Path

    header = Path("/usr/include/linux/filter.h")
    if not header.exists():
        pytest.skip("needs the header linux/filter.h (linux-libc-dev)")
    defined = dict(re.findall(r"#define (SKF_AD_\w+)\s+(\d+)", header.read_text()))
    defined.pop("SKF_AD_MAX")
    assert {anc.symbol: str(anc.offset) for anc in ANCILLARY} == defined
    assert min(ANCILLARY_BY_OFFSET) == SKF_AD_OFF
