"""What the fields of contexts are called, and how their values are written. Orders and meanings: include/uapi/linux/bpf.h.

    bpf_sock_addr.protocol   ──►  "IP protocol", written "TCP";  __sk_buff.protocol  ──►  "EtherType", in network order, written "IPv4"
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ("Word", "word_of")


class Word(NamedTuple):
    """`text` follows "the"; `format` as in layers.value_text; `number`: bytes of the field that hold the number, in network order, 0 where
    it is in host order.
    """

    text: str
    format: str = "number"
    number: int = 0


_ETHERTYPE = Word("EtherType", "ethertype", 2)
_PROTOCOL = Word("IP protocol", "protocol")
_FAMILY = Word("address family", "family")
_SOCKTYPE = Word("socket type", "socktype")
_REMOTE_PORT = Word("remote port", "port", 4)  # __be16 in the upper half of the number, so big-endian as 4 bytes
_WORDS = {
    ("__sk_buff", "protocol"): _ETHERTYPE, ("__sk_buff", "vlan_proto"): Word("VLAN's EtherType", "ethertype", 2),
    ("__sk_buff", "vlan_present"): Word("packet's VLAN tag", "present"), ("__sk_buff", "vlan_tci"): Word("VLAN tag", "vlantci"),
    ("__sk_buff", "remote_port"): _REMOTE_PORT, ("__sk_buff", "priority"): Word("packet priority"),
    ("__sk_buff", "pkt_type"): Word("packet type", "pkttype"), ("__sk_buff", "ingress_ifindex"): Word("interface number of arrival"),
    ("bpf_sock", "protocol"): _PROTOCOL, ("bpf_sock", "dst_port"): Word("destination port", "port", 2), ("bpf_sock", "type"): _SOCKTYPE,
    ("bpf_sock", "src_port"): Word("source port", "port"), ("bpf_sock", "mark"): Word("socket mark"),
    ("bpf_sock", "bound_dev_if"): Word("interface that the socket is bound to"),
    ("bpf_sock_addr", "protocol"): _PROTOCOL, ("bpf_sock_addr", "user_port"): Word("port", "port", 2),
    ("bpf_sock_addr", "type"): _SOCKTYPE,
    ("bpf_sock_ops", "op"): Word("event", "sockop"), ("bpf_sock_ops", "remote_port"): _REMOTE_PORT,
    ("bpf_sock_ops", "args[0]"): Word("reply, or first argument,"), ("bpf_sock_ops", "state"): Word("TCP state", "tcpstate"),
    ("sk_msg_md", "remote_port"): _REMOTE_PORT, ("sk_msg_md", "size"): Word("size of the message"),
    ("bpf_sk_lookup", "protocol"): _PROTOCOL, ("bpf_sk_lookup", "remote_port"): Word("remote port", "port", 2),
    ("sk_reuseport_md", "eth_protocol"): _ETHERTYPE, ("sk_reuseport_md", "ip_protocol"): _PROTOCOL,
    ("bpf_sysctl", "write"): Word("access", "sysctlaccess"), ("bpf_sysctl", "file_pos"): Word("position in the file"),
    ("bpf_sockopt", "level"): Word("option's level", "optlevel"), ("bpf_sockopt", "optname"): Word("option's number"),
    ("bpf_sockopt", "optlen"): Word("option's length"), ("bpf_sockopt", "retval"): Word("result of the system call"),
}  # fmt: skip
_ANYWHERE = {
    "family": _FAMILY, "user_family": _FAMILY, "user_ip4": Word("IPv4 address", "ipv4", 4),
    "msg_src_ip4": Word("source address", "ipv4", 4),
    "remote_ip4": Word("remote address", "ipv4", 4), "local_ip4": Word("local address", "ipv4", 4),
    "src_ip4": Word("source address", "ipv4", 4), "dst_ip4": Word("destination address", "ipv4", 4),
    "local_port": Word("local port", "port"), "ifindex": Word("interface number"), "ingress_ifindex": Word("interface number"),
    "len": Word("packet length"), "mark": Word("packet mark"), "rx_queue_index": Word("receive queue"), "access_type": Word("access type"),
    "major": Word("device major"), "minor": Word("device minor"), "hash": Word("packet's hash"),
}  # fmt: skip


_IPV6 = re.compile(r"(user|remote|local|src|dst|msg_src)_ip6\[([0-3])\]$")


def word_of(struct: str, field: str) -> Word | None:
    """The words of a context's field; None where it has no better name than its own."""
    found = _IPV6.match(field)
    if found is not None:
        whose = {"remote": "remote ", "local": "local ", "src": "source ", "dst": "destination ", "msg_src": "source "}.get(found[1], "")
        return Word(f"bytes {4 * int(found[2])} to {4 * int(found[2]) + 3} of the {whose}IPv6 address", "hex", 4)
    return _WORDS.get((struct, field)) or _ANYWHERE.get(field)
