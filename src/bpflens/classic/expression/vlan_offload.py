"""Filters that also look at VLAN tags which the kernel has taken off the frame: libpcap's code for a live capture on Linux.

    vlan_tag_present = 1 and vlan_tag & 0xfff = 100, or a tag in the frame with that number   ──►   vlan 100

Such code is `vlan 100 ...` twice: for frames that still have their tag (what libpcap compiles for a file, proved as usual), and for frames
whose tag is only in the packet's metadata, where `vlan 100` tests that and moves no offsets. Both halves are compared as diagrams.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.classic.diagrams.condition import member
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.nodes import FALSE
from bpflens.classic.diagrams.term import Load, mask
from bpflens.classic.expression.candidates.candidate import Test
from bpflens.classic.expression.find import Compiler, Found, find
from bpflens.classic.expression.tree import TRUTH, And, Expression, Literal, Not, Or, Within, text
from bpflens.isa.classic.table import Ad

__all__ = ("find_vlan", "looks_at_stripped_tags")

_TAG = Load(Base("ancillary"), 4 * Ad.VLAN_TAG + 2, 2)
_PRESENT = Load(Base("ancillary"), 4 * Ad.VLAN_TAG_PRESENT + 3, 1)


def looks_at_stripped_tags(tests: Iterable[Test]) -> bool:
    """Whether a program tests SKF_AD_VLAN_TAG_PRESENT."""
    return any(test.a == _PRESENT for test in tests)


def find_vlan(compiler: Compiler, node: int, universe: int, tests: list[Test], deadline: float) -> Found | None:
    """The expression whose code for a live capture has the diagram `node` where `universe` holds; None where there is none."""
    store = compiler.store
    in_frame = store.conj(universe, member(store, _PRESENT, ((0, 0),)))
    stripped = store.conj(universe, member(store, _PRESENT, ((1, 1),)))
    lower, upper = store.conj(node, in_frame), store.disj(node, store.negate(in_frame))
    absent = store.restrict(node, store.variable(_PRESENT.base, _PRESENT.offset), 0)
    found = find(compiler, store.conj(absent, universe), store.disj(absent, store.negate(universe)), tests, deadline)
    if found is None or not store.implies(lower, found.node) or not store.implies(store.conj(found.node, in_frame), upper):
        return None
    other = _stripped_node(found.expression, compiler)
    if other is None or store.conj(other, stripped) != store.conj(node, stripped):
        return None
    return found


def _stripped_node(e: Expression, compiler: Compiler) -> int | None:
    """What an expression means for frames whose outermost tag is in the metadata."""
    store = compiler.store
    if isinstance(e, Within):
        keyword, *further = e.keyword.split(" and ")
        tag = _tag_node(store, keyword)
        inner = e.inner if not further else Within(" and ".join(further), e.join, e.inner)
        rest = TRUTH_NODE if inner == TRUTH else compiler.node(text(inner))
        if tag is None or rest is None or e.join != "and":
            return None
        return store.conj(tag, rest)
    if isinstance(e, Literal):
        if e.candidate.text.split()[0] == "vlan":
            return _tag_node(store, e.candidate.text)
        return compiler.node(text(e))
    if isinstance(e, Not):
        inner_node = _stripped_node(e.item, compiler)
        return None if inner_node is None else store.negate(inner_node)
    if isinstance(e, (And, Or)):
        nodes = [_stripped_node(item, compiler) for item in e.items]
        if any(n is None for n in nodes):
            return None
        result = TRUTH_NODE if isinstance(e, And) else FALSE
        for n in nodes:
            assert n is not None
            result = store.conj(result, n) if isinstance(e, And) else store.disj(result, n)
        return result
    return TRUTH_NODE if e.value else FALSE


TRUTH_NODE = ~1


def _tag_node(store: Store, keyword: str) -> int | None:
    """`vlan` or `vlan 100` on the metadata."""
    word, _, number = keyword.partition(" ")
    if word != "vlan":
        return None
    if not number:
        return member(store, _PRESENT, ((1, 1),))
    value = int(number)
    return store.conj(member(store, _PRESENT, ((1, 1),)), member(store, mask(_TAG, 0xFFF), ((value, value),)))
