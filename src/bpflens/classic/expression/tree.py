"""Expressions of tcpdump's language as values, and their text.

    Or(host 10.0.0.1, host 10.0.0.2)   ──►   host 10.0.0.1 or 10.0.0.2

`and` and `or` have one precedence in that language and group from the left, so every mixture is put in parentheses.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.lean import frozen

__all__ = (
    "FALSITY",
    "TRUTH",
    "And",
    "Constant",
    "Expression",
    "Literal",
    "Not",
    "Or",
    "Within",
    "arranged",
    "both",
    "either",
    "opposite",
    "orders",
    "text",
)


@frozen
class Literal:
    """A primitive."""

    candidate: Candidate


@frozen
class Not:
    """The opposite of an expression."""

    item: Expression


@frozen
class And:
    """All of the items (two or more, none of them an And)."""

    items: tuple[Expression, ...]


@frozen
class Or:
    """One of the items (two or more, none of them an Or)."""

    items: tuple[Expression, ...]


@frozen
class Constant:
    """Every packet, or none."""

    value: bool


@frozen
class Within:
    """A keyword that moves the headers for all that follows it (vlan, mpls, pppoes, geneve), joined by "and" or "or" to the rest.

    It must stand last in what contains it. With "and", an inner constant TRUTH stands for the keyword alone.
    """

    keyword: str
    join: str
    inner: Expression


Expression = Literal | Not | And | Or | Within | Constant
TRUTH = Constant(True)
FALSITY = Constant(False)


def both(*items: Expression) -> Expression:
    """The conjunction, flattened and without repetition."""
    return _join(And, items, TRUTH, FALSITY)


def either(*items: Expression) -> Expression:
    """The disjunction, flattened and without repetition."""
    return _join(Or, items, FALSITY, TRUTH)


def _join(kind: type[And] | type[Or], items: Iterable[Expression], neutral: Constant, absorbing: Constant) -> Expression:
    flat: list[Expression] = []
    for item in items:
        for part in item.items if isinstance(item, kind) else (item,):
            if part == absorbing:
                return absorbing
            if part != neutral and part not in flat:
                flat.append(part)
    return flat[0] if len(flat) == 1 else kind(tuple(flat)) if flat else neutral


def opposite(item: Expression) -> Expression:
    """The negation; of a negation, what it negates."""
    if isinstance(item, Not):
        return item.item
    if isinstance(item, Constant):
        return Constant(not item.value)
    return Not(item)


# Qualifiers whose values can follow each other without repeating them: pcap-filter(7), "identical qualifier lists can be omitted"
_LISTABLE = ("host", "net", "port", "portrange", "proto", "src", "dst", "addr1", "addr2", "addr3", "addr4", "ra", "ta")


def text(expression: Expression, brief: bool = True) -> str:
    """The expression as tcpdump reads it. `brief`: qualifiers that the value before had are left out ("port 80 or 443")."""
    return _Printer(brief).show(expression, True)


class _Printer:
    def __init__(self, brief: bool) -> None:
        self.brief = brief
        self.prefix: str | None = None  # the qualifiers that a bare value would get now

    def show(self, e: Expression, outermost: bool) -> str:
        if isinstance(e, Literal):
            return self.literal(e.candidate)
        if isinstance(e, Not):
            if isinstance(e.item, Literal):
                return f"not {self.show(e.item, False)}"
            saved = self.prefix
            whole = f"not {self.show(e.item, False)}"
            if isinstance(e.item, Or):
                self.prefix = saved
                one_by_one = self.show(And(tuple(opposite(item) for item in e.item.items)), outermost)
                if len(one_by_one) < len(whole):
                    return one_by_one
            return whole
        if isinstance(e, Within):
            self.prefix = None
            if e.inner == TRUTH:
                return e.keyword
            shown = f"{e.keyword} {e.join} {self.show(e.inner, _joins(e.inner) == e.join)}"
            return shown if outermost else f"({shown})"
        if isinstance(e, Constant):
            self.prefix = None
            return "1 = 1" if e.value else "1 = 0"
        if isinstance(e, And):
            shorter = _src_and_dst(e)
            return self.literal(shorter.candidate) if isinstance(shorter, Literal) else self.series(shorter, outermost)
        if sum(isinstance(item, Not) for item in e.items) * 2 > len(e.items):
            saved = self.prefix
            as_is = self.series(e, outermost)
            after, self.prefix = self.prefix, saved
            turned = f"not {self.show(And(tuple(opposite(item) for item in e.items)), False)}"
            if len(turned) < len(as_is):
                return turned
            self.prefix = after
            return as_is
        return self.series(e, outermost)

    def series(self, e: And | Or, outermost: bool) -> str:
        word = " and " if isinstance(e, And) else " or "
        before = self.prefix
        if not outermost and any(not isinstance(item, Literal) or item.candidate.prefix != before for item in e.items):
            self.prefix = None  # "port 80 and (53 or 443)" is read, "port 80 and (53 or arp)" is not
        shown = word.join([self.show(item, False) for item in self.ordered(e)])
        if outermost:
            return shown
        self.prefix = before  # behind ")" hold the qualifiers from before "(" (libpcap, grammar.y, paren)
        return f"({shown})"

    def ordered(self, e: And | Or) -> list[Expression]:
        """Values of one prefix side by side, where the first of them stands."""
        if not self.brief:
            return sorted(e.items, key=_moves_headers)
        rank: dict[object, int] = {}
        keys: list[tuple[bool, int, int]] = []
        for i, item in enumerate(e.items):
            inner = item.item if isinstance(item, Not) else item
            if isinstance(inner, (And, Or)) and isinstance(inner.items[0], Literal):
                inner = inner.items[0]
            prefix = inner.candidate.prefix if isinstance(inner, Literal) and inner.candidate.value else i
            keys.append((_moves_headers(item), rank.setdefault((type(item) is Not, prefix), i), i))
        return [e.items[i] for _, _, i in sorted(keys)]

    def literal(self, c: Candidate) -> str:
        if c.value and self.brief and c.prefix == self.prefix:
            return c.value
        listable = bool(c.value) and c.prefix.split()[-1] in _LISTABLE
        self.prefix = c.prefix if listable else None
        return c.text


KEYWORDS = ("vlan", "mpls", "pppoes", "geneve")


def _moves_headers(e: Expression) -> bool:
    """Whether an expression has a keyword that shifts what follows it."""
    if isinstance(e, Literal):
        return e.candidate.text.split()[0] in KEYWORDS
    if isinstance(e, Not):
        return _moves_headers(e.item)
    return any(_moves_headers(item) for item in e.items) if isinstance(e, (And, Or)) else isinstance(e, Within)


def _joins(e: Expression) -> str:
    """The operator that the text of an expression has outside parentheses, "" for none."""
    if isinstance(e, Within):
        return e.join if e.inner != TRUTH else ""
    return "and" if isinstance(e, And) else "or" if isinstance(e, Or) else ""


def arranged(e: Expression) -> Expression:
    """The same terms in reading order: protocols, link addresses, hosts, ports, lengths, index expressions, negations, keywords last."""
    if isinstance(e, (And, Or)):
        return type(e)(tuple(sorted((arranged(item) for item in e.items), key=_reading_order)))
    if isinstance(e, Not):
        return Not(arranged(e.item))
    return Within(e.keyword, e.join, arranged(e.inner)) if isinstance(e, Within) else e


def _reading_order(e: Expression) -> tuple[int, str, list[int], int]:
    if isinstance(e, Literal):
        return (_rank(e.candidate), *_natural(e.candidate), 0)
    if isinstance(e, Not):
        rank, words, numbers, count = _reading_order(e.item)
        return (20 + rank, words, numbers, count)
    if isinstance(e, (And, Or)):
        return (min(_reading_order(item)[0] for item in e.items), "~", [], len(e.items))
    return (99, "", [], 0)


def _rank(c: Candidate) -> int:
    words = c.prefix.split()
    if words[0] in KEYWORDS:
        return 98
    if "[" in c.text or c.text.startswith("@"):
        return 10
    if words[0] in ("len", "less", "greater"):
        return 8
    if not c.value or words[-1] == "proto" or words[0] in ("type", "subtype", "dir", "llc"):
        return 1 if words[:2] == ["ether", "proto"] else 0
    if words[0] in ("ether", "wlan"):
        return 2
    return {"host": 4, "net": 4, "port": 6, "portrange": 6}.get(words[-1], 5)


def _natural(c: Candidate) -> tuple[str, list[int]]:
    """Numbers inside a text compare as numbers."""
    import re

    index = re.match(r"(@?[a-z0-9]+)\[(?:(\d+)[\]:])?", c.text)
    if index:
        return index[1], [int(index[2] or 9999)]
    numbers = [int(part, 0) for part in re.findall(r"0x[0-9a-f]+|(?<![0-9a-f:])\d+(?![0-9a-f:])", c.text)]
    return re.sub(r"0x[0-9a-f]+|\d+", "#", c.text), numbers


def orders(e: Expression, limit: int = 48) -> Iterable[Expression]:
    """The same terms in other orders: what a program reads first differs, and so what it answers for packets that are cut short."""
    import itertools

    if isinstance(e, Not):
        yield from (Not(item) for item in orders(e.item, limit))
    if isinstance(e, Within):
        yield from (Within(e.keyword, e.join, item) for item in orders(e.inner, limit))
    if isinstance(e, (And, Or)):
        kind = type(e)
        turned = tuple(_turned(item) for item in e.items)
        choices = itertools.permutations(range(len(e.items))) if len(e.items) <= 4 else (range(len(e.items) - 1, -1, -1),)
        for permutation in itertools.islice(choices, limit):
            yield kind(tuple(e.items[i] for i in permutation))
            yield kind(tuple(turned[i] for i in permutation))


def _turned(e: Expression) -> Expression:
    """The parts of one level in reverse order."""
    return type(e)(e.items[::-1]) if isinstance(e, (And, Or)) else Not(_turned(e.item)) if isinstance(e, Not) else e


def _src_and_dst(e: And) -> And | Literal:
    """`src host A and dst host A` as one primitive."""
    items = list(e.items)
    for item in e.items:
        if not (isinstance(item, Literal) and "src " in item.candidate.prefix and item in items):
            continue
        c = item.candidate
        twin = Literal(c._replace(prefix=c.prefix.replace("src ", "dst ")))
        found = next((other for other in items if isinstance(other, Literal) and other.candidate.text == twin.candidate.text), None)
        if found is not None and not c.prefix.startswith("ether"):
            items[items.index(item)] = Literal(c._replace(prefix=c.prefix.replace("src ", "src and dst ")))
            items.remove(found)
    only = items[0]
    return only if len(items) == 1 and isinstance(only, Literal) else And(tuple(items))


def size(e: Expression) -> int:
    """Number of primitives."""
    if isinstance(e, (And, Or)):
        return sum(size(item) for item in e.items)
    if isinstance(e, Within):
        return 1 + size(e.inner)
    return size(e.item) if isinstance(e, Not) else 1
