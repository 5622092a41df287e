"""Structures that sources of filters take sizes and offsets of: name -> (size, members), in bytes."""

from __future__ import annotations

__all__ = ("STRUCTS",)

_ETHER = {"ether_dhost": 0, "ether_shost": 6, "ether_type": 12, "h_dest": 0, "h_source": 6, "h_proto": 12}
_IP4 = {
    "tos": 1, "tot_len": 2, "id": 4, "frag_off": 6, "ttl": 8, "protocol": 9, "check": 10, "saddr": 12, "daddr": 16,
    "ip_tos": 1, "ip_len": 2, "ip_id": 4, "ip_off": 6, "ip_ttl": 8, "ip_p": 9, "ip_sum": 10, "ip_src": 12, "ip_dst": 16,
}  # fmt: skip
_IP6 = {
    "payload_len": 4, "nexthdr": 6, "hop_limit": 7, "saddr": 8, "daddr": 24, "ip6_plen": 4, "ip6_nxt": 6, "ip6_hlim": 7, "ip6_src": 8,
    "ip6_dst": 24,
}  # fmt: skip
_TCP = {
    "source": 0, "dest": 2, "seq": 4, "ack_seq": 8, "window": 14, "check": 16, "urg_ptr": 18, "th_sport": 0, "th_dport": 2, "th_seq": 4,
    "th_ack": 8, "th_flags": 13, "th_win": 14, "th_sum": 16, "th_urp": 18,
}  # fmt: skip
_UDP = {"source": 0, "dest": 2, "len": 4, "check": 6, "uh_sport": 0, "uh_dport": 2, "uh_ulen": 4, "uh_sum": 6}
_ARP = {"ar_hrd": 0, "ar_pro": 2, "ar_hln": 4, "ar_pln": 5, "ar_op": 6}
_ETHER_ARP = {**_ARP, "ea_hdr": 0, "arp_hrd": 0, "arp_pro": 2, "arp_hln": 4, "arp_pln": 5, "arp_op": 6, "arp_sha": 8, "arp_spa": 14,
              "arp_tha": 18, "arp_tpa": 24}  # fmt: skip
_ICMP = {"type": 0, "code": 1, "checksum": 2, "icmp_type": 0, "icmp_code": 1, "icmp_cksum": 2, "icmp6_type": 0, "icmp6_code": 1}
STRUCTS: dict[str, tuple[int, dict[str, int]]] = {
    "seccomp_data": (64, {"nr": 0, "arch": 4, "instruction_pointer": 8, "args": 16}),
    "ethhdr": (14, _ETHER),
    "ether_header": (14, _ETHER),
    "vlan_hdr": (4, {"h_vlan_TCI": 0, "h_vlan_encapsulated_proto": 2}),
    "vlan_ethhdr": (18, {"h_dest": 0, "h_source": 6, "h_vlan_proto": 12, "h_vlan_TCI": 14, "h_vlan_encapsulated_proto": 16}),
    "iphdr": (20, _IP4),
    "ip": (20, _IP4),
    "ipv6hdr": (40, _IP6),
    "ip6_hdr": (40, _IP6),
    "tcphdr": (20, _TCP),
    "udphdr": (8, _UDP),
    "icmphdr": (8, _ICMP),
    "icmp6hdr": (8, _ICMP),
    "icmp6_hdr": (8, _ICMP),
    "arphdr": (8, _ARP),
    "ether_arp": (28, _ETHER_ARP),
    "nlmsghdr": (16, {"nlmsg_len": 0, "nlmsg_type": 4, "nlmsg_flags": 6, "nlmsg_seq": 8, "nlmsg_pid": 12}),
}
"""Structures of the wire and of seccomp: size and members, in bytes; the same on every machine."""
