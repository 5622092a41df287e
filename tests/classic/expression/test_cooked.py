"""Filters of cooked packet sockets: the way back to the LINUX_SLL filter that libpcap made them from."""

from __future__ import annotations

import pytest

from bpflens.classic.explain import explain
from bpflens.classic.expression.cooked import COOKED, HEADER_BYTES, as_linux_sll
from bpflens.formats.pcap.libpcap import compile_program
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.isa.classic.table import BY_CODE, Form
from bpflens.program import Isa, Origin, Program

EXPRESSIONS = ("udp port 53", "icmp or arp", "tcp[tcpflags] & tcp-syn != 0", "ip6 and not host fe80::1", "outbound and udp")
PROTOCOL, PKTTYPE = 0xFFFFF000, 0xFFFFF004


def fix(insns: tuple[SockFilter, ...]) -> tuple[SockFilter, ...]:
    """What libpcap does to a LINUX_SLL filter before it attaches it (pcap-linux.c, fix_offset)."""
    made = []
    for insn in insns:
        row = BY_CODE[insn.code]
        if row.form is Form.ABS and insn.k < HEADER_BYTES:
            insn = insn._replace(k={0: PKTTYPE, 14: PROTOCOL}[insn.k])
        elif row.form in (Form.ABS, Form.IND, Form.MSH):
            insn = insn._replace(k=insn.k - HEADER_BYTES)
        made.append(insn)
    return tuple(made)


def attached(insns: tuple[SockFilter, ...], note: str | None = COOKED) -> Program:
    return Program(Isa.CLASSIC, encode(insns), Origin("socket/packet", "sock:1", note=note))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_there_and_back(expression: str) -> None:
    """The filter that libpcap compiled, and its expression."""
    original = decode(compile_program(expression, "LINUX_SLL").code)
    cooked = fix(original)
    assert as_linux_sll(cooked) == original != cooked
    result = explain(attached(cooked))
    assert result.expression and result.proof.linktype == "LINUX_SLL" and result.proof.grade != "none"
    assert "cooked" in result.notes[-1]


def test_only_with_that_context() -> None:
    """Without it, or with a link type by the caller, the code is taken as it stands."""
    cooked = fix(decode(compile_program("udp port 53", "LINUX_SLL").code))
    assert explain(attached(cooked, None)).proof.linktype == "EN10MB"
    assert explain(attached(cooked), linktype="RAW").proof.linktype == "RAW"


@pytest.mark.parametrize("code_and_k", ((0x80, 0), (0x81, 0), (0xFF, 0), (0x40, 0xFFFFFFF0)))
def test_no_such_form(code_and_k: tuple[int, int]) -> None:
    """The length counts the header or does not; unknown code; an offset below zero."""
    code, k = code_and_k
    assert as_linux_sll([SockFilter(code, 0, 0, k), SockFilter(6, 0, 0, 1)]) is None
