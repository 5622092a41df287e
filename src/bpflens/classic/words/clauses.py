"""The parts of an expression as clauses: what the packets are, where they go, what is in them, what they are not.

    tcp and dst port 80 and len > 100   ──►   nouns: TCP; where: to port 80 (http); which: the length is more than 100 bytes"""

from __future__ import annotations

import re

from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.tree import TRUTH, And, Expression, Literal, Not, Or, Within
from bpflens.classic.packets import well_known
from bpflens.classic.words.field_names import constraint
from bpflens.classic.words.wording import PROTOCOL_NOUNS, WITH_NUMBER, WITHOUT_NUMBER, joined_by_and, joined_by_or, place

__all__ = ("Parts", "alternatives", "clause_of", "collect")


class Parts:
    def __init__(self) -> None:
        self.nouns: list[str] = []
        self.where: list[str] = []
        self.which: list[str] = []
        self.unlike: list[str] = []  # what they are not


def alternatives(e: Expression) -> list[Expression]:
    """The branches of the outermost `or`; values of one qualifier stay together."""
    if not isinstance(e, Or):
        return [e]
    groups: dict[object, list[Expression]] = {}
    for i, item in enumerate(e.items):
        key = item.candidate.prefix if isinstance(item, Literal) and item.candidate.value else i
        groups.setdefault(key, []).append(item)
    return [items[0] if len(items) == 1 else Or(tuple(items)) for items in groups.values()]


def collect(e: Expression, parts: Parts) -> None:
    if isinstance(e, And):
        for item in e.items:
            collect(item, parts)
    elif isinstance(e, Literal):
        _literal(e.candidate, parts)
    elif isinstance(e, Within):
        _keyword(e.keyword, parts)
        if e.join == "and" and e.inner != TRUTH:
            collect(e.inner, parts)
        elif e.join == "or":
            parts.which.append(f"either it is so, or, read behind the place of such a header, {clause_of(e.inner)}")
    elif isinstance(e, Not):
        _negated(e.item, parts)
    elif isinstance(e, Or):
        _disjunction(e, parts)


def _keyword(keyword: str, parts: Parts) -> None:
    words = keyword.split(" and ")
    if len(words) > 1 and set(words) <= {"vlan"}:
        parts.where.append(f"behind {len(words)} VLAN tags in the frame")
        return
    phrases = []
    for word in words:
        name, _, value = word.partition(" ")
        phrases.append(f"{WITH_NUMBER[name]} {value}" if value else WITHOUT_NUMBER.get(name, f"inside {name}"))
    parts.where.append(", then ".join(phrases))


def _literal(c: Candidate, parts: Parts) -> None:
    text_ = c.text
    if text_ in PROTOCOL_NOUNS:
        parts.nouns.append(PROTOCOL_NOUNS[text_])
        return
    if "[" in text_ or text_.startswith(("len ", "@")):
        parts.which.append(_relation(text_))
        return
    words = c.prefix.split()
    if words[0] in ("vlan", "mpls", "pppoes", "geneve"):
        _keyword(text_, parts)
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
                parts.nouns.append(PROTOCOL_NOUNS[word])
        parts.where.append(place(c, [c.value]))
        return
    if words[0] in ("type", "subtype", "dir"):
        parts.which.append(f"the 802.11 frame is {text_.replace('type ', '').replace('sub', '')}")
        return
    parts.which.append(f"`{text_}` holds")


def _relation(relation: str) -> str:
    if re.fullmatch(r"len (=|!=|>|<|>=|<=) \d+", relation):
        _, sign, value = relation.split()
        words = {"=": "exactly", "!=": "not", ">": "more than", "<": "less than", ">=": "at least", "<=": "at most"}
        return f"the length is {words[sign]} {value} bytes"
    if relation.startswith("@") and "[" not in relation:
        from bpflens.classic.expression.at_terms import ancillary_words

        return ancillary_words(relation)
    return constraint(relation)


def clause_of(e: Expression) -> str:
    """An expression as a clause: "it is TCP to port 80"."""
    parts = Parts()
    collect(e, parts)
    nouns = [noun for noun in dict.fromkeys(parts.nouns) if not noun.startswith("!")]
    excluded = [noun[1:] for noun in dict.fromkeys(parts.nouns) if noun.startswith("!")]
    clauses = []
    if nouns or parts.where:
        clauses.append(" ".join(["it is", *nouns, *parts.where]))
    unlike = [*([joined_by_or(excluded)] if excluded else []), *parts.unlike]
    clauses += [f"it is not {item}" for item in unlike]
    return joined_by_and([*clauses, *parts.which])


def _negated(e: Expression, parts: Parts) -> None:
    if isinstance(e, Or):
        for alternative in alternatives(e):
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
                parts.unlike.append(f"{protocol}{place(first.candidate, values)}")
            else:
                _negated(alternative, parts)
        return
    if isinstance(e, Literal):
        inner = Parts()
        _literal(e.candidate, inner)
        if inner.nouns and not inner.where and not inner.which and len(inner.nouns) == 1:
            parts.nouns.append("!" + inner.nouns[0])
            return
        if (inner.nouns or inner.where) and not inner.which:
            parts.unlike.append(" ".join([*inner.nouns, *inner.where]))
            return
    if isinstance(e, And):
        parts.which.append(f"these do not hold together: {'; '.join(clause_of(item) for item in e.items)}")
    else:
        parts.which.append(_not(e) if isinstance(e, Literal) else f"not: {clause_of(e)}")


def _not(e: Literal) -> str:
    clause = clause_of(e)
    return clause.replace("it is ", "it is not ", 1) if clause.startswith("it is ") else f"it does not hold that {clause}"


def _prefix_nouns(c: Candidate) -> str:
    nouns = [PROTOCOL_NOUNS[word] for word in c.prefix.split() if word in ("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp")]
    return " ".join(nouns) + " " if nouns else ""


def _disjunction(e: Or, parts: Parts) -> None:
    literals = [item for item in e.items if isinstance(item, Literal)]
    prefixes = {item.candidate.prefix for item in literals}
    if len(literals) == len(e.items):
        if len(prefixes) == 1 and literals[0].candidate.value:
            c = literals[0].candidate
            words = c.prefix.split()
            if words[-1] in ("host", "net", "port", "portrange", "src", "dst") or (words[0] in ("ether", "wlan") and words[-1] != "proto"):
                parts.nouns += [PROTOCOL_NOUNS[w] for w in words if w in ("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp")]
                parts.where.append(place(c, [item.candidate.value for item in literals]))
                return
        nouns = []
        for item in literals:
            inner = Parts()
            _literal(item.candidate, inner)
            if len(inner.nouns) >= 1 and not inner.where and not inner.which:
                nouns.append(" ".join(inner.nouns))
        if len(nouns) == len(literals):
            parts.nouns.append(joined_by_or(nouns))
            return
    groups = alternatives(e)
    clauses = e.items if len(groups) == 1 else groups
    parts.which.append(f"either {', or '.join(clause_of(item) for item in clauses)}")
