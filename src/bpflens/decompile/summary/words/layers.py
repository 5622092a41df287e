"""Fields of packets by layer and offset, and how people write their values.

field_of("IPv4", 16, 4)  ──►  ("destination address", ...)      value_text("port", 22)  ──►  "22 (ssh)"
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from bpflens.isa.extended.uapi import ProgType

__all__ = ("ETHERTYPES", "IP_PROTOCOLS", "PacketField", "field_of", "fields_of", "network_offset", "value_text")


class PacketField(NamedTuple):
    """A field: `layer`, byte `offset` in it, `size` in bytes, `name` as it follows "the", and how its values are written."""

    layer: str
    offset: int
    size: int
    name: str
    format: str = "number"


_FIELDS = (
    PacketField("Ethernet", 0, 6, "destination MAC", "mac"),
    PacketField("Ethernet", 6, 6, "source MAC", "mac"),
    PacketField("Ethernet", 12, 2, "EtherType", "ethertype"),
    PacketField("IPv4", 0, 1, "IP version and header length", "ipvhl"),
    PacketField("IPv4", 1, 1, "TOS", "hex"),
    PacketField("IPv4", 2, 2, "IPv4 length"),
    PacketField("IPv4", 4, 2, "IPv4 id"),
    PacketField("IPv4", 6, 2, "IPv4 fragment field", "hex"),
    PacketField("IPv4", 8, 1, "TTL"),
    PacketField("IPv4", 9, 1, "IP protocol", "protocol"),
    PacketField("IPv4", 10, 2, "IPv4 checksum", "hex"),
    PacketField("IPv4", 12, 4, "source address", "ipv4"),
    PacketField("IPv4", 16, 4, "destination address", "ipv4"),
    PacketField("IPv6", 0, 4, "IPv6 version, class and flow label", "hex"),
    PacketField("IPv6", 4, 2, "IPv6 payload length"),
    PacketField("IPv6", 6, 1, "IPv6 next header", "protocol"),
    PacketField("IPv6", 7, 1, "hop limit"),
    PacketField("IPv6", 8, 16, "source address", "ipv6"),
    PacketField("IPv6", 24, 16, "destination address", "ipv6"),
    PacketField("ARP", 6, 2, "ARP operation"),
    PacketField("ARP", 8, 6, "ARP sender MAC", "mac"),
    PacketField("ARP", 14, 4, "ARP sender address", "ipv4"),
    PacketField("ARP", 24, 4, "ARP target address", "ipv4"),
    PacketField("TCP", 0, 2, "TCP source port", "port"),
    PacketField("TCP", 2, 2, "TCP destination port", "port"),
    PacketField("TCP", 4, 4, "TCP sequence number"),
    PacketField("TCP", 8, 4, "TCP acknowledgement number"),
    PacketField("TCP", 13, 1, "TCP flags", "tcpflags"),
    PacketField("TCP", 14, 2, "TCP window"),
    PacketField("TCP", 16, 2, "TCP checksum", "hex"),
    PacketField("UDP", 0, 2, "UDP source port", "port"),
    PacketField("UDP", 2, 2, "UDP destination port", "port"),
    PacketField("UDP", 4, 2, "UDP length"),
    PacketField("UDP", 6, 2, "UDP checksum", "hex"),
    PacketField("TCP or UDP", 0, 2, "source port", "port"),
    PacketField("TCP or UDP", 2, 2, "destination port", "port"),
    PacketField("ICMP", 0, 1, "ICMP type", "icmptype"),
    PacketField("ICMP", 1, 1, "ICMP code"),
    PacketField("ICMPv6", 0, 1, "ICMPv6 type"),
)
_BY_LAYER: dict[str, list[PacketField]] = {}
for _field in _FIELDS:
    _BY_LAYER.setdefault(_field.layer, []).append(_field)

ETHERTYPES = {
    0x0800: "IPv4", 0x0806: "ARP", 0x8035: "RARP", 0x8100: "802.1Q VLAN", 0x86DD: "IPv6", 0x8847: "MPLS", 0x8848: "MPLS multicast",
    0x8863: "PPPoE discovery", 0x8864: "PPPoE session", 0x888E: "802.1X", 0x88A8: "802.1ad VLAN", 0x88CC: "LLDP", 0x88F7: "PTP",
}  # fmt: skip
IP_PROTOCOLS = {
    0: "IPv6 hop-by-hop options", 1: "ICMP", 2: "IGMP", 4: "IPv4 in IP", 6: "TCP", 17: "UDP", 41: "IPv6 in IP", 43: "IPv6 routing header",
    44: "IPv6 fragment header", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
_PORTS = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "domain", 67: "bootps", 68: "bootpc", 80: "http", 123: "ntp",
    143: "imap", 161: "snmp", 179: "bgp", 389: "ldap", 443: "https", 514: "syslog", 546: "dhcpv6-client", 547: "dhcpv6-server",
    853: "dns over tls", 1194: "openvpn", 3306: "mysql", 4789: "vxlan", 5060: "sip", 5432: "postgresql", 6081: "geneve", 6379: "redis",
    8080: "http-alt", 8472: "vxlan (Linux)", 51820: "wireguard",
}  # fmt: skip
_FAMILIES = {1: "Unix", 2: "IPv4", 10: "IPv6", 16: "netlink", 17: "packet", 40: "vsock", 44: "XDP"}
_SOCKET_TYPES = {1: "stream", 2: "datagram", 3: "raw", 5: "seqpacket"}
# enum of include/uapi/linux/bpf.h (BPF_SOCK_OPS_*), and TCP states of include/net/tcp_states.h
_SOCKET_EVENTS = {
    1: "TIMEOUT_INIT", 2: "RWND_INIT", 3: "TCP_CONNECT", 4: "ACTIVE_ESTABLISHED", 5: "PASSIVE_ESTABLISHED", 6: "NEEDS_ECN", 7: "BASE_RTT",
    8: "RTO", 9: "RETRANS", 10: "STATE", 11: "TCP_LISTEN", 12: "RTT", 13: "PARSE_HDR_OPT", 14: "HDR_OPT_LEN", 15: "WRITE_HDR_OPT",
}  # fmt: skip
_TCP_STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE", 8: "CLOSE_WAIT",
    9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING",
}  # fmt: skip
_ICMP_TYPES = {0: "echo reply", 3: "destination unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_TCP_FLAGS = ((1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG"), (64, "ECE"), (128, "CWR"))

# Where packet data begins: at the Ethernet header (XDP, tc) or at the network header (cgroup_skb, lwt_*).
_AT_ETHERNET = frozenset((ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP))
_AT_NETWORK = frozenset((ProgType.CGROUP_SKB, ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL))


def network_offset(prog_type: int) -> int | None:
    """Bytes from the start of the data to the network header, where the type says it: 14 behind Ethernet, 0; None where it is not known."""
    return 14 if prog_type in _AT_ETHERNET else 0 if prog_type in _AT_NETWORK else None


def field_of(layer: str, offset: int, size: int) -> PacketField | None:
    """The field at just these bytes."""
    return next((field for field in _BY_LAYER.get(layer, ()) if (field.offset, field.size) == (offset, size)), None)


def fields_of(layer: str) -> tuple[PacketField, ...]:
    """All fields of a layer that are named here."""
    return tuple(_BY_LAYER.get(layer, ()))


def value_text(format: str, value: int, size: int = 0) -> str:
    """A field's value, a number in network order, as people write it."""
    match format:
        case "ethertype":
            return ETHERTYPES.get(value, f"{value:#06x}") if value >= 0x600 else f"{value} (an 802.3 length)"
        case "protocol":
            return IP_PROTOCOLS.get(value, str(value))
        case "port":
            return f"{value} ({_PORTS[value]})" if value in _PORTS else str(value)
        case "ipv4":
            return ".".join(str(byte) for byte in value.to_bytes(4, "big"))
        case "ipv6":
            import ipaddress

            return str(ipaddress.IPv6Address(value))
        case "mac":
            return ":".join(f"{byte:02x}" for byte in value.to_bytes(6, "big")) + " (broadcast)" * (value == (1 << 48) - 1)
        case "icmptype":
            return f"{value} ({_ICMP_TYPES[value]})" if value in _ICMP_TYPES else str(value)
        case "tcpflags":
            return "+".join(name for bit, name in _TCP_FLAGS if value & bit) or "none"
        case "result" if size in (4, 8) and value >> 8 * size - 1:
            number = value - (1 << 8 * size)
            return f"{number} (-{errno.errorcode[-number]})" if -number in errno.errorcode else str(number)
        case "family":
            return _FAMILIES.get(value, str(value))
        case "socktype":
            return _SOCKET_TYPES.get(value, str(value))
        case "sockop":
            return _SOCKET_EVENTS.get(value, str(value))
        case "tcpstate":
            return _TCP_STATES.get(value, str(value))
        case "sysctlaccess":
            return {0: "a read", 1: "a write"}.get(value, str(value))
        case "optlevel":
            return {0: "IP", 1: "socket", 6: "TCP", 17: "UDP", 41: "IPv6"}.get(value, str(value))
        case "pkttype":
            return {0: "for this host", 1: "broadcast", 2: "multicast", 3: "for another host", 4: "outgoing"}.get(value, str(value))
        case "hex" | "ipvhl":
            return f"{value:#x}"
        case "devtype":
            return {1: "block", 2: "character"}.get(value, str(value))
        case "devaccess":
            return "+".join(name for bit, name in ((1, "mknod"), (2, "read"), (4, "write")) if value & bit) or "none"
    return str(value) if value < 1 << 16 else f"{value} ({value:#x})"
