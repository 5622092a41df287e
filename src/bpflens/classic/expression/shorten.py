"""The same diagram in a shorter or clearer expression: superfluous terms left out, qualifiers put together, common terms taken out.

    ip and udp and (host a and not b or host a and c)   ──►   udp and host a and (not b or c)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.literals import Literals, cost_of
from bpflens.classic.expression.tree import And, Expression, Literal, Not, Or, both, either, opposite, text

__all__ = ("clarified", "polished", "pruned")


def pruned(literals: Literals, e: Expression, lower: int, upper: int) -> Expression:
    """Without the terms whose removal leaves it between lower and upper."""
    store = literals.store
    lower = store.conj(lower, literals.universe)
    upper = store.disj(upper, store.negate(literals.universe))
    if isinstance(e, Not):
        return opposite(pruned(literals, e.item, store.diff(literals.universe, upper), store.diff(literals.universe, lower)))
    if not isinstance(e, (And, Or)) or len(e.items) > 40:
        return e
    items = list(e.items)
    join = both if isinstance(e, And) else either
    for item in sorted(items, key=lambda i: -cost_of(i)):
        rest = [other for other in items if other is not item]
        if rest:
            node = literals.node(join(*rest))
            if store.implies(lower, node) and store.implies(node, upper):
                items = rest
    for i, item in enumerate(items):
        others = literals.node(join(*(other for j, other in enumerate(items) if j != i)))
        if isinstance(e, And):
            items[i] = pruned(literals, item, lower, store.disj(upper, store.negate(others)))
        else:
            items[i] = pruned(literals, item, store.diff(lower, others), upper)
    return join(*items)


def polished(literals: Literals, e: Expression) -> Expression:
    """Rewritten locally as long as that makes the text shorter and leaves the diagram as it is."""
    e = _together_negated(e)
    for _ in range(20):
        better = _rewritten(literals, e)
        if better is None:
            return e
        e = better
    return e


def clarified(literals: Literals, e: Expression) -> Expression:
    """`port 67 and dst port 68` as `src port 67 and dst port 68` where that is the same: it says what is meant."""
    if isinstance(e, Not):
        return opposite(clarified(literals, e.item))
    if not isinstance(e, (And, Or)) or len(e.items) > 20:
        return e
    items = [clarified(literals, item) for item in e.items]
    join = both if isinstance(e, And) else either
    if isinstance(e, And):
        for i, item in enumerate(items):
            for variant in _directed(item, items):
                changed = both(*items[:i], variant, *items[i + 1 :])
                if literals.known(variant) and literals.node(changed) == literals.node(e):
                    items[i] = variant
                    break
    return join(*items)


def _rewritten(literals: Literals, e: Expression) -> Expression | None:
    if isinstance(e, Not):
        inner = _rewritten(literals, e.item)
        return None if inner is None else opposite(inner)
    if not isinstance(e, (And, Or)) or len(e.items) > 40:
        return None
    length = len(text(e))
    for variant in _variants(e):
        if len(text(variant)) < length and literals.known(variant) and literals.node(variant) == literals.node(e):
            return variant
    for i, item in enumerate(e.items):
        inner = _rewritten(literals, item)
        if inner is not None:
            return (both if isinstance(e, And) else either)(*e.items[:i], inner, *e.items[i + 1 :])
    return None


def _variants(e: Expression) -> Iterable[Expression]:
    """Rewritings of the outermost operator: protocol names taken into qualifiers, common terms taken out."""
    if isinstance(e, And):
        for item in e.items:
            if not (isinstance(item, Literal) and item.candidate.text in _PROTOCOLS):
                continue
            for other in e.items:
                merged = _qualified(item.candidate.text, other)
                if merged is not None:
                    yield both(*(merged if i is other else i for i in e.items if i is not item))
                    if item.candidate.text in ("ip", "ip6"):
                        yield both(*(merged if i is other else i for i in e.items))
    if isinstance(e, Or):
        common = [x for x in _terms(e.items[0]) if all(x in _terms(item) for item in e.items)]
        if common:
            yield both(*common, either(*(both(*(x for x in _terms(item) if x not in common)) for item in e.items)))
        for i, a in enumerate(e.items):
            for b in e.items[i + 1 :]:
                shared = [x for x in _terms(a) if x in _terms(b)]
                if shared and len(e.items) > 2:
                    inner = either(both(*(x for x in _terms(a) if x not in shared)), both(*(x for x in _terms(b) if x not in shared)))
                    yield either(*(both(*shared, inner) if item is a else item for item in e.items if item is not b))


def _together_negated(e: Expression) -> Expression:
    """`not a or not b` as `not (a and b)`."""
    if isinstance(e, Not):
        return opposite(_together_negated(e.item))
    if isinstance(e, (And, Or)):
        items = [_together_negated(item) for item in e.items]
        if isinstance(e, Or) and all(isinstance(item, Not) for item in items):
            return Not(both(*(opposite(item) for item in items)))
        return (both if isinstance(e, And) else either)(*items)
    return e


def _directed(e: Expression, others: Sequence[Expression]) -> Iterable[Expression]:
    """A host or port without a direction, with the one that another term of its kind leaves."""
    if not isinstance(e, Literal) or not e.candidate.value:
        return
    words = e.candidate.prefix.split()
    if words[-1] not in ("host", "net", "port", "portrange") or {"src", "dst"} & set(words) or words[0] == "ether":
        return
    kind = {"net": "host", "portrange": "port"}.get(words[-1], words[-1])
    for mine, other in (("src", "dst"), ("dst", "src")):
        for item in others:
            if isinstance(item, Literal) and item is not e and item.candidate.value:
                theirs = item.candidate.prefix.split()
                if other in theirs and {"net": "host", "portrange": "port"}.get(theirs[-1], theirs[-1]) == kind:
                    c = e.candidate
                    yield Literal(Candidate(" ".join([*words[:-1], mine, words[-1]]), c.value, c.cost + 4))
                    break


def _terms(e: Expression) -> tuple[Expression, ...]:
    return e.items if isinstance(e, And) else (e,)


_PROTOCOLS = ("tcp", "udp", "sctp", "ip", "ip6", "arp", "rarp")


def _qualified(protocol: str, e: Expression) -> Expression | None:
    """`e` with a protocol in front of its qualifiers; None where that makes no sense."""
    if isinstance(e, Literal):
        first = e.candidate.prefix.split()[0]
        last = e.candidate.prefix.split()[-1]
        if not e.candidate.value or first in _PROTOCOLS or last not in ("host", "net", "port", "portrange"):
            return None
        if (last in ("port", "portrange")) != (protocol in ("tcp", "udp", "sctp")):
            return None
        c = e.candidate
        return Literal(Candidate(f"{protocol} {c.prefix}", c.value, c.cost + len(protocol) + 1))
    if isinstance(e, (Or, And)):
        parts = [_qualified(protocol, item) for item in e.items]
        if all(part is not None for part in parts):
            return type(e)(tuple(part for part in parts if part is not None))
    if isinstance(e, Not):
        part = _qualified(protocol, e.item)
        return None if part is None else Not(part)
    return None
