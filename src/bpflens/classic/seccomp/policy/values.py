"""Which values of a 64-bit argument a seccomp policy tells apart: sets of values, in a form that can be said.

    bytes of args[0]: low word & 0x7e020000 == 0   ──►   Values(mask=0x7e020000, ranges=((0, 0),))
    high word == 0 and low word == 40, negated     ──►   Values(mask=2^64-1, ranges=((40, 40),), negated=True)

A policy's diagram tests the arguments in their order, so what remains below the last byte of one argument is a case of its own, and the
paths that lead there are the set of values for which it holds (`cases`). The set is said as ranges, or as a mask and the values under it:
the bits of the mask are those on which the set depends. Both are checked by building the diagram of what is said and comparing nodes.
"""

from __future__ import annotations

from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex

__all__ = ("DATA", "Place", "Values", "cases", "describe")

DATA = Base("data")
FULL = (1 << 64) - 1
LOW = (1 << 32) - 1
_MOST_RANGES = 64
_FEW_RANGES = 8
_MOST_MASK_BITS = 12


class Place(NamedTuple):
    """Where 8 bytes of struct seccomp_data lie: byte offsets of the low and the high 32-bit word (they swap with the byte order)."""

    low: int
    high: int

    @classmethod
    def of(cls, offset: int, big_endian: bool) -> Place:
        """The place of the 64-bit member at `offset`."""
        return cls(offset + 4, offset) if big_endian else cls(offset, offset + 4)

    @property
    def end(self) -> int:
        """One past the last byte."""
        return max(self) + 4


class Values(NamedTuple):
    """The 64-bit values v with v & mask in `ranges` (inclusive), or not in them where `negated`.

    `ranges` is None where the set has no short form; `example` is a member then.
    """

    mask: int
    ranges: tuple[tuple[int, int], ...] | None
    negated: bool = False
    example: int = 0

    def holds(self, value: int) -> bool | None:
        """Whether a value is in the set, None where the set has no short form."""
        if self.ranges is None:
            return None
        return any(low <= value & self.mask <= high for low, high in self.ranges) != self.negated


ALL = Values(0, ((0, 0),))


def cases(store: Store, node: int, place: Place) -> list[tuple[int, int]]:
    """[(what remains, TRUE/FALSE diagram of the values for which it does)]; one entry where the argument does not matter."""
    limit = store.variable(DATA, place.end - 1)
    frontier: dict[int, None] = {}
    seen: set[int] = set()
    stack = [node]
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n < 0 or store.var[n] > limit:
            frontier[n] = None
        else:
            stack.extend(reversed(store.kids[n]))
    return [(rest, _select(store, node, limit, rest)) for rest in frontier]


def _select(store: Store, node: int, limit: int, wanted: int) -> int:
    memo: dict[int, int] = {}

    def walk(n: int) -> int:
        if n < 0 or store.var[n] > limit:
            return TRUE if n == wanted else FALSE
        found = memo.get(n)
        if found is None:
            starts: list[int] = []
            kids: list[int] = []
            for start, kid in zip(store.starts[n], store.kids[n], strict=False):
                r = walk(kid)
                if not kids or r != kids[-1]:
                    starts.append(start)
                    kids.append(r)
            found = memo[n] = store.node(store.var[n], starts, kids)
        return found

    return walk(node)


def describe(store: Store, node: int, place: Place) -> list[tuple[Values, ...]]:
    """The set of a TRUE/FALSE diagram over the bytes at `place`: alternatives that exclude each other, each a conjunction.

    Nearly always one of one; where the two words are tested apart, each alternative has a set for the high and one for the low word.
    """
    single = _describe(store, node, place)
    if single.ranges is not None:
        return [(single,)]
    products = _products(store, node, place)
    return products or [(single,)]


def _products(store: Store, node: int, place: Place) -> list[tuple[Values, ...]]:
    """The set as disjoint products of a set of high words and a set of low words; empty where these are many or have no short form."""
    try:
        uppers = store.split(node, Field(DATA, place.high, 32))
    except TooComplex:
        return []
    products: list[tuple[Values, ...]] = []
    for rest in dict.fromkeys(rest for _, _, rest in uppers if rest != FALSE):
        spans = [(first << 32, last << 32) for first, last, other in uppers if other == rest]
        high = _shorter(FULL ^ LOW, spans)
        low = _describe(store, rest, place)
        if low.ranges is None or len(spans) > _FEW_RANGES or len(products) == _FEW_RANGES:
            return []
        products.append((high,) if low == ALL else (high, low))
    return products


def _describe(store: Store, node: int, place: Place) -> Values:
    """One set for the whole argument; its `ranges` are None where it has no short form."""
    if node == TRUE:
        return ALL
    mask = _mask(store, node, place)
    words = (LOW if mask & LOW else 0) | (FULL ^ LOW if mask >> 32 else 0)
    ranges = _ranges(store, node, place, words)
    shortest = _shorter(words, ranges) if ranges is not None else None
    if shortest is not None and len(shortest.ranges or ()) == 1:
        return shortest
    masked = _one_value_masked(store, node, place, mask)
    if masked is not None:
        return masked
    if shortest is not None and len(shortest.ranges or ()) <= _FEW_RANGES:
        return shortest
    masked = _values_masked(store, node, place, mask)
    return masked or shortest or Values(words, None, example=_member(store, node, place))


def _shorter(mask: int, ranges: list[tuple[int, int]]) -> Values:
    """The ranges, or what lies between them."""
    unit = mask & -mask
    gaps, start = [], 0
    for low, high in ranges:
        if low > start:
            gaps.append((start, low - unit))
        start = high + unit
    if start <= mask:
        gaps.append((start, mask))
    return Values(mask, tuple(gaps), True) if _cost(gaps, mask) < _cost(ranges, mask) else Values(mask, tuple(ranges))


def _cost(ranges: list[tuple[int, int]], mask: int) -> int:
    """How much there is to say: a value or a half-open range is one thing, a range with two ends two."""
    return sum(1 if low == high or low == 0 or high == mask else 2 for low, high in ranges)


def _ranges(store: Store, node: int, place: Place, words: int) -> list[tuple[int, int]] | None:
    """The set as ranges; None where there are too many of them."""
    joined: list[tuple[int, int]] = []
    try:
        uppers = store.split(node, Field(DATA, place.high, 32)) if words >> 32 else [(0, 0, node)]
        for first, last, rest in uppers:
            if rest == FALSE:
                continue
            lowers = [(0, LOW, TRUE)] if rest == TRUE else store.split(rest, Field(DATA, place.low, 32))
            if words & LOW == 0:
                lowers = [(0, 0, TRUE)]
            whole = len(lowers) == 1
            if not whole and last - first > _MOST_RANGES:
                return None
            for upper in [first] if whole else range(first, last + 1):
                for low, high, value in lowers:
                    if value != TRUE:
                        continue
                    start, end = upper << 32 | low, (last if whole else upper) << 32 | high
                    unit = 1 if words & LOW else 1 << 32
                    if joined and joined[-1][1] + unit == start:
                        joined[-1] = (joined[-1][0], end)
                    else:
                        joined.append((start, end))
                    if len(joined) > _MOST_RANGES:
                        return None
    except TooComplex:
        return None
    return joined


def _bytes(store: Store, place: Place) -> list[tuple[int, int]]:
    """(variable, shift in the 64-bit value) of the 8 bytes."""
    return [(store.variable(DATA, place.low + i), 24 - 8 * i) for i in range(4)] + [
        (store.variable(DATA, place.high + i), 56 - 8 * i) for i in range(4)
    ]


def _mask(store: Store, node: int, place: Place) -> int:
    """The bits on which the set depends: those that make a difference at some node."""
    shifts = dict(_bytes(store, place))
    mask = 0
    for n in store.reachable(node):
        shift = shifts[store.var[n]]
        table: list[int] = []
        for start, end, kid in zip(store.starts[n], store.starts[n][1:], store.kids[n], strict=False):
            table += [kid] * (min(end, 256) - start)
        for bit in range(8):
            if not mask >> shift + bit & 1 and any(table[value] != table[value ^ 1 << bit] for value in range(256)):
                mask |= 1 << shift + bit
    return mask


def _member(store: Store, node: int, place: Place) -> int:
    """One value of the set (which is not empty)."""
    path = store.path_to(node, bool) or {}
    return sum(path[variable][0] << shift for variable, shift in _bytes(store, place) if variable in path)


def _equals(store: Store, place: Place, mask: int, value: int) -> int:
    """The diagram of v & mask == value."""
    node = TRUE
    for variable, shift in sorted(_bytes(store, place), reverse=True):
        bits, wanted = mask >> shift & 255, value >> shift & 255
        if bits:
            node = store.conj(store.byte_table(variable, [TRUE if v & bits == wanted else FALSE for v in range(256)]), node)
    return node


def _one_value_masked(store: Store, node: int, place: Place, mask: int) -> Values | None:
    """v & mask == value, or !=, if that is the set."""
    inside = _member(store, node, place) & mask
    if _equals(store, place, mask, inside) == node:
        return Values(mask, ((0, 0),), True) if inside == mask and mask & mask - 1 == 0 else Values(mask, ((inside, inside),))
    opposite = store.negate(node)
    outside = _member(store, opposite, place) & mask
    if _equals(store, place, mask, outside) == opposite:
        return Values(mask, ((outside, outside),), True)
    return None


def _values_masked(store: Store, node: int, place: Place, mask: int) -> Values | None:
    """v & mask in a set of values, where the mask has few bits."""
    if mask.bit_count() > _MOST_MASK_BITS:
        return None
    members: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    value = 0
    while True:  # every value that has only bits of the mask, ascending
        byte_of = {variable: value >> shift & 255 for variable, shift in _bytes(store, place)}
        (members if store.evaluate_variables(node, byte_of) else others).append((value, value))
        value = (value - mask) & mask
        if not value:
            break
    chosen, negated = (others, True) if len(others) < len(members) else (members, False)
    return Values(mask, tuple(chosen), negated) if len(chosen) <= _MOST_RANGES else None
