"""Assumptions, chains of keywords and awkward masks: answers that were late, or said too little or too much."""

from __future__ import annotations

import time

import pytest

from bpflens.classic.diff import diff
from bpflens.classic.explain import explain
from bpflens.classic.machine.interpreter import run
from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter, decode, encode
from bpflens.program import Isa, Origin, Program


def program(insns: object, **origin: object) -> Program:
    return Program(Isa.CLASSIC, encode(insns), Origin("test", "filter", **origin))  # type: ignore[arg-type]


def compiled(expression: str, linktype: str = "EN10MB", **origin: object) -> Program:
    return program(libpcap.compile(expression, libpcap.dlt_value(linktype)), linktype=linktype, **origin)


@pytest.mark.parametrize("expression", ["vlan 2 or vlan 3 or vlan 4 or vlan 5 or vlan 6", "mpls 2 or mpls 3 or mpls 9", "vlan 9 or vlan 8"])
def test_chains_of_keywords(expression: str) -> None:
    """Each is read behind the header of the one before; the fields overlap in 16^5 ways."""
    assert explain(compiled(expression)).expression == expression


@pytest.mark.parametrize(
    "expression",
    ["ip[12] = 10 and ip[13] & 1 = 1", "ip[6:2] & 0x1fff = 0 and ip[9:4] = 6 and ip[13] & 1 != 0 and ip[13] & 0x10 = 0"],
)
def test_masks_that_cut_an_address_in_many_nets(expression: str) -> None:
    result = explain(compiled(expression), deadline=3.0)

    assert result.expression is not None
    assert len(result.expression) <= len(expression)
    assert result.proof.grade == "all-packets"


def test_packets_that_are_too_short_for_the_assumption_are_no_witnesses() -> None:
    result = explain(compiled("not ip6"), given=["ip"])

    assert (result.expression, result.proof.grade, result.proof.witness) == ("1 = 1", "all-packets", None)


def test_a_difference_is_shown_by_a_packet_that_satisfies_the_assumption() -> None:
    given = "ip[2:2] - ((ip[0] & 0xf) * 4) = tcp[0:2]"
    result = diff(compiled("tcp[2:2] = 5"), compiled("tcp[2:2] = 5 and tcp[0:2] < 100"), given=[given])

    assert result.witness is not None
    assert run(libpcap.compile(given, 1), result.witness.packet)


def test_an_assumption_that_excludes_all_the_filter_accepts() -> None:
    result = explain(compiled("ip"), given=["ether proto 0x888e"])

    assert result.expression is None
    assert "accepts nothing" in result.words[0]
    assert result.proof.grade == "all-packets"


def test_a_filter_whose_context_leaves_it_nothing() -> None:
    """ss: a socket for ethertype 0x888e with a filter for IPv4."""
    result = explain(compiled("ip", given=("ether proto 0x888e",)))

    assert result.expression == "ip"
    assert any("accepts none of them: proved" in sentence for sentence in result.words)


@pytest.mark.parametrize("name", ["en10mb", "DLT_EN10MB", "dlt_en10mb"])
def test_spellings_of_a_link_type(name: str) -> None:
    assert explain(compiled("ip"), linktype=name).linktype == "EN10MB"


def test_ppp() -> None:
    assert [explain(compiled(text, "PPP")).expression for text in ("ip", "ip6")] == ["ip", "ip6"]


def test_lengths_beyond_65535() -> None:
    """ip[2:2] + 14 reaches 65549."""
    result = diff(compiled("ip[2:2] + 14 = len"), compiled("ip[2:2] + 14 = len and len <= 65535"))

    assert not result.equal
    assert result.witness is not None
    assert len(result.witness.packet) > 65535


def test_what_nothing_names_is_put_together_from_its_own_tests() -> None:
    """VXLAN with a test of the protocol that no keyword has (>= 17)."""
    text = "40 0 0 12,21 12 0 34525,21 0 11 2048,48 0 0 23,53 0 9 17,40 0 0 20,69 7 0 8191,177 0 0 14,72 0 0 16,21 0 4 4789"
    text += ",64 0 0 26,116 0 0 8,21 0 1 100,6 0 0 262144,84 0 0 4,6 0 0 0"
    result = explain(program([SockFilter(*map(int, insn.split())) for insn in text.split(",")], linktype="EN10MB"), deadline=3.0)

    assert result.expression is not None
    assert result.proof.grade == "all-packets"


def test_the_time_that_libpcap_takes_is_not_the_searchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpcap's optimizer needs seconds for hundreds of hosts; the answer that was found by then still counts."""
    library = libpcap.load()
    plain = type(library).compile

    def slow(self: object, expression: str, *rest: object, **named: object) -> object:
        if expression.count(" or ") > 2:
            time.sleep(3.5)
        return plain(self, expression, *rest, **named)

    filter = compiled("host 10.0.0.1 or host 10.0.0.2 or host 10.0.0.9 or host 10.0.0.77")
    monkeypatch.setattr(type(library), "compile", slow)
    result = explain(filter, deadline=0.5)

    assert result.expression == "host 10.0.0.1 or 10.0.0.2 or 10.0.0.9 or 10.0.0.77"
    assert result.proof.grade == "all-packets"


def test_what_the_kernel_refuses_is_explained_as_libpcap_runs_it() -> None:
    """ld [0xffffffff] is no ancillary load: refused by the kernel, past every packet's end in libpcap."""
    result = explain(program([SockFilter(0x28, 0, 0, 0xFFFFFFFF), SockFilter(6, 0, 0, 1)], linktype="EN10MB"))

    assert result.words == ("No packet.",)
    assert "in libpcap" in result.notes[0]


@pytest.mark.parametrize("insn", [SockFilter(0x34, 0, 0, 0), SockFilter(8, 0, 0, 1)])
def test_nothing_is_said_of_what_nothing_runs(insn: SockFilter) -> None:
    broken = program([insn, SockFilter(6, 0, 0, 1)], linktype="EN10MB")
    result = explain(broken)

    assert (result.expression, result.proof.grade) == (None, "none")
    assert "neither the kernel nor libpcap" in result.words[0]
    with pytest.raises(InputError):
        diff(broken, compiled("ip"))


def test_a_difference_that_only_z3_finds() -> None:
    """Which packet it is depends on what z3 did before; what the difference is does not."""
    a, b = compiled("ip[2:2] - ((ip[0]&0xf)<<2) > 100"), compiled("ip[2:2] - ((ip[0]&0xf)*4) > 101")
    result = diff(a, b)
    (side,) = result.sides

    assert result.method == "z3"
    assert side.expression == "ip[2:2] - ((ip[0]&0xf)*4) > 100 and ip[2:2] - ((ip[0]&0xf)*4) <= 101"
    assert side.witness is not None
    assert [bool(run(decode(p.code), side.witness.packet)) for p in (a, b)] == [True, False]


def test_a_filter_that_accepts_nothing_has_no_expression_behind_offloaded_tags_either() -> None:
    """libpcap refuses `1 = 0`: "expression rejects all packets"."""
    tag_and_none = [(0x30, 0, 0, 0xFFFFF030), (0x15, 0, 1, 3), (0x15, 0, 0, 7), (0x06, 0, 0, 0)]

    result = explain(program(tag_and_none))

    assert (result.expression, result.extended, result.accepts) == (None, None, "")
    assert result.words == ("No packet.",)
    assert result.proof.grade == "all-packets"


@pytest.mark.parametrize(
    ("at", "assumed"), [(0xFFE0000C, "the link header is at byte 0"), (0xFFF00000, "the network header is at byte 14")]
)
def test_the_place_of_each_header_that_is_read_is_an_assumption(at: int, assumed: str) -> None:
    result = explain(program([(0x30, 0, 0, at), (0x15, 0, 1, 8), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]))

    assert result.proof.assumptions[0] == assumed
    assert not any(" is at byte " in other for other in result.proof.assumptions[1:])
