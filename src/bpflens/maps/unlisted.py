"""Kinds of maps whose elements cannot be listed, or have no keys: why, in words, and what helps."""

from __future__ import annotations

from bpflens.errors import NotSupported
from bpflens.isa.extended.uapi import MapType
from bpflens.program import Map

__all__ = ("needs_keys", "unlisted")

_RING = "a ring buffer has records for its one reader, no elements; `bpflens save` copies those that are unread"
_UNLISTED: dict[int, str] = {
    MapType.QUEUE: "a queue has no keys, and reading it takes its elements away; `bpflens save` reads them from kernel memory",
    MapType.STACK: "a stack has no keys, and reading it takes its elements away; `bpflens save` reads them from kernel memory",
    MapType.RINGBUF: _RING,
    MapType.INODE_STORAGE: "its values belong to inodes, which the kernel does not list; `bpflens save` reads them from kernel memory",
    MapType.BLOOM_FILTER: "a bloom filter keeps no keys: the kernel only answers whether one may be in it",
    MapType.USER_RINGBUF: _RING,
    MapType.ARENA: "an arena is memory that programs and processes share, without elements; `bpflens save` copies its pages",
}  # fmt: skip


def unlisted(map: Map) -> str | None:
    """Why the elements of a loaded map cannot be listed; None where they can."""
    return _UNLISTED.get(map.type)


def needs_keys(map: Map) -> None:
    """NotSupported where the map has no keys, so that no single element can be looked up or changed."""
    if not map.key_size:
        raise NotSupported(f"map {map.id}", unlisted(map) or "its elements have no keys")
