"""Snapshots as a test writes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedData, SavedKernel, SavedMap, SavedProgram

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
KERNEL = SavedKernel("6.18.0", "#1", "x86_64", "little", 2, hostname="box")


@contextlib.contextmanager
def archive(path: Path, members: Mapping[str, bytes] | None = None, **parts: object) -> Iterator[Archive]:
    """A snapshot with these members and parts of the manifest."""
    writer = ArchiveWriter(str(path))
    writer.add("programs/12/original.bin", RETURN_0)
    for name, content in (members or {}).items():
        writer.add(name, content)
    writer.commit(Manifest(SCHEMA, "test", "2026-01-01", KERNEL, members=writer.members, **parts))  # type: ignore[arg-type]
    with Archive(str(path)) as opened:
        yield opened


def program(id: int, type: int = 1, **more: object) -> SavedProgram:
    """A program that returns 0."""
    made: dict[str, object] = {"grade": "exact", "original": "programs/12/original.bin", **more}
    return SavedProgram(id, f"prog{id}", type, "", f"{id:016x}", reason="", insns=2, license="GPL", **made)  # type: ignore[arg-type]


def map(id: int, type: int = 1, key: int = 4, value: int = 8, entries: int = 16, **more: object) -> SavedMap:
    """A map without contents."""
    return SavedMap(id, f"map{id}", type, "", key, value, entries, **more)  # type: ignore[arg-type]


def data(id: int, layout: str, entries: int, key: int, value: int, **more: object) -> SavedData:
    """The contents of map `id`, in the member maps/ID/data.bin."""
    return SavedData(f"maps/{id}/data.bin", layout, entries, key, value, "single pass", **more)  # type: ignore[arg-type]
