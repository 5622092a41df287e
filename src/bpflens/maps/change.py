"""Changing a loaded map: what would happen is known before it does, as old and new value of one element."""

from __future__ import annotations

from bpflens.btf.values import Value
from bpflens.errors import KernelError, NotFound, NotPermitted, NotSupported, UsageError
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import frozen
from bpflens.maps.elements import total_of
from bpflens.maps.encode import encode
from bpflens.maps.parts import Element, types_of
from bpflens.maps.readable import Reader, readable
from bpflens.maps.unlisted import needs_keys
from bpflens.program import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Change", "plan_delete", "plan_set", "value_of")

_OF_OBJECTS = frozenset({  # values are descriptors of programs, events, maps, sockets
    MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS, MapType.SOCKMAP, MapType.SOCKHASH,
})  # fmt: skip


@frozen
class Change:
    """One element before and after; `after` None: it is deleted, `before` None: it is not there yet. `notes`: how it was understood."""

    map: Map
    raw_key: bytes
    raw_value: bytes | None
    key: Value
    before: Value
    after: Value
    notes: tuple[str, ...] = ()

    def apply(self) -> None:
        """Do it; KernelError where the kernel refuses."""
        from bpflens.kernel.maps.map_data import delete, update
        from bpflens.kernel.maps.maps import open_map

        with open_map(self.map.id or 0) as fd:
            if self.raw_value is None:
                delete(fd, self.raw_key)
            else:
                update(fd, self.raw_key, self.raw_value)


def plan_set(map: Map, key: Any, value: Any) -> Change:
    """Set an element. A per-cpu value is set on all CPUs, a list of as many values as there are CPUs one by one. InputError where key or
    value do not fit their types.
    """
    from bpflens.kernel.maps.map_data import is_percpu, possible_cpus

    needs_keys(map)
    if map.type in _OF_OBJECTS:
        raise UsageError(f"map {map.id}", "holds kernel objects, which are no values", "programs set such elements by descriptors")
    btf = types_of(map)
    cpus = possible_cpus() if is_percpu(map.type) else 0
    each = value if isinstance(value, list) and cpus and len(value) == cpus else [value]
    notes: dict[str, None] = {}
    raws = [encode(btf, map.value_type_id, map.value_size, one, "value", notes=notes) for one in each]
    parts = [readable(btf, map.value_type_id, raw) for raw in raws]
    after: Value = parts[0] if len(parts) == 1 else parts
    raw = b"".join(one + bytes(-len(one) % 8) for one in raws) * (cpus // len(raws)) if cpus else raws[0]
    raw_key, before = _key(map, key, notes)
    return Change(map, raw_key, raw, _shown_key(map, raw_key), before, after, tuple(notes))


def plan_delete(map: Map, key: Any) -> Change:
    """Delete an element; NotFound where it is not there."""
    needs_keys(map)
    notes: dict[str, None] = {}
    raw_key, before = _key(map, key, notes)
    if before is None:
        raise NotFound(f"map {map.id}", f"no element {key}")
    return Change(map, raw_key, None, _shown_key(map, raw_key), before, None, tuple(notes))


def _shown_key(map: Map, raw: bytes) -> Value:
    btf = types_of(map)
    reader = Reader(btf, map.key_type_id, map.type == MapType.LPM_TRIE) if btf and map.key_type_id else None
    return readable(btf, map.key_type_id, raw, reader)


def _key(map: Map, key: Any, notes: dict[str, None]) -> tuple[bytes, Value]:
    """(the bytes of a key, the value that it has now)."""
    raw = encode(types_of(map), map.key_type_id, map.key_size, key, "key", map.type == MapType.LPM_TRIE, notes)
    found = _lookup(map, raw)
    return raw, None if found is None else _element(map, raw, found).value


def value_of(map: Map, key: Any, notes: dict[str, None] | None = None) -> Element | None:
    """The element with this key; None where there is none. `notes` as of `encode`."""
    needs_keys(map)
    raw = encode(types_of(map), map.key_type_id, map.key_size, key, "key", map.type == MapType.LPM_TRIE, notes)
    found = _lookup(map, raw)
    return None if found is None else _element(map, raw, found)


def _lookup(map: Map, raw_key: bytes) -> bytes | None:
    """The bytes of a value. NotSupported where the kernel lets only programs read such values."""
    from bpflens.kernel.maps.map_data import lookup
    from bpflens.kernel.maps.maps import open_map

    with open_map(map.id or 0) as fd:
        try:
            return lookup(fd, raw_key)
        except KernelError as error:
            if map.type in _OF_OBJECTS and not isinstance(error, NotPermitted):
                raise NotSupported(f"map {map.id}", "holds kernel objects, which only programs can read") from error
            raise


def _element(map: Map, raw_key: bytes, raw: bytes) -> Element:
    from bpflens.kernel.maps.map_data import is_percpu

    btf = types_of(map)
    if not is_percpu(map.type):
        return Element(raw_key, raw, _shown_key(map, raw_key), readable(btf, map.value_type_id, raw))
    step = map.value_size + 7 & ~7
    parts = [readable(btf, map.value_type_id, raw[at : at + map.value_size]) for at in range(0, len(raw), step)]
    return Element(raw_key, raw, _shown_key(map, raw_key), parts, total_of(parts))
