"""A loaded map as a record of the manifest: how it was created, what it holds, what keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bpflens.errors import BpflensError
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SavedData, SavedInner, SavedMap
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.maps.maps import map_by_fd, open_map
from bpflens.program import Map
from bpflens.snapshot.taking.data import save_data
from bpflens.snapshot.taking.holders import Keepers
from bpflens.snapshot.taking.memory import KernelMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpflens.inventory.facts.records import NetNamespace
    from bpflens.snapshot.taking.btfs import Btfs

__all__ = ("read_map", "record_of_map")

_NUMA_NODE = 1 << 2  # BPF_F_NUMA_NODE
_RDONLY_PROG = 1 << 7  # BPF_F_RDONLY_PROG
_ADDED_BY_KERNEL = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH})  # dev_map_init_map() sets BPF_F_RDONLY_PROG and refuses it from users
_OF_PROCESS = 1 << 3 | 1 << 4  # BPF_F_RDONLY, BPF_F_WRONLY


def read_map(
    id: int, writer: ArchiveWriter, btfs: Btfs, keep: Keepers, memory: KernelMemory, *, data: str = "", stable: bool = False,
    quiesced: bool = False, space: NetNamespace | None = None, progress: Callable[[str], None] | None = None,
) -> SavedMap:  # fmt: skip
    """Map `id` with its contents in the archive. `data`: why contents are left out, "" where they are wanted. `space`: the namespace of the
    devices in it. NotFound where it is gone.
    """
    with open_map(id) as fd:
        map = map_by_fd(fd, f"map:{id}", types=False)
        record = record_of_map(map, btfs, memory)
        if progress is not None:
            progress(f"map {id} {map.name} ({record.type_name}, {map.max_entries} entries at most)")
        record = replace(record, pins=keep.pins.get(("map", id), ()), holders=keep.holders.get(("map", id), ()))
        if data:
            return replace(record, why_no_data=data)
        saved = save_data(fd, map, writer, memory, stable=stable, quiesced=quiesced)
    if isinstance(saved, str):
        return replace(record, why_no_data=saved)
    return replace(record, data=_named(saved, space))


def record_of_map(map: Map, btfs: Btfs | None, memory: KernelMemory) -> SavedMap:
    """The creation attributes of a live map."""
    fields = map.fields
    flags = map.flags & ~_OF_PROCESS
    if map.type in _ADDED_BY_KERNEL:
        flags &= ~_RDONLY_PROG
    attributes = memory.attributes.get(map.id or 0)
    inner = attributes.inner if attributes else None
    btf_id = fields.get("btf_id", 0)
    struct_name, module, members, state = _struct_ops(map)
    extra = fields.get("map_extra", 0)
    if map.type == MapType.ARENA and not extra:
        extra = memory.arena_start(map.id or 0)
    return SavedMap(
        id=map.id or 0,
        name=map.name,
        type=map.type,
        type_name=type_name(MAP_TYPES, map.type),
        key_size=map.key_size,
        value_size=map.value_size,
        max_entries=map.max_entries,
        flags=flags,
        map_extra=extra,
        ifindex=fields.get("ifindex", 0),
        numa_node=attributes.numa_node if attributes and flags & _NUMA_NODE else None,
        btf=btfs.add(btf_id) if btfs is not None and btf_id else btf_id,
        key_type_id=map.key_type_id,
        value_type_id=map.value_type_id,
        struct=struct_name,
        struct_module=module,
        struct_state=state,
        members=members,
        frozen=bool(fields.get("frozen")),
        inner=SavedInner(inner.type, inner.key_size, inner.value_size, inner.max_entries, inner.flags) if inner else None,
    )


def _struct_ops(map: Map) -> tuple[str | None, str, dict[str, int], int]:
    if map.type != MapType.STRUCT_OPS:
        return None, "", {}, 0
    from bpflens.kernel.btf import btf_info
    from bpflens.kernel.maps.struct_ops import struct_ops

    try:
        found = struct_ops(map.id or 0)
        btf_id = map.fields.get("btf_vmlinux_id", 0)
        module = btf_info(btf_id).name if btf_id else ""
    except BpflensError:
        return None, "", {}, 0
    return found.struct, "" if module == "vmlinux" else module, {name: id for name, (_, id) in found.programs.items()}, found.state


def _named(data: SavedData, space: NetNamespace | None) -> SavedData:
    """With the names of the devices or cgroups that the values number; devices in the namespace that the map's programs are in."""
    if not data.entries:
        return data
    if data.ids_of == "cgroups":
        from bpflens.snapshot.taking.cgroups import cgroup_paths

        return replace(data, devices={str(id): path for id, path in cgroup_paths().items()})
    if data.ids_of != "device":
        return data
    from bpflens.inventory.facts.namespaces import entered
    from bpflens.inventory.walk import in_own_thread
    from bpflens.kernel.network.devices import Device, devices

    def look() -> list[Device]:
        if space is None:
            return devices()
        with entered(space):
            return devices()

    try:
        names = {str(device.ifindex): device.name for device in in_own_thread(look)}
    except OSError:
        return data
    if space is None or space.own:
        return replace(data, devices=names)
    return replace(data, devices=names, netns=space.inode, netns_name=space.name)
