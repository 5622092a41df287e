"""An expression in words: one sentence per alternative, and what is required without being said.

    udp[10] & 0x80 = 0 and udp dst port 53   ──►   IPv4 UDP packets to port 53 (domain) in which bit 0x80 of byte 10 of the UDP header
                                                   is clear. Implied: not a later fragment; no VLAN tag in the frame.

What is implied is never guessed from the text: each implication is checked on the diagram of the alternative.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import FALSE
from bpflens.classic.diagrams.linktypes import PAYLOADS
from bpflens.classic.expression.candidates import Candidate
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.tree import FALSITY, TRUTH, And, Constant, Expression, Literal, Not, Or, Within, text
from bpflens.classic.packets import well_known
from bpflens.classic.words.field_names import constraint

__all__ = ("Sentence", "describe", "returned", "sentences")

_PROTOCOL_NOUNS = {
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
_ORDER = ("incoming", "outgoing", "broadcast", "multicast", "VLAN-tagged", "IPv4", "IPv6", "IPv4 and IPv6", "IPv4, ARP and RARP", "ARP",
          "RARP")  # fmt: skip


class Sentence(NamedTuple):
    """One alternative: what it matches, and what it requires without saying so."""

    matches: str
    implied: tuple[str, ...]


class _Parts:
    def __init__(self) -> None:
        self.nouns: list[str] = []
        self.where: list[str] = []
        self.which: list[str] = []
        self.unlike: list[str] = []  # what they are not


def describe(expression: Expression, compiler: Compiler, universe: int) -> tuple[str, ...]:
    """The sentences of an expression with the implications, those that all alternatives share said once at the end."""
    header = PAYLOADS.get(compiler.linktype)
    if header is not None:
        return tuple(f"{line}." for line in _payload_sentences(expression, header))
    found = sentences(expression, compiler, universe)
    shared = tuple(item for item in found[0].implied if all(item in s.implied for s in found)) if found else ()
    lines = []
    for sentence in found:
        own = [item for item in sentence.implied if item not in shared]
        lines.append(sentence.matches + "." + (f" Implied: {'; '.join(own)}." if own else ""))
    if shared:
        lines.append(f"Implied: {'; '.join(shared)}." if len(found) == 1 else f"Implied in all cases: {'; '.join(shared)}.")
    return tuple(lines)


def _payload_sentences(expression: Expression, header: str) -> list[str]:
    """For packets that begin with a transport header: `link[2:2]` is a field of it."""
    if isinstance(expression, Constant):
        return ["Every packet" if expression.value else "No packet"]
    found = []
    for alternative in _alternatives(expression):
        parts = _Parts()
        _collect(_renamed(alternative, header), parts)
        noun = "Messages" if header == "data" else f"{_PROTOCOL_NOUNS.get(header, header.upper())} messages"
        found.append(f"{noun} in which {_listed(parts.which)}")
    return found


def _renamed(e: Expression, header: str) -> Expression:
    if isinstance(e, Literal):
        return Literal(e.candidate._replace(prefix=e.candidate.prefix.replace("link[", f"{header}[")))
    if isinstance(e, Not):
        return Not(_renamed(e.item, header))
    return type(e)(tuple(_renamed(item, header) for item in e.items)) if isinstance(e, (And, Or)) else e


def sentences(expression: Expression, compiler: Compiler, universe: int) -> list[Sentence]:
    """One sentence per alternative. `universe`: the packets that the assumptions leave."""
    if expression == TRUTH:
        return [Sentence("Every packet", ())]
    if expression == FALSITY:
        return [Sentence("No packet", ())]
    found = []
    for alternative in _alternatives(expression):
        node = _node(alternative, compiler)
        if node is not None:
            node = compiler.store.conj(node, universe)
        found.append(Sentence(_sentence(alternative, compiler, node), _implied(alternative, compiler, node)))
    return found


def _alternatives(e: Expression) -> list[Expression]:
    """The branches of the outermost `or`; values of one qualifier stay together."""
    if not isinstance(e, Or):
        return [e]
    groups: dict[object, list[Expression]] = {}
    for i, item in enumerate(e.items):
        key = item.candidate.prefix if isinstance(item, Literal) and item.candidate.value else i
        groups.setdefault(key, []).append(item)
    return [items[0] if len(items) == 1 else Or(tuple(items)) for items in groups.values()]


def _node(e: Expression, compiler: Compiler) -> int | None:
    shown = text(e)
    return None if "@" in shown else compiler.node(shown)


def _sentence(e: Expression, compiler: Compiler, node: int | None) -> str:
    if isinstance(e, Within) and e.join == "or":
        return _chain(e)
    parts = _Parts()
    _collect(e, parts)
    nouns = list(dict.fromkeys(parts.nouns))
    if node is not None and node != FALSE:
        _family(nouns, compiler, node)
    nouns.sort(key=lambda noun: _ORDER.index(noun) if noun in _ORDER else len(_ORDER))
    plain = [noun for noun in nouns if not noun.startswith("!")]
    plain = [noun for noun in plain if not any(other != noun and other.startswith(f"{noun} ") for other in plain)]
    excluded = [noun[1:] for noun in nouns if noun.startswith("!")]
    subject = " ".join([*plain, "packets"]) if plain else "Packets"
    subject = subject[0].upper() + subject[1:]
    sentence = " ".join([subject, *parts.where])
    unlike = [*([_either(excluded)] if excluded else []), *parts.unlike]
    if unlike:
        sentence += f" that are {_listed([f'not {item}' for item in unlike])}"
    if parts.which:
        sentence += f"{',' if unlike else ''} in which {_listed(parts.which)}"
    return sentence


def _chain(e: Within) -> str:
    """`vlan 2 or vlan 3`: libpcap reads each keyword behind the place of the header before it, whether that is there or not."""
    first, *further = e.keyword.split(" or ")
    clauses = [_clause(Within(first, "and", TRUTH)).removeprefix("it is ")]
    for number, keyword in enumerate(further, 1):
        clauses.append(f"{_clause(Within(keyword, 'and', TRUTH)).removeprefix('it is ')}, read {_deeper(number)}")
    clauses.append(f"for which, read {_deeper(len(further) + 1)}, {_clause(e.inner)}")
    return f"Packets that are {', or '.join(clauses)}"


def _deeper(headers: int) -> str:
    return f"behind the place of {'one such header' if headers == 1 else f'{headers} such headers'}"


def _family(nouns: list[str], compiler: Compiler, node: int) -> None:
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
                nouns.append(_PROTOCOL_NOUNS[name])
                break


def _collect(e: Expression, parts: _Parts) -> None:
    if isinstance(e, And):
        for item in e.items:
            _collect(item, parts)
    elif isinstance(e, Literal):
        _literal(e.candidate, parts)
    elif isinstance(e, Within):
        _keyword(e.keyword, parts, e.join)
        if e.join == "and" and e.inner != TRUTH:
            _collect(e.inner, parts)
        elif e.join == "or":
            parts.which.append(f"either it is so, or, read behind the place of such a header, {_clause(e.inner)}")
    elif isinstance(e, Not):
        _negated(e.item, parts)
    elif isinstance(e, Or):
        _disjunction(e, parts)


def _keyword(keyword: str, parts: _Parts, join: str) -> None:
    for word in keyword.split(" and "):
        name, _, value = word.partition(" ")
        noun = {"vlan": "802.1Q VLAN", "mpls": "MPLS", "pppoes": "PPPoE session", "geneve": "Geneve"}.get(name, name)
        if value:
            what = {"vlan": "in VLAN", "mpls": "with MPLS label", "pppoes": "in PPPoE session", "geneve": "in Geneve VNI"}[name]
            parts.where.append(f"{what} {value}")
        else:
            parts.where.append({"vlan": "in any VLAN (802.1Q tag in the frame)", "mpls": "under an MPLS label"}.get(name, f"inside {noun}"))
    del join


def _literal(c: Candidate, parts: _Parts) -> None:
    text_ = c.text
    if text_ in _PROTOCOL_NOUNS:
        parts.nouns.append(_PROTOCOL_NOUNS[text_])
        return
    if "[" in text_ or text_.startswith(("len ", "@")):
        parts.which.append(_relation(text_))
        return
    words = c.prefix.split()
    if words[0] in ("vlan", "mpls", "pppoes", "geneve"):
        _keyword(text_, parts, "and")
        return
    if words[0] in ("less", "greater"):
        parts.which.append(f"the length is at {'most' if words[0] == 'less' else 'least'} {c.value} bytes")
        return
    if text_.startswith(("ip proto ", "ip6 proto ")):
        number = int(text_.split()[-1])
        parts.nouns += ["IPv4" if words[0] == "ip" else "IPv6", well_known.IP_PROTOCOLS.get(number, f"protocol {number}")]
        return
    if words == ["proto"]:
        parts.nouns.append(well_known.IP_PROTOCOLS.get(int(c.value), f"IP protocol {c.value}"))
        return
    if words == ["ether", "proto"]:
        parts.nouns.append(well_known.ETHERTYPES.get(int(c.value, 0), f"ethertype {c.value}"))
        return
    if words == ["ifindex"]:
        parts.where.append(f"on the interface with number {c.value}")
        return
    if words[-1] in ("host", "net", "port", "portrange") or words[0] in ("ether", "wlan"):
        for word in words:
            if word in ("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp"):
                parts.nouns.append(_PROTOCOL_NOUNS[word])
        parts.where.append(_place(c, [c.value]))
        return
    if words[0] in ("type", "subtype", "dir"):
        parts.which.append(f"the 802.11 frame is {text_.replace('type ', '').replace('sub', '')}")
        return
    parts.which.append(f"`{text_}` holds")


def _place(c: Candidate, values: list[str]) -> str:
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
        return f"{role} {_either(_mac(value) for value in values)}"
    if kind in ("port", "portrange"):
        named = [_port(value) if kind == "port" else value.replace("-", " to ") for value in values]
        plural = "ports" if len(values) > 1 or kind == "portrange" else "port"
        return f"{direction} {plural} {_either(named)}"
    if kind == "net":
        return f"{direction} {'network' if len(values) == 1 else 'networks'} {_either(values)}"
    return f"{direction} {_either(values)}"


def _port(value: str) -> str:
    name = well_known.PORTS.get(int(value))
    return f"{value} ({name})" if name else value


def _mac(value: str) -> str:
    name = well_known.MACS.get(value)
    return f"{value} ({name})" if name else value


def _relation(relation: str) -> str:
    if re.fullmatch(r"len (=|!=|>|<|>=|<=) \d+", relation):
        _, sign, value = relation.split()
        words = {"=": "exactly", "!=": "not", ">": "more than", "<": "less than", ">=": "at least", "<=": "at most"}
        return f"the length is {words[sign]} {value} bytes"
    if relation.startswith("@") and "[" not in relation:
        from bpflens.classic.expression.at_terms import ancillary_words

        return ancillary_words(relation)
    return constraint(relation)


def _clause(e: Expression) -> str:
    """An expression as a clause: "it is TCP to port 80"."""
    parts = _Parts()
    _collect(e, parts)
    nouns = [noun for noun in dict.fromkeys(parts.nouns) if not noun.startswith("!")]
    excluded = [noun[1:] for noun in dict.fromkeys(parts.nouns) if noun.startswith("!")]
    clauses = []
    if nouns or parts.where:
        clauses.append(" ".join(["it is", *nouns, *parts.where]))
    unlike = [*([_either(excluded)] if excluded else []), *parts.unlike]
    clauses += [f"it is not {item}" for item in unlike]
    return _listed([*clauses, *parts.which])


def _negated(e: Expression, parts: _Parts) -> None:
    if isinstance(e, Or):
        for alternative in _alternatives(e):
            if isinstance(alternative, Or):
                first = alternative.items[0]
                assert isinstance(first, Literal)
                words = first.candidate.prefix.split()
                if words[-1] not in ("host", "net", "port", "portrange") and (words[0] not in ("ether", "wlan") or words[-1] == "proto"):
                    for item in alternative.items:
                        _negated(item, parts)
                    continue
                values = [item.candidate.value for item in alternative.items if isinstance(item, Literal)]
                protocol = _prefix_nouns(first.candidate)
                parts.unlike.append(f"{protocol}{_place(first.candidate, values)}")
            else:
                _negated(alternative, parts)
        return
    if isinstance(e, Literal):
        inner = _Parts()
        _literal(e.candidate, inner)
        if inner.nouns and not inner.where and not inner.which and len(inner.nouns) == 1:
            parts.nouns.append("!" + inner.nouns[0])
            return
        if (inner.nouns or inner.where) and not inner.which:
            parts.unlike.append(" ".join([*inner.nouns, *inner.where]))
            return
    if isinstance(e, And):
        parts.which.append(f"these do not hold together: {'; '.join(_clause(item) for item in e.items)}")
    else:
        parts.which.append(_not(e) if isinstance(e, Literal) else f"not: {_clause(e)}")


def _not(e: Literal) -> str:
    clause = _clause(e)
    return clause.replace("it is ", "it is not ", 1) if clause.startswith("it is ") else f"it does not hold that {clause}"


def _prefix_nouns(c: Candidate) -> str:
    nouns = [_PROTOCOL_NOUNS[word] for word in c.prefix.split() if word in ("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp")]
    return " ".join(nouns) + " " if nouns else ""


def _disjunction(e: Or, parts: _Parts) -> None:
    literals = [item for item in e.items if isinstance(item, Literal)]
    prefixes = {item.candidate.prefix for item in literals}
    if len(literals) == len(e.items):
        if len(prefixes) == 1 and literals[0].candidate.value:
            c = literals[0].candidate
            words = c.prefix.split()
            if words[-1] in ("host", "net", "port", "portrange", "src", "dst") or (words[0] in ("ether", "wlan") and words[-1] != "proto"):
                parts.nouns += [_PROTOCOL_NOUNS[w] for w in words if w in ("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp")]
                parts.where.append(_place(c, [item.candidate.value for item in literals]))
                return
        nouns = []
        for item in literals:
            inner = _Parts()
            _literal(item.candidate, inner)
            if len(inner.nouns) >= 1 and not inner.where and not inner.which:
                nouns.append(" ".join(inner.nouns))
        if len(nouns) == len(literals):
            parts.nouns.append(_either(nouns))
            return
    groups = _alternatives(e)
    clauses = e.items if len(groups) == 1 else groups
    parts.which.append(f"either {', or '.join(_clause(item) for item in clauses)}")


def _implied(e: Expression, compiler: Compiler, node: int | None) -> tuple[str, ...]:
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


def returned(value: int) -> str:
    """What a filter's nonzero return value means for the packet that it accepts."""
    if value >= 0x40000:
        return "the whole packet"
    if value >= 65535:
        return f"up to {value} bytes of the packet"
    return f"the first {value} bytes of the packet" if value > 1 else "1 byte (where the value is a length; elsewhere it is just a match)"


def _either(values: Iterable[str]) -> str:
    items = list(values)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " or " + items[-1]


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]


def is_constant(e: Expression) -> bool:
    """Whether an expression is every packet or none."""
    return isinstance(e, Constant)
