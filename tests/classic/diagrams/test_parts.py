"""The pieces of diagrams one by one: operations, link types and value sets, liveness; each against a slow plain model."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.condition import test as condition
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import PACKET, header_base, layout_of, linktype_name, pieces
from bpflens.classic.diagrams.liveness import liveness
from bpflens.classic.diagrams.nodes import FALSE, TRUE, terminal
from bpflens.classic.diagrams.operations import Operations
from bpflens.classic.diagrams.term import Load, Op, a_term, header_length_of

# --- operations ---

VALUES = (0, 1, 7, 8, 255)
PLACES = (0, 1, 2)
Formula = Callable[[tuple[int, ...]], bool]


@st.composite
def functions(draw: st.DrawFn, store: Operations) -> tuple[int, Formula]:
    """A diagram over three bytes, and the same as a plain function."""
    kind = draw(st.sampled_from(["range", "range", "and", "or", "not", "constant"]))
    if kind == "constant":
        value = draw(st.booleans())
        return (TRUE if value else FALSE), lambda _: value
    if kind == "range":
        place = draw(st.sampled_from(PLACES))
        low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
        return store.intervals(store.variable(PACKET, place), ((low, high),)), lambda p: low <= p[place] <= high
    one, first = draw(functions(store))
    if kind == "not":
        return store.negate(one), lambda p: not first(p)
    two, second = draw(functions(store))
    if kind == "and":
        return store.conj(one, two), lambda p: first(p) and second(p)
    return store.disj(one, two), lambda p: first(p) or second(p)


POINTS = list(itertools.product(range(0, 256, 85), VALUES, (0, 100, 255)))


@settings(max_examples=30)
@given(st.data())
def test_operations_are_those_of_logic(data: st.DataObject) -> None:
    """On sampled packets; one function is one node, and implication and disjointness are what they say."""
    store = Store()
    (a, f), (b, g), (c, h) = (data.draw(functions(store)) for _ in range(3))
    results: list[tuple[int, Formula]] = [
        (store.conj(a, b), lambda p: f(p) and g(p)),
        (store.disj(a, b), lambda p: f(p) or g(p)),
        (store.diff(a, b), lambda p: f(p) and not g(p)),
        (store.negate(a), lambda p: not f(p)),
        (store.ite(c, a, b), lambda p: f(p) if h(p) else g(p)),
        (store.any((a, b, c)), lambda p: f(p) or g(p) or h(p)),
    ]
    for packet in POINTS:
        for node, formula in results:
            assert store.evaluate(node, lambda field, packet=packet: packet[field.offset]) == formula(packet)
    assert store.negate(store.negate(a)) == a and store.conj(a, b) == store.conj(b, a)
    assert store.conj(a, store.disj(b, c)) == store.disj(store.conj(a, b), store.conj(a, c))
    assert store.implies(a, b) is (store.diff(a, b) == FALSE)
    assert store.disjoint(a, b) is (store.conj(a, b) == FALSE)


def test_choices_may_have_any_terminals() -> None:
    store = Store()
    low = store.intervals(store.variable(PACKET, 0), ((0, 9),))
    chosen = store.ite(low, terminal(5), terminal(7))
    assert [store.evaluate(chosen, lambda _, value=value: value) for value in (0, 9, 10)] == [5, 5, 7]
    assert store.where(chosen, 7) == store.negate(low) and store.where(chosen, 6) == FALSE
    assert store.any(()) == FALSE


# --- linktypes ---


def test_layouts() -> None:
    assert [linktype_name(name) for name in ("dlt_en10mb", "EN10MB", "raw")] == ["EN10MB", "EN10MB", "RAW"]
    assert [layout_of(name) for name in ("EN10MB", "LINUX_SLL", "IEEE802_11")] == [
        (14, 12, "ether"), (16, 14, "link"), (None, None, "link"),
    ]  # fmt: skip


def test_the_base_behind_an_ipv4_header() -> None:
    assert header_length_of(a_term(header_base(14).term)) == Load(PACKET, 14, 1)


def values_of(node: Callable[[Store], int], size: int, complements: bool = False) -> list[tuple[int, int]]:
    store = Store()
    return pieces(store, node(store), PACKET, 0, size, complements)


def is_in(store: Store, size: int, low: int, high: int) -> int:
    word = Load(PACKET, 0, size)
    return store.conj(condition(store, "jge", word, low), store.negate(condition(store, "jgt", word, high)))


@pytest.mark.parametrize("size", [1, 2, 4])
@settings(max_examples=30)
@given(st.data())
def test_value_sets_of_a_field(size: int, data: st.DataObject) -> None:
    """One range that holds less than half of the values is found as it is, whatever the bytes at its ends."""
    top = (1 << 8 * size) - 1
    low = data.draw(st.integers(1, top // 2))
    high = data.draw(st.integers(low, min(low + top // 4, top - 1)))
    assert values_of(lambda store: is_in(store, size, low, high), size) == [(low, high)]


def test_ranges_side_by_side() -> None:
    """Each of them, and the whole; with complements also what lies around."""

    def node(store: Store) -> int:
        first = store.conj(is_in(store, 1, 10, 19), condition(store, "jeq", Load(PACKET, 5, 1), 1))
        return store.disj(first, store.conj(is_in(store, 1, 20, 29), condition(store, "jeq", Load(PACKET, 5, 1), 2)))

    assert values_of(node, 1) == [(10, 19), (10, 29), (20, 29)]
    assert values_of(lambda store: is_in(store, 1, 10, 19), 1, True) == [(0, 9), (10, 19), (20, 255)]
    assert values_of(lambda store: condition(store, "jset", Load(PACKET, 0, 4), 0x55555555), 4) == []  # more parts than anybody lists


# --- liveness ---


@pytest.mark.parametrize(
    ("insns", "live"),
    [
        ([(6, 0, 0, 0)], (False, False, 0)),
        ([(0x16, 0, 0, 0)], (True, False, 0)),
        ([(0x0E, 0, 0, 0)], (False, True, 0)),
        ([(0x28, 0, 0, 12), (0x15, 0, 0, 5), (0x16, 0, 0, 0)], (False, False, 0)),
        ([(0x48, 0, 0, 0), (0x16, 0, 0, 0)], (False, True, 0)),
        ([(0x60, 0, 0, 3), (0x16, 0, 0, 0)], (False, False, 8)),
        ([(0x61, 0, 0, 2), (0x60, 0, 0, 3), (0x1C, 0, 0, 0), (0x16, 0, 0, 0)], (False, False, 12)),
        ([(2, 0, 0, 3), (0x60, 0, 0, 3), (0x16, 0, 0, 0)], (True, False, 0)),
        ([(2, 0, 0, 4), (6, 0, 0, 0)], (False, False, 0)),
        ([(7, 0, 0, 0), (0x87, 0, 0, 0), (0x16, 0, 0, 0)], (True, False, 0)),
        ([(0x0C, 0, 0, 0), (6, 0, 0, 0)], (False, False, 0)),
        ([(0x3C, 0, 0, 0), (6, 0, 0, 0)], (True, True, 0)),  # division by an X of 0 ends the program
        ([(0x15, 1, 0, 5), (6, 0, 0, 0), (0x0E, 0, 0, 0)], (True, True, 0)),
        ([(0x15, 0, 0, 5), (6, 0, 0, 0)], (False, False, 0)),  # both ways are one
        ([(0x1D, 1, 0, 0), (6, 0, 0, 0), (6, 0, 0, 1)], (True, True, 0)),
        ([(5, 0, 0, 1), (0x16, 0, 0, 0), (0x0E, 0, 0, 0)], (False, True, 0)),
        ([(0x20, 0, 0, 0xFFFFF000 + 40), (0x16, 0, 0, 0)], (True, True, 0)),  # SKF_AD_ALU_XOR_X
        ([(0x20, 0, 0, 0xFFFFF000 + 8), (6, 0, 0, 0)], (True, False, 0)),  # SKF_AD_IFINDEX returns A without a device
        ([(0x20, 0, 0, 0xFFFFF000 + 4), (0x16, 0, 0, 0)], (False, False, 0)),
        ([(0xB1, 0, 0, 14), (0x0E, 0, 0, 0)], (False, False, 0)),
    ],
)
def test_what_is_read_before_it_is_written(insns: list[tuple[int, int, int, int]], live: tuple[bool, bool, int]) -> None:
    """In front of the first instruction: A, X and the slots of M[]."""
    assert liveness(insns)[0] == live
    assert len(liveness(insns)) == len(insns) + 1


@settings(max_examples=20)
@given(st.sampled_from(["and", "or", "xor"]), st.integers(0, 255))
def test_a_mask_is_a_set_of_values(op: str, k: int) -> None:
    """A byte under an operation with a constant, compared with 0: for each of its values."""
    store = Store()
    node = condition(store, "jeq", Op(op, Load(PACKET, 0, 1), k), 0)
    for value in range(256):
        result = {"and": value & k, "or": value | k, "xor": value ^ k}[op]
        assert store.evaluate(node, lambda _, value=value: value) == (result == 0)
