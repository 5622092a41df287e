"""What a search is made of, part by part: candidates that a program suggests, arithmetic and @ terms as text, chains of keywords.

libpcap is the judge: a text that is offered for a test must compile to that test.
"""

from __future__ import annotations

import pytest

from bpflens.classic.diagrams.condition import test as condition
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.linktypes import PACKET, header_base, layout_of
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.diagrams.symbolic import KERNEL, run_in
from bpflens.classic.diagrams.term import LEN, Load, Op, Term, add, scale
from bpflens.classic.expression import arithmetic, at_terms
from bpflens.classic.expression.arithmetic import Names, Unspeakable
from bpflens.classic.expression.candidates import candidate as parts_of_search
from bpflens.classic.expression.candidates.addresses import addresses, ethernet_addresses
from bpflens.classic.expression.candidates.collector import Collector
from bpflens.classic.expression.candidates.indexes import INDEX_COST, indexes, lengths
from bpflens.classic.expression.candidates.protocols import cooked, protocols, wlan_types
from bpflens.classic.expression.contexts import contexts, following
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.sequences import Parts, sequence
from bpflens.classic.expression.tree import Literal, text
from bpflens.classic.expression.vlan_offload import find_vlan, looks_at_stripped_tags

ETHERNET = layout_of("EN10MB")


def collector(expression: str, linktype: str = "EN10MB", shift: int | None = 0, inside: bool = False) -> Collector:
    """What libpcap's code for an expression gives a search to begin with."""
    store = Store()
    compiler = Compiler(store, linktype)
    node = compiler.node(expression)
    assert node is not None
    found = Collector(store, node, parts_of_search.tests_of(store), linktype, shift, False, inside)
    protocols(found)
    return found


# --- collector ---


def test_the_cheapest_of_one_text_is_kept() -> None:
    found = collector("ip")
    found.add("x", "1", 9)
    found.add("x", "1")
    found.add("x", "1", 20)
    assert (found.found["x 1"].cost, found.found["x 1"].text) == (3, "x 1")


def test_places_and_values() -> None:
    """Which bytes matter, which values they have, and which they have in packets of one ethertype."""
    found = collector("src net 10.0.0.0/8")
    assert found.tests_at(PACKET, 26, 26) and not found.tests_at(PACKET, 27, 27) and not found.tests_at(PACKET, 29, 33)
    assert found.ethertypes >= {0x800, 0x806, 0x8035} and found.singles(PACKET, 26, 1) == {10}
    assert found.pieces(PACKET, 40, 2) == []
    assert found.under(0x800, PACKET, 26, 4) == {(0x0A000000, 0x0AFFFFFF)} == found.under(0x806, PACKET, 28, 4)
    assert found.under(0x806, PACKET, 26, 4) == set()
    assert collector("ip", shift=None).layout == (None, None, "ether") and collector("ip", shift=4).layout.network == 18


# --- protocols, addresses, indexes ---


@pytest.mark.parametrize(
    ("expression", "linktype", "wanted", "unwanted"),
    [
        ("arp", "EN10MB", {"arp", "ether proto 0x806"}, {"ip", "udp"}),
        ("ip proto 89", "EN10MB", {"ip", "ip proto 89", "proto 89"}, {"udp", "arp"}),
        ("udp", "EN10MB", {"udp", "ip proto 17", "ip6 proto 17", "ip6"}, {"tcp"}),
        ("ether proto 0x88cc", "EN10MB", {"ether proto 0x88cc"}, {"ip"}),
        ("ether broadcast", "EN10MB", {"broadcast", "multicast"}, {"ip multicast"}),
        ("ip multicast", "EN10MB", {"ip multicast"}, {"broadcast"}),
        ("isis", "EN10MB", {"isis", "iso"}, {"arp"}),
        ("udp", "RAW", {"ip", "ip6", "udp"}, {"ether proto 0x800"}),
    ],
)
def test_protocols(expression: str, linktype: str, wanted: set[str], unwanted: set[str]) -> None:
    found = set(collector(expression, linktype).found)
    assert wanted <= found and not unwanted & found


def test_frames_of_802_11_and_cooked_headers() -> None:
    wlan = collector("type mgt subtype beacon", "IEEE802_11")
    wlan_types(wlan)
    assert {"type mgt", "subtype beacon", "type mgt subtype beacon"} <= set(wlan.found)
    ethernet = collector("ip")
    wlan_types(ethernet)
    cooked(ethernet)
    assert not {"type mgt", "inbound"} & set(ethernet.found)
    sll = collector("ifindex 7", "LINUX_SLL2")
    cooked(sll)
    assert {"inbound", "outbound", "ifindex 7"} <= set(sll.found)


@pytest.mark.parametrize(
    ("expression", "wanted", "unwanted"),
    [
        ("src host 10.1.2.3", {"src host 10.1.2.3"}, {"dst host 10.1.2.3"}),
        ("host 10.1.2.3", {"host 10.1.2.3", "src host 10.1.2.3", "ip host 10.1.2.3", "arp host 10.1.2.3"}, {"net 10.1.2.3/32"}),
        ("ip dst net 10.64.0.0/10", {"ip dst net 10.64.0.0/10", "dst net 10.64.0.0/10"}, {"ip src net 10.64.0.0/10"}),
        ("ip6 src host 2001:db8::1", {"src host 2001:db8::1"}, {"dst host 2001:db8::1"}),
        ("dst net 2001:db8::/32", {"dst net 2001:db8::/32"}, {"src net 2001:db8::/32"}),
    ],
)
def test_addresses(expression: str, wanted: set[str], unwanted: set[str]) -> None:
    found = collector(expression)
    addresses(found)
    assert wanted <= set(found.found) and not unwanted & set(found.found)


def test_macs() -> None:
    found = collector("ether src 02:00:00:00:00:01 or ether host 02:00:00:00:00:02")
    ethernet_addresses(found)
    assert {"ether src 02:00:00:00:00:01", "ether host 02:00:00:00:00:02", "ether dst 02:00:00:00:00:02"} <= set(found.found)
    assert "ether host 02:00:00:00:00:01" not in found.found
    wlan = collector("wlan addr1 02:00:00:00:00:03", "IEEE802_11")
    ethernet_addresses(wlan)
    assert {"wlan addr1 02:00:00:00:00:03", "wlan ra 02:00:00:00:00:03"} <= set(wlan.found)


def test_lengths_and_index_expressions() -> None:
    """Under every name that a place has; tests that a named primitive says are left out."""
    found = collector("len > 100 and ip[8] & 0x80 != 0 and ip src 10.0.0.1")
    lengths(found)
    indexes(found)
    shown = {name for name in found.found if "[" in name or "len" in name or name.startswith("less")}
    assert {"len > 100", "len <= 100", "ip[8] & 0x80 != 0", "ip[8] & 0x80 = 0", "ether[22] & 0x80 != 0"} <= shown
    assert not any("12" in name.partition("]")[0] for name in shown)
    assert found.found["ip[8] & 0x80 != 0"].cost == len("ip[8] & 0x80 != 0") + INDEX_COST
    behind = collector("udp[4:2] > 8 and udp")
    indexes(behind)
    assert "udp[4:2] > 8" in behind.found and "ether[38:2] > 8" not in behind.found


# --- arithmetic: the texts mean the tests ---

BYTE, WORD = Load(PACKET, 23, 1), Load(PACKET, 26, 4)
BEHIND = Load(header_base(14), 16, 2)


@pytest.mark.parametrize(
    ("op", "a", "b", "shown"),
    [
        ("jeq", BYTE, 17, ("ether[23] = 17", "ether[23] != 17")),
        ("jgt", WORD, 0x0A000000, ("ether[26:4] > 0xa000000", "ether[26:4] <= 0xa000000")),
        ("jset", BYTE, 0x80, ("ether[23] & 0x80 != 0", "ether[23] & 0x80 = 0")),
        ("jge", LEN, 1000, ("len >= 1000", "len < 1000")),
        ("jeq", add(BYTE, 3), 20, ("ether[23] = 17", "ether[23] != 17")),
        ("jeq", add(BYTE, WORD), 9, ("ether[23] + ether[26:4] = 9", "ether[23] + ether[26:4] != 9")),
        ("jgt", BYTE, Load(PACKET, 24, 1), ("ether[23] > ether[24]", "ether[23] <= ether[24]")),
        ("jeq", Op("rsh", WORD, 5), 3, ("ether[26:4] >> 5 = 3", "ether[26:4] >> 5 != 3")),
        ("jgt", scale(BYTE, 4), 40, ("(ether[23]*4) > 40", "(ether[23]*4) <= 40")),
    ],
)
def test_relations(op: str, a: Term, b: Term, shown: tuple[str, str]) -> None:
    """Each compiles, by libpcap, to the condition or its opposite (where the packet is long enough, as no test is needed of what it is)."""
    found = arithmetic.relations(op, a, b, Names("ether", 0), ETHERNET)
    assert tuple(found) == shown
    compiler = Compiler(Store(), "EN10MB")
    positive, negative = (compiler.node(each) for each in found)
    assert positive == condition(compiler.store, op, a, b) and negative == compiler.store.negate(positive)


def test_names_of_places() -> None:
    """A header's name counts from its own first byte; a place before it, or outside of the packet, has none."""
    assert arithmetic.text(BYTE, Names("ip", 14), ETHERNET) == "ip[9]"
    assert arithmetic.text(BEHIND, Names("ip", 14, "udp", 14), ETHERNET) == "udp[2:2]"
    assert arithmetic.text(BEHIND, Names("ether", 0), ETHERNET) == "ether[((ether[14]&0xf)*4)+16:2]"
    for unspeakable in (Load(PACKET, 3, 1), Load(Base("net"), 3, 1)):
        with pytest.raises(Unspeakable):
            arithmetic.text(unspeakable, Names("ip", 14), ETHERNET)
    assert arithmetic.relations("jeq", Load(Base("net"), 3, 1), 1, Names("ip", 14), ETHERNET) == []
    assert arithmetic.bases_of(add(BYTE, BEHIND)) == {PACKET, BEHIND.base}
    assert [arithmetic.number(value) for value in (1535, 1536)] == ["1535", "0x600"]


# --- at_terms ---

PKTTYPE = Load(Base("ancillary"), 4 * 4 + 3, 1)


@pytest.mark.parametrize(
    ("term", "shown"),
    [
        (PKTTYPE, "@pkttype"), (Load(Base("net"), 9, 1), "@net[9]"), (Load(Base("link"), 12, 2), "@link[12:2]"),
        (Load(PACKET, 4, 2), "@packet[4:2]"), (BEHIND, "@packet[4*(@packet[14] & 0xf)+16:2]"), (LEN, "len"), (5, "5"),
        (add(scale(BYTE, 3), 7, -1), "3*@packet[23] - 7"), (Op("xor", BYTE, 1), "@packet[23] ^ 1"),
        (Load(Base("ancillary", (3, None)), 4 * 12, 4), "@nlattr(3, 0)"), (Load(Base("ancillary"), 4 * 99, 4), "@ancillary_99"),
    ],
)  # fmt: skip
def test_at_terms(term: Term, shown: str) -> None:
    assert at_terms.term_text(term) == shown


def test_literals_of_the_extension() -> None:
    """Each test in both polarities, with its diagram; plain bytes only where they are asked for."""
    store = Store()
    tests = [parts_of_search.Test("jeq", PKTTYPE, 3), parts_of_search.Test("jset", BYTE, 16), parts_of_search.Test("jeq", 5, 5)]
    assert at_terms.needs_extension(tests) and not at_terms.needs_extension(tests[1:])
    found = at_terms.extended_literals(store, tests, plain=False)
    assert [candidate.text for candidate, _ in found] == ["@pkttype = 3", "@pkttype != 3"]
    assert found[0][1] == condition(store, "jeq", PKTTYPE, 3) and found[1][1] == store.negate(found[0][1])
    assert [candidate.text for candidate, _ in at_terms.extended_literals(store, tests, plain=True)][2:] == [
        "@packet[23] & 0x10 != 0", "@packet[23] & 0x10 = 0",
    ]  # fmt: skip
    assert at_terms.marked("@pkttype = 3") == "@extension: @pkttype = 3"


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        ("@pkttype = 4", "the packet type (skb->pkt_type) is 4 (PACKET_OUTGOING)"),
        ("@pkttype != 99", "the packet type (skb->pkt_type) is not 99"),
        ("@protocol = 0x806", "the protocol of the packet as the kernel knows it (skb->protocol) is 0x806 (ARP)"),
        ("@mark & 0xff = 1", "the mark (skb->mark), masked with 0xff, is 1"),
        ("@unheard >= 2", "`@unheard` is at least 2"),
    ],
)
def test_ancillary_data_in_words(relation: str, words: str) -> None:
    assert at_terms.ancillary_words(relation) == words


# --- contexts ---


def chains(expression: str, linktype: str = "EN10MB") -> dict[str, int | None]:
    store = Store()
    compiler = Compiler(store, linktype)
    compiler.node(expression)
    return {context.text: context.shift for context in contexts(compiler.node, linktype, parts_of_search.tests_of(store))}


def test_chains_of_keywords() -> None:
    """Those that the constants suggest, with how far each moves the headers; the longest come first."""
    found = chains("vlan 100 and vlan 200")
    assert found["vlan 100 and vlan 200"] == 8 and found["vlan 100"] == found["vlan"] == 4
    assert [name.count(" and ") for name in found] == sorted((name.count(" and ") for name in found), reverse=True)
    assert chains("mpls 1000")["mpls 1000"] == 4 and chains("pppoes 0x12")["pppoes 0x12"] == 8
    assert chains("geneve 77")["geneve 77"] is None and chains("tcp port 80") == {} and chains("vlan 3", "RAW") == {}


def test_what_may_follow_a_keyword() -> None:
    tests = [parts_of_search.Test("jeq", Op("and", Load(PACKET, 18, 2), 0xFFF), value) for value in (7, 3)]
    tests += [parts_of_search.Test("jgt", BYTE, 1)]
    assert following(tests, "vlan 9") == ["vlan", "vlan 3", "vlan 7"]
    assert following(tests, "mpls") == ["mpls"] and following(tests, "host") == []


# --- sequences ---


@pytest.mark.parametrize("expression", ["(vlan 2 and ip) or (vlan 3 and arp)", "vlan 2 or vlan 3"])
def test_alternatives_that_begin_with_keywords(expression: str) -> None:
    """The text that is found compiles to the diagram that was asked for."""
    compiler = Compiler(Store(), "EN10MB")
    node = compiler.node(expression)
    assert node is not None
    names = ("ip", "arp")

    def literals(prefix: str, shift: int | None, universe: int):  # type: ignore[no-untyped-def]
        found = [(candidate, compiler.node(prefix + candidate.text)) for candidate in map(candidate_of, names)]
        return [(candidate, compiler.store.conj(n, universe)) for candidate, n in found if n is not None]

    def solve(literals, universe: int, wanted: int, compile):  # type: ignore[no-untyped-def]
        return next((Literal(c) for c, n in literals if compiler.store.conj(n, universe) == compiler.store.conj(wanted, universe)), None)

    parts = Parts(compiler.store, compiler.node, literals, solve, lambda: True)
    found = sequence(parts, node, node, ["vlan 2", "vlan 3", "vlan"])
    assert found is None or compiler.node(found) == node
    if expression.startswith("("):
        assert found is not None
    assert sequence(Parts(compiler.store, compiler.node, literals, solve, lambda: False), node, node, ["vlan 2"]) is None


def candidate_of(name: str) -> parts_of_search.Candidate:
    return parts_of_search.Candidate(name, "", len(name))


# --- vlan_offload ---

def test_tags_that_the_kernel_took_off() -> None:
    """`vlan 100` is both: a tag in the metadata and a tag in the frame; half of it is not."""
    store = Store()
    present, tag = Load(Base("ancillary"), 4 * 48 + 3, 1), Load(Base("ancillary"), 4 * 44 + 2, 2)
    compiler = Compiler(store, "EN10MB")
    in_frame = compiler.node("vlan 100")
    assert in_frame is not None
    stripped = condition(store, "jeq", Op("and", tag, 0xFFF), 100)
    both = store.ite(condition(store, "jeq", present, 1), stripped, in_frame)
    tests = parts_of_search.tests_of(store)
    assert looks_at_stripped_tags(tests) and not looks_at_stripped_tags(parts_of_search.tests_of(Store()))
    found = find_vlan(compiler, both, TRUE, tests, store.clock() + 5)
    assert found is not None and text(found.expression) == "vlan 100"
    half = store.ite(condition(store, "jeq", present, 1), FALSE, in_frame)
    assert find_vlan(compiler, half, TRUE, tests, store.clock() + 5) is None


def test_the_running_store_knows_its_tests() -> None:
    store = Store()
    run_in(store, [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 1), (6, 0, 0, 0)], KERNEL)
    assert parts_of_search.Test("jeq", Load(PACKET, 12, 2), 0x800) in parts_of_search.tests_of(store)
