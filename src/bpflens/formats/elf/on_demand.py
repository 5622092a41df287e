"""Sequences whose items are made when they are asked for: an object of a million instructions has a hundred thousand lines and
relocations, and most readers want few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, overload

    Item_co = TypeVar("Item_co", covariant=True)

__all__ = ("OnDemand",)


class OnDemand(Sequence["Item_co"]):
    """A sequence by its length and `item`; equal to any sequence of equal items."""

    __slots__ = ()

    def item(self, index: int) -> Item_co:
        """The item at an index from 0 to the length."""
        raise NotImplementedError

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Item_co: ...
        @overload
        def __getitem__(self, index: slice) -> tuple[Item_co, ...]: ...

    def __getitem__(self, index: int | slice) -> Item_co | tuple[Item_co, ...]:
        length = len(self)
        if isinstance(index, slice):
            return tuple(map(self.item, range(*index.indices(length))))
        if not -length <= index < length:
            raise IndexError(index)
        return self.item(index % length)

    def __iter__(self) -> Iterator[Item_co]:
        return map(self.item, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return repr(tuple(self))
