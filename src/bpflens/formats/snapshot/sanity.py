"""What a manifest cannot say: numbers that no kernel gives, two objects with one id, objects that need themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpflens.errors import InputError
from bpflens.formats.snapshot.manifest import Manifest, SavedMap, SavedProgram

__all__ = ("LARGEST_RECORD", "check")

_WORD = 1 << 32
LARGEST_RECORD = 1 << 28
"""Bytes of one element: it is read as a whole. Per-cpu values count for all CPUs."""


def check(manifest: Manifest) -> None:
    """InputError for the first contradiction."""
    _unique("program", (program.id for program in manifest.programs))
    _unique("map", (map.id for map in manifest.maps))
    _unique("type information", (btf.id for btf in manifest.btfs))
    for map in manifest.maps:
        _numbers(map)
    for program in manifest.programs:
        if not 0 <= program.type < _WORD or not 0 <= program.insns < _WORD:
            raise InputError(f"program {program.id}", "has numbers that no program has")
    _no_circle({program.id: program for program in manifest.programs})


def _unique(word: str, ids: Iterable[int]) -> None:
    seen = set[int]()
    for id in ids:
        if id in seen or not 0 <= id < _WORD:
            raise InputError(f"{word} {id}", "is there twice" if id in seen else "has an id that no kernel gives")
        seen.add(id)


def _numbers(map: SavedMap) -> None:
    sizes = (map.type, map.key_size, map.value_size, map.max_entries, map.flags)
    if not all(0 <= size < _WORD for size in sizes):
        raise InputError(f"map {map.id}", "has sizes that no map has")
    data = map.data
    if data is None:
        return
    if min(data.entries, data.key_size, data.value_size, data.cpus) < 0 or data.key_size + data.value_size > LARGEST_RECORD:
        raise InputError(f"map {map.id}", "has contents of sizes that no map has")


def _no_circle(programs: Mapping[int, SavedProgram]) -> None:
    """A program can only have been loaded for one that was there."""
    fine = set[int]()
    for program in programs.values():
        path, here = dict[int, None](), program
        while here.id not in fine:
            path[here.id] = None
            target = here.target.program if here.target else None
            if target is None or target not in programs:
                break
            if target in path:
                raise InputError(f"program {target}", "was loaded for itself, the manifest says, or for one that was loaded for it")
            here = programs[target]
        fine.update(path)
