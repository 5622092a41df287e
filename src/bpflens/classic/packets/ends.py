"""The whole fields of a packet that a filter tests, and the values that each may take while everything else stays as it is.

    filter: tcp dst portrange 1000-2000, a packet to port 1000   ──►   ether.type 0x0800, ip.proto 6, tcp.dport 1000..2000

A diagram tests bytes. All variables but those of one field are fixed to the packet's values; what is left is a diagram over that field
alone, and its ranges are the ends that matter: 1000 and 2000, not 1000 and 1023.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.diagrams.term import Load

__all__ = ("Span", "span_of", "spans")

_MOST_RANGES = 600


class Span(NamedTuple):
    """A field at byte `offset` of the packet, `size` bytes. `ranges`: all values that keep the return value, ascending; `value`: it now.

    `zero`: the ranges for which the filter returns 0.
    """

    offset: int
    size: int
    value: int
    ranges: tuple[tuple[int, int], ...]
    zero: tuple[tuple[int, int], ...]

    @property
    def around(self) -> tuple[int, int]:
        """The range that the value lies in."""
        return next(((low, high) for low, high in self.ranges if low <= self.value <= high), (self.value, self.value))

    @property
    def free(self) -> bool:
        """Whether any value would do."""
        return self.ranges == ((0, (1 << 8 * self.size) - 1),)


def spans(
    store: Store, node: int, loads: Iterable[Load], read: Callable[[Field], int | None], place: Callable[[Load], int | None], same: int
) -> list[Span]:
    """The fields that `loads` read, each with its ranges, in the order of the packet; those that are free are left out.

    `read` gives the value of a variable in the packet (None: unknown), `place` where a load lies in it (None: nowhere); `same` is the
    return value that counts as kept.
    """
    found: dict[tuple[int, int], Span] = {}
    for load in loads:
        offset = place(load)
        if offset is None or (offset, load.size) in found:
            continue
        span = span_of(store, node, load.base, load.offset, load.size, read, offset, same)
        if span is not None and not span.free:
            found[offset, span.size] = span
    return [found[key] for key in sorted(found) if not any(_inside(key, other) for other in found)]


def _inside(key: tuple[int, int], other: tuple[int, int]) -> bool:
    return key != other and other[0] <= key[0] and key[0] + key[1] <= other[0] + other[1]


def span_of(
    store: Store, node: int, base: Base, offset: int, size: int, read: Callable[[Field], int | None], at: int, same: int
) -> Span | None:
    """One field; None where something unknown decides, or it has too many ranges."""
    free = set(store.variables(Field(base, offset, 8 * size)))
    memo: dict[int, int] = {}

    def project(n: int) -> int:
        if n < 0:
            return n
        known = memo.get(n)
        if known is not None:
            return known
        variable = store.var[n]
        if variable in free:
            starts: list[int] = []
            kids: list[int] = []
            for start, kid in zip(store.starts[n], store.kids[n], strict=False):
                below = project(kid)
                if not kids or below != kids[-1]:
                    starts.append(start)
                    kids.append(below)
            result = store.node(variable, starts, kids)
        else:
            value = read(store.field_of(variable))
            if value is None:
                raise _Unknown
            result = project(store.kids[n][bisect_right(store.starts[n], value) - 1])
        memo[n] = result
        return result

    try:
        left = project(node)
        pieces = store.split(left, Field(base, offset, 8 * size))
    except (_Unknown, TooComplex):
        return None
    if len(pieces) > _MOST_RANGES:
        return None
    value = 0
    for i in range(size):
        byte = read(Field(base, offset + i, 8))
        if byte is None:
            return None
        value = value << 8 | byte
    kept = tuple((low, high) for low, high, rest in pieces if rest < 0 and ~rest == same)
    zero = tuple((low, high) for low, high, rest in pieces if rest == ~0)
    while size > 1 and all(low & 255 == 0 and high & 255 == 255 for low, high in (*kept, *zero)):  # the last byte is free
        size, value = size - 1, value >> 8
        kept, zero = (tuple((low >> 8, high >> 8) for low, high in ranges) for ranges in (kept, zero))
    return Span(at, size, value, kept, zero) if kept else None


class _Unknown(Exception):
    """A variable has no value here."""
