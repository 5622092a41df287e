"""Packet captures written: pcap and pcapng, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bpflens.formats.pcap.capture import Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("PcapWriter", "PcapngWriter", "write_pcap", "write_pcapng")

SECTION, INTERFACE = 0x0A0D0D0A, 1


class PcapWriter:
    """Writes a little-endian pcap file packet by packet; times in nanoseconds where `nanoseconds`, else cut to microseconds."""

    def __init__(self, stream: BinaryIO, linktype: int, nanoseconds: bool = False, snaplen: int = 262144) -> None:
        self._stream = stream
        self._unit_ns = 1 if nanoseconds else 1000
        stream.write(struct.pack("<IHHIIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype))

    def write(self, packet: Packet) -> None:
        """Append one packet."""
        seconds, rest = divmod(packet.time_ns, 1_000_000_000)
        header = struct.pack("<IIII", seconds & 0xFFFFFFFF, rest // self._unit_ns, len(packet.data), packet.length)
        self._stream.write(header + packet.data)


class PcapngWriter:
    """Writes a little-endian pcapng file: one section, an interface per link type (if_tsresol 9), enhanced packet blocks.

    `comment` of a packet becomes its opt_comment.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._interfaces: dict[int, int] = {}
        self._block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))

    def write(self, packet: Packet, comment: str = "") -> None:
        """Append one packet."""
        index = self._interfaces.get(packet.linktype)
        if index is None:
            index = self._interfaces[packet.linktype] = len(self._interfaces)
            options = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
            self._block(INTERFACE, struct.pack("<HHI", packet.linktype, 0, 262144) + options)
        data = packet.data
        body = struct.pack("<IIIII", index, packet.time_ns >> 32 & 0xFFFFFFFF, packet.time_ns & 0xFFFFFFFF, len(data), packet.length)
        body += data + bytes(-len(data) % 4)
        if comment:
            text = comment.encode()[:65535]
            body += struct.pack("<HH", 1, len(text)) + text + bytes(-len(text) % 4) + bytes(4)
        self._block(6, body)

    def _block(self, kind: int, body: bytes) -> None:
        total = struct.pack("<I", 12 + len(body))
        self._stream.write(struct.pack("<I", kind) + total + body + total)


def write_pcap(stream: BinaryIO, packets: Iterable[Packet], linktype: int, nanoseconds: bool = False) -> int:
    """Write a pcap file; returns the number of packets."""
    writer = PcapWriter(stream, linktype, nanoseconds)
    count = 0
    for packet in packets:
        writer.write(packet)
        count += 1
    return count


def write_pcapng(stream: BinaryIO, packets: Iterable[Packet]) -> int:
    """Write a pcapng file; returns the number of packets."""
    writer = PcapngWriter(stream)
    count = 0
    for packet in packets:
        writer.write(packet)
        count += 1
    return count
