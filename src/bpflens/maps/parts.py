"""An element of a map and its parts, `key`, `value.peer`, `value[2]`: what they are, and where they stand in its bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.values import Value
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import frozen
from bpflens.program import Map

__all__ = ("Element", "bytes_of", "field_of", "types_of")

_DIGITS = 20  # of an index


def _is_index(text: str) -> bool:
    return text.isdigit() and len(text) < _DIGITS


@frozen
class Element:
    """One element. `value` of a per-cpu map is a list with an item for each possible CPU, `total` their sum; None where there is none."""

    raw_key: bytes
    raw_value: bytes | None
    key: Value
    value: Value
    total: Value = None


def field_of(element: Element, path: str) -> Value:
    """The part that `key.a.b`, `value[3].c` or `sum` names; None where there is none."""
    head, *rest = re.findall(r"[^.\[\]]+", path)
    if head not in ("key", "value", "sum"):
        return None
    found: Value = {"key": element.key, "sum": element.total}.get(head, element.total if element.total is not None else element.value)
    if head == "value" and rest:
        found = element.value
    for part in rest:
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, Sequence) and not isinstance(found, str) and _is_index(part) and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def types_of(map: Map) -> Btf | None:
    """The types of a loaded map."""
    from bpflens.kernel.btf import btf_by_id

    btf_id = map.fields.get("btf_id")
    return btf_by_id(btf_id) if btf_id else None


def bytes_of(map: Map, element: Element, path: str) -> bytes | None:
    """The bytes of a part that is a number or an array, in the order of memory; None for others, and where a value is of all CPUs."""
    from bpflens.kernel.maps.map_data import is_percpu

    head, *names = re.findall(r"[^.\[\]]+", path)
    if head == "key":
        raw, type_id = element.raw_key, map.key_type_id
    elif head == "value" and element.raw_value is not None and not is_percpu(map.type):
        raw, type_id = element.raw_value, map.value_type_id
    else:
        return None
    if head == "key" and map.type == MapType.LPM_TRIE:
        return None
    btf = types_of(map)
    if btf is None or not type_id:
        return None if names else raw
    found = _place(btf, type_id, names)
    return raw[found[0] : found[0] + found[1]] if found is not None else None


def _place(btf: Btf, type_id: int, names: list[str]) -> tuple[int, int] | None:
    """(offset, size) in bytes of what the names lead to."""
    id = btf.skip_modifiers(type_id)
    kind = btf.kind(id)
    if not names:
        return (0, btf.size(id)) if kind in (Kind.INT, Kind.ARRAY) else None
    name, *rest = names
    if kind is Kind.ARRAY and _is_index(name):
        element, _, count = btf.array(id)
        inner = _place(btf, element, rest) if int(name) < count else None
        return None if inner is None else (int(name) * btf.size(element) + inner[0], inner[1])
    if kind not in (Kind.STRUCT, Kind.UNION):
        return None
    for member in btf.members(id):
        if member.name == name:
            inner = None if member.bit_size or member.bit_off % 8 else _place(btf, member.type_id, rest)
        elif not member.name:
            inner = _place(btf, member.type_id, names)
        else:
            continue
        if inner is not None:
            return member.bit_off // 8 + inner[0], inner[1]
    return None
