"""The elements of a loaded map as a stream: decoded, chosen, sorted.

    for element in elements(map, where=Where("key.saddr in 10.0.0.0/8")): ...

Nothing is kept unless it is sorted; per-cpu values come as the list of all CPUs and, where they are numbers, their sum.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence

from bpflens.btf.values import Value
from bpflens.errors import KernelError, NotSupported, UsageError
from bpflens.isa.extended.uapi import MapType
from bpflens.maps.conditions import Where
from bpflens.maps.parts import Element, field_of, types_of
from bpflens.maps.readable import Reader, readable
from bpflens.maps.unlisted import unlisted
from bpflens.program import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("batches", "elements", "total_of")



def elements(
    map: Map, where: Where | None = None, sort: str = "", limit: int | None = None, reverse: bool = False
) -> Iterator[Element]:
    """The elements of a loaded map in its order, or sorted by a part of them. KernelError for a type that cannot be read."""
    paths = [*(path for path, _, _ in where.tests), *([sort] if sort else [])] if where is not None else [sort] if sort else []
    found = (element for element in _with_parts(_all(map), paths) if where is None or where.holds(map, element))
    if not sort:
        for number, element in enumerate(found):
            if limit is not None and number >= limit:
                return
            yield element
        return

    def order(element: Element) -> tuple[bool, Any]:
        value = field_of(element, sort)
        return isinstance(value, str), value if isinstance(value, int | float | str) else 0

    if limit is not None:
        yield from (heapq.nlargest if reverse else heapq.nsmallest)(limit, found, key=order)
    else:
        yield from sorted(found, key=order, reverse=reverse)


def batches(map: Map) -> Iterator[tuple[bytes, bytes]] | None:
    """(keys, values) of a plain map by the thousand, each without gaps; None where the kernel does not give it so."""
    from bpflens.kernel.maps.map_batch import read_batches
    from bpflens.kernel.maps.maps import open_map

    def all_of() -> Iterator[tuple[bytes, bytes]]:
        with open_map(map.id or 0) as fd:
            for keys, values, _ in read_batches(fd, map.key_size, map.value_size):
                yield bytes(keys), bytes(values)

    found = all_of()
    try:
        first = next(found, None)
    except KernelError:
        return None
    return itertools.chain([first], found) if first is not None else found


def _with_parts(found: Iterator[Element], paths: Sequence[str]) -> Iterator[Element]:
    """The same; UsageError where the first element, whose type is that of all, has no such part."""
    first = True
    for element in found:
        if first and element.raw_value is not None:
            first = False
            for path in paths:
                if field_of(element, path) is None:
                    raise UsageError(path, "elements have no such part", f"they have: {', '.join(_parts(element))}")
        yield element


def _parts(element: Element) -> list[str]:
    names = []
    for head, value in (("key", element.key), ("value", element.value), ("sum", element.total)):
        if isinstance(value, Mapping):
            names += [f"{head}.{name}" for name in value]
        elif value is not None:
            names.append(head)
    return names[:20]


def _all(map: Map) -> Iterator[Element]:
    from bpflens.kernel.maps.map_data import is_percpu
    from bpflens.kernel.maps.maps import open_map

    assert map.id is not None
    btf = types_of(map)
    key_reader = Reader(btf, map.key_type_id, map.type == MapType.LPM_TRIE) if btf and map.key_type_id else None
    value_reader = Reader(btf, map.value_type_id) if btf and map.value_type_id else None
    percpu = is_percpu(map.type)
    with open_map(map.id) as fd:
        for key, raw in _raw(map, fd):
            shown_key = readable(btf, map.key_type_id, key, key_reader)
            if percpu and raw is not None:
                step = map.value_size + 7 & ~7
                parts = [readable(btf, map.value_type_id, raw[at : at + map.value_size], value_reader) for at in range(0, len(raw), step)]
                yield Element(key, raw, shown_key, parts, total_of(parts))
            else:
                yield Element(key, raw, shown_key, readable(btf, map.value_type_id, raw, value_reader))


def _raw(map: Map, fd: int) -> Iterator[tuple[bytes, bytes | None]]:
    """(key, value) of a map. NotSupported, in words, for a type that has nothing to list."""
    from bpflens.kernel.maps.map_data import items
    from bpflens.kernel.maps.storage import OWNERS, storage_items

    reason = unlisted(map)
    if reason is not None:
        raise NotSupported(f"map {map.id}", reason)
    yield from storage_items(fd, map.type, map.value_size) if map.type in OWNERS else items(fd)


def total_of(parts: Sequence[Value]) -> Value:
    """The sum over CPUs: of numbers, and of numbers within structures; None where nothing can be added."""
    if all(isinstance(part, int) for part in parts):
        return sum(part for part in parts if isinstance(part, int))
    if parts and all(isinstance(part, Mapping) for part in parts):
        first = parts[0]
        assert isinstance(first, Mapping)
        return {name: total_of([part[name] for part in parts if isinstance(part, Mapping)]) for name in first}
    return None
