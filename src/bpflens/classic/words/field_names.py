"""Names of header fields, for words: (header, byte offset, size) -> field, and what its values are called."""

from __future__ import annotations

import re

from bpflens.classic.packets import well_known

__all__ = ("constraint",)

_FIELDS: dict[str, dict[tuple[int, int], str]] = {
    "ether": {
        (0, 1): "the first byte of the destination MAC",
        (0, 2): "the start of the destination MAC",
        (0, 4): "the start of the destination MAC",
        (2, 4): "the end of the destination MAC",
        (4, 2): "the end of the destination MAC",
        (6, 2): "the start of the source MAC",
        (6, 4): "the start of the source MAC",
        (8, 4): "the end of the source MAC",
        (10, 2): "the end of the source MAC",
        (12, 2): "the ethertype",
    },
    "ip": {
        (0, 1): "the byte of version and header length",
        (1, 1): "the type of service (DSCP, ECN)",
        (2, 2): "the IPv4 total length",
        (4, 2): "the IPv4 identification",
        (6, 1): "the byte of IPv4 flags and fragment offset",
        (6, 2): "the IPv4 flags and fragment offset",
        (8, 1): "the TTL",
        (9, 1): "the IPv4 protocol",
        (10, 2): "the IPv4 header checksum",
        (12, 4): "the IPv4 source address",
        (16, 4): "the IPv4 destination address",
        (16, 1): "the first byte of the IPv4 destination address",
        (12, 1): "the first byte of the IPv4 source address",
        (19, 1): "the last byte of the IPv4 destination address",
    },
    "ip6": {
        (0, 1): "the byte of version and traffic class",
        (4, 2): "the IPv6 payload length",
        (6, 1): "the IPv6 next header",
        (7, 1): "the hop limit",
        (8, 4): "the first word of the IPv6 source address",
        (24, 4): "the first word of the IPv6 destination address",
        (24, 1): "the first byte of the IPv6 destination address",
        (40, 1): "the first byte after the IPv6 header",
    },
    "arp": {
        (0, 2): "the ARP hardware type",
        (2, 2): "the ARP protocol type",
        (4, 1): "the ARP hardware address length",
        (5, 1): "the ARP protocol address length",
        (6, 2): "the ARP operation",
        (8, 4): "the start of the ARP sender MAC",
        (12, 2): "the end of the ARP sender MAC",
        (14, 4): "the ARP sender IP",
        (18, 4): "the start of the ARP target MAC",
        (22, 2): "the end of the ARP target MAC",
        (24, 4): "the ARP target IP",
    },
    "tcp": {
        (0, 2): "the source port",
        (2, 2): "the destination port",
        (4, 4): "the sequence number",
        (8, 4): "the acknowledgement number",
        (12, 1): "the byte of the TCP header length",
        (13, 1): "the TCP flags",
        (14, 2): "the window",
        (16, 2): "the TCP checksum",
        (20, 4): "the first 4 bytes after a TCP header without options",
        (20, 2): "the first 2 bytes after a TCP header without options",
        (20, 1): "the first byte after a TCP header without options",
    },
    "udp": {
        (0, 2): "the source port",
        (2, 2): "the destination port",
        (4, 2): "the UDP length",
        (6, 2): "the UDP checksum",
        (8, 1): "the first byte of the UDP payload",
        (8, 2): "the first 2 bytes of the UDP payload",
        (8, 4): "the first 4 bytes of the UDP payload",
    },
    "icmp": {
        (0, 1): "the ICMP type",
        (1, 1): "the ICMP code",
        (2, 2): "the ICMP checksum",
        (4, 2): "the ICMP identifier",
        (6, 2): "the ICMP sequence number",
        (8, 2): "the first 2 bytes of the ICMP payload",
        (8, 4): "the first 4 bytes of the ICMP payload",
    },
    "nlmsghdr": {  # the header is in the machine's byte order, a classic load in the network's
        (0, 4): "nlmsg_len",
        (4, 2): "nlmsg_type",
        (6, 2): "nlmsg_flags",
        (8, 4): "nlmsg_seq",
        (12, 4): "nlmsg_pid",
    },
    "icmp6": {(0, 1): "the ICMPv6 type", (1, 1): "the ICMPv6 code", (4, 2): "the ICMPv6 identifier"},
    "sctp": {(0, 2): "the source port", (2, 2): "the destination port", (4, 4): "the verification tag", (12, 1): "the first chunk's type"},
    "igmp": {(0, 1): "the IGMP type"},
}
_FIELDS["rarp"] = _FIELDS["arp"]
_STARTS = {
    "ether": "the frame",
    "link": "the packet",
    "ip": "the IPv4 header",
    "ip6": "the IPv6 header",
    "arp": "the ARP packet",
    "rarp": "the RARP packet",
    "tcp": "the TCP header",
    "udp": "the UDP header",
    "icmp": "the ICMP header",
    "icmp6": "the ICMPv6 header",
    "nlmsghdr": "the netlink message header",
    "data": "the data",
    "sctp": "the SCTP header",
    "igmp": "the IGMP header",
    "@packet": "the packet",
    "@net": "the network header",
    "@link": "the link header",
    "@data": "struct seccomp_data",
}
_ETHERTYPES_FROM = 0x600
_SIZES = {1: "byte", 2: "2 bytes", 4: "4 bytes"}

# Compiled when they are first used: most filters need none of them.
_RELATION = r"^(@?[a-z0-9]+)\[(\d+)(?::(\d))?\](?: & (0x[0-9a-f]+|\d+))? (=|!=|>|<|>=|<=) (0x[0-9a-f]+|\d+)$"
_TCP_PAYLOAD = r"^tcp\[\(tcp\[12\]&0xf0\)>>2(?:\+(\d+))?(?::(\d))?\] (=|!=) (0x[0-9a-f]+|\d+)$"
_BEHIND_TCP = (
    r"^(ip|link|ether)\[\(\(\1\[(\d+)\]&0xf\)\*4\)\+\(\(\1\[\(\(\1\[\2\]&0xf\)\*4\)\+(\d+)\]>>4\)\*4\)(?:\+(\d+))?(?::(\d))?\] "
    r"(=|!=) (0x[0-9a-f]+|\d+)$"
)
_BEHIND_IP = (
    r"^(ip|link|ether)\[\(\(\1\[(\d+)\]&0xf\)\*4\)\+(\d+)(?::(\d))?\](?: & (0x[0-9a-f]+|\d+))? (=|!=|>|<|>=|<=) (0x[0-9a-f]+|\d+)$"
)
_NETLINK_TYPES = {
    1: "NLMSG_NOOP", 2: "NLMSG_ERROR", 3: "NLMSG_DONE", 16: "RTM_NEWLINK", 17: "RTM_DELLINK", 18: "RTM_GETLINK", 20: "RTM_NEWADDR",
    21: "RTM_DELADDR", 22: "RTM_GETADDR", 24: "RTM_NEWROUTE", 25: "RTM_DELROUTE", 26: "RTM_GETROUTE", 28: "RTM_NEWNEIGH",
    29: "RTM_DELNEIGH", 30: "RTM_GETNEIGH", 32: "RTM_NEWRULE", 33: "RTM_DELRULE", 36: "RTM_NEWQDISC", 37: "RTM_DELQDISC",
    40: "RTM_NEWTCLASS", 44: "RTM_NEWTFILTER", 45: "RTM_DELTFILTER", 48: "RTM_NEWACTION", 80: "RTM_NEWNETCONF", 88: "RTM_NEWNSID",
}  # include/uapi/linux/netlink.h, rtnetlink.h
_NLMSG_MIN_TYPE = 16
_SIGN_WORDS = {"=": "is", "!=": "is not", ">": "is above", "<": "is below", ">=": "is at least", "<=": "is at most"}


def constraint(relation: str) -> str:
    """An index relation in words: "tcp[13] & 0x2 != 0" -> "the TCP flags have SYN". Relations without words are quoted as they are."""
    payload = re.match(_TCP_PAYLOAD, relation)
    if payload:
        skip, size, sign, value = payload[1], int(payload[2] or 1), payload[3], int(payload[4], 0)
        where = f"the {'byte' if size == 1 else f'{size} bytes'} {f'{skip} bytes into' if skip else 'at the start of'} the TCP payload"
        return f"{where} {'is' if size == 1 else 'are'}{' not' if sign == '!=' else ''} {_value('', 0, size, value)}"
    match = re.match(_RELATION, relation)
    if not match:
        return _behind_headers(relation) or f"`{relation}`"
    header, offset, size = match[1], int(match[2]), int(match[3] or 1)
    mask = int(match[4], 0) if match[4] else None
    sign, value = match[5], int(match[6], 0)
    special = _special(header, offset, size, mask, sign, value)
    if special:
        return special
    name = _FIELDS.get(header.lstrip("@"), {}).get((offset, size))
    if name is None:
        start = _STARTS.get(header, header)
        where = f"byte {offset}" if size == 1 else f"bytes {offset} to {offset + size - 1}"
        name = f"{where} of {start}"
    elif header == "nlmsghdr":
        return _netlink(name, size, mask, sign, value)
    elif (header, offset, size, mask) == ("ether", 12, 2, None) and value < _ETHERTYPES_FROM + (sign == "<"):
        # IEEE 802.3, 3.2.6: up to 1500 it is the length of the data, from 1536 on the type
        name = "the 802.3 length or ethertype" if sign in (">", ">=") else "the 802.3 length"
    plural = name.startswith(("bytes ", "the first 2 ", "the first 4 "))
    if mask is not None:
        if value == 0 and sign in ("=", "!="):
            if not mask & (mask - 1):
                return f"bit {mask:#x} of {name} is {'clear' if sign == '=' else 'set'}"
            verb = "have" if plural else "has"
            return f"{name} {verb} {'no' if sign == '=' else 'some'} bit of {mask:#x} set"
        name = f"{name} under the mask {mask:#x}"
    verb = _SIGN_WORDS[sign]
    if plural:
        verb = verb.replace("is", "are", 1)
    return f"{name} {verb} {_value(header, offset, size, value)}"


def _behind_headers(relation: str) -> str | None:
    """What stands behind an IPv4 header whose length is computed, and behind the TCP header in it."""
    found = re.match(_BEHIND_TCP, relation)
    if found and int(found[3]) == int(found[2]) + 12:
        skip, size, sign, value = int(found[4] or 0) - int(found[2]), int(found[5] or 1), found[6], int(found[7], 0)
        if skip >= 0:
            where = f"{skip} bytes into" if skip else "at the start of"
            what = f"the {'byte' if size == 1 else f'{size} bytes'} {where} the TCP payload"
            return f"{what} {'is' if size == 1 else 'are'}{' not' if sign == '!=' else ''} {_value('', 0, size, value)}"
    found = re.match(_BEHIND_IP, relation)
    if found is None or int(found[3]) < int(found[2]):
        return None
    offset, size, sign, value = int(found[3]) - int(found[2]), int(found[4] or 1), found[6], int(found[7], 0)
    what = f"byte {offset}" if size == 1 else f"bytes {offset} to {offset + size - 1}"
    masked = f" under the mask {found[5]}" if found[5] else ""
    verb = _SIGN_WORDS[sign] if size == 1 else _SIGN_WORDS[sign].replace("is", "are", 1)
    return f"{what} of what follows the IPv4 header{masked} {verb} {_value('', 0, size, value)}"


def _netlink(name: str, size: int, mask: int | None, sign: str, value: int) -> str:
    """A word of a netlink header, which is in the machine's byte order while a classic load takes it for the network's."""
    import sys

    if sys.byteorder == "little" and (mask is not None or sign not in ("=", "!=")):
        masked = f" under the mask {mask:#x}" if mask is not None else ""
        return f"{name}{masked}, its bytes read backwards, {_SIGN_WORDS[sign]} {hex(value)}"
    host = int.from_bytes(value.to_bytes(size, "big"), sys.byteorder)
    called = _NETLINK_TYPES.get(host, "") if name == "nlmsg_type" else ""
    if called and host >= _NLMSG_MIN_TYPE:
        called = f"{called} in NETLINK_ROUTE"  # each family has its own; the header does not tell which this is
    order = "little-endian" if sys.byteorder == "little" else ""
    remark = ", ".join(filter(None, (order, called)))
    return f"{name} {_SIGN_WORDS[sign]} {host}{f' ({remark})' if remark else ''}"


def _special(header: str, offset: int, size: int, mask: int | None, sign: str, value: int) -> str | None:
    if header == "tcp" and (offset, size) == (13, 1) and sign in ("=", "!="):
        if mask is None:
            if not value:
                return f"no TCP flag is{'' if sign == '=' else ' not'} set"
            return f"the TCP flags are {'' if sign == '=' else 'not '}{_flags(value)} alone"
        if value == 0:
            single = not mask & (mask - 1)
            if single:
                return f"the TCP flag {_flags(mask)} is {'not set' if sign == '=' else 'set'}"
            return f"{'none' if sign == '=' else 'one or more'} of the TCP flags {_flags(mask)} {'are' if sign == '=' else 'is'} set"
        if value == mask:
            return f"the TCP {'flag' if not mask & (mask - 1) else 'flags'} {_flags(mask)} {'is' if not mask & (mask - 1) else 'are'}" + (
                " set" if sign == "=" else " not set" if not mask & (mask - 1) else " not all set"
            )
        return f"of the TCP flags {_flags(mask)} exactly {_flags(value)} {'are set' if sign == '=' else 'are not set together'}"
    if header in ("ip", "@net") and (offset, size) == (6, 2) and value == 0 and sign in ("=", "!="):
        if mask == 0x1FFF:
            return "it is not a later fragment" if sign == "=" else "it is a later fragment"
        if mask == 0x3FFF:
            return "it is not a fragment" if sign == "=" else "it is a fragment"
        if mask == 0x2000:
            return "more fragments do not follow" if sign == "=" else "more fragments follow"
        if mask == 0x4000:
            return "fragmenting is allowed" if sign == "=" else "it must not be fragmented (DF)"
    if header == "ip" and (offset, size) == (6, 1) and value == 0 and sign in ("=", "!="):
        if mask == 0x40:
            return "fragmenting is allowed" if sign == "=" else "it must not be fragmented (DF)"
        if mask == 0x20:
            return "more fragments do not follow" if sign == "=" else "more fragments follow"
    if header == "ether" and (offset, size, mask) in ((14, 1, 0xE0), (14, 2, 0xE000)):
        return f"the VLAN priority {_SIGN_WORDS[sign]} {value >> (5 if size == 1 else 13)}, if it has a tag"
    if header == "ether" and (offset, size, mask) in ((14, 1, 0x10), (14, 2, 0x1000)) and value == 0 and sign in ("=", "!="):
        return f"the VLAN tag's drop eligible bit is {'clear' if sign == '=' else 'set'}, if it has a tag"
    if header == "ether" and (offset, size, mask) == (14, 2, 0xFFF):
        return f"the VLAN number {_SIGN_WORDS[sign]} {value}, if it has a tag"
    if header == "ip" and (offset, size, mask) == (1, 1, 0x03):
        return f"the ECN bits {_SIGN_WORDS[sign].replace('is', 'are', 1)} {value}"
    if header == "ip" and (offset, size, mask) == (1, 1, 0xE0):
        return f"the IP precedence {_SIGN_WORDS[sign]} {value >> 5}"
    if header == "ip" and (offset, size, mask) == (0, 1, 15):
        return f"the IPv4 header length {_SIGN_WORDS[sign]} {value} words"
    if header == "ip" and (offset, size, mask) == (1, 1, 0xFC):
        return f"the DSCP {_SIGN_WORDS[sign]} {value >> 2}"
    return None


def _flags(value: int) -> str:
    names = [name for bit, name in well_known.TCP_FLAGS.items() if value & bit]
    return " and ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + " and " + names[-1]


def _value(header: str, offset: int, size: int, value: int) -> str:
    """The value, with its name where it has one."""
    shown = str(value) if value < 0x600 or (header in ("tcp", "udp", "sctp") and offset in (0, 2)) else hex(value)
    name = None
    key = (header, offset, size)
    if key in (("ether", 12, 2), ("arp", 2, 2), ("@protocol", 0, 4)):
        name = well_known.ETHERTYPES.get(value)
    elif key in (("ip", 9, 1), ("ip6", 6, 1), ("@net", 9, 1), ("@net", 6, 1)):
        name = well_known.IP_PROTOCOLS.get(value)
    elif key == ("icmp", 0, 1):
        name = well_known.ICMP_TYPES.get(value)
    elif key in (("icmp6", 0, 1), ("ip6", 40, 1)):
        name = well_known.ICMP6_TYPES.get(value)
    elif key == ("arp", 6, 2):
        name = well_known.ARP_OPERATIONS.get(value)
    elif header in ("tcp", "udp", "sctp") and size == 2 and offset in (0, 2):
        name = well_known.PORTS.get(value)
    elif size == 4 and (header, offset) in (("ip", 12), ("ip", 16), ("arp", 14), ("arp", 24)):
        return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
    elif size == 4 and value == 0x63825363:
        name = "the DHCP magic cookie"
    elif size in (2, 4) and value > 0xFFF:
        text = value.to_bytes(size, "big")
        if all(32 <= byte < 127 for byte in text):
            name = f'"{text.decode()}"'
    return f"{shown} ({name})" if name else shown
