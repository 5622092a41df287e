"""What maps hold after runs, compared: whole where both programs have the same map, by variables where global data lies differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bpflens.execute.effects import CALLS, EFFECTS, EVENTS, OUTSIDE, said_of_effect
from bpflens.execute.kernel_maps import RDONLY_PROG, RINGBUF, MapState, is_global_data, kept_flags
from bpflens.execute.subject import Subject
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.maps.map_data import value_stride
from bpflens.program import Map

__all__ = ("MapPlan", "declared_differently", "first_difference", "plan", "settable")


class MapPlan(NamedTuple):
    """`whole`: maps compared as they are. `variables`: name -> (map, offset) in each program, and the size. `left_out`: what is
    not compared.
    """

    whole: tuple[str, ...]
    variables: dict[str, tuple[tuple[str, int], tuple[str, int], int]]
    left_out: tuple[str, ...]


_STORAGE = {
    MapType.PROG_ARRAY: "program array", MapType.PERF_EVENT_ARRAY: "perf events", MapType.STACK_TRACE: "stack traces",
    MapType.DEVMAP: "devices", MapType.SOCKMAP: "sockets", MapType.CPUMAP: "CPUs", MapType.XSKMAP: "AF_XDP sockets",
    MapType.SOCKHASH: "sockets", MapType.CGROUP_STORAGE: "cgroup storage", MapType.PERCPU_CGROUP_STORAGE: "cgroup storage",
    MapType.SK_STORAGE: "socket storage", MapType.DEVMAP_HASH: "devices", MapType.STRUCT_OPS: "struct_ops",
    MapType.INODE_STORAGE: "inode storage", MapType.TASK_STORAGE: "task storage", MapType.BLOOM_FILTER: "bloom filter",
    MapType.USER_RINGBUF: "user ring buffer", MapType.CGRP_STORAGE: "cgroup storage", MapType.ARENA: "arena",
}  # fmt: skip
_UNSAID = frozenset((
    MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.STACK_TRACE, MapType.DEVMAP, MapType.CPUMAP, MapType.DEVMAP_HASH,
))  # fmt: skip
"""Those that are not compared, and not named among what was left out either."""


def plan(a: Subject, b: Subject) -> MapPlan:
    """How the maps of two programs are compared."""
    whole, left_out = [], []
    loose_a, loose_b = [], []
    for name, map in a.maps.items():
        if name.startswith("*"):
            continue
        if is_global_data(name):
            other = b.maps.get(name)
            if map.flags & RDONLY_PROG:
                continue
            if other is None or _layout(other) == _layout(map):
                whole.append(name)
            else:
                loose_a.append(name)
                loose_b.append(name)
        elif map.type in _STORAGE:
            if map.type not in _UNSAID:
                left_out.append(f"map {name} ({_STORAGE[map.type]})")
        else:
            whole.append(name)
    loose_b += [n for n, m in b.maps.items() if is_global_data(n) and n not in a.maps and not m.flags & RDONLY_PROG]
    variables = {}
    if loose_a:
        there = dict(_variables(b.maps, loose_b))
        for name, (where, offset, size) in _variables(a.maps, loose_a):
            if name in there and there[name][2] == size:
                variables[name] = ((where, offset), there[name][:2], size)
            else:
                left_out.append(f"variable {name}")
        if not any(a.maps[name].datasec for name in loose_a):
            left_out += [f"section {name}, which is laid out differently" for name in loose_a]
    return MapPlan(tuple(whole), variables, tuple(left_out))


_MAX_SETTABLE = 512  # bytes of one variable


def settable(a: Subject, b: Subject) -> dict[str, tuple[tuple[int, int], ...]]:
    """Sections of read-only data that tests may vary: (offset, size) of their `const volatile` variables, which a loader may set before it
    loads the program. Only where both programs have the same.
    """
    found = {}
    for name, map in a.maps.items():
        other = b.maps.get(name)
        if map.flags & RDONLY_PROG and is_global_data(name) and name != ".kconfig" and other is not None and _layout(map) == _layout(other):
            places = []
            for offset, (_, size, type) in map.datasec.items():
                if "volatile" in type and 0 < size <= _MAX_SETTABLE:
                    places += [(offset, size)] if size <= 8 else [(at, 4) for at in range(offset, offset + size - 3, 4)]
            if places:
                found[name] = tuple(places)
    return found


def _layout(map: Map) -> object:
    return map.value_size, tuple(sorted((off, name, size) for off, (name, size, _) in map.datasec.items()))


def _variables(maps: Mapping[str, Map], names: list[str]) -> Iterator[tuple[str, tuple[str, int, int]]]:
    for name in names:
        for offset, (variable, size, _) in maps[name].datasec.items():
            if size:
                yield variable, (name, offset, size)


def declared_differently(a: Subject, b: Subject) -> str | None:
    """The first map that both have under one name and that is not the same map; None where all agree."""
    for name, map in a.maps.items():
        other = b.maps.get(name)
        if other is None or is_global_data(name) or name.startswith("*"):
            continue
        for what, x, y in (
            ("type", map.type, other.type),
            ("key size", map.key_size, other.key_size),
            ("value size", map.value_size, other.value_size),
            ("max_entries", map.max_entries or other.max_entries, other.max_entries or map.max_entries),
            ("flags", kept_flags(map), kept_flags(other)),
        ):
            if x != y:
                return f"map {name}: {what} {x} and {y}"
    return None


def first_difference(
    plan: MapPlan, maps: Mapping[str, Map], a: Mapping[str, MapState], b: Mapping[str, MapState], skipped: frozenset[str]
) -> tuple[str, str, str, str] | None:
    """(map or variable, what differs, value of a, value of b); None where nothing does."""
    for name in (*plan.whole, EFFECTS, EVENTS, CALLS, OUTSIDE):
        if name in skipped or name not in a:
            continue
        if a[name] != b.get(name):
            said = _said(name, maps.get(name), a[name], b.get(name))
            if said is not None:
                return name, *said
    for variable, ((map_a, at_a), (map_b, at_b), size) in plan.variables.items():
        x, y = a.get(map_a), b.get(map_b)
        if variable in skipped or not isinstance(x, bytes) or not isinstance(y, bytes):
            continue
        if x[at_a : at_a + size] != y[at_b : at_b + size]:
            return variable, f"variable {variable}", x[at_a : at_a + size].hex(), y[at_b : at_b + size].hex()
    return None


def _said(name: str, map: Map | None, a: MapState, b: MapState | None) -> tuple[str, str, str] | None:
    if name == CALLS:
        first, second = list(a) if isinstance(a, list) else [], list(b) if isinstance(b, list) else []
        at = next((n for n, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), min(len(first), len(second)))
        return f"call {at}", _call(first, at), _call(second, at)
    if name == EVENTS or (map is not None and map.type == RINGBUF) or isinstance(a, list):
        first, second = list(a) if isinstance(a, list) else [], list(b) if isinstance(b, list) else []
        at = next((n for n, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), min(len(first), len(second)))
        what = "output" if name == EVENTS else f"map {name}"
        return f"{what}, record {at}", _record(first, at), _record(second, at)
    if isinstance(a, bytes) and isinstance(b, bytes):
        at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        if name == EFFECTS:
            return said_of_effect(at), _number(a, at), _number(b, at)
        stride = value_stride(map.type, map.value_size) + 7 & ~7 if map is not None else max(len(a), 1)
        if is_global_data(name):
            variable = _variable_at(map, at)
            return f"global data {name} at byte {at}{variable}", a[at : at + 8].hex(), b[at : at + 8].hex()
        index = at // stride
        start = index * stride
        return f"map {name} at {index}", a[start : start + stride].hex(), b[start : start + stride].hex()
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            if a.get(key) != b.get(key):
                return f"map {name} at {key.hex() or 'its only key'}", _hex(a.get(key)), _hex(b.get(key))
        return None
    return f"map {name}", "present", "absent"


def _call(records: list[bytes], at: int) -> str:
    if at >= len(records):
        return "none"
    number, rest = int.from_bytes(records[at][:4], "little"), records[at][4:]
    name = helper_name(number) if number < 1 << 16 else f"kernel function {number & 0xFFFF}"
    return f"{name}({rest.hex()})"


def _variable_at(map: Map | None, at: int) -> str:
    for offset, (name, size, _) in (map.datasec if map is not None else {}).items():
        if offset <= at < offset + max(size, 1):
            return f" ({name})"
    return ""


def _record(records: list[bytes], at: int) -> str:
    return records[at].hex() if at < len(records) else "none"


def _hex(value: bytes | None) -> str:
    return "absent" if value is None else value.hex()


def _number(data: bytes, at: int) -> str:
    start = at // 8 * 8
    return str(int.from_bytes(data[start : start + 8], "little"))
