"""Dominators against their definition, on random graphs, reducible or not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.decompile.ir import Block
from bpflens.decompile.structure.graph import dominators


def graph(edges):
    blocks = {0: Block(0, 0)}
    for a, b in edges:
        for id in (a, b):
            blocks.setdefault(id, Block(id, id))
        if b not in blocks[a].successors:
            blocks[a].successors.append(b)
    seen, pending = {0}, [0]
    while pending:
        for next in blocks[pending.pop()].successors:
            if next not in seen:
                seen.add(next)
                pending.append(next)
    blocks = {id: block for id, block in blocks.items() if id in seen}
    for id, block in blocks.items():
        for next in block.successors:
            blocks[next].predecessors.append(id)
    return blocks


def reaches(blocks, without):
    seen, pending = set(), [0] if without != 0 else []
    while pending:
        id = pending.pop()
        if id not in seen and id != without:
            seen.add(id)
            pending += blocks[id].successors
    return seen


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 11)), max_size=30))
def test_a_dominates_b_if_b_is_unreachable_without_a(edges):
    blocks = graph(edges)
    tree = dominators(blocks, 0)
    for a in blocks:
        left = reaches(blocks, a)
        for b in blocks:
            assert tree.dominates(a, b) == (a == b or b not in left), (a, b)
