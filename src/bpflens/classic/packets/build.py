"""Packets to order: bytes that must lie in given ranges, everything else as a real packet would have it.

    build({12: ((8, 8),), 13: ((0, 0),), 23: ((17, 17),), 36: ((0, 0),), 37: ((53, 53),)}, 1)   ──►   a UDP packet to port 53

A template is laid out header by header: what the order says of ethertype, protocol and header length decides what follows. Then lengths and
checksums are set where the order leaves them free (RFC 791, 768, 9293, 792, 4443, 9260).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.classic.packets.numbers import EXTENSION_HEADERS, Dlt, Proto

__all__ = ("Order", "Ranges", "allows", "build", "crc32c", "finish", "internet_checksum")

Ranges = tuple[tuple[int, int], ...]
Order = Mapping[int, Ranges]
"""Byte offset -> the ranges (lowest, highest) in one of which its value must lie; ascending, at least one."""

_ANY: Ranges = ((0, 255),)


def allows(ranges: Ranges, value: int) -> bool:
    """Whether a value lies in one of the ranges."""
    return any(low <= value <= high for low, high in ranges)


def _nearest(ranges: Ranges, value: int) -> int:
    return min((min(max(value, low), high) for low, high in ranges), key=lambda candidate: abs(candidate - value))

_MAC_DST, _MAC_SRC = bytes.fromhex("02005e000002"), bytes.fromhex("02005e000001")
_IP_SRC, _IP_DST = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 2))
_IP6_SRC, _IP6_DST = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
_TRANSPORT = {
    Proto.ICMP: bytes.fromhex("0800000000010001"),
    Proto.TCP: bytes.fromhex("c00000500000000100000000500220000000 0000".replace(" ", "")),
    Proto.UDP: bytes.fromhex("c0000035 0008 0000".replace(" ", "")),
    Proto.ICMPV6: bytes.fromhex("8000000000010001"),
    Proto.SCTP: bytes.fromhex("c0000050 00000001 00000000 04000014 00010010".replace(" ", "")) + bytes(12),  # a heartbeat
}
_PAYLOAD_BYTES = 16


class _Layout:
    """Writes a template under an order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.data = bytearray()

    def put(self, default: bytes) -> bytes:
        """Append bytes, each moved into the range that the order has for it."""
        start = len(self.data)
        for byte in default:
            self.data.append(_nearest(self.order.get(len(self.data), _ANY), byte))
        return bytes(self.data[start:])

    def wanted(self, offset: int, size: int, choices: tuple[int, ...]) -> int:
        """The first of the choices that the order allows for a number at `offset`; the first one where none is."""
        for choice in choices:
            raw = choice.to_bytes(size, "big")
            if all(allows(self.order.get(offset + i, _ANY), raw[i]) for i in range(size)):
                return choice
        return choices[0]


def build(order: Order, dlt: int, least_bytes: int = 0) -> bytes:
    """A packet of at least `least_bytes` and of every byte in the order, with lengths and checksums not yet right."""
    layout = _Layout(order)
    if dlt == Dlt.EN10MB:
        layout.put(_MAC_DST + _MAC_SRC)
        _ether(layout)
    elif dlt == Dlt.LINUX_SLL:
        layout.put(bytes.fromhex("0000000100060200 5e0000010000".replace(" ", "")))
        _ether(layout)
    elif dlt == Dlt.LINUX_SLL2:
        kind = _number(layout.put(layout.wanted(0, 2, _KINDS).to_bytes(2, "big")))
        layout.put(bytes.fromhex("0000 00000001 0001 00 06 02005e0000010000".replace(" ", "")))
        _network(layout, kind)
    elif dlt in (Dlt.NULL, Dlt.LOOP):
        layout.put(bytes((2, 0, 0, 0)) if dlt == Dlt.NULL else bytes((0, 0, 0, 2)))
        _ip(layout)
    else:
        _ip(layout)
    template_bytes = len(layout.data)
    layout.data += bytes(max(least_bytes, max(order, default=-1) + 1, template_bytes) - template_bytes)
    for offset, ranges in order.items():
        if offset >= template_bytes:
            layout.data[offset] = _nearest(ranges, 0)
    return bytes(layout.data)


_BEHIND_EXTENSIONS = (Proto.TCP, Proto.UDP, Proto.ICMPV6, Proto.SCTP)
_KINDS = (0x0800, 0x86DD, 0x0806, 0x8100, 0x8847, 0x8864, 0x88CC)
_PROTOCOLS = (Proto.TCP, Proto.UDP, Proto.ICMP, Proto.SCTP, Proto.ICMPV6, Proto.IGMP, Proto.GRE)


def _number(raw: bytes | bytearray) -> int:
    return int.from_bytes(raw, "big")


def _ether(layout: _Layout) -> None:
    kind = layout.wanted(len(layout.data), 2, _KINDS)
    _network(layout, _number(layout.put(kind.to_bytes(2, "big"))))


def _network(layout: _Layout, kind: int) -> None:
    start = len(layout.data)
    if kind == 0x0800:
        _ip4(layout)
    elif kind == 0x86DD:
        _ip6(layout)
    elif kind == 0x0806 or kind == 0x8035:
        layout.put(bytes.fromhex("0001080006040001") + _MAC_SRC + _IP_SRC + bytes(6) + _IP_DST)
    elif kind in (0x8100, 0x88A8, 0x9100) and start < 64:
        layout.put(bytes((0, 1)))
        _ether(layout)
    elif kind in (0x8847, 0x8848):
        while not layout.put(bytes((0, 1, 1, 64)))[2] & 1 and len(layout.data) < 64:
            pass
        _ip(layout)
    elif kind == 0x8864:
        layout.put(bytes.fromhex("110000010000"))
        protocol = _number(layout.put(layout.wanted(len(layout.data), 2, (0x21, 0x57)).to_bytes(2, "big")))
        if protocol == 0x21:
            _ip4(layout)
        elif protocol == 0x57:
            _ip6(layout)
    else:
        layout.put(bytes(_PAYLOAD_BYTES))


def _ip(layout: _Layout) -> None:
    first = layout.wanted(len(layout.data), 1, (0x45, 0x60))
    if first == 0x60:
        _ip6(layout)
    else:
        _ip4(layout)


def _ip4(layout: _Layout) -> None:
    start = len(layout.data)
    # where the order leaves a choice: version 4 and the shortest header
    first = next(byte for byte in (*range(0x45, 0x50), *range(256)) if allows(layout.order.get(start, _ANY), byte))
    protocol = layout.wanted(start + 9, 1, _PROTOCOLS)
    header = bytes((first, 0, 0, 20, 0, 1, 0, 0, 64, protocol, 0, 0)) + _IP_SRC + _IP_DST
    written = layout.put(header)
    layout.put(bytes(max(4 * (written[0] & 15) - 20, 0)))
    if not _number(written[6:8]) & 0x1FFF:
        _transport(layout, written[9])
    else:
        layout.put(bytes(_PAYLOAD_BYTES))


def _ip6(layout: _Layout) -> None:
    start = len(layout.data)
    following = layout.wanted(start + 6, 1, (Proto.TCP, Proto.UDP, Proto.ICMPV6, Proto.SCTP, Proto.FRAGMENT, Proto.HOPOPTS))
    written = layout.put(bytes((0x60, 0, 0, 0, 0, 20, following, 64)) + _IP6_SRC + _IP6_DST)
    protocol = written[6]
    while protocol in EXTENSION_HEADERS and len(layout.data) < start + 200:
        at = len(layout.data)
        header = layout.put(bytes((layout.wanted(at, 1, _BEHIND_EXTENSIONS), 0, 0, 0, 0, 0, 0, 1)))
        if protocol != Proto.FRAGMENT:
            layout.put(bytes(8 * min(header[1], 8)))
        elif _number(header[2:4]) & 0xFFF8:
            layout.put(bytes(_PAYLOAD_BYTES))
            return
        protocol = header[0]
    _transport(layout, protocol)


def _transport(layout: _Layout, protocol: int) -> None:
    if protocol == Proto.IPIP:
        _ip4(layout)
        return
    if protocol == Proto.IPV6:
        _ip6(layout)
        return
    written = layout.put(_TRANSPORT.get(protocol, b""))
    if protocol == Proto.TCP and written[12] >> 4 > 5:
        layout.put(b"\x01" * (4 * (written[12] >> 4) - 20))
    if protocol != Proto.SCTP:
        layout.put(bytes(_PAYLOAD_BYTES))


# ---- lengths and checksums


def finish(packet: bytes, dlt: int, order: Order) -> bytes:
    """The packet with lengths and checksums set, but for bytes that the order mentions."""
    data = bytearray(packet)
    start, kind = _find_network(data, dlt)
    if kind == 0x0800:
        _finish_ip4(data, start, order)
    elif kind == 0x86DD:
        _finish_ip6(data, start, order)
    return bytes(data)


def _find_network(data: bytearray, dlt: int) -> tuple[int, int]:
    """Where the network header begins, and its ethertype (0: none known)."""
    at = {Dlt.EN10MB: 12, Dlt.LINUX_SLL: 14}.get(dlt)
    if at is None:
        start = {Dlt.LINUX_SLL2: 20, Dlt.NULL: 4, Dlt.LOOP: 4}.get(dlt, 0)
        version = data[start] >> 4 if start < len(data) else 0
        return start, {4: 0x0800, 6: 0x86DD}.get(version, 0)
    kind = _number(data[at : at + 2])
    at += 2
    while kind in (0x8100, 0x88A8, 0x9100):
        kind = _number(data[at + 2 : at + 4])
        at += 4
    if kind in (0x8847, 0x8848):
        while at + 4 <= len(data) and not data[at + 2] & 1:
            at += 4
        at += 4
        kind = {4: 0x0800, 6: 0x86DD}.get(data[at] >> 4 if at < len(data) else 0, 0)
    elif kind == 0x8864:
        kind = {0x21: 0x0800, 0x57: 0x86DD}.get(_number(data[at + 6 : at + 8]), 0)
        at += 8
    return at, kind


def _set(data: bytearray, at: int, value: int, size: int, order: Order) -> None:
    """Write a number unless the order has a say in one of its bytes, or it lies beyond the packet."""
    if at + size <= len(data) and not any(at + i in order for i in range(size)):
        data[at : at + size] = value.to_bytes(size, "big")


def _finish_ip4(data: bytearray, at: int, order: Order) -> None:
    if at + 20 > len(data):
        return
    header = max(4 * (data[at] & 15), 20)
    _set(data, at + 2, min(len(data) - at, 0xFFFF), 2, order)
    _set(data, at + 10, 0, 2, order)
    _set(data, at + 10, internet_checksum(bytes(data[at : at + header])), 2, order)
    if not _number(data[at + 6 : at + 8]) & 0x3FFF:
        pseudo = bytes(data[at + 12 : at + 20])
        _finish_transport(data, at + header, data[at + 9], pseudo, order)


def _finish_ip6(data: bytearray, at: int, order: Order) -> None:
    if at + 40 > len(data):
        return
    _set(data, at + 4, min(len(data) - at - 40, 0xFFFF), 2, order)
    protocol, position = data[at + 6], at + 40
    while protocol in EXTENSION_HEADERS and position + 8 <= len(data):
        if protocol == Proto.FRAGMENT and _number(data[position + 2 : position + 4]) & 0xFFF9:
            return
        size = 8 if protocol == Proto.FRAGMENT else 8 * (data[position + 1] + 1)
        protocol, position = data[position], position + size
    _finish_transport(data, position, protocol, bytes(data[at + 8 : at + 40]), order)


def _finish_transport(data: bytearray, at: int, protocol: int, addresses: bytes, order: Order) -> None:
    size = len(data) - at
    places = {Proto.ICMP: (2, 8), Proto.TCP: (16, 20), Proto.UDP: (6, 8), Proto.ICMPV6: (2, 8), Proto.SCTP: (8, 12)}
    if protocol not in places or size < places[protocol][1]:
        return
    checksum = at + places[protocol][0]
    if protocol == Proto.UDP:
        _set(data, at + 4, min(size, 0xFFFF), 2, order)
    if protocol == Proto.SCTP:
        _set(data, checksum, 0, 4, order)
        _set(data, checksum, _number(crc32c(bytes(data[at:])).to_bytes(4, "little")), 4, order)
        return
    _set(data, checksum, 0, 2, order)
    pseudo = b""
    if protocol != Proto.ICMP:
        pseudo = addresses + (bytes((0, protocol)) + size.to_bytes(2, "big") if len(addresses) == 8 else
                              size.to_bytes(4, "big") + bytes((0, 0, 0, protocol)))  # fmt: skip
    value = internet_checksum(pseudo + bytes(data[at:]))
    _set(data, checksum, value or (0xFFFF if protocol == Proto.UDP else 0), 2, order)


def internet_checksum(data: bytes) -> int:
    """RFC 1071: the complement of the one's complement sum of 16-bit words."""
    total = sum(data[0::2]) * 256 + sum(data[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC that SCTP uses (RFC 9260, appendix A), bit by bit: packets here are small."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return ~crc & 0xFFFFFFFF
