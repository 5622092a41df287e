"""Numbers of packets by name: link types of libpcap on Linux (pcap/dlt.h), protocols of IP and its extension headers (IANA)."""

from __future__ import annotations

__all__ = ("EXTENSION_HEADERS", "Dlt", "Proto")


class Dlt:
    """DLT_*: what a packet begins with."""

    NULL, EN10MB, RAW = 0, 1, 12
    RAW_FILE = 101  # LINKTYPE_RAW, as files have it
    LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2 = 108, 113, 228, 229, 276


class Proto:
    """IPPROTO_*: what follows an IP header."""

    HOPOPTS, ICMP, IGMP, IPIP, TCP, UDP = 0, 1, 2, 4, 6, 17
    IPV6, ROUTING, FRAGMENT, GRE, ICMPV6, DSTOPTS, SCTP = 41, 43, 44, 47, 58, 60, 132


EXTENSION_HEADERS = (Proto.HOPOPTS, Proto.ROUTING, Proto.FRAGMENT, Proto.DSTOPTS)
"""Of IPv6: headers before the transport's."""
