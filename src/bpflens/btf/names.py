"""Types by name, found by searching bytes: of a vmlinux's 143,000 types only a few are ever asked for, so no table is made."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

__all__ = ("NameIndex", "string_offsets")


def string_offsets(data: bytes, start: int, end: int, name: str) -> Iterator[int]:
    """Where `name` starts in the string section data[start:end], also as the tail of a longer string."""
    wanted = name.encode() + b"\0"
    if len(wanted) == 1 or 0 in wanted[:-1]:
        return
    whole = data.find(b"\0" + wanted, start, end)
    if whole >= 0:
        yield whole + 1
        return  # writers keep each string once
    at = data.find(wanted, start, end)
    while at >= 0:
        yield at
        at = data.find(wanted, at + 1, end)


class NameIndex:
    """The name offset of each type of one blob, in the order of the types."""

    __slots__ = ("_names",)

    def __init__(self, words: array[int], positions: array[int]) -> None:
        self._names = array("I", map(words.__getitem__, positions)).tobytes() if words else b""

    def find(self, offsets: set[int]) -> list[int]:
        """Which types have one of these names, counted from the first, ascending."""
        if len(offsets) > 4:  # a tail that many strings share: one pass over all types
            named = array("I", self._names)
            return [index for index, offset in enumerate(named) if offset in offsets]
        return sorted(index for offset in offsets for index in self._named(offset))

    def _named(self, string_off: int) -> Iterator[int]:
        names, wanted = self._names, struct.pack("=I", string_off)
        at = names.find(wanted)
        while at >= 0:
            if at % 4 == 0:
                yield at // 4
            at = names.find(wanted, at // 4 * 4 + 4)
