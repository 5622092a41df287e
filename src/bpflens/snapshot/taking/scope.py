"""Which programs, maps and attachments a snapshot has: what the targets name, and everything that these reach.

    dev:eth0 ──► programs that hang there ──► their maps ──► programs in prog arrays, inner maps, struct_ops members ──► their maps ...

A map target is the map itself; a directory of pins (pin:DIR) is all pins below it. Attachments of every program that was reached are taken.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpflens.errors import InputError, KernelError, NotFound, UsageError
from bpflens.isa.extended.uapi import MapType, ProgType

if TYPE_CHECKING:
    from bpflens.formats.snapshot.manifest import SavedProgram
    from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace

__all__ = ("Scope", "add_target", "close_over", "find_scope", "map_of_row", "namespace_of_map")

_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_WITH_PROGRAMS = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP})
_FOR_PROGRAMS = frozenset({ProgType.TRACING, ProgType.EXT, ProgType.LSM})  # may be loaded for another program
_NOT_ATTACHED = frozenset({"pin", "fd", "held", "prog_array"})
_BY_OBJECT = frozenset({"dev", "cgroup", "netns", "sock", "pid"})


@dataclass(slots=True)
class Scope:
    """Ids in ascending order when it is finished. `rows`: attachments of the inventory, `classic` ones only where a target names them.

    `gone`: objects that vanished meanwhile.
    """

    inventory: Inventory
    programs: list[int] = field(default_factory=list)
    maps: list[int] = field(default_factory=list)
    rows: list[InventoryRow] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def find_scope(targets: Sequence[str], *, everything: bool = False, deep: bool | None = None) -> Scope:
    """The closure of the targets. `everything`: all that is loaded; `deep`: see `collect`: attachments from kernel memory too.

    NotFound (3) where a target names nothing, NotPermitted (4) where it may not be looked at.
    """
    from bpflens.inventory.walk import collect
    from bpflens.kernel.maps.maps import map_ids
    from bpflens.kernel.programs.prog_info import prog_ids

    inventory = collect(deep=deep)
    seeds: set[int] = set()
    maps: set[int] = set()
    named: list[InventoryRow] = []
    if everything:
        seeds.update(prog_ids())
        maps.update(map_ids())
        named = list(inventory.rows)
    for target in targets:
        add_target(target, inventory, seeds, maps, named)
    scope = Scope(inventory)
    close_over(scope, seeds, maps, named)
    return scope


def close_over(scope: Scope, programs: Iterable[int], maps: Iterable[int], named: Sequence[InventoryRow] = ()) -> None:
    """Fill the scope with everything that the programs and maps reach, and with the attachments of these; `named`: further rows."""
    _close(scope, programs, maps)
    ids, map_ids = frozenset(scope.programs), frozenset(scope.maps)
    scope.rows = [
        row for row in scope.inventory.rows
        if row.kind not in _NOT_ATTACHED
        and (row.prog_id in ids if row.prog_id is not None else row in named)
        and not (row.kind == "struct_ops" and map_of_row(row) not in map_ids)
    ]  # fmt: skip


def namespace_of_map(scope: Scope, map_id: int, programs: Sequence[SavedProgram]) -> NetNamespace | None:
    """The network namespace in which the programs that use a map hang; None where there is none, or more than one."""
    users = {program.id for program in programs if map_id in program.maps}
    found = {row.netns for row in scope.rows if row.prog_id in users and row.netns}
    return scope.inventory.namespaces.get(found.pop() or 0) if len(found) == 1 else None


def map_of_row(row: InventoryRow) -> int:
    """The id of the map that a row is on, 0 where it is on none."""
    number = row.object.removeprefix("map:").split("[", 1)[0].split(" ", 1)[0]
    return int(number) if row.object.startswith("map:") and number.isdecimal() else 0


def add_target(target: str, inventory: Inventory, programs: set[int], maps: set[int], named: list[InventoryRow]) -> None:
    """What one target names."""
    from bpflens.inventory.select import Selection

    kind, colon, name = target.partition(":")
    if not colon:
        raise UsageError(target, "names no object of the kernel", "a file is saved already; write id:N, pin:PATH, dev:IF, cgroup:PATH ...")
    if kind == "map":
        from bpflens.targets.kernel_object import maps_named

        maps.update(item.id for item in maps_named(name) if item.id)
    elif kind == "pin":
        _pins(name, programs, maps)
    elif kind in _BY_OBJECT:
        selection = Selection([target])
        rows = [row for row in inventory.rows if selection.matches(row, inventory)]
        held = _maps_of_process(name) if kind == "pid" else set()
        maps |= held
        if not rows and not held:
            from bpflens.targets.attach_point import open_object

            open_object(kind, name)  # says why there is nothing
            raise NotFound(target, "no program hangs on it")
        programs.update(row.prog_id for row in rows if row.prog_id is not None)
        named += rows
    else:
        from bpflens.targets.kernel_object import open_live

        for program in open_live(kind, name):
            if program.id is not None:
                programs.add(program.id)


def _pins(path: str, programs: set[int], maps: set[int]) -> None:
    from bpflens.kernel import pins
    from bpflens.kernel.attachments.links import link_by_fd
    from bpflens.kernel.maps.maps import map_by_fd
    from bpflens.kernel.programs.prog_info import prog_info_by_fd

    if os.path.isdir(path):
        files = [os.path.join(base, name) for base, _, names in os.walk(path) for name in names]
        if not files:
            raise NotFound(f"pin:{path}", "has no pinned objects")
        for file in sorted(files):
            try:
                _pins(file, programs, maps)
            except (InputError, NotFound):
                continue  # maps.debug and progs.debug of bpf_preload are no pins
        return
    with pins.opened_pin(path) as fd:
        kind = pins.fd_kind(fd)
        if kind == "prog":
            programs.add(prog_info_by_fd(fd).id)
        elif kind == "map":
            maps.add(map_by_fd(fd, types=False).id or 0)
        elif kind == "link":
            link = link_by_fd(fd)
            if link.prog_id:
                programs.add(link.prog_id)
            elif "map_id" in link.facts:
                maps.add(link.facts["map_id"])


def _maps_of_process(name: str) -> set[int]:
    from bpflens.inventory.facts.context import Context
    from bpflens.inventory.facts.holders import map_holders

    pid = os.getpid() if name == "self" else int(name) if name.isdecimal() and len(name) < 20 else 0
    return {id for id, holders in map_holders(Context()).items() if any(holder.pid == pid for holder in holders)}


def _close(scope: Scope, programs: Iterable[int], maps: Iterable[int]) -> None:
    """Everything reached, breadth first: a program its maps and its target program; a map the programs and maps in it."""
    from bpflens.kernel.programs.load_attributes import read_attributes
    from bpflens.kernel.programs.prog_info import open_prog, prog_dump

    on_maps: dict[int, set[int]] = {}  # program -> maps that it is attached to
    for row in scope.inventory.rows:
        if row.prog_id is not None and row.kind.startswith(("struct_ops", "sockmap/", "iter")):
            on_maps.setdefault(row.prog_id, set()).update((map_of_row(row), row.details.get("map_id", 0)))
    pending = [("id", id) for id in sorted(set(programs))] + [("map", id) for id in sorted(set(maps))]
    seen = set(pending)
    done: dict[str, list[int]] = {"id": [], "map": []}

    def reach(kind: str, ids: Iterable[int]) -> None:
        for id in ids:
            if id and (kind, id) not in seen:
                seen.add((kind, id))
                pending.append((kind, id))

    while pending:
        kind, id = pending.pop(0)
        try:
            if kind == "id":
                with open_prog(id) as fd:
                    dump = prog_dump(fd, f"id:{id}")
                reach("map", dump.map_ids)
                reach("map", on_maps.get(id, ()))
                if dump.info.type in _FOR_PROGRAMS:
                    attributes = read_attributes(id)
                    reach("id", [attributes.target_prog_id] if attributes else [])
            else:
                inner_programs, inner_maps = references_of_map(id)
                reach("id", inner_programs)
                reach("map", inner_maps)
        except NotFound:
            scope.gone.append(f"{kind}:{id}")
            continue
        done[kind].append(id)
    scope.programs, scope.maps = sorted(done["id"]), sorted(done["map"])


def references_of_map(id: int) -> tuple[list[int], list[int]]:
    """(programs, maps) that are elements of a map. NotFound where it is gone."""
    from bpflens.kernel.maps.map_data import items
    from bpflens.kernel.maps.maps import map_by_fd, open_map

    with open_map(id) as fd:
        map = map_by_fd(fd, f"map:{id}", types=False)
        if map.type == MapType.STRUCT_OPS:
            from bpflens.kernel.maps.struct_ops import struct_ops

            try:
                return [prog for _, prog in struct_ops(id).programs.values()], []
            except (KernelError, InputError):
                return [], []
        if map.type != MapType.PROG_ARRAY and map.type not in _OF_MAPS | _WITH_PROGRAMS:
            return [], []
        try:
            values = [value for _, value in items(fd) if value is not None]
        except KernelError:
            return [], []
    if map.type in _OF_MAPS:
        return [], [int.from_bytes(value[:4], "little") for value in values]
    if map.type == MapType.PROG_ARRAY:
        return [int.from_bytes(value[:4], "little") for value in values], []
    return [struct.unpack_from("=II", value)[1] for value in values if len(value) >= 8], []
