"""Candidates that are words alone: protocols, ethertypes, kinds of 802.11 frames, directions.

    a test of ethertype 0x806   ──►   arp, ether proto 0x806
"""

from __future__ import annotations

from bpflens.classic.diagrams.linktypes import PACKET
from bpflens.classic.diagrams.term import Load
from bpflens.classic.expression.arithmetic import bases_of
from bpflens.classic.expression.candidates.collector import Collector

__all__ = ("cooked", "protocols", "wlan_types")

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


def protocols(found: Collector) -> None:
    """Protocols of every layer that the tests or the diagram name."""
    layout, constants = found.layout, found.constants
    numbers = set(constants[1])
    if layout.network is not None:
        numbers |= found.singles(PACKET, layout.network + 9, 1) | found.singles(PACKET, layout.network + 6, 1)
    ethertypes = set(constants[2])
    if layout.protocol is not None:
        ethertypes |= found.singles(PACKET, layout.protocol + found.shift, 2)
    found.numbers, found.ethertypes = numbers, ethertypes
    if layout.protocol is None or found.inside:
        found.add("ip")
        found.add("ip6")
    if 0x800 in ethertypes or found.wlan:
        found.add("ip")
    if found.linktype in ("PPP", "PPP_SERIAL", "PPP_BSDOS", "C_HDLC", "FRELAY") and {0x21, 0x57, 0xCC, 0x8E} & (ethertypes | numbers):
        found.add("ip")
        found.add("ip6")
    for name, size, value in _ETHERNET:
        if value in (numbers if size == 1 else ethertypes) | constants[size]:
            found.add(name)
    for name, number in _IP:
        if number in numbers:
            found.add(name)
            found.add(f"ip proto {number}", cost=len(f"ip proto {number}") + 4)
            found.add(f"ip6 proto {number}", cost=len(f"ip6 proto {number}") + 4)
    named = {value: name for name, value in _IP}
    for value in sorted(numbers)[:64]:
        if value not in named:
            found.add("ip proto", str(value))
            found.add("ip6 proto", str(value))
            found.add("proto", str(value))
        if value >= 0x18 and found.linktype == "EN10MB":
            found.add("link proto", hex(value) if value != 255 else "255")
    if layout.protocol is not None or found.wlan:
        for value in sorted(ethertypes)[:64]:
            if value >= 0x600:
                found.add("ether proto", hex(value))
    if (found.linktype == "EN10MB" or found.wlan) and {0xFE, 0xFEFE, 0x83, 0x82, 0x81} & (numbers | ethertypes):
        for name in _ISO:
            found.add(name)
    if found.linktype == "EN10MB" and any(test.op in ("jgt", "jge") and test.b in (1500, 1501) for test in found.tests):
        found.add("llc")
        if found.shift == 0 and any(found.tests_at(PACKET, offset, offset) for offset in (16, 17)):
            for name in _LLC:
                found.add("llc", name)
    if found.tests_at(PACKET, 0, 5) and found.shift == 0:
        found.add("multicast")
        found.add("broadcast")
    if layout.network is not None:
        if found.tests_at(PACKET, layout.network + 16, layout.network + 16):
            found.add("ip multicast")
        if found.tests_at(PACKET, layout.network + 24, layout.network + 24):
            found.add("ip6 multicast")


def wlan_types(found: Collector) -> None:
    """Types, subtypes and directions of 802.11 frames."""
    if found.wlan:
        for name in _WLAN_TYPES:
            found.add(name)
        for kind, names in _WLAN_SUBTYPES.items():
            for name in names:
                found.add("subtype", name)
                found.add(f"type {kind} subtype {name}")


def cooked(found: Collector) -> None:
    """Directions and interfaces: what cooked headers and the kernel beside the packet tell."""
    regions = {base.region for test in found.tests for base in bases_of(test.a)}
    if "ancillary" in regions:
        found.add("inbound")
        found.add("outbound")
        for test in found.tests:
            if type(test.b) is int and test.op == "jeq" and type(test.a) is Load and test.a.base.region == "ancillary":
                found.add("ifindex", str(test.b))
    if found.linktype in ("LINUX_SLL", "LINUX_SLL2"):
        for name in ("inbound", "outbound"):
            found.add(name)
        if found.linktype == "LINUX_SLL2":
            for value in found.singles(PACKET, 4, 4):
                found.add("ifindex", str(value))
