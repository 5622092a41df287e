"""The words: what kinds of packets and enclosing headers are called, and the phrases for addresses, ports and lists.

    host 10.0.0.1, host 10.0.0.2   ──►   to or from 10.0.0.1 or 10.0.0.2"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.packets import well_known

__all__ = ("PROTOCOL_NOUNS", "WITHOUT_NUMBER", "WITH_NUMBER", "joined_by_and", "joined_by_or", "place")

PROTOCOL_NOUNS = {
    "ip": "IPv4",
    "ip6": "IPv6",
    "arp": "ARP",
    "rarp": "RARP",
    "tcp": "TCP",
    "udp": "UDP",
    "sctp": "SCTP",
    "icmp": "ICMP",
    "icmp6": "ICMPv6",
    "igmp": "IGMP",
    "pim": "PIM",
    "ah": "AH",
    "esp": "ESP",
    "vrrp": "VRRP",
    "igrp": "IGRP",
    "atalk": "AppleTalk",
    "aarp": "AppleTalk ARP",
    "decnet": "DECnet",
    "lat": "LAT",
    "moprc": "MOP remote console",
    "mopdl": "MOP dump/load",
    "iso": "OSI",
    "stp": "spanning tree",
    "ipx": "IPX",
    "netbeui": "NetBEUI",
    "isis": "IS-IS",
    "clnp": "CLNP",
    "esis": "ES-IS",
    "pppoed": "PPPoE discovery",
    "pppoes": "PPPoE session",
    "multicast": "multicast",
    "broadcast": "broadcast",
    "ip multicast": "IPv4 multicast",
    "ip6 multicast": "IPv6 multicast",
    "inbound": "incoming",
    "outbound": "outgoing",
    "llc": "LLC",
    "vlan": "VLAN-tagged",
    "mpls": "MPLS",
    "geneve": "Geneve-encapsulated",
    "type mgt": "802.11 management",
    "type ctl": "802.11 control",
    "type data": "802.11 data",
    "l1": "IS-IS level 1",
    "l2": "IS-IS level 2",
    "iih": "IS-IS hello",
    "lsp": "IS-IS link state",
    "snp": "IS-IS sequence number",
    "csnp": "IS-IS complete sequence number",
    "psnp": "IS-IS partial sequence number",
    "nlmsghdr": "Netlink",
}

# Keywords of headers around the packet, with a number and without.
WITH_NUMBER = {"vlan": "in VLAN", "mpls": "with MPLS label", "pppoes": "in PPPoE session", "geneve": "in Geneve VNI"}
WITHOUT_NUMBER = {
    "vlan": "in any VLAN (802.1Q tag in the frame)",
    "mpls": "under an MPLS label",
    "pppoes": "inside PPPoE session",
    "geneve": "inside Geneve",
}


def place(c: Candidate, values: list[str]) -> str:
    """ "to or from port 80 (http) or 443 (https)"."""
    words = c.prefix.split()
    kind = words[-1] if words[-1] in ("host", "net", "port", "portrange") else ""
    direction = "from" if "src" in words else "to" if "dst" in words else "to or from"
    if "src and dst" in c.prefix:
        direction = "from and to"
    if words[0] == "arp" or words[0] == "rarp":
        direction = {"from": "with sender", "to": "with target"}.get(direction, "with sender or target")
    if words[0] in ("ether", "wlan"):
        role = {"src": "from MAC", "dst": "to MAC", "host": "to or from MAC"}.get(words[-1], f"with {words[-1]} MAC")
        return f"{role} {joined_by_or(_mac(value) for value in values)}"
    if kind in ("port", "portrange"):
        named = [_port(value) if kind == "port" else value.replace("-", " to ") for value in values]
        plural = "ports" if len(values) > 1 or kind == "portrange" else "port"
        return f"{direction} {plural} {joined_by_or(named)}"
    if kind == "net":
        return f"{direction} {'network' if len(values) == 1 else 'networks'} {joined_by_or(values)}"
    return f"{direction} {joined_by_or(values)}"


def _port(value: str) -> str:
    name = well_known.PORTS.get(int(value))
    return f"{value} ({name})" if name else value


def _mac(value: str) -> str:
    name = well_known.MACS.get(value)
    return f"{value} ({name})" if name else value


def joined_by_or(values: Iterable[str]) -> str:
    items = list(values)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " or " + items[-1]


def joined_by_and(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]
