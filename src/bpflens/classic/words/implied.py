"""What an expression requires without saying so, each item checked on its diagram.

    udp dst port 53   ──►   not a later fragment"""

from __future__ import annotations

from bpflens.classic.diagrams.nodes import FALSE
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.tree import Expression, text
from bpflens.classic.words.wording import PROTOCOL_NOUNS

__all__ = ("family_nouns", "implied_by")


def family_nouns(nouns: list[str], compiler: Compiler, node: int) -> None:
    """Add IPv4, IPv6 or the transport protocol where the diagram implies it."""
    store = compiler.store
    ip, ip6 = compiler.node("ip"), compiler.node("ip6")
    if not {"IPv4", "IPv6", "ARP", "RARP"} & set(nouns) and ip is not None and ip6 is not None:
        if store.implies(node, ip):
            nouns.append("IPv4")
        elif store.implies(node, ip6):
            nouns.append("IPv6")
        elif store.implies(node, store.disj(ip, ip6)):
            nouns.append("IPv4 and IPv6")
        else:
            arp, rarp = compiler.node("arp"), compiler.node("rarp")
            if arp is not None and rarp is not None and store.implies(node, store.any((ip, ip6, arp, rarp))):
                kinds = (("IPv4", ip), ("IPv6", ip6), ("ARP", arp), ("RARP", rarp))
                names = [name for name, kind in kinds if not store.disjoint(node, kind)]
                nouns.append(" and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0])
    if not {"TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "IGMP"} & set(nouns):
        for name in ("tcp", "udp", "sctp", "icmp", "icmp6"):
            protocol = compiler.node(name)
            if protocol is not None and store.implies(node, protocol):
                nouns.append(PROTOCOL_NOUNS[name])
                break


def implied_by(e: Expression, compiler: Compiler, node: int | None) -> tuple[str, ...]:
    """Requirements that the text does not name, each checked on the diagram."""
    if node is None or node == FALSE:
        return ()
    store = compiler.store
    shown = text(e)
    found = []
    ip = compiler.node("ip")
    later, any_fragment = compiler.node("ip[6:2] & 0x1fff != 0"), compiler.node("ip[6:2] & 0x3fff != 0")
    if ip is not None and later is not None and not store.disjoint(node, ip) and "[6:2]" not in shown:
        if any_fragment is not None and store.disjoint(node, any_fragment):
            found.append("not a fragment")
        elif store.disjoint(node, later):
            found.append("not a later fragment")
    ip6 = compiler.node("ip6")
    if ip6 is not None and not store.disjoint(node, ip6):
        direct = [compiler.node(f"ip6[6] = {number}") for number in (6, 17, 132, 58)]
        allowed = store.any(n for n in direct if n is not None)
        if store.implies(store.conj(node, ip6), allowed) and "ip6[6]" not in shown:
            found.append("no IPv6 extension headers")
    vlan = compiler.node("ether proto 0x8100 or ether proto 0x88a8") if compiler.linktype == "EN10MB" else None
    if vlan is not None and store.disjoint(node, vlan) and "vlan" not in shown and "8100" not in shown:
        found.append("no VLAN tag in the frame's bytes")
    return tuple(found)
