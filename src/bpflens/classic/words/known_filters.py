"""Known filters by what they mean: compared as diagrams, so instruction order and compiler do not matter.

Each row: name, and the expressions that all mean it. A row is compared only where the program tests one of its constants.
Names of malware patterns follow public analyses (BPFDoor: PwC 2022, Elastic Security Labs 2022).
"""

from __future__ import annotations

from bpflens.classic.expression.candidates.candidate import Test
from bpflens.classic.expression.find import Compiler
from bpflens.classic.words.suspicion import MAGIC
from bpflens.lean import NamedTuple

__all__ = ("KNOWN", "Known", "name_of", "pattern_of")


class Known(NamedTuple):
    """`constants`: the program must test one of them. `expressions` for Ethernet; for other link types they are compiled there too."""

    name: str
    constants: tuple[int, ...]
    expressions: tuple[str, ...]


_LLDP = ("01:80:c2:00:00:00", "01:80:c2:00:00:03", "01:80:c2:00:00:0e")

KNOWN = (
    Known(
        "a DHCP client",
        (68,),
        (
            "ip and udp dst port 68",
            "udp dst port 68",
            "ip and udp src port 67 and udp dst port 68",
            "udp src port 67 and udp dst port 68",
            "len >= 278 and ip and udp src port 67 and udp dst port 68",
            "ip and ip[9] = 17 and ip[22:2] = 68",
            "ip and udp dst port 68 and ip[6:2] & 0x3fff = 0",
        ),
    ),
    Known("a DHCP server", (67,), ("ip and udp dst port 67", "udp dst port 67", "ip and udp src port 68 and udp dst port 67")),
    Known(
        "a DHCP relay or monitor (both directions of DHCP)",
        (67, 68),
        ("udp port 67 or udp port 68", "ip and (udp port 67 or udp port 68)", "udp and (port 67 or port 68) and ip"),
    ),
    Known("a DHCPv6 client", (546,), ("ip6 and udp dst port 546", "udp dst port 546")),
    Known("a DHCPv6 server", (547,), ("ip6 and udp dst port 547", "udp dst port 547")),
    Known("DHCPv6", (546, 547), ("udp port 546 or udp port 547", "ip6 and (udp port 546 or udp port 547)")),
    Known(
        "a DHCP and DHCPv6 server",
        (67, 547),
        ("udp dst port 67 or udp dst port 547", "dst port 67 or dst port 547", "inbound and (dst port 67 or dst port 547)"),
    ),
    Known(
        "an LLDP agent",
        (0x88CC,),
        (
            "ether proto 0x88cc",
            "ether proto 0x88cc and ether dst 01:80:c2:00:00:0e",
            "ether proto 0x88cc and (" + " or ".join(f"ether dst {mac}" for mac in _LLDP) + ")",
        ),
    ),
    Known(
        "an agent for LLDP and its relatives CDP, FDP, SONMP and EDP (lldpd)",
        (0x88CC,),
        (
            "(ether proto 0x88cc and ether dst 01:80:c2:00:00:0e) or ether dst 01:e0:52:cc:cc:cc or ether dst 01:00:0c:cc:cc:cc"
            " or ether dst 01:00:81:00:01:00 or ether dst 00:e0:2b:00:00:00",
            "(ether proto 0x88cc and (" + " or ".join(f"ether dst {mac}" for mac in _LLDP) + ")) or ether dst 01:e0:52:cc:cc:cc"
            " or ether dst 01:00:0c:cc:cc:cc or ether dst 01:00:81:00:01:00 or ether dst 00:e0:2b:00:00:00",
        ),
    ),
    Known(
        "the Cisco Discovery Protocol",
        (0x2000, 0x01000CCC, 0x0CCCCCCC),
        ("ether[20:2] = 0x2000", "ether dst 01:00:0c:cc:cc:cc", "ether dst 01:00:0c:cc:cc:cc and ether[20:2] = 0x2000"),
    ),
    Known(
        "an EAPOL (802.1X) supplicant or authenticator",
        (0x888E, 0x88C7),
        ("ether proto 0x888e", "ether proto 0x888e or ether proto 0x88c7"),
    ),
    Known(
        "PTP over Ethernet",
        (0x88F7,),
        ("ether proto 0x88f7", "ether proto 0x88f7 or (vlan and ether proto 0x88f7)"),
    ),
    Known(
        "the kernel's classifier of PTP event messages (net/core/ptp_classifier.c)",
        (0x88F7,),
        (
            "udp dst port 319 or (ether proto 0x88f7 and ether[14] & 8 = 0) or (vlan and ether[12:2] = 0x8100 and"
            " (udp dst port 319 or (ether proto 0x88f7 and ether[18] & 8 = 0)))",
        ),
    ),
    Known(
        "PTP general messages over Ethernet",
        (0x88F7,),
        ("(ether[12:2] = 0x8100 and ether[16:2] = 0x88f7 and ether[18] & 8 = 8) or (ether[12:2] = 0x88f7 and ether[14] & 8 = 8)",),
    ),
    Known(
        "PTP event messages over Ethernet",
        (0x88F7,),
        ("(ether[12:2] = 0x8100 and ether[16:2] = 0x88f7 and ether[18] & 8 != 8) or (ether[12:2] = 0x88f7 and ether[14] & 8 != 8)",),
    ),
    Known(
        "PTP over UDP",
        (319, 320),
        ("udp port 319 or udp port 320", "udp dst port 319", "udp dst port 319 or udp dst port 320", "udp port 319"),
    ),
    Known("slow protocols (LACP and its like)", (0x8809,), ("ether proto 0x8809",)),
    Known("LACP", (0x8809,), ("ether proto 0x8809 and ether[14] = 1",)),
    Known(
        "the spanning tree protocol",
        (0x42, 0x4242, 0x0180C200, 0xC2000000),
        ("stp", "ether dst 01:80:c2:00:00:00", "stp and ether dst 01:80:c2:00:00:00"),
    ),
    Known("RARP", (0x8035,), ("rarp", "rarp[6:2] = 3")),
    Known("ARP", (0x806,), ("arp",)),
    Known("ARP requests", (0x806,), ("arp[6:2] = 1", "arp and arp[6:2] = 1")),
    Known("ARP replies", (0x806,), ("arp[6:2] = 2",)),
    Known("ARP probes (requests without a sender address, RFC 5227)", (0x806,), ("arp[6:2] = 1 and arp[14:4] = 0",)),
    Known(
        "complete ARP requests for IPv4 over Ethernet (as an ARP proxy reads them)",
        (0x806,),
        (
            "arp[2:2] = 0x800 and arp[4] = 6 and arp[5] = 4 and arp[6:2] = 1 and len >= 42",
            "arp[2:2] = 0x800 and arp[4] = 6 and arp[5] = 4 and arp[6:2] = 1",
        ),
    ),
    Known("multicast DNS", (5353,), ("udp port 5353", "udp dst port 5353", "ip and udp port 5353")),
    Known("LLMNR", (5355,), ("udp port 5355", "udp dst port 5355")),
    Known("SSDP (UPnP discovery)", (1900,), ("udp port 1900", "udp dst port 1900", "udp and host 239.255.255.250 and port 1900")),
    Known("service discovery: multicast DNS, LLMNR and SSDP", (5353,), ("udp port 5353 or udp port 5355 or udp port 1900",)),
    Known(
        "IPv6 neighbor discovery",
        (133, 135, 137),
        (
            "icmp6 and ip6[40] >= 133 and ip6[40] <= 136",
            "icmp6 and ip6[40] >= 133 and ip6[40] <= 137",
            "ip6[6] = 58 and ip6[40] >= 133 and ip6[40] <= 137",
            "icmp6[0] >= 133 and icmp6[0] <= 136",
            "icmp6[0] >= 133 and icmp6[0] <= 137",
            "icmp6[0] = 135 or icmp6[0] = 136",
        ),
    ),
    Known("IPv6 router advertisements", (134,), ("ip6[6] = 58 and ip6[40] = 134", "icmp6[0] = 134")),
    Known("IPv6 router solicitations", (133,), ("ip6[6] = 58 and ip6[40] = 133", "icmp6[0] = 133")),
    Known("IPv6 neighbor solicitations", (135,), ("ip6[6] = 58 and ip6[40] = 135", "icmp6[0] = 135")),
    Known("ICMPv6 to multicast MACs (neighbor discovery proxying of an access point)", (58,), ("multicast and ip6[6] = 58",)),
    Known("IS-IS", (0xFEFE, 0x83, 0xFEFE03), ("isis", "iso", "ether[14:2] = 0xfefe and ether[17] = 0x83")),
    Known("VRRP", (112,), ("vrrp", "ip proto 112", "proto 112")),
    Known("IGMP", (2,), ("igmp",)),
    Known("OSPF", (89,), ("ip proto 89", "proto 89")),
    Known("PIM", (103,), ("pim", "ip proto 103")),
    Known(
        "DNS", (53,), ("port 53", "udp port 53", "udp src port 53", "udp dst port 53", "tcp port 53 or udp port 53", "ip and udp port 53")
    ),
    Known("NTP", (123,), ("udp port 123", "port 123")),
    Known("RADIUS", (1812, 1813), ("udp port 1812 or udp port 1813", "udp port 1812", "udp portrange 1812-1813")),
    Known("SNMP", (161, 162), ("udp port 161 or udp port 162", "udp port 161", "udp port 162")),
    Known("syslog over UDP", (514,), ("udp port 514", "udp dst port 514")),
    Known("NetFlow", (2055,), ("udp port 2055", "udp dst port 2055")),
    Known("VXLAN", (4789,), ("udp port 4789", "udp dst port 4789")),
    Known("BFD", (3784,), ("udp port 3784", "udp dst port 3784")),
    Known("BGP", (179,), ("tcp port 179",)),
    Known("HTTP and HTTPS", (80, 443), ("tcp port 80 or tcp port 443", "port 80 or port 443", "tcp dst port 80 or tcp dst port 443")),
    Known("SSH", (22,), ("tcp port 22", "tcp dst port 22", "port 22")),
    Known("everything but SSH", (22,), ("not port 22", "not tcp port 22")),
    Known("PPPoE discovery", (0x8863,), ("pppoed",)),
    Known("PPPoE (discovery and session)", (0x8863, 0x8864), ("ether proto 0x8863 or ether proto 0x8864",)),
    Known("MACsec key agreement and EAPOL", (0x888E,), ("ether proto 0x888e and ether dst 01:80:c2:00:00:03",)),
    Known("MACsec", (0x88E5,), ("ether proto 0x88e5",)),
    Known("ATA over Ethernet", (0x88A2,), ("ether proto 0x88a2",)),
    Known("Fibre Channel over Ethernet", (0x8906, 0x8914), ("ether proto 0x8906", "ether proto 0x8906 or ether proto 0x8914")),
    Known("EtherCAT", (0x88A4,), ("ether proto 0x88a4",)),
    Known("PROFINET", (0x8892,), ("ether proto 0x8892",)),
    Known("Wake-on-LAN", (0x842,), ("ether proto 0x842",)),
    Known(
        "802.1CB redundancy tags (FRER)",
        (0xF1C1,),
        ("(ether[12:2] = 0x8100 and ether[16:2] = 0xf1c1) or ether[12:2] = 0xf1c1", "ether proto 0xf1c1"),
    ),
    Known("connectivity fault management (802.1ag)", (0x8902,), ("ether proto 0x8902",)),
    Known("TCP connection attempts", (2,), ("tcp[13] = 2", "tcp[13] & 0x12 = 2", "tcp[13] & 0x17 = 2")),
    Known("Tailscale's disco packets", (0x5453F09F,), ("udp[8:4] = 0x5453f09f and udp[12:2] = 0x92ac",)),
    Known(
        "a magic-packet backdoor: the trigger values of BPFDoor",
        (0x7255, 0x5293),
        (
            "udp[8:2] = 0x7255 or (icmp[8:2] = 0x7255 and icmp[0] = 8) or tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
            "udp[8:2] = 0x7255 or icmp[8:2] = 0x7255 or tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
        ),
    ),
    Known(
        "perhaps a magic-packet backdoor: it waits for some of the trigger values of BPFDoor",
        (0x7255, 0x5293),
        (
            "udp[8:2] = 0x7255",
            "icmp[8:2] = 0x7255",
            "icmp[8:2] = 0x7255 and icmp[0] = 8",
            "tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
            "udp[8:2] = 0x7255 or icmp[8:2] = 0x7255",
            "udp[8:2] = 0x7255 or (icmp[8:2] = 0x7255 and icmp[0] = 8)",
            "udp[8:2] = 0x7255 or tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
            "icmp[8:2] = 0x7255 or tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
            "(icmp[8:2] = 0x7255 and icmp[0] = 8) or tcp[((tcp[12]&0xf0)>>2):2] = 0x5293",
        ),
    ),
)


def name_of(compiler: Compiler, lower: int, upper: int, tests: list[Test]) -> str | None:
    """The known filter that matches what must match (lower) and nothing that must not (upper); None where there is none.

    A program that compares payload with the trigger values of BPFDoor is named for it even where it asks for more.
    """
    store = compiler.store
    constants = {test.b for test in tests if type(test.b) is int}
    for known in KNOWN:
        if not constants.intersection(known.constants):
            continue
        for expression in known.expressions:
            node = compiler.node(expression)
            if node is not None and node >= 0 and store.implies(lower, node) and store.implies(node, upper):
                return known.name
    if constants.issuperset(MAGIC):
        return "perhaps a magic-packet backdoor: it looks for trigger values of BPFDoor, among other things"
    return None


def pattern_of(expression: str) -> str | None:
    """A suspicion that an answer raises: fixed bytes wanted at the start of the payload of more than one protocol, as BPFDoor does."""
    starts = [text for text in ("tcp[(tcp[12]&0xf0)>>2", "udp[8", "icmp[8") if text in expression]
    if len(starts) > 1 and " or " in expression:
        return "perhaps a magic-packet trigger: it waits for fixed bytes at the start of the payload of several protocols"
    return None
