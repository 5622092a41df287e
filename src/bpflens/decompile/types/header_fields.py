"""Where fields are in the headers of packets, under the names of uapi: include/uapi/linux/{if_ether,if_vlan,if_arp,ip,ipv6,tcp,udp,icmp,
icmpv6}.h. Bit fields are the bytes that they are in.
"""

from __future__ import annotations

from typing import NamedTuple

from bpflens.isa.extended.uapi import HelperId

__all__ = ("ETHERTYPES", "HEADERS", "LENGTHS", "MOVES", "PROTOCOLS", "Field")


class Field(NamedTuple):
    """A field: the header's struct, the member, its offset there; `meaning` of its numbers: ethertype, protocol, be16, be32 or ""."""

    struct: str
    member: str
    offset: int
    size: int
    meaning: str = ""


def _fields(struct: str, *rows: tuple[str, int, int, str]) -> dict[tuple[int, int], Field]:
    return {(offset, size): Field(struct, member, offset, size, meaning) for member, offset, size, meaning in rows}


HEADERS: dict[str, dict[tuple[int, int], Field]] = {
    "eth": _fields("ethhdr", *((f"h_dest[{n}]", n, 1, "") for n in range(6)), *((f"h_source[{n}]", 6 + n, 1, "") for n in range(6)),
                   ("h_proto", 12, 2, "ethertype")),
    "vlan": _fields("vlan_hdr", ("h_vlan_TCI", 0, 2, "be16"), ("h_vlan_encapsulated_proto", 2, 2, "ethertype")),
    "arp": _fields("arphdr", ("ar_hrd", 0, 2, "be16"), ("ar_pro", 2, 2, "ethertype"), ("ar_hln", 4, 1, ""), ("ar_pln", 5, 1, ""),
                   ("ar_op", 6, 2, "be16")),
    "ip": _fields("iphdr", ("version_ihl", 0, 1, ""), ("tos", 1, 1, ""), ("tot_len", 2, 2, "be16"), ("id", 4, 2, "be16"),
                  ("frag_off", 6, 2, "be16"), ("ttl", 8, 1, ""), ("protocol", 9, 1, "protocol"), ("check", 10, 2, "be16"),
                  ("saddr", 12, 4, "be32"), ("daddr", 16, 4, "be32")),
    "ipv6": _fields("ipv6hdr", ("version_flow", 0, 4, "be32"), ("payload_len", 4, 2, "be16"), ("nexthdr", 6, 1, "protocol"),
                    ("hop_limit", 7, 1, ""), *((f"saddr32[{n}]", 8 + 4 * n, 4, "be32") for n in range(4)),
                    *((f"daddr32[{n}]", 24 + 4 * n, 4, "be32") for n in range(4))),
    "tcp": _fields("tcphdr", ("source", 0, 2, "be16"), ("dest", 2, 2, "be16"), ("seq", 4, 4, "be32"), ("ack_seq", 8, 4, "be32"),
                   ("doff_flags", 12, 2, "be16"), ("window", 14, 2, "be16"), ("check", 16, 2, "be16"), ("urg_ptr", 18, 2, "be16")),
    "udp": _fields("udphdr", ("source", 0, 2, "be16"), ("dest", 2, 2, "be16"), ("len", 4, 2, "be16"), ("check", 6, 2, "be16")),
    "icmp": _fields("icmphdr", ("type", 0, 1, ""), ("code", 1, 1, ""), ("checksum", 2, 2, "be16")),
    "icmpv6": _fields("icmp6hdr", ("icmp6_type", 0, 1, ""), ("icmp6_code", 1, 1, ""), ("icmp6_cksum", 2, 2, "be16")),
}  # fmt: skip
ETHERTYPES = {0x0800: "ip", 0x86DD: "ipv6", 0x0806: "arp", 0x8100: "vlan", 0x88A8: "vlan"}
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6"}
LENGTHS = {"eth": 14, "vlan": 4, "ip": 20, "ipv6": 40}
MOVES = frozenset((
    HelperId.skb_vlan_push, HelperId.skb_vlan_pop, HelperId.skb_change_proto, HelperId.skb_change_head, HelperId.xdp_adjust_head,
    HelperId.skb_adjust_room, HelperId.lwt_push_encap,
))  # fmt: skip
"""Helpers after which the packet may begin elsewhere."""
