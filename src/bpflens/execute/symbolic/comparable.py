"""Can two programs be compared at all? Type, maps and global data have to match; what cannot be checked becomes a stated condition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.program import Map

__all__ = ("Comparable", "comparable", "with_constants")

_BOOL = re.compile(r"\b(bool|_Bool)\b")


@dataclass(frozen=True, slots=True)
class Comparable:
    """`inlined`: sections of constants that are read as the files have them; `apart`: those that are not the same in both, so that their
    addresses are two; `assumed`: keys of result.ASSUMPTIONS; `booleans`: offsets of
    global variables of the type bool, by section.
    """

    inlined: frozenset[str]
    apart: frozenset[str]
    assumed: frozenset[str]
    booleans: Mapping[str, frozenset[int]]


def comparable(a: Code, b: Code) -> Comparable:
    """Refused where the programs do not match."""
    if a.program.xlated or b.program.xlated:
        raise Refused("input: an image of the running kernel; its original is needed")
    if a.program.type != b.program.type:
        raise Refused("input: the programs have different types")
    if ".text" in (a.program.section, b.program.section):
        raise Refused("input: a subprogram; the programs that call it are compared")
    assumed: set[str] = set()
    inlined: set[str] = set()
    if a.maps or b.maps:
        assumed.add("maps")
    for label in sorted(a.maps.keys() | b.maps.keys()):
        x, y = a.maps.get(label), b.maps.get(label)
        if label.startswith((".rodata", ".kconfig")):
            if x is None or y is None or (x.data is not None and y.data is not None and (x.data != y.data or _moved(x, y))):
                inlined.add(label)
            elif x.data is None or y.data is None:
                assumed.add("constants")
        elif x is not None and y is not None:
            _check_map(label, x, y)
            if label.startswith((".data", ".bss")):
                assumed.add("data")
                moved = _moved(x, y)
                if moved:
                    raise Refused(f"data: {moved} lies at another place of {label}")
    if any(relocation.kind == "core" for code in (a, b) for relocation in code.program.relocations):
        assumed.add("core")
    booleans = {label: _booleans(a.maps.get(label)) | _booleans(b.maps.get(label)) for label in a.maps.keys() | b.maps.keys()}
    return Comparable(frozenset(inlined), frozenset(inlined), frozenset(assumed), booleans)


def with_constants(shared: Comparable, a: Code, b: Code) -> Comparable:
    """The same with all read-only data as the files have them, which is an assumption."""
    known = {label for label in a.maps.keys() & b.maps.keys() if label.startswith(".rodata") and a.maps[label].data is not None}
    if known <= shared.inlined:
        return shared
    return replace(shared, inlined=shared.inlined | known, assumed=shared.assumed | {"constants"})


def _booleans(map: Map | None) -> frozenset[int]:
    variables = map.datasec.items() if map is not None else ()
    return frozenset(offset for offset, (_, size, declaration) in variables if size == 1 and _BOOL.search(declaration))


def _moved(x: Map, y: Map) -> str:
    """A variable that both files name and that lies at another place in each; "" where there is none. Memory is compared by places."""
    here, there = ({name: offset for offset, (name, _, _) in map.datasec.items()} for map in (x, y))
    if len(here) < len(x.datasec) or len(there) < len(y.datasec):  # static variables of several functions may have one name
        return ""
    return next((name for name, offset in here.items() if there.get(name, offset) != offset), "")


def _check_map(label: str, x: Map, y: Map) -> None:
    if (x.type, x.key_size, x.value_size, x.max_entries, x.flags) != (y.type, y.key_size, y.value_size, y.max_entries, y.flags):
        raise Refused(f"maps: {label} is defined in two ways")
    one, two = x.fields.get("inner"), y.fields.get("inner")
    if isinstance(one, Map) and isinstance(two, Map):
        _check_map(f"{label}.inner", one, two)
    if label.startswith((".data", ".bss")) and x.data is not None and y.data is not None and x.data != y.data:
        raise Refused(f"maps: {label} starts with other contents")
