"""Candidates: every primitive of the expression language that could be part of the answer.

    tests of 0x800, 17, 68 at the right places   ──►   ip, udp, ip proto 17, udp dst port 68, dst port 68, ...

Constants come from the diagram (value sets of the address and port fields) and from the program's own tests. What a primitive means is
never written here: libpcap compiles it, so its rules about fragments, IPv6 and VLANs hold for the version at hand.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import LENGTH, Base
from bpflens.classic.diagrams.linktypes import PACKET, PAYLOADS, Layout, header_base, layout_of, pieces
from bpflens.classic.diagrams.term import Length, Load, Op, Term, leaves, linear
from bpflens.classic.expression.arithmetic import Names, bases_of, relations
from bpflens.classic.expression.networks import networks, prefix_length

__all__ = ("Candidate", "Test", "candidates", "tests_of")

MANY = 60  # address ranges from which on each is offered in one form only
INDEX_COST = 25  # what `ip[9] = 17` must save, in characters, to be preferred to a named primitive


class Candidate(NamedTuple):
    """A primitive: `prefix` and `value` are its text ("host" "10.0.0.1"); values of one prefix can be listed. `cost` in characters."""

    prefix: str
    value: str
    cost: int

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.prefix} {self.value}" if self.value else self.prefix


class Test(NamedTuple):
    """A conditional jump that the program makes: `op` (jeq, jgt, jge, jset) between two terms."""

    op: str
    a: Term
    b: Term


def tests_of(store: Store) -> list[Test]:
    """The tests of all programs that were run in the store so far."""
    return [Test(*key) for key in store.conditions if isinstance(key, tuple) and len(key) == 3]


# Named primitives and the constant that must occur for them to matter: size in bytes, value. None: always tried.
_ETHERNET = (
    ("ip", 2, 0x800), ("ip6", 2, 0x86DD), ("arp", 2, 0x806), ("rarp", 2, 0x8035), ("atalk", 2, 0x809B), ("aarp", 2, 0x80F3),
    ("decnet", 2, 0x6003), ("lat", 2, 0x6004), ("moprc", 2, 0x6002), ("mopdl", 2, 0x6001), ("pppoed", 2, 0x8863),
    ("iso", 2, 0xFEFE), ("stp", 1, 0x42), ("ipx", 2, 0x8137), ("netbeui", 2, 0xF0F0),
)  # fmt: skip
_ISO = ("iso", "isis", "clnp", "esis", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp")
_LLC = ("i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "dm", "sabme", "test", "xid", "frmr")
_IP = (
    ("tcp", 6), ("udp", 17), ("icmp", 1), ("icmp6", 58), ("sctp", 132), ("igmp", 2), ("pim", 103), ("ah", 51), ("esp", 50),
    ("vrrp", 112), ("igrp", 9),
)  # fmt: skip
_WLAN_TYPES = ("type mgt", "type ctl", "type data", "dir nods", "dir tods", "dir fromds", "dir dstods")
_WLAN_SUBTYPES = {
    "mgt": (
        "assoc-req", "assoc-resp", "reassoc-req", "reassoc-resp", "probe-req", "probe-resp", "beacon", "atim", "disassoc", "auth", "deauth",
    ),
    "ctl": ("ps-poll", "rts", "cts", "ack", "cf-end", "cf-end-ack"),
    "data": (
        "data", "data-cf-ack", "data-cf-poll", "data-cf-ack-poll", "null", "cf-ack", "cf-poll", "cf-ack-poll", "qos-data",
        "qos-data-cf-ack", "qos-data-cf-poll", "qos-data-cf-ack-poll", "qos", "qos-cf-poll", "qos-cf-ack-poll",
    ),
}  # fmt: skip
_DIRECTIONS = ("", "src ", "dst ")
_PORT_PROTOCOLS = {6: "tcp ", 17: "udp ", 132: "sctp "}


class _Collector:
    def __init__(
        self, store: Store, node: int, tests: Iterable[Test], linktype: str, shift: int | None, raw: bool, inside: bool
    ) -> None:
        self.store = store
        self.node = node
        self.tests = list(tests)
        self.linktype = linktype
        layout = layout_of(linktype)
        self.layout = Layout(None if layout.network is None or shift is None else layout.network + shift, layout.protocol, layout.start)
        if shift is None:
            self.layout = Layout(None, None, layout.start)
        self.shift = shift or 0
        self.raw = raw
        self.inside = inside
        self.restricted: dict[int, int] = {}
        self.found: dict[str, Candidate] = {}
        self.constants: dict[int, set[int]] = {1: set(), 2: set(), 4: set()}
        self.wlan = linktype.startswith("IEEE802_11") or linktype in ("PRISM_HEADER", "PPI")
        for test in self.tests:
            load = _load_of(test.a)
            if load is not None and type(test.b) is int:
                self.constants[load.size].add(test.b)
        self.numbers: set[int] = set()
        self.ethertypes: set[int] = set()
        self.support = store.support(node)

    def add(self, prefix: str, value: str = "", cost: int | None = None) -> None:
        candidate = Candidate(prefix, value, len(prefix) + len(value) + bool(value) if cost is None else cost)
        known = self.found.get(candidate.text)
        if known is None or candidate.cost < known.cost:
            self.found[candidate.text] = candidate

    def tests_at(self, base: Base, first: int, last: int) -> bool:
        return any(self.store.variable(base, offset) in self.support for offset in range(first, last + 1))

    def pieces(self, base: Base, offset: int, size: int) -> list[tuple[int, int]]:
        if not self.tests_at(base, offset, offset + size - 1):
            return []
        return pieces(self.store, self.node, base, offset, size, complements=size <= 2)

    def singles(self, base: Base, offset: int, size: int) -> set[int]:
        return {value for low, high in self.pieces(base, offset, size) if high - low < 8 for value in range(low, high + 1)}

    # the kinds

    def protocols(self) -> None:
        layout, constants = self.layout, self.constants
        numbers = set(constants[1])
        if layout.network is not None:
            numbers |= self.singles(PACKET, layout.network + 9, 1) | self.singles(PACKET, layout.network + 6, 1)
        ethertypes = set(constants[2])
        if layout.protocol is not None:
            ethertypes |= self.singles(PACKET, layout.protocol + self.shift, 2)
        self.numbers, self.ethertypes = numbers, ethertypes
        if layout.protocol is None or self.inside:
            self.add("ip")
            self.add("ip6")
        if 0x800 in ethertypes or self.wlan:
            self.add("ip")
        if self.linktype in ("PPP", "PPP_SERIAL", "PPP_BSDOS", "C_HDLC", "FRELAY") and {0x21, 0x57, 0xCC, 0x8E} & (ethertypes | numbers):
            self.add("ip")
            self.add("ip6")
        for name, size, value in _ETHERNET:
            if value in (numbers if size == 1 else ethertypes) | constants[size]:
                self.add(name)
        for name, number in _IP:
            if number in numbers:
                self.add(name)
                self.add(f"ip proto {number}", cost=len(f"ip proto {number}") + 4)
                self.add(f"ip6 proto {number}", cost=len(f"ip6 proto {number}") + 4)
        named = {value: name for name, value in _IP}
        for value in sorted(numbers)[:64]:
            if value not in named:
                self.add("ip proto", str(value))
                self.add("ip6 proto", str(value))
                self.add("proto", str(value))
            if value >= 0x18 and self.linktype == "EN10MB":
                self.add("link proto", hex(value) if value != 255 else "255")
        if layout.protocol is not None or self.wlan:
            for value in sorted(ethertypes)[:64]:
                if value >= 0x600:
                    self.add("ether proto", hex(value))
        if (self.linktype == "EN10MB" or self.wlan) and {0xFE, 0xFEFE, 0x83, 0x82, 0x81} & (numbers | ethertypes):
            for name in _ISO:
                self.add(name)
        if self.linktype == "EN10MB" and any(test.op in ("jgt", "jge") and test.b in (1500, 1501) for test in self.tests):
            self.add("llc")
            if self.shift == 0 and any(self.tests_at(PACKET, offset, offset) for offset in (16, 17)):
                for name in _LLC:
                    self.add("llc", name)
        if self.tests_at(PACKET, 0, 5) and self.shift == 0:
            self.add("multicast")
            self.add("broadcast")
        if layout.network is not None:
            if self.tests_at(PACKET, layout.network + 16, layout.network + 16):
                self.add("ip multicast")
            if self.tests_at(PACKET, layout.network + 24, layout.network + 24):
                self.add("ip6 multicast")

    def addresses(self) -> None:
        network = self.layout.network
        if network is None:
            seen = set(self.constants[4])
            for value in sorted(seen)[:64]:
                self.ipv4(value, value, _DIRECTIONS, ("", "ip "))
            for test in self.tests:
                if type(test.b) is int and type(test.a) is Op and test.a.op == "and" and type(test.a.b) is int:
                    mask = test.a.b
                    if mask > 0xFFFF and prefix_length(mask) is not None:
                        self.ipv4(test.b, test.b | (~mask & 0xFFFFFFFF), _DIRECTIONS, ("", "ip "))
            return
        told = bool({0x800, 0x806, 0x8035, 0x86DD} & self.ethertypes) and not self.inside
        ip4: list[set[tuple[int, int]]] = [set(), set()]
        arp4: list[set[tuple[int, int]]] = [set(), set()]
        if not told or 0x800 in self.ethertypes:
            ip4 = [self.under(0x800, PACKET, network + offset, 4) for offset in (12, 16)]
        for ethertype in (0x806, 0x8035):
            if ethertype in self.ethertypes:
                for side, offset in enumerate((14, 24)):
                    arp4[side] |= self.under(ethertype, PACKET, network + offset, 4)
        many = sum(map(len, ip4)) + sum(map(len, arp4)) > MANY
        for low, high in sorted(ip4[0] | ip4[1] | arp4[0] | arp4[1]):
            in_ip = [(low, high) in side for side in ip4]
            in_arp = [(low, high) in side for side in arp4]
            directions = [name for name, one in (("src ", in_ip[0] or in_arp[0]), ("dst ", in_ip[1] or in_arp[1])) if one]
            if not many or len(directions) == 2:
                directions.insert(0, "")
            families = [""]
            if not many or not any(in_arp):
                families += ["ip "] if any(in_ip) else []
                families += ["arp "] if any(in_arp) else []
            if many and len(directions) == 3:
                directions = [""]
            self.ipv4(low, high, directions, families)
        if told and 0x86DD not in self.ethertypes:
            return
        ip6 = [self.under(0x86DD, PACKET, network + offset, 16) for offset in (8, 24)]
        both = {low for low, _ in ip6[0] & ip6[1]}
        for direction, ranges in (("src ", ip6[0]), ("dst ", ip6[1])):
            for low, high in sorted(ranges)[:600]:
                self.ipv6(low, high, ("",) if many and low in both else (direction, ""))

    def under(self, ethertype: int, base: Base, offset: int, size: int) -> set[tuple[int, int]]:
        """The pieces of a field in the packets of one ethertype, so that bytes of other headers at the same place do not count."""
        if self.layout.protocol is None or self.inside or ethertype not in self.ethertypes:
            return set(self.pieces(base, offset, size))
        if ethertype not in self.restricted:
            at = self.layout.protocol + self.shift
            high = self.store.restrict(self.node, self.store.variable(PACKET, at), ethertype >> 8)
            self.restricted[ethertype] = self.store.restrict(high, self.store.variable(PACKET, at + 1), ethertype & 255)
        node = self.restricted[ethertype]
        if not self.tests_at(base, offset, offset + size - 1):
            return set()
        return set(pieces(self.store, node, base, offset, size, complements=size <= 2))

    def ipv4(self, low: int, high: int, directions: Iterable[str], families: Iterable[str]) -> None:
        for network, length in networks(low, high, 32):
            address = str(ipaddress.IPv4Address(network))
            for direction in directions:
                for family in families:
                    if length == 32:
                        self.add(f"{family}{direction}host", address)
                    else:
                        self.add(f"{family}{direction}net", f"{address}/{length}")

    def ipv6(self, low: int, high: int, directions: Iterable[str]) -> None:
        for network, length in networks(low, high, 128):
            address = str(ipaddress.IPv6Address(network))
            for direction in directions:
                if length == 128:
                    self.add(f"{direction}host", address)
                else:
                    self.add(f"{direction}net", f"{address}/{length}")

    def ethernet_addresses(self) -> None:
        if self.linktype == "EN10MB":
            source, destination = set(self.singles(PACKET, 6, 6)), set(self.singles(PACKET, 0, 6))
            for value in sorted(source | destination)[:256]:
                address = value.to_bytes(6, "big").hex(":")
                if value in source and value in destination:
                    self.add("ether host", address)
                if value in source:
                    self.add("ether src", address)
                if value in destination:
                    self.add("ether dst", address)
        elif self.wlan:
            halves: dict[Load, set[int]] = {}
            for test in self.tests:
                load = _load_of(test.a)
                if load is not None and test.op == "jeq" and type(test.b) is int:
                    halves.setdefault(load, set()).add(test.b)
            values = set()
            for load, highs in halves.items():
                for other, lows in halves.items():
                    if load.base == other.base and (load.size, other.size) in ((2, 4), (4, 2)) and other.offset == load.offset + load.size:
                        values |= {high << 8 * other.size | low for high in highs for low in lows}
            for value in sorted(values)[:32]:
                address = value.to_bytes(6, "big").hex(":")
                for kind in ("host", "src", "dst", "addr1", "addr2", "addr3", "addr4", "ra", "ta"):
                    self.add(f"wlan {kind}", address)

    def wlan_types(self) -> None:
        if self.wlan:
            for name in _WLAN_TYPES:
                self.add(name)
            for kind, names in _WLAN_SUBTYPES.items():
                for name in names:
                    self.add("subtype", name)
                    self.add(f"type {kind} subtype {name}")

    def cooked(self) -> None:
        regions = {base.region for test in self.tests for base in bases_of(test.a)}
        if "ancillary" in regions:
            self.add("inbound")
            self.add("outbound")
            for test in self.tests:
                if type(test.b) is int and test.op == "jeq" and type(test.a) is Load and test.a.base.region == "ancillary":
                    self.add("ifindex", str(test.b))
        if self.linktype in ("LINUX_SLL", "LINUX_SLL2"):
            for name in ("inbound", "outbound"):
                self.add(name)
            if self.linktype == "LINUX_SLL2":
                for value in self.singles(PACKET, 4, 4):
                    self.add("ifindex", str(value))

    def ports(self) -> None:
        network = self.layout.network
        found: list[set[tuple[int, int]]] = [set(), set()]
        if network is None:
            for test in self.tests:
                load = _load_of(test.a)
                if load is not None and load.size == 2 and type(test.b) is int and load.base.term is not None:
                    low = test.b + (test.op == "jgt")
                    for ranges in found:
                        ranges.add((low, low if test.op == "jeq" else 0xFFFF))
                        if test.op != "jeq" and low:
                            ranges.add((0, low - 1))
            bounds = sorted({low for low, high in found[0] if high == 0xFFFF})
            for i, low in enumerate(bounds[:8]):
                for end in bounds[i + 1 : 8]:
                    found[0].add((low, end - 1))
                    found[1].add((low, end - 1))
        else:
            for side, ranges in enumerate(found):
                ranges |= self.under(0x800, header_base(network), network + 2 * side, 2)
                ranges |= self.under(0x86DD, PACKET, network + 40 + 2 * side, 2)
        protocols = [""] + [name for value, name in _PORT_PROTOCOLS.items() if value in self.numbers]
        if len(protocols) == 1:
            protocols += list(_PORT_PROTOCOLS.values())
        for low, high in sorted(found[0] | found[1])[:300]:
            for protocol in protocols:
                for direction, present in (
                    ("", True),
                    ("src ", (low, high) in found[0]),
                    ("dst ", (low, high) in found[1]),
                ):
                    if not present:
                        continue
                    if low == high:
                        self.add(f"{protocol}{direction}port", str(low))
                    else:
                        self.add(f"{protocol}{direction}portrange", f"{low}-{high}")
                        if high - low < 16:
                            for value in range(low, high + 1):
                                self.add(f"{protocol}{direction}port", str(value))

    def lengths(self) -> None:
        if self.store.variable(LENGTH.base, 0) not in self.support:
            return
        for test in self.tests:
            if type(test.a) is Length and type(test.b) is int:
                for text in relations(test.op, test.a, test.b, Names("ether", 0), self.layout):
                    self.add(text)
                if test.op != "jeq":
                    self.add("less", str(test.b - (test.op == "jge")))

    def indexes(self) -> None:
        """Arithmetic on loads, under every name that a place has."""
        layout = self.layout
        start = layout.start
        places: list[Names] = []
        behind = [name for value, name in ((6, "tcp"), (17, "udp"), (1, "icmp"), (132, "sctp"), (2, "igmp")) if value in self.numbers]
        if layout.network is not None:
            fixed = ["ip"]
            if 0x86DD in self.ethertypes or layout.protocol is None:
                fixed.append("ip6")
            if 0x806 in self.ethertypes:
                fixed.append("arp")
            if 0x8035 in self.ethertypes:
                fixed.append("rarp")
            for name in fixed:
                places.append(Names(name, layout.network))
            if 58 in self.numbers:
                places.append(Names("icmp6", layout.network + 40))
            places += [Names("ip", layout.network, name, layout.network) for name in behind or ("tcp", "udp", "icmp")]
        places.append(Names(start, 0))
        header = header_base(layout.network) if layout.network is not None else None
        for test in self.tests:
            if type(test.a) is Length and type(test.b) is int:
                continue
            if not self.raw and self.explained(test):
                continue
            bases = bases_of(test.a) | bases_of(test.b)
            if any(base.region != "packet" for base in bases):
                continue
            for names in places:
                if names.behind is not None and (header is None or not _mentions(bases, header)):
                    continue
                for text in relations(test.op, test.a, test.b, names, layout):
                    extra = INDEX_COST + (8 if names.fixed == start else 0)
                    self.add(text, "", len(text) + extra)

    def explained(self, test: Test) -> bool:
        """Whether the named primitives say this test already: an ethertype, protocol, address, port, MAC or fragment test."""
        load = _load_of(test.a)
        if load is None or type(test.b) is not int:
            return False
        layout, offset, size = self.layout, load.offset, load.size
        masked = type(test.a) is not Load
        if load.base == PACKET:
            if layout.network is None:
                return False
            if size == 2 and layout.protocol is not None and offset == layout.protocol + self.shift and not masked:
                return True
            inside = offset - layout.network
            if size == 1 and inside in (6, 9) and not masked and test.op == "jeq":
                return True
            if size == 2 and inside == 6 and test == Test("jset", load, 0x1FFF):
                return True
            if size == 4 and inside in (12, 16) and test.op == "jeq":
                return True
            if size == 4 and inside in (8, 12, 16, 20, 24, 28, 32, 36) and 0x86DD in self.ethertypes and test.op == "jeq":
                return True
            if size == 4 and inside in (14, 24) and {0x806, 0x8035} & self.ethertypes and test.op == "jeq":
                return True
            if size == 2 and inside in (40, 42) and 0x86DD in self.ethertypes and not masked:
                return True
            return self.linktype == "EN10MB" and offset + size <= 12 and size > 1 and test.op == "jeq" and not masked
        if layout.network is not None and load.base == header_base(layout.network):
            return size == 2 and offset - layout.network in (0, 2) and not masked and test.op != "jset"
        return False


def candidates(
    store: Store,
    node: int,
    tests: Iterable[Test],
    linktype: str,
    shift: int | None = 0,
    raw: bool = False,
    inside: bool = False,
    own: bool = False,
) -> list[Candidate]:
    """Candidates for a diagram of a program with these tests, cheapest first.

    `shift`: bytes by which an enclosing keyword (vlan, mpls, pppoes) moves the network header, None where it moves by a varying number
    (geneve). `raw`: also index expressions for tests that named primitives cover. `inside`: within such a keyword.
    `own`: only protocols, lengths and index expressions, one for each test of the program.
    """
    collector = _Collector(store, node, tests, linktype, shift, raw, inside)
    if linktype in PAYLOADS:
        collector.raw = True
        collector.lengths()
        collector.indexes()
        return sorted(collector.found.values(), key=lambda c: (c.cost, c.text))
    collector.protocols()
    if own:
        collector.lengths()
        collector.indexes()
        return sorted(collector.found.values(), key=lambda c: (c.cost, c.text))
    collector.addresses()
    collector.ethernet_addresses()
    collector.wlan_types()
    collector.cooked()
    collector.ports()
    collector.lengths()
    collector.indexes()
    return sorted(collector.found.values(), key=lambda c: (c.cost, c.text))


def _load_of(term: Term) -> Load | None:
    """The load of a term that is one, or one with a mask."""
    if type(term) is Load:
        return term
    if type(term) is Op and term.op == "and" and type(term.a) is Load and type(term.b) is int:
        return term.a
    return None


def _mentions(bases: set[Base], header: Base) -> bool:
    """Whether one of the bases is the end of the IPv4 header or counts from there."""
    (part,) = linear(header.term)[1].items()  # type: ignore[arg-type]
    return any(base.term is not None and part in linear(base.term)[1].items() for base in bases)  # type: ignore[arg-type]


def load_constants(test: Test) -> list[Load]:
    """The loads that a test reads."""
    return [leaf for term in (test.a, test.b) for leaf in leaves(term) if type(leaf) is Load]
