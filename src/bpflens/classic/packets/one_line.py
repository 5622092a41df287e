"""A packet in one line: the headers that filters look at.

    one_line(bytes, "EN10MB")   ──►   02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, IPv4 10.0.0.1 > 10.0.0.2, TCP 1024 > 80 [SYN]
"""

from __future__ import annotations

import ipaddress

from bpflens.classic.diagrams.linktypes import layout_of
from bpflens.classic.packets import well_known
from bpflens.classic.packets.numbers import Proto

__all__ = ("one_line",)


def one_line(packet: bytes, linktype: str) -> str:
    """The headers, as far as the bytes reach."""
    layout = layout_of(linktype)
    parts: list[str] = []
    ethertype = None
    network = layout.network
    if linktype == "EN10MB":
        if len(packet) < 14:
            return f"{len(packet)} bytes, less than an Ethernet header"
        parts.append(f"{packet[6:12].hex(':')} > {packet[:6].hex(':')}")
        offset = 12
        ethertype = int.from_bytes(packet[offset : offset + 2], "big")
        while ethertype in (0x8100, 0x88A8, 0x9100) and len(packet) >= offset + 6:
            parts.append(f"VLAN {int.from_bytes(packet[offset + 2 : offset + 4], 'big') & 0xFFF}")
            offset += 4
            ethertype = int.from_bytes(packet[offset : offset + 2], "big")
        network = offset + 2
    elif layout.protocol is not None and len(packet) >= layout.protocol + 2:
        ethertype = int.from_bytes(packet[layout.protocol : layout.protocol + 2], "big")
    if network is None:
        return f"{len(packet)} bytes"
    if ethertype is None and len(packet) > network:
        ethertype = {4: 0x800, 6: 0x86DD}.get(packet[network] >> 4)
    if ethertype == 0x800:
        parts += _ipv4(packet[network:])
    elif ethertype == 0x86DD:
        parts += _ipv6(packet[network:])
    elif ethertype == 0x806 and len(packet) >= network + 28:
        arp = packet[network:]
        operation = int.from_bytes(arp[6:8], "big")
        sender, target = ipaddress.IPv4Address(arp[14:18]), ipaddress.IPv4Address(arp[24:28])
        parts.append(f"ARP {well_known.ARP_OPERATIONS.get(operation, f'operation {operation}')} {sender} > {target}")
    elif ethertype is not None:
        if ethertype < 0x600 and linktype == "EN10MB":
            parts.append(f"802.3 length {ethertype}")
        else:
            parts.append(well_known.ETHERTYPES.get(ethertype, f"ethertype {ethertype:#06x}"))
    parts.append(f"{len(packet)} bytes")
    return ", ".join(parts)


def _ipv4(packet: bytes) -> list[str]:
    if len(packet) < 20:
        return ["IPv4 (cut short)"]
    source, destination = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
    parts = [f"IPv4 {source} > {destination}"]
    fragment = int.from_bytes(packet[6:8], "big")
    if fragment & 0x1FFF:
        parts.append(f"fragment at {8 * (fragment & 0x1FFF)}")
        return [*parts, well_known.IP_PROTOCOLS.get(packet[9], f"protocol {packet[9]}")]
    return parts + _transport(packet[9], packet[4 * (packet[0] & 15) :])


def _ipv6(packet: bytes) -> list[str]:
    if len(packet) < 40:
        return ["IPv6 (cut short)"]
    source, destination = ipaddress.IPv6Address(packet[8:24]), ipaddress.IPv6Address(packet[24:40])
    return [f"IPv6 {source} > {destination}", *_transport(packet[6], packet[40:])]


def _transport(protocol: int, data: bytes) -> list[str]:
    name = well_known.IP_PROTOCOLS.get(protocol, f"protocol {protocol}")
    if protocol in (Proto.TCP, Proto.UDP, Proto.SCTP) and len(data) >= 4:
        text = f"{name} {int.from_bytes(data[:2], 'big')} > {int.from_bytes(data[2:4], 'big')}"
        if protocol == Proto.TCP and len(data) > 13 and data[13]:
            text += f" [{', '.join(flag for bit, flag in well_known.TCP_FLAGS.items() if data[13] & bit)}]"
        return [text]
    if protocol in (Proto.ICMP, Proto.ICMPV6) and data:
        kinds = well_known.ICMP_TYPES if protocol == Proto.ICMP else well_known.ICMP6_TYPES
        return [f"{name} {kinds.get(data[0], f'type {data[0]}')}"]
    return [name]
