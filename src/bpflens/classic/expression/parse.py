"""The text of tcpdump's language -> its terms: what a person has typed, for the words and for what they may have meant.

    (vlan and port 53) or not tcp[tcpflags] & tcp-syn != 0   ──►   Or(And(vlan, port 53), Not(tcp[tcpflags] & tcp-syn != 0))

Only the structure is read; what a primitive means is libpcap's affair, which compiles the text as it stands. `and` and `or` have one
precedence and group from the left (pcap-filter(7)), so that a mixture nests. A text that is not understood gives None.
"""

from __future__ import annotations

import re

from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.tree import And, Expression, Literal, Not, Or

__all__ = ("parse",)

_TOKEN = re.compile(r"\s*(\(|\)|&&|\|\||<<|>>|<=|>=|==|!=|[!=<>+*/&|^%]|\[|[^\s()=<>!&|+*/^%\[\]]+)")
_WORDS = {"&&": "and", "||": "or", "!": "not"}
_OPERATORS = frozenset(("=", "==", "!=", "<", ">", "<=", ">=", "+", "*", "/", "&", "|", "^", "%", "<<", ">>", "-"))
_QUALIFIERS = frozenset((
    "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "ether", "wlan", "fddi", "tr", "src", "dst", "host", "net", "port", "portrange",
    "proto", "gateway", "less", "greater", "vlan", "mpls", "pppoes", "geneve", "vxlan", "type", "subtype", "dir", "addr1", "addr2", "addr3",
    "addr4", "ra", "ta", "mask", "icmp", "icmp6", "igmp", "broadcast", "multicast", "inbound", "outbound", "llc", "pppoed", "iso", "clnp",
    "esis", "isis", "stp", "ipx", "netbeui", "atalk", "aarp", "decnet", "lat", "moprc", "mopdl", "pim", "vrrp", "carp", "ah", "esp", "igrp",
    "ifindex", "protochain", "link", "radio", "ppp", "slip", "len", "nd", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp", "ifname", "on",
    "rnr", "rulenum", "reason", "rset", "ruleset", "srnr", "subrulenum", "action", "lane", "metac", "bcc", "sc", "ilmic", "oam", "oamf4",
    "fisu", "lssu", "msu", "hfisu", "sio", "opc", "dpc", "sls",
))  # fmt: skip
_TAKES_VALUE = frozenset(("host", "net", "port", "portrange", "proto", "src", "dst", "gateway", "less", "greater", "vlan", "mpls", "pppoes",
                          "geneve", "vxlan", "ifindex", "addr1", "addr2", "addr3", "addr4", "ra", "ta", "protochain"))  # fmt: skip
_MAX_DEPTH = 60


class _NotUnderstood(Exception):
    """Some part of the text is none of the forms that are read here."""


def parse(shown: str) -> Expression | None:
    """The terms of a text in the order in which they stand; None where it is not understood."""
    tokens = _tokens(shown)
    if not tokens:
        return None
    parser = _Parser(tokens)
    try:
        found = parser.series(0)
    except (_NotUnderstood, IndexError):
        return None
    return found if parser.at == len(tokens) else None


def _tokens(shown: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    shown = shown.strip()
    while at < len(shown):
        match = _TOKEN.match(shown, at)
        if match is None:
            return []
        at = match.end()
        if match[1] == "[" and tokens:
            inside, at = _index(shown, at)
            tokens[-1] += inside
        else:
            tokens.append(_WORDS.get(match[1], match[1]))
    return tokens


def _index(shown: str, at: int) -> tuple[str, int]:
    """The rest of `ip[(ip[0]&0xf)*4:2]` from behind its first bracket, which is one word with what stands before it."""
    depth, end = 1, at
    while end < len(shown) and depth:
        depth += (shown[end] == "[") - (shown[end] == "]")
        end += 1
    return "[" + re.sub(r"\s+", "", shown[at:end]), end


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.prefix = ""  # the qualifiers of the primitive before, which a bare value gets

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def series(self, depth: int) -> Expression:
        """Terms joined by `and` and `or`, from the left."""
        found = self.term(depth)
        while self.peek() in ("and", "or"):
            word = self.peek()
            self.at += 1
            right = self.term(depth)
            kind = And if word == "and" else Or
            found = kind((*found.items, right)) if type(found) is kind and not self.closed else kind((found, right))
            self.closed = False
        return found

    closed = False  # the term that was read last stood in parentheses of its own

    def term(self, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise _NotUnderstood
        if self.peek() == "not":
            self.at += 1
            inner = self.term(depth + 1)
            self.closed = False
            return Not(inner)
        if self.peek() == "(" and not self.is_arithmetic():
            self.at += 1
            inner = self.series(depth + 1)
            if self.peek() != ")":
                raise _NotUnderstood
            self.at += 1
            self.closed = False
            return inner
        self.closed = False
        return self.primitive()

    def is_arithmetic(self) -> bool:
        """Whether the bracket here belongs to a relation: an operator stands behind it, and no `and` inside."""
        depth, at = 0, self.at
        while at < len(self.tokens):
            token = self.tokens[at]
            depth += (token == "(") - (token == ")")
            if token in ("and", "or", "not"):
                return False
            if not depth:
                break
            at += 1
        return at + 1 < len(self.tokens) and self.tokens[at + 1] in _OPERATORS

    def primitive(self) -> Expression:
        start, depth = self.at, 0
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token in ("and", "or", "not") or (token == ")" and not depth):
                break
            if token == "(" and not depth and self.at > start and self.tokens[self.at - 1] not in _OPERATORS:
                return self.listed(start)
            depth += (token == "(") - (token == ")")
            self.at += 1
        words = self.tokens[start : self.at]
        if not words:
            raise _NotUnderstood
        if any(word in _OPERATORS or "[" in word for word in words):
            self.prefix = ""
            return _relation(words)
        return self.named(words)

    def listed(self, start: int) -> Expression:
        """`port (80 or 443)`."""
        qualifiers = self.tokens[start : self.at]
        if any(word not in _QUALIFIERS for word in qualifiers):
            raise _NotUnderstood
        self.prefix = " ".join(qualifiers)
        self.at += 1
        inner = self.series(1)
        if self.peek() != ")":
            raise _NotUnderstood
        self.at += 1
        return inner

    def named(self, words: list[str]) -> Expression:
        bare = len(words) == 1 and words[0] not in _QUALIFIERS
        if bare:
            prefix, value = self.prefix or "host", words[0]
        elif words[-1] not in _QUALIFIERS and words[-2] in _TAKES_VALUE:
            prefix, value = " ".join(words[:-1]), words[-1]
            if words[-2] in ("src", "dst"):
                prefix += " host"
        elif len(words) == 4 and words[-2] == "mask":
            prefix, value = words[0], " ".join(words[1:])
        else:
            prefix, value = " ".join(words), ""
        self.prefix = prefix if value else ""
        shown = f"{prefix} {value}".strip()
        return Literal(Candidate(prefix, value, len(shown)))


def _relation(words: list[str]) -> Expression:
    shown = " ".join(words).replace("( ", "(").replace(" )", ")").replace(" == ", " = ")
    return Literal(Candidate(shown, "", len(shown)))
