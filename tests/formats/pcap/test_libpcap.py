"""The binding to libpcap: the programs of the tcpdump command, its errors, its link types."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import needs
from bpflens.errors import BpflensError, InputError, NotSupported
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import decode
from bpflens.isa.classic.text import format_program

EXPRESSIONS = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parents[2] / "corpus" / "pcap_expressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def tcpdump(flag: str, linktype: str, expression: str) -> str:
    command = [needs.tool("tcpdump"), "-y", linktype, flag, expression]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


def test_expressions_compile_to_what_tcpdump_prints():
    """Every expression of the list: our compile and our tcpdump dialect against `tcpdump -d`, instruction by instruction."""
    assert len(EXPRESSIONS) > 250
    for linktype, _, _, expression in EXPRESSIONS:
        insns = libpcap.compile(expression, libpcap.dlt_value(linktype), netmask=0)  # tcpdump -d has no network
        printed = tcpdump("-d", linktype, expression)
        ours = re.sub(" ;! k=0x[0-9a-f]+", "", format_program(insns, "tcpdump"))  # libpcap leaves values in k of tax; -d hides them
        assert ours == printed.rstrip("\n"), expression


@pytest.mark.parametrize(("flag", "dialect"), [("-dd", "dd"), ("-ddd", "ddd")])
def test_dumps_of_tcpdump(flag, dialect):
    """Every seventh expression of the list: the dump is our text, and our reader's program is libpcap's."""
    for linktype, _, _, expression in EXPRESSIONS[::7]:
        program = libpcap.compile_program(expression, linktype)
        printed = tcpdump(flag, linktype, expression)
        assert format_program(decode(program.code), dialect) == printed.rstrip("\n")
        assert read_programs(printed.encode(), "-")[0].code == program.code


def test_program():
    program = libpcap.compile_program("ip", "RAW", optimize=False)
    assert (program.origin.source, program.origin.where, program.origin.linktype) == ("pcap", "pcap:ip", "RAW")
    assert program.origin.note == f"compiled by libpcap {libpcap.version()}, not optimized"
    assert decode(libpcap.compile_program("ip", snaplen=96).code)[-2].k == 96
    note = libpcap.compile_program("ip broadcast").origin.note
    assert note == f"compiled by libpcap {libpcap.version()}, for netmask 0.0.0.0 as tcpdump -d"


REFUSED = [
    ("tcp prt 80", "syntax error"),
    ("host 300.1.1.1", "300.1.1.1"),
    ("ether proto \\nonsense", "nonsense"),
    ("port 99999999999", "99999999999"),
    ("ip broadcast", "netmask not known"),
    ("tcp\0", "NUL"),
    ("\ud800", "not valid text"),
    ("(" * 100_000, ""),
]


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_refused(expression, words):
    with pytest.raises(InputError) as caught:
        libpcap.compile(expression, 1)
    assert words in caught.value.reason or words in caught.value.object


LINKTYPES = [("EN10MB", 1), ("en10mb", 1), ("DLT_EN10MB", 1), ("RAW", 12), ("LINUX_SLL2", 276), ("IEEE802_11_RADIO", 127), ("147", 147)]


@pytest.mark.parametrize(("name", "value"), LINKTYPES)
def test_link_types(name, value):
    assert libpcap.dlt_value(name) == value
    assert libpcap.dlt_name(1) == "EN10MB" and libpcap.dlt_name(399) == "399"


NEAR = [("EN10M", "EN10MB"), ("ethernet", "EN10MB"), ("radiotap", "IEEE802_11_RADIO"), ("LINUX_SL", "SLL")]


@pytest.mark.parametrize(("name", "near"), NEAR)
def test_unknown_link_type_names_near_ones(name, near):
    with pytest.raises(InputError) as caught:
        libpcap.dlt_value(name)
    assert near in (caught.value.hint or "")


@given(st.text(), st.one_of(st.sampled_from(["EN10MB", "RAW", "NFLOG", "USB_LINUX", "9", "399", "99999999999"]), st.text(max_size=8)))
def test_any_expression_and_link_type(expression, linktype):
    """A lone word is looked up as a host name, which takes the network's time: letters are left out."""
    expression = "".join(letter for letter in expression if not letter.isalpha())
    try:
        assert libpcap.compile_program(expression, linktype).code
    except BpflensError:
        pass


def test_compiling_is_cheap():
    """Candidates by the thousand: at most 200 microseconds each (15 on the machine where this was measured)."""
    begin = time.process_time()
    for port in range(1000):
        libpcap.compile(f"tcp port {port}", 1)
    assert time.process_time() - begin < 0.2


def test_missing_library(monkeypatch):
    monkeypatch.setenv("BPFLENS_LIBPCAP", "/nonexistent/libpcap.so")
    libpcap.load.cache_clear()
    with pytest.raises(NotSupported, match=r"^/nonexistent/libpcap\.so: "):
        libpcap.version()
    monkeypatch.undo()
    libpcap.load.cache_clear()
    assert libpcap.version()[0].isdigit()


def test_run():
    insns = libpcap.compile("ip proto 6", 1)
    packet = bytes(12) + b"\x08\x00" + bytes((0x45,)) + bytes(8) + b"\x06" + bytes(20)
    assert libpcap.run(insns, packet) == libpcap.MAX_SNAPLEN
    assert libpcap.run(insns, packet[:20]) == 0
