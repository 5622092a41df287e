"""A snapshot as an inventory: `ls` and `tree` of a machine that is not here.

    bpflens ls x.bpfsnap xdp  ──►  the XDP attachments that were saved, with the programs of that machine
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bpflens.attachment import Holder, ProgInfo
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedAttachment, SavedHolder, SavedMap, SavedProgram
from bpflens.inventory.facts.records import Inventory, InventoryRow, MapUse, NetNamespace
from bpflens.inventory.graph import ProgNode, program_tree
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.loaded import MapHead
from bpflens.snapshot.restoring.elements import elements

__all__ = ("inventory_of", "tree_of")


def inventory_of(archive: Archive) -> Inventory:
    """Rows for the attachments, and for programs that hung on nothing."""
    manifest = archive.manifest
    rows = [_row(archive, item) for item in manifest.attachments if item.kind != "struct_ops"]
    for map in manifest.maps:
        for member, target in map.members.items():
            details: dict[str, Any] = {"map_name": map.name, "member": member}
            rows.append(InventoryRow("struct_ops", f"map:{map.id} {map.struct}.{member}", prog_id=target, details=details))
        if map.type == MapType.PROG_ARRAY:
            for key, target in elements(archive, map):
                index = int.from_bytes(key, "little")
                details = {"map_name": map.name, "index": index}
                rows.append(InventoryRow("prog_array", f"map:{map.id}[{index}]", prog_id=target, details=details))
    attached = {row.prog_id for row in rows}
    rows += [_alone(program) for program in manifest.programs if program.id not in attached]
    spaces = {
        item.netns: NetNamespace(item.netns, (), item.netns_name, item.own_netns) for item in manifest.attachments if item.netns is not None
    }
    notes = [f"as saved on {manifest.kernel.hostname or 'another machine'}, Linux {manifest.kernel.release}, {manifest.taken}"]
    full_names = {program.id: program.full_name for program in manifest.programs if len(program.full_name) > len(program.name)}
    users: dict[int, list[int]] = {}
    for program in manifest.programs:
        for map_id in program.maps:
            users.setdefault(map_id, []).append(program.id)
    heads = {map.id: _head(map) for map in manifest.maps}
    use = MapUse(heads, {map.id: list(_holders(map.holders)) for map in manifest.maps if map.holders}, users)
    since = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - manifest.kernel.uptime_ns  # ages are those at the time of the snapshot
    infos = {program.id: _info(program, since) for program in manifest.programs}
    return Inventory(rows, [], infos, spaces, notes, deep=True, full_names=full_names, maps=use)


def _row(archive: Archive, item: SavedAttachment) -> InventoryRow:
    details: dict[str, Any] = dict(item.details)
    if item.link is not None:
        details["link"] = item.link
    if item.pins:
        details["pins"] = [pin.path for pin in item.pins]
    classic = archive.read(item.classic, 1 << 20) if item.classic else None
    return InventoryRow(item.kind, item.object, item.netns, item.program, classic, None, _holders(item.holders), details)


def _holders(holders: tuple[SavedHolder, ...]) -> tuple[Holder, ...]:
    return tuple(Holder(item.pid, item.comm, item.fd) for item in holders)


def _alone(program: SavedProgram) -> InventoryRow:
    if program.pins:
        paths = [pin.path for pin in program.pins]
        return InventoryRow("pin", f"pin:{paths[0]}", prog_id=program.id, holders=_holders(program.holders), details={"pins": paths})
    if program.holders:
        first = program.holders[0]
        return InventoryRow("fd", f"fd:{first.pid}/{first.fd}", prog_id=program.id, holders=_holders(program.holders))
    return InventoryRow("held", "(by nothing that is known)", prog_id=program.id)


def _info(program: SavedProgram, since: int) -> ProgInfo:
    return ProgInfo(
        id=program.id, type=program.type, tag=program.tag, name=program.name, uid=program.uid, load_time=max(program.load_time + since, 0),
        gpl_compatible=program.license == "GPL", xlated_len=0, jited_len=0, nr_map_ids=len(program.maps), ifindex=program.ifindex,
        netns_dev=0, netns_ino=0, btf_id=program.btf, nr_jited_ksyms=0, nr_jited_func_lens=0, nr_func_info=len(program.func_info),
        nr_line_info=0, nr_jited_line_info=0, nr_prog_tags=0, run_time_ns=program.run_time_ns, run_cnt=program.run_cnt,
        recursion_misses=None, verified_insns=program.verified_insns, attach_btf_obj_id=None, attach_btf_id=None,
    )  # fmt: skip


def tree_of(archive: Archive) -> Callable[[int], ProgNode]:
    """What `program_tree(...).below` is for the running machine: a program's maps and the programs in them."""
    maps_of = {program.id: program.maps for program in archive.manifest.programs}
    maps = {map.id: map for map in archive.manifest.maps}

    def entries(head: MapHead) -> list[tuple[int, int]]:
        return [(int.from_bytes(key, "little"), target) for key, target in elements(archive, maps[head.id])]

    return program_tree({id: _head(map) for id, map in maps.items()}, lambda id: maps_of.get(id, ()), entries).below


def _head(map: SavedMap) -> MapHead:
    return MapHead(map.id, map.type, map.key_size, map.value_size, map.max_entries, map.flags, map.name, 0)
