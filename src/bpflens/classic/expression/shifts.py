"""What `vlan`, `mpls`, `pppoes` and `geneve` do to the rest of a text, where its writer may have meant something else.

    (vlan and port 53) or (not vlan and port 53)

Each of these keywords moves the place of all that follows it, to the end of the filter: behind `or`, outside of its parentheses, and where
it is negated too (pcap-filter(7)). So the second `port 53` is read two tags further. What was probably meant is the text in which each
keyword moves only its own conjunction; it is offered where the language can say that, and the text that is offered has that diagram.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.classic.diagrams.nodes import TRUE
from bpflens.classic.diagrams.symbolic import Loop
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.tree import TRUTH, And, Expression, Literal, Not, Or, Within, both, text
from bpflens.lean import NamedTuple

__all__ = ("Shift", "is_keyword", "keywords_before", "moved_by", "shift_of", "within")

_BYTES = {"vlan": 4, "mpls": 4, "pppoes": 8}
_KEYWORDS = ("vlan", "mpls", "pppoes", "geneve", "vxlan")


class Shift(NamedTuple):
    """`note` says which keyword moves what; `meant` is the text that was probably meant, None where there is none."""

    note: str
    meant: str | None


def shift_of(tree: Expression, compiler: Compiler, node: int) -> Shift | None:
    """What is moved though it stands outside of the keyword's own conjunction; None where nothing is. `node`: the diagram of the text."""
    inner = _inner_tag(tree, compiler)
    if inner is not None:
        return inner
    moved = list(_moved(tree))
    if not moved:
        return None
    keywords = list(dict.fromkeys(keyword for keyword, _ in moved))
    affected = list(dict.fromkeys(shown for _, shown in moved))
    by = _by({count for part in moved_by(tree.items if isinstance(tree, Or) else (tree,)) for count in part.values() if count})
    listed = ", ".join(f"`{shown}`" for shown in affected[:3]) + (" ..." if len(affected) > 3 else "")
    is_read = "is read" if len(affected) == 1 else "are read"
    note = f"`{keywords[0]}` moves all that follows it to the end of the filter: {listed} {is_read} {by}, with that header or without"
    meant = _meant(tree, compiler)
    return Shift(note, meant[0] if meant is not None and meant[1] != node else None)


def _by(places: set[int]) -> str:
    if -1 in places:
        return "inside the tunnelled packet"
    return f"{' or '.join(map(str, sorted(places)))} bytes further"


def _inner_tag(tree: Expression, compiler: Compiler) -> Shift | None:
    """`vlan and not vlan 5` asks for a second tag, though the first may have been meant."""
    items = list(tree.items) if isinstance(tree, And) else []
    outer = next((at for at, item in enumerate(items) if isinstance(item, Literal) and item.candidate.text == "vlan"), None)
    if outer is None or compiler.linktype != "EN10MB":
        return None
    for at in range(outer + 1, len(items)):
        item = items[at]
        inner = item.item if isinstance(item, Not) else None
        if isinstance(inner, Literal) and inner.candidate.prefix == "vlan" and inner.candidate.value:
            number = inner.candidate.value
            note = f"`not vlan {number}` is about a second tag, inside of the first, and moves what follows it too"
            rest = [_bracketed(other) for position, other in enumerate(items) if position not in (outer, at)]
            return Shift(note, " and ".join(["vlan", f"ether[14:2] & 0xfff != {number}", *rest]))
    return None


def is_keyword(e: Expression) -> bool:
    """Whether an expression is a keyword that moves headers."""
    return isinstance(e, Literal) and e.candidate.text.split()[0] in _KEYWORDS


def moved_by(alternatives: Sequence[Expression]) -> list[dict[str, int]]:
    """For each alternative its primitives, and how many bytes further each is read though it may not be meant; -1 where that varies."""
    found: list[dict[str, int]] = []
    for part, moves in zip(alternatives, _moves(alternatives), strict=True):
        bytes_of = dict.fromkeys(_primitives(part), 0)
        for keyword, shown in moves:
            so_far, more = bytes_of[shown], _BYTES.get(keyword.split()[0], -1)
            bytes_of[shown] = -1 if -1 in (so_far, more) else so_far + more
        found.append(bytes_of)
    return found


def _primitives(e: Expression) -> Iterator[str]:
    if isinstance(e, (And, Or)):
        for item in e.items:
            yield from _primitives(item)
    elif isinstance(e, Not):
        yield from _primitives(e.item)
    elif isinstance(e, Literal):
        yield e.candidate.text


def _moved(tree: Expression) -> Iterator[tuple[str, str]]:
    """(keyword, primitive) for each primitive behind a keyword that is not in its conjunction, or whose keyword is negated."""
    for moves in _moves(tree.items if isinstance(tree, Or) else (tree,)):
        yield from moves


def _moves(alternatives: Sequence[Expression]) -> Iterator[list[tuple[str, str]]]:
    """What _moved() gives, for each alternative in turn."""
    before: list[tuple[str, int]] = []  # keyword, number of the conjunction in which it stands unnegated, -1 where it is negated
    numbers = iter(range(1 << 30))

    def walk(e: Expression, inside: tuple[int, ...], negated: bool) -> Iterator[tuple[str, str]]:
        if isinstance(e, And):
            own = next(numbers)
            for item in e.items:
                yield from walk(item, (*inside, own), negated)
        elif isinstance(e, Or):
            for item in e.items:
                yield from walk(item, (*inside, next(numbers)), negated)
        elif isinstance(e, Not):
            yield from walk(e.item, inside, not negated)
        elif isinstance(e, Literal):
            shown = e.candidate.text
            for keyword, conjunction in before:
                if conjunction not in inside:
                    yield keyword, shown
            if is_keyword(e):
                before.append((shown, inside[-1] if inside and not negated else -1))

    for alternative in alternatives:
        yield list(walk(alternative, (next(numbers),), False))


def within(e: Expression) -> Expression:
    """A parsed text in which nothing is moved beyond its conjunction, with what stands behind a keyword within it."""
    if isinstance(e, Or):
        return Or(tuple(within(item) for item in e.items))
    if isinstance(e, Not):
        return Not(within(e.item))
    if is_keyword(e):
        return Within(text(e), "and", TRUTH)
    if not isinstance(e, And):
        return e
    first = next((index for index, item in enumerate(e.items) if is_keyword(item)), None)
    if first is None:
        return And(tuple(within(item) for item in e.items))
    last = first
    while last + 1 < len(e.items) and is_keyword(e.items[last + 1]):
        last += 1
    rest = e.items[last + 1 :]
    inner = TRUTH if not rest else within(rest[0] if len(rest) == 1 else And(rest))
    inside = Within(" and ".join(text(item) for item in e.items[first : last + 1]), "and", inner)
    return both(*e.items[:first], inside)


def keywords_before(alternatives: Sequence[Expression]) -> list[tuple[int, int]]:
    """(how many keywords stand before it, how many bytes they move it, -1 where that varies) of each part in turn."""
    found = []
    count = moved = 0
    for part in alternatives:
        found.append((count, moved))
        for keyword in _keywords(part):
            count += 1
            moved = -1 if moved < 0 or keyword not in _BYTES else moved + _BYTES[keyword]
    return found


def _keywords(e: Expression) -> list[str]:
    if isinstance(e, (And, Or)):
        return [keyword for item in e.items for keyword in _keywords(item)]
    if isinstance(e, Not):
        return _keywords(e.item)
    return [e.candidate.text.split()[0]] if isinstance(e, Literal) and is_keyword(e) else []


# --- what was probably meant ---


def _meant(tree: Expression, compiler: Compiler) -> tuple[str, int] | None:
    """(text, its diagram), where the text has the diagram in which each keyword moves its own conjunction only."""
    try:
        wanted = _scoped(tree, "", compiler)
        shown = _written(tree, compiler) if wanted is not None else None
        node = compiler.node(shown) if shown is not None else None
    except Loop:
        return None
    return (shown, node) if shown is not None and node is not None and node == wanted else None


def _scoped(e: Expression, chain: str, compiler: Compiler) -> int | None:
    """The diagram of an expression behind a chain of keywords; None where libpcap cannot compile a part."""
    store = compiler.store
    if isinstance(e, Literal):
        return compiler.node(f"{chain} and {e.candidate.text}" if chain else e.candidate.text)
    if isinstance(e, Not):
        inner = _scoped(e.item, chain, compiler)
        around = compiler.node(chain) if chain else TRUE
        return None if inner is None or around is None else store.diff(around, inner)
    if not isinstance(e, (And, Or)):
        return None
    result: int | None = None
    for item in e.items:
        part = _scoped(item, chain, compiler)
        if part is None:
            return None
        if result is None:
            result = part
        else:
            result = store.conj(result, part) if isinstance(e, And) else store.disj(result, part)
        if isinstance(e, And) and is_keyword(item):
            assert isinstance(item, Literal)
            chain = f"{chain} and {item.candidate.text}" if chain else item.candidate.text
    return result


def _written(tree: Expression, compiler: Compiler) -> str | None:
    """The branches without keywords first, then one with them; of several VLANs the numbers are compared where they stand in the frame."""
    branches = list(tree.items) if isinstance(tree, Or) else [tree]
    plain: list[str] = []
    tagged: list[tuple[Literal, list[Expression]]] = []
    for branch in branches:
        items = list(branch.items) if isinstance(branch, And) else [branch]
        keywords = [item for item in items if is_keyword(item)]
        denied = [item.item for item in items if isinstance(item, Not) and is_keyword(item.item)]
        rest = [item for item in items if not is_keyword(item) and not (isinstance(item, Not) and is_keyword(item.item))]
        if len(keywords) + len(denied) > 1 or any(_has_keyword(item) for item in rest) or (denied and not rest):
            return None
        if keywords:
            assert isinstance(keywords[0], Literal)
            tagged.append((keywords[0], rest))
        else:
            shown = text(And(tuple(rest)) if len(rest) > 1 else rest[0])
            if denied and not _excludes(shown, denied[0], compiler):
                return None
            plain.append(f"({shown})" if " and " in shown or " or " in shown else shown)
    if not tagged:
        return " or ".join(plain)
    behind = _with_tags(tagged, compiler)
    if behind is None:
        return None
    if not plain:
        return behind
    return f"{' or '.join(plain)} or {f'({behind})' if ' ' in behind else behind}"


def _has_keyword(e: Expression) -> bool:
    return bool(_keywords(e))


def _excludes(shown: str, keyword: Expression, compiler: Compiler) -> bool:
    """Whether no packet that satisfies a text has the keyword's header."""
    node, header = compiler.node(shown), compiler.node(text(keyword))
    return node is not None and header is not None and compiler.store.disjoint(node, header)


def _with_tags(tagged: list[tuple[Literal, list[Expression]]], compiler: Compiler) -> str | None:
    if len(tagged) == 1:
        keyword, rest = tagged[0]
        return " and ".join([keyword.candidate.text, *map(_bracketed, rest)])
    words = {keyword.candidate.prefix for keyword, _ in tagged}
    if words != {"vlan"} or compiler.linktype != "EN10MB":
        return None
    parts = []
    rests = {tuple(text(item, brief=False) for item in rest) for _, rest in tagged}
    common = rests.pop() if len(rests) == 1 else ()
    for keyword, rest in tagged:
        test = [f"ether[14:2] & 0xfff = {keyword.candidate.value}"] if keyword.candidate.value else []
        own = [*test, *(() if common else (_bracketed(item) for item in rest))]
        if not own:
            return None
        parts.append(" and ".join(own) if len(own) == 1 else f"({' and '.join(own)})")
    return " and ".join(["vlan", f"({' or '.join(parts)})", *common])


def _bracketed(e: Expression) -> str:
    shown = text(e, brief=False)
    return f"({shown})" if isinstance(e, (And, Or)) else shown
