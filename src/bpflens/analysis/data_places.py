"""What stands at a byte of a map of global data: the variable, the section, the string.

    Places(rodata).place(4)     ──►  'fmt in .rodata "hello %d\\n"'
    Places(rodata).string(4)    ──►  '"hello %d\\n"'
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from bpflens.errors import BpflensError
from bpflens.isa.extended.uapi import MapType
from bpflens.program import Map

__all__ = ("Places", "quoted")

_SHOWN_STRING = 72
_LOOKED_AT = 256
_CACHED = 1 << 12
_PLAIN = re.compile(rb'([ !#-[\]-~]{1,71})(\n?)\0').match  # the usual string, which is quoted as it is, and its end of a line


class Places:
    """The bytes of one map, which many slots of a program refer to; each string is worked out once."""

    def __init__(self, m: Map) -> None:
        self.map = m
        self._starts = sorted(m.datasec)
        name, dot, section = m.name.partition(".")
        self.section = f".{section}" if dot and name else m.name  # of a map that libbpf named "obj.rodata"
        self._data = _constant_data(m)
        self._strings: dict[int, str | None] = {}
        constants = _CONSTANTS.search(m.name)
        self._entry = int(constants[1]) if constants else 0  # bytes of each constant, where the section holds nothing else

    def place(self, offset: int) -> str:
        """A byte in words: the variable with its section, and the string that stands there."""
        return self.place_and_string(offset)[0]

    def place_and_string(self, offset: int) -> tuple[str, str | None]:
        """As `place` and as `string`."""
        where = ""
        is_text = True
        index = bisect_right(self._starts, offset) - 1
        if index >= 0:
            start = self._starts[index]
            name, size, declaration = self.map.datasec[start]
            if offset == start:
                where = f"{name} in {self.section}" if name else ""
                is_text = "char" in declaration
            elif offset < start + size:
                where = f"{name}+{offset - start} in {self.section}"
                is_text = "char" in declaration
        if not where:
            where = f"{self.section}+{offset:#x}"
        if self._data is None:
            return where, None
        text = self._quoted(offset)
        return (f"{where} {text}" if text and is_text else where), text

    def string(self, offset: int) -> str | None:
        """The printable NUL-terminated string at a byte of constant data, quoted, or None."""
        if self._data is None:
            return None
        try:
            return self._strings[offset]
        except KeyError:
            text = self._quoted(offset)
            if len(self._strings) >= _CACHED:
                self._strings.clear()
            self._strings[offset] = text
            return text

    def _quoted(self, offset: int) -> str | None:
        assert self._data is not None
        if not 0 <= offset < len(self._data):
            return None
        if self._entry:
            return quoted_constant(self._data[offset : offset - offset % self._entry + self._entry])
        plain = _PLAIN(self._data, offset)
        if plain is None:
            return quoted(self._data[offset : offset + _LOOKED_AT])
        text, end = plain.groups()
        return f'"{text.decode()}\\n"' if end else f'"{text.decode()}"'


def quoted_constant(raw: bytes) -> str | None:
    """A constant of `.rodata.cst16` and its like as text: a piece of a string that the compiler has cut needs no zero at its end."""
    text = raw.rstrip(b"\0")
    return quoted(text + b"\0") if len(text) >= _LEAST and 0 not in text else None


def quoted(raw: bytes) -> str | None:
    """The NUL-terminated string at the start of some bytes, as C would have it; None where there is none that can be printed."""
    end = raw.find(0)
    if end < 1:
        return None
    try:
        text = raw[:end].decode()
    except UnicodeDecodeError:
        return None
    if not text.isprintable() and not text.replace("\n", "").replace("\t", "").isprintable():
        return None
    shown = text if len(text) <= _SHOWN_STRING else text[:_SHOWN_STRING] + "..."
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


_LEAST = 4
_CONSTANTS = re.compile(r"\.cst(4|8|16|32|64)\Z")  # of mergeable sections of constants


def _constant_data(m: Map) -> bytes | None:
    """The value of a map of constants: from the object, or of a frozen array of the running kernel."""
    if m.data is not None or m.type != MapType.ARRAY or m.id is None or not m.fields.get("frozen"):
        return m.data if "rodata" in m.name else None
    return _live_value(m.id)


@lru_cache(maxsize=16)
def _live_value(map_id: int) -> bytes | None:
    from bpflens.kernel.maps.map_data import lookup
    from bpflens.kernel.maps.maps import open_map

    try:
        with open_map(map_id) as fd:
            return lookup(fd, bytes(4))
    except BpflensError:
        return None  # a note less
