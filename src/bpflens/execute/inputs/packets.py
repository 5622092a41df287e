"""Random packets as programs like to see them: Ethernet, VLAN tags, IPv4 with options and fragments, IPv6 with extension headers, ARP,
TCP, UDP, ICMP, GRE, and all of that cut short or damaged.

Every choice is drawn from a `random.Random`, so that a seed gives the same packets everywhere.
"""

from __future__ import annotations

import struct
from random import Random

__all__ = ("SMALLEST", "checksum", "random_packet")

SMALLEST = 14  # bytes: the kernel's test runs want a whole Ethernet header
_PORTS = (22, 53, 80, 443, 8080, 9, 6081, 8472, 4789, 11211, 123, 179, 5353)
_PROTOCOLS = (6, 6, 6, 17, 17, 17, 1, 58, 47, 4, 41, 132, 0, 43, 44, 50, 51, 2)
_ICMP_TYPES = (0, 3, 5, 8, 11, 13, 128, 129, 133, 134, 135, 136)
_TCP_FLAGS = (0x02, 0x12, 0x10, 0x18, 0x04, 0x01, 0x11, 0x14, 0xC2)
_PAYLOADS = (0, 0, 1, 8, 20, 40, 64, 100, 200, 600, 1400)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def random_packet(rnd: Random) -> bytes:
    """A packet of at least 14 bytes, most of them well formed."""
    packet = _ethernet(rnd)
    if rnd.random() < 0.15:
        packet = packet[: rnd.randrange(SMALLEST, len(packet) + 1)]
    if rnd.random() < 0.1:
        damaged = bytearray(packet)
        for _ in range(3):
            damaged[rnd.randrange(len(damaged))] = rnd.randrange(256)
        packet = bytes(damaged)
    return packet


def _bytes(rnd: Random, count: int, likely: tuple[int, ...] = ()) -> bytes:
    if not likely:
        return rnd.randbytes(count)
    return bytes(rnd.choice(likely) if rnd.random() < 0.75 else rnd.randrange(256) for _ in range(count))


def _ethernet(rnd: Random) -> bytes:
    head = _bytes(rnd, 12, (0, 1, 2, 0xFF))
    for _ in range(rnd.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        head += struct.pack("!HH", rnd.choice((0x8100, 0x88A8)), rnd.choice((1, 100, 4010, rnd.randrange(65536))))
    kind = rnd.random()
    if kind < 0.5:
        return head + b"\x08\x00" + _ipv4(rnd)
    if kind < 0.85:
        return head + b"\x86\xdd" + _ipv6(rnd)
    if kind < 0.92:
        return head + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, rnd.choice((1, 2))) + rnd.randbytes(20)
    return head + struct.pack("!H", rnd.choice((0x88CC, 0x8847, rnd.randrange(65536)))) + rnd.randbytes(rnd.choice((0, 28, 40)))


def _ipv4(rnd: Random) -> bytes:
    protocol = rnd.choice((*_PROTOCOLS, rnd.randrange(256)))
    inner = _transport(rnd, protocol)
    words = rnd.choice((5, 5, 5, 5, 5, 6, 15, 4, 0))
    options = b"\1" * max(0, 4 * words - 20)
    addresses = b"".join(
        bytes((rnd.choice((10, 127, 192, 172, 224, 255)), rnd.choice((0, 168, 16)), rnd.choice((0, 1)), rnd.choice((1, 2, 10))))
        if rnd.random() < 0.7 else rnd.randbytes(4)
        for _ in range(2)
    )  # fmt: skip
    head = struct.pack(
        "!BBHHHBBH", 0x40 | words, rnd.choice((0, 0, 0x10, 0xB8)), 20 + len(options) + len(inner), rnd.randrange(65536),
        rnd.choice((0, 0x4000, 0x4000, 0x2000, 100, 0x2064)), rnd.choice((64, 1, 0, 255)), protocol, 0,
    )  # fmt: skip
    head += addresses + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + inner


def _ipv6(rnd: Random) -> bytes:
    protocol = rnd.choice((*_PROTOCOLS, rnd.randrange(256)))
    inner = _transport(rnd, protocol)
    first = protocol
    if rnd.random() < 0.2:
        first = rnd.choice((0, 43, 44, 60))
        inner = struct.pack("!BBHI", protocol, 0, rnd.choice((0, 1, 8)), rnd.getrandbits(32)) + inner
    addresses = b"".join(bytes((rnd.choice((0xFE, 0x20, 0xFC, 0xFF, 0)),)) + _bytes(rnd, 15, (0, 0, 1, 0x80)) for _ in range(2))
    label = rnd.choice((0, 0, rnd.getrandbits(28)))
    return struct.pack("!IHBB", 6 << 28 | label, len(inner), first, rnd.choice((64, 1, 0, 255))) + addresses + inner


def _transport(rnd: Random, protocol: int) -> bytes:
    payload = rnd.randbytes(rnd.choice(_PAYLOADS))
    source, destination = (rnd.choice(_PORTS) if rnd.random() < 0.7 else rnd.randrange(65536) for _ in range(2))
    if protocol == 6:
        words = rnd.choice((5, 5, 5, 6, 8, 15, 0))
        options = _tcp_options(rnd, max(0, 4 * words - 20))
        flags = rnd.choice((*_TCP_FLAGS, rnd.randrange(256)))
        sequence = rnd.getrandbits(64)
        return struct.pack("!HHQBBHHH", source, destination, sequence, words << 4, flags, 100, 0, 0) + options + payload
    if protocol == 17:
        return struct.pack("!HHHH", source, destination, 8 + len(payload), rnd.choice((0, 1234))) + payload
    if protocol in (1, 58):
        return struct.pack("!BBHHH", rnd.choice(_ICMP_TYPES), rnd.choice((0, 0, 1, 4)), 0, 1, 1) + payload
    if protocol == 47:
        return struct.pack("!HH", rnd.choice((0, 0x2000, 0x3000)), rnd.choice((0x800, 0x86DD, 0x6558))) + payload
    if protocol in (4, 41):
        return (b"\x45" if protocol == 4 else b"\x60") + rnd.randbytes(39) + payload
    return rnd.randbytes(rnd.choice((0, 4, 8, 16, 40)))


def _tcp_options(rnd: Random, room: int) -> bytes:
    """MSS, SACK permitted, time stamp, window scale, no-ops, or rubbish."""
    out = b""
    while len(out) < room:
        out += rnd.choice((b"\2\4\5\xb4", b"\4\2", b"\x08\x0a" + bytes(8), b"\3\3\7", b"\1", b"\0", rnd.randbytes(2)))
    return out[:room]
