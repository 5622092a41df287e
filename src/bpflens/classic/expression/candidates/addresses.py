"""Candidates with addresses: hosts and networks of IPv4 and IPv6, MACs.

    bytes 26 to 29 in 10.0.0.0 to 10.0.0.255   ──►   src net 10.0.0.0/24, net 10.0.0.0/24
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.diagrams.linktypes import PACKET
from bpflens.classic.diagrams.term import Load, Op
from bpflens.classic.expression.candidates.candidate import load_of
from bpflens.classic.expression.candidates.collector import Collector
from bpflens.classic.expression.candidates.networks import networks, prefix_length

__all__ = ("addresses", "ethernet_addresses")

MANY = 60  # address ranges from which on each is offered in one form only
_DIRECTIONS = ("", "src ", "dst ")


def addresses(found: Collector) -> None:
    """Hosts and networks of IPv4, ARP and IPv6."""
    network = found.layout.network
    if network is None:
        seen = set(found.constants[4])
        for value in sorted(seen)[:64]:
            _ipv4(found, value, value, _DIRECTIONS, ("", "ip "))
        for test in found.tests:
            if type(test.b) is int and type(test.a) is Op and test.a.op == "and" and type(test.a.b) is int:
                mask = test.a.b
                if mask > 0xFFFF and prefix_length(mask) is not None:
                    _ipv4(found, test.b, test.b | (~mask & 0xFFFFFFFF), _DIRECTIONS, ("", "ip "))
        return
    told = bool({0x800, 0x806, 0x8035, 0x86DD} & found.ethertypes) and not found.inside
    ip4: list[set[tuple[int, int]]] = [set(), set()]
    arp4: list[set[tuple[int, int]]] = [set(), set()]
    if not told or 0x800 in found.ethertypes:
        ip4 = [found.under(0x800, PACKET, network + offset, 4) for offset in (12, 16)]
    for ethertype in (0x806, 0x8035):
        if ethertype in found.ethertypes:
            for side, offset in enumerate((14, 24)):
                arp4[side] |= found.under(ethertype, PACKET, network + offset, 4)
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
        _ipv4(found, low, high, directions, families)
    if told and 0x86DD not in found.ethertypes:
        return
    ip6 = [found.under(0x86DD, PACKET, network + offset, 16) for offset in (8, 24)]
    both = {low for low, _ in ip6[0] & ip6[1]}
    for direction, ranges in (("src ", ip6[0]), ("dst ", ip6[1])):
        for low, high in sorted(ranges)[:600]:
            _ipv6(found, low, high, ("",) if many and low in both else (direction, ""))


def _ipv4(found: Collector, low: int, high: int, directions: Iterable[str], families: Iterable[str]) -> None:
    for network, length in networks(low, high, 32):
        address = ".".join(map(str, network.to_bytes(4, "big")))
        for direction in directions:
            for family in families:
                if length == 32:
                    found.add(f"{family}{direction}host", address)
                else:
                    found.add(f"{family}{direction}net", f"{address}/{length}")


def _ipv6(found: Collector, low: int, high: int, directions: Iterable[str]) -> None:
    from ipaddress import IPv6Address

    for network, length in networks(low, high, 128):
        address = str(IPv6Address(network))
        for direction in directions:
            if length == 128:
                found.add(f"{direction}host", address)
            else:
                found.add(f"{direction}net", f"{address}/{length}")


def ethernet_addresses(found: Collector) -> None:
    """MACs of Ethernet and 802.11."""
    if found.linktype == "EN10MB":
        source, destination = set(found.singles(PACKET, 6, 6)), set(found.singles(PACKET, 0, 6))
        for value in sorted(source | destination)[:256]:
            address = value.to_bytes(6, "big").hex(":")
            if value in source and value in destination:
                found.add("ether host", address)
            if value in source:
                found.add("ether src", address)
            if value in destination:
                found.add("ether dst", address)
    elif found.wlan:
        halves: dict[Load, set[int]] = {}
        for test in found.tests:
            load = load_of(test.a)
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
                found.add(f"wlan {kind}", address)
