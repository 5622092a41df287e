"""Notes beside classic instructions."""

from __future__ import annotations

from bpflens.analysis.classic_notes import slot_notes
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Origin, Program


def notes(text: str, linktype: str | None = "EN10MB") -> dict[int, list[str]]:
    insns = assemble(text)
    return slot_notes(Program(Isa.CLASSIC, encode(insns), Origin("test", "test", linktype=linktype)), insns)


def test_protocols_after_their_field() -> None:
    found = notes("ldh [12]\njne #0x800, drop\nldb [23]\njne #6, drop\nret #-1\ndrop: ret #0")

    assert found == {0: ["ether type"], 1: ["IPv4"], 2: ["IPv4 protocol"], 3: ["TCP"]}


def test_nothing_is_said_without_a_link_type() -> None:
    assert notes("ldh [12]\njne #0x800, drop\nret #-1\ndrop: ret #0", None) == {}


def test_a_number_of_another_field_is_not_a_protocol() -> None:
    assert notes("ldh [36]\njne #0x800, drop\nret #-1\ndrop: ret #0") == {}
    assert notes("ldh [12]\nand #0xff\njne #0x800, drop\nret #-1\ndrop: ret #0") == {0: ["ether type"]}


def test_where_loads_meet_nothing_is_said() -> None:
    found = notes("ldh [12]\njeq #0x800, a, b\na: ldb [23]\nja c\nb: ldb [20]\nc: jeq #6, yes, no\nyes: ret #-1\nno: ret #0")

    assert 5 not in found


def test_ancillary_loads_are_named_in_any_packet() -> None:
    found = notes("ld proto\njne #0x86dd, drop\nld mark\nret a\ndrop: ret #0", None)

    assert "protocol" in found[0][0] and found[1] == ["IPv6"] and found[2] == ["skb mark"]


def test_network_offsets() -> None:
    insns = ((0x30, 0, 0, 0xFFF00000 + 9), (0x15, 0, 0, 17), (0x06, 0, 0, 0))
    from bpflens.isa.classic.insn import SockFilter

    found = slot_notes(Program(Isa.CLASSIC, b"", Origin("test", "test")), [SockFilter(*insn) for insn in insns])

    assert found == {0: ["network header + 9: IPv4 protocol"], 1: ["UDP"]}


def test_unknown_code_has_no_note() -> None:
    from bpflens.isa.classic.insn import SockFilter

    assert slot_notes(Program(Isa.CLASSIC, b"", Origin("test", "test")), [SockFilter(0xFFFF, 1, 2, 3)]) == {}
