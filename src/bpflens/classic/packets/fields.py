"""The protocol fields of one packet: where each lies and what it holds, to name the bytes that a filter reads.

    fields(packet, 1)        ──►  [Field(12, 2, "ether.type", "0x0800 IPv4"), ..., Field(36, 2, "tcp.dport", "80")]
    name(packet, 1, 36, 2)   ──►  "tcp.dport 80"

Link types by DLT_ number: Ethernet with VLAN, MPLS and PPPoE, raw IP, BSD loopback, Linux cooked. Names follow RFC 791, 8200, 826, 9293,
768, 792, 4443, 9260. A packet that is cut short has the fields that lie in it wholly or in part.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from bpflens.classic.packets.numbers import EXTENSION_HEADERS, Dlt, Proto

__all__ = ("Field", "fields", "name")


class Field(NamedTuple):
    """`size` bytes at `start`; bit fields that share bytes are one field."""

    start: int
    size: int
    name: str
    text: str


_ETHERTYPES = {
    0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x8100: "VLAN", 0x88A8: "VLAN", 0x9100: "VLAN", 0x8847: "MPLS", 0x8848: "MPLS",
    0x8863: "PPPoE discovery", 0x8864: "PPPoE session", 0x88CC: "LLDP", 0x888E: "EAPOL", 0x88F7: "PTP", 0x8035: "RARP",
}  # fmt: skip
_PROTOCOLS = {
    0: "hop-by-hop options", 1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 41: "IPv6", 43: "routing", 44: "fragment", 47: "GRE",
    50: "ESP", 51: "AH", 58: "ICMPv6", 59: "no next header", 60: "destination options", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
_PORTS = {Proto.TCP: "tcp", Proto.UDP: "udp", Proto.SCTP: "sctp"}
_EXTENSIONS = {Proto.HOPOPTS: "hop", Proto.ROUTING: "routing", Proto.FRAGMENT: "frag", Proto.DSTOPTS: "dest"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def name(packet: bytes, dlt: int, offset: int, size: int) -> str:
    """The fields that a load of `size` bytes at `offset` touches, with their values; "" beyond what is known."""
    found = [field for field in fields(packet, dlt) if field.start < offset + size and offset < field.start + field.size]
    words = []
    for field in found:
        inside = "" if field.start >= offset and field.start + field.size <= offset + size else f"[{max(offset - field.start, 0)}]"
        words.append(f"{field.name}{inside} {field.text}".rstrip())
    return ", ".join(words)


def fields(packet: bytes, dlt: int) -> list[Field]:
    """Every field of a packet in order."""
    return [field for field in _link(packet, dlt) if field.start < len(packet)]


def _number(packet: bytes, offset: int, size: int) -> int:
    return int.from_bytes(packet[offset : offset + size], "big")


class _Reader:
    """Makes fields one after the other."""

    def __init__(self, packet: bytes, start: int, layer: str) -> None:
        self.packet = packet
        self.at = start
        self.layer = layer

    def take(self, size: int, name: str, text: str | None = None) -> Field:
        value = _number(self.packet, self.at, size)
        field = Field(self.at, size, f"{self.layer}.{name}", str(value) if text is None else text)
        self.at += size
        return field

    def hex(self, size: int, name: str) -> Field:
        return self.take(size, name, f"{_number(self.packet, self.at, size):#0{2 + 2 * size}x}")

    def peek(self, size: int, skip: int = 0) -> int:
        return _number(self.packet, self.at + skip, size)

    def bytes(self, size: int) -> bytes:
        return self.packet[self.at : self.at + size]


def _link(packet: bytes, dlt: int) -> Iterator[Field]:
    if dlt == Dlt.EN10MB:
        reader = _Reader(packet, 0, "ether")
        for which in ("dst", "src"):
            yield reader.take(6, which, reader.bytes(6).hex(":"))
        yield from _ether_type(packet, 12, "ether")
    elif dlt in (Dlt.RAW, Dlt.RAW_FILE, Dlt.IPV4, Dlt.IPV6):
        yield from _ip(packet, 0)
    elif dlt in (Dlt.NULL, Dlt.LOOP):
        yield _Reader(packet, 0, "loopback").hex(4, "family")
        yield from _ip(packet, 4)
    elif dlt == Dlt.LINUX_SLL:
        reader = _Reader(packet, 0, "sll")
        yield reader.take(2, "pkttype", _packet_type(reader.peek(2)))
        yield reader.take(2, "hatype")
        yield reader.take(2, "halen")
        yield reader.take(8, "address", reader.bytes(8).hex(":"))
        yield from _ether_type(packet, 14, "sll", "protocol")
    elif dlt == Dlt.LINUX_SLL2:
        reader = _Reader(packet, 0, "sll2")
        kind = reader.peek(2)
        yield reader.take(2, "protocol", _ether_text(kind))
        yield reader.take(2, "reserved")
        yield reader.take(4, "ifindex")
        yield reader.take(2, "hatype")
        yield reader.take(1, "pkttype", _packet_type(reader.peek(1)))
        yield reader.take(1, "halen")
        yield reader.take(8, "address", reader.bytes(8).hex(":"))
        yield from _payload(packet, 20, kind)
    else:
        yield Field(0, len(packet), "data", "")


def _packet_type(value: int) -> str:
    return {0: "0 host", 1: "1 broadcast", 2: "2 multicast", 3: "3 other host", 4: "4 outgoing"}.get(value, str(value))


def _ether_text(kind: int) -> str:
    return f"{kind:#06x} {_ETHERTYPES[kind]}" if kind in _ETHERTYPES else f"{kind:#06x}"


def _ether_type(packet: bytes, at: int, layer: str, what: str = "type") -> Iterator[Field]:
    kind = _number(packet, at, 2)
    if kind < 0x600 and layer == "ether":
        yield Field(at, 2, "ether.length", str(kind))
        for i, part in enumerate(("dsap", "ssap", "control")):
            yield Field(at + 2 + i, 1, f"llc.{part}", f"{_number(packet, at + 2 + i, 1):#04x}")
        yield Field(at + 5, max(len(packet) - at - 5, 0), "llc.payload", "")
        return
    yield Field(at, 2, f"{layer}.{what}", _ether_text(kind))
    yield from _payload(packet, at + 2, kind)


def _payload(packet: bytes, at: int, kind: int) -> Iterator[Field]:
    if at >= len(packet):
        return
    if kind in (0x8100, 0x88A8, 0x9100):
        tag = _number(packet, at, 2)
        yield Field(at, 2, "vlan.tci", f"{tag:#06x} (id {tag & 0xFFF}, priority {tag >> 13})")
        yield from _ether_type(packet, at + 2, "vlan")
    elif kind in (0x0800, 0x86DD):
        yield from _ip(packet, at)
    elif kind in (0x0806, 0x8035):
        yield from _arp(packet, at)
    elif kind in (0x8847, 0x8848):
        yield from _mpls(packet, at)
    elif kind in (0x8863, 0x8864):
        reader = _Reader(packet, at, "pppoe")
        yield reader.hex(1, "version_type")
        yield reader.hex(1, "code")
        yield reader.hex(2, "session")
        yield reader.take(2, "length")
        if kind == 0x8864:
            protocol = reader.peek(2)
            yield reader.hex(2, "protocol")
            if protocol in (0x21, 0x57):
                yield from _ip(packet, reader.at)
    else:
        yield Field(at, len(packet) - at, "ether.payload", "")


def _mpls(packet: bytes, at: int) -> Iterator[Field]:
    while at < len(packet):
        entry = _number(packet, at, 4)
        yield Field(at, 4, "mpls.entry", f"{entry:#010x} (label {entry >> 12}, ttl {entry & 255}{', bottom' if entry & 256 else ''})")
        at += 4
        if entry & 256:
            yield from _ip(packet, at)
            return


def _arp(packet: bytes, at: int) -> Iterator[Field]:
    reader = _Reader(packet, at, "arp")
    yield reader.take(2, "hrd")
    yield reader.hex(2, "pro")
    hardware, protocol = reader.peek(1), reader.peek(1, 1)
    yield reader.take(1, "hln")
    yield reader.take(1, "pln")
    operation = reader.peek(2)
    yield reader.take(2, "op", {1: "1 request", 2: "2 reply"}.get(operation))
    for side in ("s", "t"):
        yield reader.take(hardware, f"{side}ha", reader.bytes(hardware).hex(":"))
        address = reader.bytes(protocol)
        yield reader.take(protocol, f"{side}pa", str(IPv4Address(address)) if len(address) == 4 else address.hex())


def _ip(packet: bytes, at: int) -> Iterator[Field]:
    if at >= len(packet):
        return
    if packet[at] >> 4 == 6:
        yield from _ip6(packet, at)
        return
    reader = _Reader(packet, at, "ip")
    header = 4 * (packet[at] & 15)
    yield reader.take(1, "version_ihl", f"{packet[at]:#04x} (version {packet[at] >> 4}, {header} bytes)")
    yield reader.hex(1, "tos")
    yield reader.take(2, "len")
    yield reader.hex(2, "id")
    fragment = reader.peek(2)
    flags = "".join(text for bit, text in ((0x4000, "DF, "), (0x2000, "MF, ")) if fragment & bit)
    yield reader.take(2, "frag", f"{fragment:#06x} ({flags}offset {8 * (fragment & 0x1FFF)})")
    yield reader.take(1, "ttl")
    protocol = reader.peek(1)
    yield reader.take(1, "proto", _protocol_text(protocol))
    yield reader.hex(2, "sum")
    for side in ("src", "dst"):
        address = reader.bytes(4)
        yield reader.take(4, side, str(IPv4Address(address)) if len(address) == 4 else address.hex())
    if header > 20:
        yield reader.take(header - 20, "options", "")
    if fragment & 0x1FFF:
        yield Field(at + header, max(len(packet) - at - header, 0), "ip.fragment", "")
    else:
        yield from _transport(packet, at + max(header, 20), protocol)


def _protocol_text(protocol: int) -> str:
    return f"{protocol} {_PROTOCOLS[protocol]}" if protocol in _PROTOCOLS else str(protocol)


def _ip6(packet: bytes, at: int) -> Iterator[Field]:
    reader = _Reader(packet, at, "ip6")
    yield reader.hex(4, "version_class_flow")
    yield reader.take(2, "plen")
    protocol = reader.peek(1)
    yield reader.take(1, "nxt", _protocol_text(protocol))
    yield reader.take(1, "hlim")
    for side in ("src", "dst"):
        address = reader.bytes(16)
        yield reader.take(16, side, str(IPv6Address(address)) if len(address) == 16 else address.hex(":"))
    at = reader.at
    while protocol in EXTENSION_HEADERS and at + 8 <= len(packet):
        what = _EXTENSIONS[protocol]
        size = 8 if protocol == Proto.FRAGMENT else 8 * (packet[at + 1] + 1)
        later_fragment = protocol == Proto.FRAGMENT and _number(packet, at + 2, 2) & 0xFFF8
        protocol = packet[at]
        yield Field(at, 1, f"ip6.{what}.nxt", _protocol_text(protocol))
        yield Field(at + 1, size - 1, f"ip6.{what}", "")
        at += size
        if later_fragment:
            yield Field(at, max(len(packet) - at, 0), "ip6.fragment", "")
            return
    yield from _transport(packet, at, protocol)


def _transport(packet: bytes, at: int, protocol: int) -> Iterator[Field]:
    if at >= len(packet):
        return
    if protocol in _PORTS:
        yield from _ports(packet, at, protocol)
    elif protocol in (Proto.ICMP, Proto.ICMPV6):
        reader = _Reader(packet, at, "icmp" if protocol == Proto.ICMP else "icmp6")
        yield reader.take(1, "type")
        yield reader.take(1, "code")
        yield reader.hex(2, "sum")
        if reader.at < len(packet):
            yield reader.take(len(packet) - reader.at, "payload", "")
    elif protocol in (Proto.IPIP, Proto.IPV6):
        yield from _ip(packet, at)
    else:
        yield Field(at, len(packet) - at, f"{_PROTOCOLS.get(protocol, 'ip').split()[0].lower()}.payload", "")


def _ports(packet: bytes, at: int, protocol: int) -> Iterator[Field]:
    layer = _PORTS[protocol]
    reader = _Reader(packet, at, layer)
    yield reader.take(2, "sport")
    yield reader.take(2, "dport")
    if protocol == Proto.TCP:
        yield reader.take(4, "seq")
        yield reader.take(4, "ack")
        header = reader.peek(1) >> 4
        yield reader.take(1, "off", f"{reader.peek(1):#04x} ({4 * header} bytes)")
        flags = reader.peek(1)
        text = " ".join(flag for bit, flag in enumerate(_FLAGS) if flags >> bit & 1)
        yield reader.take(1, "flags", f"{flags:#04x} {text}".rstrip())
        yield reader.take(2, "win")
        yield reader.hex(2, "sum")
        yield reader.take(2, "urp")
        if header > 5:
            yield reader.take(4 * header - 20, "options", "")
    elif protocol == Proto.UDP:
        yield reader.take(2, "len")
        yield reader.hex(2, "sum")
    else:
        yield reader.hex(4, "vtag")
        yield reader.hex(4, "sum")
    if reader.at < len(packet):
        yield Field(reader.at, len(packet) - reader.at, f"{layer}.payload", "")
