"""Filters that compare payload with trigger values of BPFDoor are warned of, in part, behind every kind of header, whatever the budget."""

from __future__ import annotations

import struct

import pytest

from bpflens.classic.summary import Summaries
from bpflens.classic.words.suspicion import is_suspicious, suspicion_of
from bpflens.program import Isa, Origin, Program

ACCEPT, REJECT = (6, 0, 0, 0xFFFF), (6, 0, 0, 0)


def code(*insns: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *insn) for insn in insns)


def udp(header: int, magic: int = 0x7255) -> bytes:
    """UDP over IPv4 behind a header of so many bytes, the payload beginning with two bytes."""
    return code(
        (0x30, 0, 0, header + 9), (0x15, 0, 6, 17), (0x28, 0, 0, header + 6), (0x45, 4, 0, 0x1FFF), (0xB1, 0, 0, header),
        (0x48, 0, 0, header + 8), (0x15, 0, 1, magic), ACCEPT, REJECT,
    )  # fmt: skip


def tcp(magic: int) -> bytes:
    return code(
        (0x30, 0, 0, 9), (0x15, 0, 11, 6), (0x28, 0, 0, 6), (0x45, 9, 0, 0x1FFF), (0xB1, 0, 0, 0), (0x50, 0, 0, 12), (0x54, 0, 0, 0xF0),
        (0x74, 0, 0, 2), (0x0C, 0, 0, 0), (0x07, 0, 0, 0), (0x48, 0, 0, 0), (0x15, 0, 1, magic), ACCEPT, REJECT,
    )  # fmt: skip


def port(number: int) -> bytes:
    """udp dst port NUMBER, IPv4 given."""
    return code((0xB1, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 0, 1, number), ACCEPT, REJECT)


@pytest.mark.parametrize("filter", [udp(0), udp(14), udp(16), udp(20), tcp(0x5293)])
def test_suspected(filter: bytes) -> None:
    """By the instructions alone."""
    assert is_suspicious(suspicion_of(filter) or "")


@pytest.mark.parametrize("filter", [udp(0, 53), tcp(0x4745), port(0x7255), port(0x5293), code(ACCEPT), b"", b"\0" * 13])
def test_not_suspected(filter: bytes) -> None:
    """Other values, the same values as ports, code that is none."""
    assert suspicion_of(filter) is None


def program(filter: bytes, kind: str, linktype: str | None, given: tuple[str, ...] = ()) -> Program:
    return Program(Isa.CLASSIC, filter, Origin(kind, "sock:1", linktype=linktype, given=given, note=None if linktype else "a header"))


def test_summary_warns_without_time() -> None:
    """Where no time is left, and where nobody knows what the packets begin with."""
    for origin in (("socket/raw", "RAW", ("ip",)), ("socket/other", None, ())):
        summary = Summaries(0)(program(tcp(0x5293), *origin))
        assert summary.text.startswith("WARNING: perhaps a magic-packet backdoor") and summary.warning in summary.text
    assert not Summaries(0)(program(udp(0, 53), "socket/raw", "RAW", ("ip",))).warning


def test_summary_names_a_part() -> None:
    """One of the three triggers is recognised by its meaning."""
    summary = Summaries(0.2)(program(udp(0), "socket/raw", "RAW", ("ip",)))
    assert summary.expression == "udp[8:2] = 0x7255" and "some of the trigger values of BPFDoor" in summary.warning
