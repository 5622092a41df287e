"""An expression in words: one sentence per alternative, and what is required without being said.

    udp[10] & 0x80 = 0 and udp dst port 53   ──►   IPv4 UDP packets to port 53 (domain) in which bit 0x80 of byte 10 of the UDP header
                                                   is clear. Implied: not a later fragment; no VLAN tag in the frame.

What is implied is never guessed from the text: each implication is checked on the diagram of the alternative.
"""

from __future__ import annotations

from bpflens.classic.diagrams.linktypes import PAYLOADS
from bpflens.classic.diagrams.nodes import FALSE
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.tree import FALSITY, TRUTH, And, Constant, Expression, Literal, Not, Or, Within, text
from bpflens.classic.words.clauses import Parts, alternatives, clause_of, collect
from bpflens.classic.words.implied import family_nouns, implied_by
from bpflens.classic.words.wording import PROTOCOL_NOUNS, joined_by_and, joined_by_or
from bpflens.lean import NamedTuple

__all__ = ("Sentence", "describe", "plain_sentence", "returned", "sentences")


_ORDER = ("incoming", "outgoing", "broadcast", "multicast", "VLAN-tagged", "IPv4", "IPv6", "IPv4 and IPv6", "IPv4, ARP and RARP", "ARP",
          "RARP")  # fmt: skip


class Sentence(NamedTuple):
    """One alternative: what it matches, and what it requires without saying so."""

    matches: str
    implied: tuple[str, ...]


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
    for alternative in alternatives(expression):
        parts = Parts()
        collect(_renamed(alternative, header), parts)
        noun = "Messages" if header == "data" else f"{PROTOCOL_NOUNS.get(header, header.upper())} messages"
        found.append(f"{noun} in which {joined_by_and(parts.which)}")
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
    for alternative in alternatives(expression):
        node = _node(alternative, compiler)
        if node is not None:
            node = compiler.store.conj(node, universe)
        found.append(Sentence(_sentence(alternative, compiler, node), implied_by(alternative, compiler, node)))
    return found


def _node(e: Expression, compiler: Compiler) -> int | None:
    shown = text(e)
    return None if "@" in shown else compiler.node(shown)


def _sentence(e: Expression, compiler: Compiler, node: int | None) -> str:
    if isinstance(e, Within) and e.join == "or":
        return _chain(e)
    parts = Parts()
    collect(e, parts)
    nouns = list(dict.fromkeys(parts.nouns))
    if node is not None and node != FALSE:
        family_nouns(nouns, compiler, node)
    return _subject_and_more(nouns, parts)


def _subject_and_more(nouns: list[str], parts: Parts) -> str:
    nouns.sort(key=lambda noun: _ORDER.index(noun) if noun in _ORDER else len(_ORDER))
    plain = [noun for noun in nouns if not noun.startswith("!")]
    plain = [noun for noun in plain if not any(other != noun and other.startswith(f"{noun} ") for other in plain)]
    excluded = [noun[1:] for noun in nouns if noun.startswith("!")]
    subject = " ".join([*plain, "packets"]) if plain else "Packets"
    subject = subject[0].upper() + subject[1:]
    sentence = " ".join([subject, *parts.where])
    unlike = [*([joined_by_or(excluded)] if excluded else []), *parts.unlike]
    if unlike:
        sentence += f" that are {joined_by_and([f'not {item}' for item in unlike])}"
    if parts.which:
        sentence += f"{',' if unlike else ''} in which {joined_by_and(parts.which)}"
    return sentence


def plain_sentence(e: Expression) -> str:
    """What an alternative says, without what follows from it."""
    parts = Parts()
    collect(e, parts)
    return _subject_and_more(list(dict.fromkeys(parts.nouns)), parts)


def _chain(e: Within) -> str:
    """`vlan 2 or vlan 3`: libpcap reads each keyword behind the place of the header before it, whether that is there or not."""
    first, *further = e.keyword.split(" or ")
    clauses = [clause_of(Within(first, "and", TRUTH)).removeprefix("it is ")]
    for number, keyword in enumerate(further, 1):
        clauses.append(f"{clause_of(Within(keyword, 'and', TRUTH)).removeprefix('it is ')}, read {_deeper(number)}")
    clauses.append(f"for which, read {_deeper(len(further) + 1)}, {clause_of(e.inner)}")
    return f"Packets that are {', or '.join(clauses)}"


def _deeper(headers: int) -> str:
    return f"behind the place of {'one such header' if headers == 1 else f'{headers} such headers'}"


def returned(value: int) -> str:
    """What a filter's nonzero return value means for the packet that it accepts."""
    if value >= 0x40000:
        return "the whole packet"
    if value >= 65535:
        return f"up to {value} bytes of the packet"
    return f"the first {value} bytes of the packet" if value > 1 else "1 byte (where the value is a length; elsewhere it is just a match)"
