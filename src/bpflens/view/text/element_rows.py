"""Elements of plain maps written by the thousand: types become templates once, and batches go through them.

    key u32, value struct { u64 packets; u64 bytes; }
    ──►  layouts "I" and "QQ"     text "%d = { .packets = %d, .bytes = %d }"     JSON {"key": %d, "value": {"packets": %d, "bytes": %d} ...

What has no simple template (texts, unions, bitfields, prefixes) is one value that the plain way makes. The lines are those of
view/text/map.py and records/map.py, which the tests compare.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.values import to_text
from bpflens.isa.extended.uapi import MapType
from bpflens.maps.parts import types_of
from bpflens.maps.readable import Reader, readable
from bpflens.program import Map
from bpflens.view.style.moments import is_point
from bpflens.view.style.printable import printable

__all__ = ("Rows", "rows_of")

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SIGNED = 1
_PLAIN_MAPS = frozenset({MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.LPM_TRIE})
_AT_ONCE = 4096  # lines
Convert = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class _Part:
    """A struct layout, how its values are written as text and as JSON, and what is done to each first (None: nothing)."""

    layout: str
    text: str
    json: str
    to_text: tuple[Convert, ...]
    to_json: tuple[Convert, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Writes elements of one map."""

    map: Map
    key: _Part
    value: _Part

    def text(self, keys: bytes, values: bytes) -> Iterator[str]:
        """Pieces of lines "KEY = VALUE", each with its line feed."""
        template = f"{self.key.text} = {self.value.text}\n"
        for size, first in _pieces(len(keys) // self.map.key_size):
            columns = (*_columns(self.key, self.key.to_text, keys, self.map.key_size, first, size),
                       *_columns(self.value, self.value.to_text, values, self.map.value_size, first, size))  # fmt: skip
            yield _written(template, columns, size)

    def json(self, keys: bytes, values: bytes) -> Iterator[str]:
        """Pieces of JSON Lines, map-element/1."""
        head = f'{{"schema": "map-element/1", "map": {self.map.id}, "key": '
        template = f'{head}{self.key.json}, "value": {self.value.json}, "sum": null, "raw_key": "%s", "raw_value": "%s"}}\n'
        for size, first in _pieces(len(keys) // self.map.key_size):
            columns = (*_columns(self.key, self.key.to_json, keys, self.map.key_size, first, size),
                       *_columns(self.value, self.value.to_json, values, self.map.value_size, first, size),
                       _hex(keys, self.map.key_size, first, size), _hex(values, self.map.value_size, first, size))  # fmt: skip
            yield _written(template, columns, size)


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    """(number of elements, the first of them)."""
    return ((min(_AT_ONCE, count - first), first) for first in range(0, count, _AT_ONCE))


def _columns(part: _Part, converts: Sequence[Convert], data: bytes, each: int, first: int, count: int) -> Iterator[Sequence[Any]]:
    """The values of a part, one column after the other."""
    flat = _struct(part.layout, count).unpack_from(data, first * each)
    for at, convert in enumerate(converts):
        column = flat[at :: len(converts)]
        yield column if convert is None else list(map(convert, column))


def _written(template: str, columns: Sequence[Sequence[Any]], count: int) -> str:
    """One formatting for all lines: a call for each would cost twice as much."""
    values: list[Any] = [None] * (len(columns) * count)
    for at, column in enumerate(columns):
        values[at :: len(columns)] = column
    return (template * count) % tuple(values)


def _hex(data: bytes, each: int, first: int, count: int) -> list[str]:
    digits = data[first * each : (first + count) * each].hex()
    return [digits[at : at + 2 * each] for at in range(0, len(digits), 2 * each)]


@lru_cache(maxsize=8)
def _struct(layout: str, count: int) -> struct.Struct:
    return struct.Struct("<" + layout * count)


def rows_of(map: Map, json_lines: bool) -> Rows | None:
    """None for maps that need more than this: parts for each CPU, values that are objects, points in time."""
    if map.type not in _PLAIN_MAPS or not map.key_size or not map.value_size:
        return None
    btf = types_of(map)
    if btf is not None and btf.big_endian:
        return None
    if not json_lines and btf is not None and map.value_type_id and _has_point(btf, map.value_type_id, 0):
        return None
    key = _part(btf, map.key_type_id, map.key_size, map.type == MapType.LPM_TRIE)
    return Rows(map, key, _part(btf, map.value_type_id, map.value_size))


def _part(btf: Btf | None, type_id: int, size: int, lpm: bool = False) -> _Part:
    if btf is None or not type_id:
        if size in _CODES:
            return _Part(_CODES[size], "%d", "%d", (None,), (None,))
        return _Part(f"{size}s", "%s", '"%s"', (bytes.hex,), (bytes.hex,))
    if not lpm and btf.size(type_id) == size and (found := _typed(btf, type_id, "", 0)) is not None:
        return found
    reader = Reader(btf, type_id, lpm)

    def text(raw: bytes) -> str:
        value = readable(btf, type_id, raw, reader)
        return printable(value if isinstance(value, str) else to_text(value))

    return _Part(f"{size}s", "%s", "%s", (text,), (lambda raw: json.dumps(readable(btf, type_id, raw, reader)),))


def _typed(btf: Btf, type_id: int, name: str, depth: int) -> _Part | None:
    """The part of a number, or of a structure of parts; None for what the whole value has to be decoded for."""
    id = btf.skip_modifiers(type_id)
    kind, size = btf.kind(id), btf.size(id)
    form = Reader(btf, type_id, name=name)._form(type_id, name)
    if form == "ipv4":
        return _Part("4B", '"%d.%d.%d.%d"', '"%d.%d.%d.%d"', (None,) * 4, (None,) * 4)
    if kind is Kind.INT and not form and size in _CODES:
        encoding, offset, bits = btf.int_encoding(id)
        if encoding & ~_SIGNED == 0 and not offset and bits == 8 * size:
            code = _CODES[size].lower() if encoding & _SIGNED else _CODES[size]
            return _Part(code, "%d", "%d", (None,), (None,))
    if kind is Kind.STRUCT and not form and 0 < depth + 1 < 8:
        return _structure(btf, id, depth)
    return _whole(btf, type_id, name, size) if depth else None


def _structure(btf: Btf, id: int, depth: int) -> _Part | None:
    layout, texts, jsons, to_texts, to_jsons, at, names = "", [], [], list[Convert](), list[Convert](), 0, set[str]()
    for member in btf.members(id):
        start = member.bit_off // 8
        if member.bit_size or member.bit_off % 8 or not member.name or member.name in names or start < at:
            return None
        part = _typed(btf, member.type_id, member.name, depth + 1)
        if part is None:
            return None
        names.add(member.name)
        layout += f"{start - at}x" * (start > at) + part.layout
        texts.append(f".{member.name} = {part.text}")
        jsons.append(f'"{member.name}": {part.json}')
        to_texts += part.to_text
        to_jsons += part.to_json
        at = start + btf.size(member.type_id)
    if not texts or at > btf.size(id):
        return None
    layout += f"{btf.size(id) - at}x" * (btf.size(id) > at)
    return _Part(layout, "{ " + ", ".join(texts) + " }", "{" + ", ".join(jsons) + "}", tuple(to_texts), tuple(to_jsons))


def _whole(btf: Btf, type_id: int, name: str, size: int) -> _Part:
    """A member that is decoded the plain way."""
    reader = Reader(btf, type_id, name=name)
    if size <= 0:
        return _Part("0s", "%s", "%s", (lambda raw: to_text(reader.value(raw)),), (lambda raw: json.dumps(reader.value(raw)),))
    return _Part(
        f"{size}s", "%s", "%s", (lambda raw: printable(to_text(reader.value(raw))),), (lambda raw: json.dumps(reader.value(raw)),)
    )


def _has_point(btf: Btf, type_id: int, depth: int) -> bool:
    id = btf.skip_modifiers(type_id)
    if depth > 8 or btf.kind(id) not in (Kind.STRUCT, Kind.UNION):
        return False
    return any(is_point(member.name) or _has_point(btf, member.type_id, depth + 1) for member in btf.members(id))
