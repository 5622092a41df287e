"""The elements of a map, decoded by its types: of a loaded map through the kernel, of an object's global data from the file.

    map 7: key u32, value struct event   ──►   Entry(key=12, value={"pid": 12, "comm": "bash"})
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.btf.values import Value
from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import frozen
from bpflens.maps.readable import Reader
from bpflens.maps.unlisted import unlisted
from bpflens.program import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("Contents", "Entry", "contents")

# Values of DEVMAP, CPUMAP, DEVMAP_HASH with a program: struct bpf_devmap_val, bpf_cpumap_val (include/uapi/linux/bpf.h)
_PAIRS = {
    MapType.DEVMAP: ("ifindex", "prog_id"), MapType.CPUMAP: ("qsize", "prog_id"), MapType.DEVMAP_HASH: ("ifindex", "prog_id"),
}  # fmt: skip


@frozen
class Entry:
    """One element: raw bytes, and the values where BTF has types. A per-cpu map's `value` is a list, one item for each possible CPU.

    `raw_value` is None where the kernel does not let it be read.
    """

    raw_key: bytes
    raw_value: bytes | None
    key: Value = None
    value: Value = None


@frozen
class Contents:
    """The first elements of a map; `more` says that there are others; `reason` why nothing or not everything could be read."""

    entries: tuple[Entry, ...]
    more: bool = False
    reason: str | None = None


def contents(map: Map, limit: int, btf: Btf | None = None) -> Contents:
    """At most `limit` elements. `btf`: the types that a map of an object file is described by; a loaded map's are fetched."""
    if limit <= 0:
        return Contents(())
    try:
        if map.id is None:
            return _of_object(map, btf)
        reason = unlisted(map)
        return _of_kernel(map, map.id, limit) if reason is None else Contents((), reason=reason)
    except BpflensError as error:
        return Contents((), reason=str(error))


def _of_object(map: Map, btf: Btf | None) -> Contents:
    if map.data is None:
        return Contents((), reason="an object file has no contents of this map")
    values = {}
    for start, (name, size, _) in sorted(map.datasec.items()):
        values[name] = _variable(btf, map.value_type_id, start, map.data[start : start + size])
    return Contents((Entry(b"", map.data, None, values or None),))


def _of_kernel(map: Map, id: int, limit: int) -> Contents:
    from bpflens.kernel.btf import btf_by_id
    from bpflens.kernel.maps.map_data import is_percpu, items
    from bpflens.kernel.maps.maps import open_map

    btf_id = map.fields.get("btf_id")
    btf = btf_by_id(btf_id) if btf_id else None
    entries: list[Entry] = []
    with open_map(id) as fd:
        try:
            for key, value in items(fd, limit + 1):
                if len(entries) == limit:
                    return Contents(tuple(entries), more=True)
                parts = _parts(value, map.value_size) if is_percpu(map.type) and value is not None else None
                decoded: Value
                if parts is not None:
                    decoded = [_decoded(map, btf, map.value_type_id, part, True) for part in parts]
                else:
                    decoded = _decoded(map, btf, map.value_type_id, value, True)
                entries.append(Entry(key, value, _decoded(map, btf, map.key_type_id, key), decoded))
        except KernelError as error:
            return Contents(tuple(entries), reason=error.reason)
    return Contents(tuple(entries))


def _parts(value: bytes, size: int) -> Iterator[bytes]:
    """The values of all CPUs, each padded to 8 bytes."""
    step = size + 7 & ~7
    return (value[at : at + size] for at in range(0, len(value), step))


def _decoded(map: Map, btf: Btf | None, type_id: int, data: bytes | None, is_value: bool = False) -> Value:
    if data is None:
        return None
    if map.datasec and is_value:
        return {name: _variable(btf, type_id, start, data[start : start + size]) for start, (name, size, _) in sorted(map.datasec.items())}
    pair = _PAIRS.get(map.type)
    if pair and is_value and len(data) == 8:
        return dict(zip(pair, struct.unpack("=II", data), strict=True))
    if btf is None or not type_id:
        return int.from_bytes(data, "little") if len(data) in (1, 2, 4, 8) else None
    try:
        return Reader(btf, type_id, map.type == MapType.LPM_TRIE and not is_value).value(data)
    except BpflensError:
        return None


def _variable(btf: Btf | None, section_type: int, start: int, data: bytes) -> Value:
    if btf is None or not section_type:
        return None
    try:
        variable = next((item for item in _variables(btf, section_type) if item[0] == start), None)
        if variable is None:
            return None
        name, type_id = btf.name_and_ref(variable[1])
        return Reader(btf, type_id, name=name).value(data)
    except BpflensError:
        return None


def _variables(btf: Btf, section_type: int) -> Iterable[tuple[int, int]]:
    return ((variable.byte_off, variable.type_id) for variable in btf.variables(section_type))
