"""Elements of maps that are other objects: programs of prog arrays, devmaps and cpumaps, inner maps, cgroups."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.errors import InputError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedData, SavedMap
from bpflens.isa.extended.uapi import MapType

__all__ = ("checked_data", "elements", "records")

_ELEMENT_LIMIT = 1 << 28
_OF_IDS = (MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


def checked_data(archive: Archive, map: SavedMap) -> SavedData:
    """The data record of a map, InputError where its sizes are not those of the map."""
    data = map.data
    where = f"{archive.path}: map {map.id} {map.name}"
    if data is None:
        raise InputError(where, "has no contents")
    member = archive.manifest.members.get(data.member)
    size = member.size if member is not None else -1
    both = data.key_size + data.value_size
    record = {"records": both, "values": data.value_size, "pages": both}.get(data.layout)
    if data.layout not in ("records", "values", "value", "pages"):
        raise InputError(where, f"its contents have the unknown layout {data.layout[:20]!r}")
    if data.key_size < 0 or data.value_size < 0 or (record is not None and (record <= 0 or size != record * data.entries)):
        raise InputError(where, "its contents do not have the size that their number says")
    return data


def records(archive: Archive, map: SavedMap, each: int = 0) -> Iterator[bytes]:
    """The contents in pieces of whole records, about a megabyte each, or `each` records."""
    data = checked_data(archive, map)
    record = max(data.value_size + (data.key_size if data.layout in ("records", "pages") else 0), 1)
    count = each or max((1 << 20) // record, 1)
    yield from archive.pieces(data.member, record * count)


def elements(archive: Archive, map: SavedMap) -> Iterator[tuple[bytes, int]]:
    """(key, saved id of the program or map) of every element that is an object. Sizes other than a map's are an InputError."""
    data = map.data
    if data is None or data.ids_of not in ("programs", "maps", "device", "cpu"):
        return
    if map.type in _OF_IDS and data.value_size != 4:
        raise InputError(f"{archive.path}: map {map.id}", "its elements are not ids")
    member = archive.manifest.members.get(data.member)
    if member is not None and member.size > _ELEMENT_LIMIT:
        raise InputError(f"{archive.path}: map {map.id}", "has more elements than a map of objects can have")
    size = data.key_size + data.value_size
    for piece in records(archive, map):
        for at in range(0, len(piece), size):
            key, value = piece[at : at + data.key_size], piece[at + data.key_size : at + size]
            if data.ids_of in ("programs", "maps"):
                yield key, struct.unpack("=I", value)[0]
            elif len(value) >= 8:
                id = struct.unpack_from("=I", value, 4)[0]
                if id:
                    yield key, id
