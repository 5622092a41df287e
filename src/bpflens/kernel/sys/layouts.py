"""Structures of the user interface packed and unpacked by the names of their members (uapi.py)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter

from bpflens.kernel.sys.uapi import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Record",)

_ZERO: dict[str, Any] = {"s": b""}


class Record:
    """A structure: `size` in bytes, rounded up to 8; `pack(name=value, ...)` with members left out zero; `unpack(raw)` by name."""

    __slots__ = ("_names", "_struct", "_zeros", "offsets", "size")

    def __init__(self, layout: Layout) -> None:
        form, end = "=", 0
        for at, member in layout.values():
            form += "x" * (at - end) + member
            end = at + struct.calcsize("=" + member)
        self._struct = struct.Struct(form + "x" * (-end % 8))
        self._names = tuple(layout)
        self._zeros = {name: _ZERO.get(member[-1], 0) for name, (_, member) in layout.items()}
        self.offsets = {name: at for name, (at, _) in layout.items()}
        self.size = self._struct.size

    def pack(self, **values: Any) -> bytes:
        """The bytes of the structure."""
        return self._struct.pack(*{**self._zeros, **values}.values())

    def unpack(self, raw: bytes) -> dict[str, Any]:
        """The members of the first `size` bytes; strings as bytes."""
        return dict(zip(self._names, self._struct.unpack_from(raw), strict=True))

    def getter(self, names: Sequence[str]) -> Callable[[bytes], tuple[Any, ...]]:
        """A function from the bytes to these members in this order; for thousands of structures."""
        pick, unpack = itemgetter(*map(self._names.index, names)), self._struct.unpack_from
        return lambda raw: pick(unpack(raw))
