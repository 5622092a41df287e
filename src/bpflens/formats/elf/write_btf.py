"""The BTF that an object needs beside that of its program: the definitions of `.maps` and the externs of `.ksyms`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import EXTERN, BtfBuilder
from bpflens.errors import InputError
from bpflens.program import Map

__all__ = ("MapTypes", "add_ksyms")

POINTER = 8


class MapTypes:
    """The variables of `.maps` and the DATASEC that lists them."""

    def __init__(self, build: BtfBuilder) -> None:
        self.build = build
        self._retire(".maps")
        self._int = build.add_int("int", 4, 1)
        self._variables: list[tuple[int, int, int]] = []
        self._end = 0

    def _retire(self, name: str) -> None:
        """Rename a DATASEC that the given BTF has already: libbpf takes the first of that name."""
        btf = Btf.parse(self.build.build())
        for id in list(btf.find_all(name, Kind.DATASEC)):
            self.build.rename(id, f"{name}.before")

    def add(self, map: Map) -> int:
        """Add the definition of a map; the size of its variable in bytes."""
        definition, size = self._definition(map)
        self._variables.append((self.build.add_var(map.name, definition), self._end, size))
        self._end += size
        return size

    def finish(self, size: int) -> None:
        """Add the DATASEC."""
        self.build.add_datasec(".maps", size, self._variables)

    def initial(self, map: Map) -> Iterator[tuple[int, str]]:
        """(byte offset in the variable, symbol) of the map's initial values."""
        values = map.fields.get("values")
        if isinstance(values, dict):
            base = POINTER * len(self._numbers(map))
            base += POINTER * (bool(map.key_type_id) + bool(map.value_type_id))
            for index, symbol in values.items():
                yield base + POINTER * index, symbol

    def _numbers(self, map: Map) -> list[tuple[str, int]]:
        """The members of the definition that are numbers."""
        numbers = [("type", map.type), ("max_entries", map.max_entries), ("map_flags", map.flags)]
        if not map.key_type_id:
            numbers.append(("key_size", map.key_size))
        if not map.value_type_id and not map.fields.get("inner"):
            numbers.append(("value_size", map.value_size))
        if map.fields.get("pinning"):
            numbers.append(("pinning", 1))
        if map.fields.get("map_extra"):
            numbers.append(("map_extra", int(map.fields["map_extra"])))
        return [(name, value) for name, value in numbers if value or name == "type"]

    def _definition(self, map: Map) -> tuple[int, int]:
        """(id of the anonymous struct that defines a map, size in bytes of its variable)."""
        build = self.build
        members: list[tuple[str, int]] = []
        for name, value in self._numbers(map):
            if not 0 <= value < 1 << 32:
                raise InputError(map.name, f"{name} {value} is more than a map's definition can hold")
            members.append((name, build.add_ptr(build.add_array(self._int, value))))
        for name, type_id in (("key", map.key_type_id), ("value", map.value_type_id)):
            if type_id:
                members.append((name, build.add_ptr(type_id)))
        size = extent = POINTER * len(members)
        inner, values = map.fields.get("inner"), map.fields.get("values")
        if isinstance(inner, Map) or isinstance(values, dict):
            if isinstance(inner, Map):
                target = build.add_ptr(self._definition(inner)[0])
            else:
                target = build.add_ptr(build.add_func_proto(self._int, [("", build.add_ptr(0))]))
            members.append(("values", build.add_array(target, 0)))  # flexible: only the variable is as long as its initial values
            extent += POINTER * (max(values, default=-1) + 1) if isinstance(values, dict) else 0
        bits = [(name, id, 8 * POINTER * index) for index, (name, id) in enumerate(members)]
        return build.add_struct("", size, bits), extent


def add_ksyms(build: BtfBuilder, names: Sequence[str], kernel: Btf | None) -> None:
    """Extern functions in a DATASEC .ksyms, with the kernel's prototypes; InputError where the kernel's BTF has none."""
    own = Btf.parse(build.build())
    present = {own.name(id) for id in own.ids(Kind.FUNC) if own.linkage(id) == EXTERN}
    datasec = own.find(".ksyms", Kind.DATASEC)
    listed = {own.name(v.type_id) for v in own.variables(datasec)} if datasec else set()
    rows = []
    for name in names:
        if name in present and name in listed:
            continue
        found = kernel.find(name, Kind.FUNC) if kernel else None
        if kernel is None or found is None:
            raise InputError(name, "the kernel function's prototype is not known: it needs the kernel's BTF")
        proto = build.copy(kernel, kernel.type(found).ref)
        rows.append((build.add_func(name, proto, EXTERN), 0, 0))
    if rows:
        if datasec:
            build.rename(datasec, ".ksyms.before")
        build.add_datasec(".ksyms", 0, rows)
