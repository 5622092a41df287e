"""An expression in words, part by part: phrases, clauses, what follows from it, sentences."""

from __future__ import annotations

import functools

import pytest

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.tree import FALSITY, TRUTH, Expression, Literal, Not, Or, Within
from bpflens.classic.words import wording
from bpflens.classic.words.clauses import Parts, alternatives, clause_of, collect
from bpflens.classic.words.implied import family_nouns, implied_by
from bpflens.classic.words.sentences import Sentence, describe, plain_sentence, returned, sentences


@functools.cache
def compiler(linktype: str = "EN10MB") -> Compiler:
    return Compiler(Store(), linktype)


def tree(shown: str) -> Expression:
    found = parse(shown)
    assert found is not None
    return found


# --- wording ---


@pytest.mark.parametrize(
    ("prefix", "values", "phrase"),
    [
        ("port", ["80"], "to or from port 80 (http)"),
        ("tcp dst port", ["80", "81"], "to ports 80 (http) or 81"),
        ("src portrange", ["10-20"], "from ports 10 to 20"),
        ("host", ["a", "b", "c"], "to or from a, b or c"),
        ("src and dst host", ["a"], "from and to a"),
        ("dst net", ["10.0.0.0/8"], "to network 10.0.0.0/8"),
        ("net", ["x", "y"], "to or from networks x or y"),
        ("arp src host", ["a"], "with sender a"),
        ("arp host", ["a"], "with sender or target a"),
        ("ether src", ["02:00:00:00:00:01"], "from MAC 02:00:00:00:00:01"),
        ("ether host", ["ff:ff:ff:ff:ff:ff"], "to or from MAC ff:ff:ff:ff:ff:ff (broadcast)"),
        ("wlan addr4", ["02:00:00:00:00:01"], "with addr4 MAC 02:00:00:00:00:01"),
    ],
)
def test_places(prefix: str, values: list[str], phrase: str) -> None:
    assert wording.place(Candidate(prefix, values[0], 1), values) == phrase


def test_lists() -> None:
    assert [wording.joined_by_or(items) for items in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
    assert wording.joined_by_and(["a", "b", "c"]) == "a, b and c"


# --- clauses ---


def test_alternatives_keep_values_of_one_qualifier_together() -> None:
    found = alternatives(tree("port 80 or arp or port 443"))
    assert [len(item.items) if isinstance(item, Or) else 1 for item in found] == [2, 1]
    assert alternatives(tree("arp")) == [tree("arp")]


@pytest.mark.parametrize(
    ("shown", "clause"),
    [
        ("tcp port 80", "it is TCP to or from port 80 (http)"),
        ("len > 100", "the length is more than 100 bytes"),
        ("less 60", "the length is at most 60 bytes"),
        ("ip proto 89", "it is IPv4 OSPF"),
        ("proto 250", "it is IP protocol 250"),
        ("ether proto 0x88cc", "it is LLDP"),
        ("ifindex 3", "it is on the interface with number 3"),
        ("vlan 5", "it is in VLAN 5"),
        ("not arp", "it is not ARP"),
        ("not host 10.0.0.1", "it is not to or from 10.0.0.1"),
        ("not (port 80 or port 81)", "it is not to or from ports 80 (http) or 81"),
        ("not (tcp and port 80)", "these do not hold together: it is TCP; it is to or from port 80 (http)"),
        ("tcp or udp", "it is TCP or UDP"),
        ("host 10.0.0.1 or len > 9", "either it is to or from 10.0.0.1, or the length is more than 9 bytes"),
        ("not len = 9", "it does not hold that the length is exactly 9 bytes"),
        ("tcp and dst port 22 and len > 9", "it is TCP to port 22 (ssh) and the length is more than 9 bytes"),
    ],
)
def test_clauses(shown: str, clause: str) -> None:
    assert clause_of(tree(shown)) == clause


def test_keywords_around_a_packet() -> None:
    """Several tags are counted; "or" behind a keyword is read further on."""
    parts = Parts()
    collect(Within("vlan and vlan", "and", TRUTH), parts)
    collect(Within("mpls 3 and mpls", "and", TRUTH), parts)
    collect(Within("vlan 2", "or", tree("arp")), parts)
    assert parts.where == ["behind 2 VLAN tags in the frame", "with MPLS label 3, then under an MPLS label", "in VLAN 2"]
    assert parts.which == ["either it is so, or, read behind the place of such a header, it is ARP"]


# --- implied ---


@pytest.mark.parametrize(
    ("shown", "given", "nouns"),
    [
        ("udp port 53", ["UDP"], ["UDP", "IPv4 and IPv6"]),
        ("host 10.0.0.1", [], ["IPv4, ARP and RARP"]),
        ("ip[9] = 6", [], ["IPv4", "TCP"]),
        ("ip6", ["IPv6"], ["IPv6"]),
        ("ether[0] = 1", [], []),
    ],
)
def test_families_that_a_diagram_implies(shown: str, given: list[str], nouns: list[str]) -> None:
    node = compiler().node(shown)
    assert node is not None
    family_nouns(given, compiler(), node)
    assert given == nouns


@pytest.mark.parametrize(
    ("shown", "implied"),
    [
        ("udp port 53", ("not a later fragment", "no IPv6 extension headers", "no VLAN tag in the frame's bytes")),
        ("ip", ("no VLAN tag in the frame's bytes",)),
        ("ip and ip[6:2] & 0x3fff = 0", ("no VLAN tag in the frame's bytes",)),  # the text says it itself
        ("vlan and ip", ()),
        ("len > 100", ()),
    ],
)
def test_what_is_required_without_being_said(shown: str, implied: tuple[str, ...]) -> None:
    assert implied_by(tree(shown), compiler(), compiler().node(shown)) == implied


def test_nothing_follows_from_nothing() -> None:
    assert implied_by(tree("ip"), compiler(), None) == implied_by(tree("ip"), compiler(), FALSE) == ()


# --- sentences ---


def test_sentences_of_alternatives() -> None:
    """One for each; what all require is said once."""
    found = sentences(tree("arp or (udp and dst port 53)"), compiler(), TRUE)
    assert [sentence.matches for sentence in found] == ["ARP packets", "IPv4 and IPv6 UDP packets to port 53 (domain)"]
    lines = describe(tree("(udp and dst port 53) or (tcp and dst port 53 and len > 99)"), compiler(), TRUE)
    assert lines[0].startswith("IPv4 and IPv6 UDP packets to port 53 (domain).") and lines[1].startswith("IPv4 and IPv6 TCP packets")
    assert lines[-1].startswith("Implied in all cases: not a later fragment")
    assert describe(tree("arp"), compiler(), TRUE) == ("ARP packets.", "Implied: no VLAN tag in the frame's bytes.")


def test_every_packet_and_none() -> None:
    assert sentences(TRUTH, compiler(), TRUE) == [Sentence("Every packet", ())]
    assert describe(FALSITY, compiler(), TRUE) == ("No packet.",)


def test_sentences_without_what_follows() -> None:
    assert plain_sentence(tree("tcp and not host 10.0.0.1 and len > 9")) == (
        "TCP packets that are not to or from 10.0.0.1, in which the length is more than 9 bytes"
    )
    assert plain_sentence(Not(Literal(Candidate("arp", "", 3)))) == "Packets that are not ARP"


def test_payloads_have_the_names_of_their_header() -> None:
    """What a UDP socket delivers begins with its header: link[2:2] is a field of that."""
    lines = describe(tree("link[2:2] = 53"), compiler("UDP"), TRUE)
    assert lines == ("UDP messages in which the destination port is 53 (domain).",)
    assert describe(TRUTH, compiler("UDP"), TRUE) == ("Every packet.",)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0x40000, "the whole packet"), (0xFFFFFFFF, "the whole packet"), (65535, "up to 65535 bytes of the packet"),
     (96, "the first 96 bytes of the packet"), (1, "1 byte (where the value is a length; elsewhere it is just a match)")],
)  # fmt: skip
def test_what_a_return_value_keeps(value: int, words: str) -> None:
    assert returned(value) == words
