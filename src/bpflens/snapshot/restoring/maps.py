"""Maps made again: created with their attributes, filled, frozen; elements that are programs or maps when these exist."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bpflens.errors import InputError, KernelError
from bpflens.formats.snapshot.manifest import SavedData, SavedInner, SavedMap
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.descriptors import btf_fd, device_index
from bpflens.kernel.maps.map_batch import deinterleave, write_batch
from bpflens.kernel.maps.map_data import BATCHED, UNBATCHED, freeze, possible_cpus, update
from bpflens.kernel.maps.mapped_maps import PAGE, write_pages
from bpflens.kernel.maps.storage import CGRP_STORAGE, set_cgroup_value
from bpflens.kernel.programs.load import create_map
from bpflens.snapshot.restoring.elements import checked_data, elements, records
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.namespaces import in_namespace, namespace_path

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("create", "fill", "fill_elements", "freeze_map", "open_pinned", "struct_ops_value", "use_pinned")

_QUEUES = frozenset({MapType.QUEUE, MapType.STACK})
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_DEVMAPS = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH})
_VTYPE_BTF_OBJ_FD, _LINK = 1 << 15, 1 << 13  # BPF_F_VTYPE_BTF_OBJ_FD, BPF_F_LINK


def create(maker: Maker, map: SavedMap) -> None:
    """BPF_MAP_CREATE with the saved attributes."""
    where = _where(map)
    types_fd = maker.types.get(map.btf, 0) if map.btf else 0
    inner = _inner(maker, map) if map.type in _OF_MAPS else 0
    options: dict[str, int] = {}
    flags = map.flags
    if map.struct:
        options["vmlinux_value_type_id"], module_fd = _struct_type(maker, map)
        flags &= ~_VTYPE_BTF_OBJ_FD
        if module_fd:
            flags |= _VTYPE_BTF_OBJ_FD
            options["value_type_btf_obj_fd"] = module_fd
    try:
        fd = create_map(
            map.type, map.key_size, map.value_size, map.max_entries, name=map.name, flags=flags, inner_fd=inner,
            numa_node=map.numa_node or 0, btf_fd=types_fd, key_type_id=map.key_type_id if types_fd else 0,
            value_type_id=map.value_type_id if types_fd else 0, map_extra=map.map_extra, **options,
        )  # fmt: skip
    except (KernelError, struct.error) as error:
        raise KernelError(where, f"cannot be created: {getattr(error, 'reason', error)}", errno=getattr(error, "errno", 0)) from None
    maker.maps[map.id] = maker.own(fd)


def use_pinned(maker: Maker, map: SavedMap, path: str) -> None:
    """The map that is pinned at `path` in place of a new one; KernelError where it is of another shape."""
    maker.maps[map.id] = maker.own(open_pinned(map, path))
    maker.reused[map.id] = path


def open_pinned(map: SavedMap, path: str) -> int:
    """A descriptor of the map that is pinned at `path`; KernelError where it has not the shape of the saved one."""
    from bpflens.kernel import pins
    from bpflens.kernel.maps.maps import map_by_fd

    fd = pins.get(path)
    try:
        if pins.fd_kind(fd) != "map":
            raise KernelError(f"pin:{path}", "is not a map")
        there = map_by_fd(fd, f"pin:{path}", types=False)
        shape = (there.type, there.key_size, there.value_size, there.max_entries)
        if shape != (map.type, map.key_size, map.value_size, map.max_entries):
            raise KernelError(f"pin:{path}", f"is a map of another shape than the saved map {map.id} {map.name}")
    except BaseException:
        os.close(fd)
        raise
    return fd


def fill(maker: Maker, map: SavedMap) -> None:
    """Write the contents of a map that holds plain bytes."""
    data = checked_data(maker.archive, map)
    fd = maker.maps[map.id]
    try:
        if map.type in _QUEUES:
            for piece in records(maker.archive, map):
                for at in range(0, len(piece), data.value_size):
                    update(fd, b"", piece[at : at + data.value_size])
        elif map.type == MapType.ARENA:
            _fill_arena(maker, map, fd)
        elif map.type == CGRP_STORAGE:
            _fill_cgroup_values(maker, map, data, fd)
        elif map.type == MapType.CGROUP_ARRAY:
            _fill_cgroups(maker, map, data, fd)
        elif data.layout == "values":
            _fill_values(maker, map, data, fd)
        else:
            _fill_records(maker, map, data, fd)
    except KernelError as error:
        raise KernelError(_where(map), f"cannot be filled: {error.reason}", errno=error.errno) from None


def freeze_map(maker: Maker, map: SavedMap) -> None:
    """BPF_MAP_FREEZE."""
    try:
        freeze(maker.maps[map.id])
    except KernelError as error:
        raise KernelError(_where(map), error.reason, errno=error.errno) from None


def fill_elements(maker: Maker, map: SavedMap) -> None:
    """Put programs and maps into a map of objects; an element that was not restored is left out and noted."""
    data = checked_data(maker.archive, map)
    fd = maker.maps[map.id]
    if map.type == MapType.STRUCT_OPS:
        value = struct_ops_value(maker, map)
        if not map.flags & _LINK:  # without it the update registers the structure
            from bpflens.kernel.maps.maps import map_by_fd

            maker.about_to({"do": "struct_ops", "map": map_by_fd(fd, types=False).id})
        update(fd, bytes(4), value)
        return
    table = maker.maps if data.ids_of == "maps" else maker.programs
    if data.ids_of in ("programs", "maps"):
        for key, id in elements(maker.archive, map):
            if id not in table:
                maker.notes.append(f"{_where(map)}: its element {key.hex()} ({data.ids_of[:-1]} {id}) was not restored")
                maker.partial.add(map.id)
                continue
            update(fd, key, struct.pack("=I", table[id]))
        return
    size = data.key_size + data.value_size

    def put() -> None:
        for piece in records(maker.archive, map):
            for at in range(0, len(piece), size):
                key, value = piece[at : at + data.key_size], piece[at + data.key_size : at + size]
                update(fd, key, _target_value(maker, map, data, value))

    in_namespace(namespace_path(maker.options, data.netns, data.netns_name, data.netns is None), put)


def _target_value(maker: Maker, map: SavedMap, data: SavedData, value: bytes) -> bytes:
    """struct bpf_devmap_val and bpf_cpumap_val: the first word stays, or is this device's index here; the second is a program."""
    first = struct.unpack_from("=I", value)[0]
    if map.type in _DEVMAPS and first:
        name = data.devices.get(str(first))
        if name is None:
            raise KernelError(_where(map), f"the name of its device {first} was not saved")
        first = device_index(maker.options.devices.get(name, name), _where(map))
    if len(value) < 8:
        return struct.pack("=I", first) + value[4:]
    program = struct.unpack_from("=I", value, 4)[0]
    fd = maker.programs.get(program, 0) if program else 0
    if program and not fd:
        maker.notes.append(f"{_where(map)}: program {program} of one of its elements was not restored")
        maker.partial.add(map.id)
    return struct.pack("=II", first, fd) + value[8:]


def _where(map: SavedMap) -> str:
    return f"map {map.id} {map.name}".rstrip()


def _inner(maker: Maker, map: SavedMap) -> int:
    """A descriptor of the template: an inner map that is exactly like it, or one that is made for it, with an inner map's types, and goes
    again. Inner maps may differ from the template in their number of entries.
    """
    template = map.inner
    if template is None:
        raise KernelError(_where(map), "what its inner maps must be like is not known")
    like: SavedMap | None = None
    for _, id in elements(maker.archive, map):
        inner = maker.saved_maps.get(id)
        if inner is None or id not in maker.maps:
            continue
        like = like or inner
        if SavedInner(inner.type, inner.key_size, inner.value_size, inner.max_entries, inner.flags) == template:
            return maker.maps[id]
    types_fd = maker.types.get(like.btf, 0) if like is not None else 0
    key_type, value_type = (like.key_type_id, like.value_type_id) if like is not None and types_fd else (0, 0)
    made = create_map(
        template.type, template.key_size, template.value_size, template.max_entries, flags=template.flags, btf_fd=types_fd,
        key_type_id=key_type, value_type_id=value_type,
    )  # fmt: skip
    return maker.own(made)


def _struct_type(maker: Maker, map: SavedMap) -> tuple[int, int]:
    """The type id of the value of a struct_ops map in this kernel, and a descriptor of the module's BTF (0: the kernel's own)."""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import module, vmlinux

    btf = module(map.struct_module) if map.struct_module else vmlinux()
    id = btf.find(f"bpf_struct_ops_{map.struct}", Kind.STRUCT)
    if id is None:
        raise KernelError(_where(map), f"this kernel has no struct_ops {map.struct}")
    return id, module_btf_fd(maker, map.struct_module) if map.struct_module else 0


def module_btf_fd(maker: Maker, name: str) -> int:
    """A descriptor of a module's BTF."""
    from bpflens.kernel.btf import btf_ids, btf_info

    for id in btf_ids():
        info = btf_info(id)
        if info.kernel and info.name == name:
            return maker.own(btf_fd(id))
    raise KernelError(f"module {name}", "is not loaded, or has no types")


def struct_ops_value(maker: Maker, map: SavedMap) -> bytes:
    """The value to register: the saved bytes with descriptors of the new programs in the function slots, laid out as this kernel does."""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import module, vmlinux

    btf = module(map.struct_module) if map.struct_module else vmlinux()
    id = btf.find(f"bpf_struct_ops_{map.struct}", Kind.STRUCT)
    saved = maker.archive.read(checked_data(maker.archive, map).member)
    if id is None or btf.size(id) != len(saved):
        raise KernelError(_where(map), f"this kernel's {map.struct} has another size")
    value = bytearray(saved)
    data = next(member for member in btf.members(id) if member.name == "data")
    start = data.bit_off // 8
    value[:start] = bytes(start)  # state and reference count are the kernel's
    for member in btf.members(btf.skip_modifiers(data.type_id)):
        at = start + member.bit_off // 8
        if member.name in map.members:
            program = map.members[member.name]
            if program not in maker.programs:
                raise KernelError(_where(map), f"its function {member.name} was not restored")
            struct.pack_into("=Q", value, at, maker.programs[program])
        elif _is_pointer(btf, member.type_id):
            struct.pack_into("=Q", value, at, 0)
    return bytes(value)


def _is_pointer(btf: Btf, type_id: int) -> bool:
    from bpflens.btf.btf import Kind

    return btf.kind(btf.skip_modifiers(type_id)) is Kind.PTR


def _for_cpus(data: SavedData, values: bytes, count: int) -> bytes:
    """Per-cpu values for the CPUs of this machine: parts of CPUs that are not there are left out, those of new ones are zero."""
    here = possible_cpus()
    if not data.cpus or data.cpus == here:
        return values
    if data.value_size % data.cpus:
        raise InputError("snapshot", "a per-cpu value has no whole number of parts")
    part = data.value_size // data.cpus
    common = part * min(here, data.cpus)
    padding = bytes(part * max(here - data.cpus, 0))
    return b"".join(values[at : at + common] + padding for at in range(0, data.value_size * count, data.value_size))


def _fill_values(maker: Maker, map: SavedMap, data: SavedData, fd: int) -> None:
    first = 0
    for piece in records(maker.archive, map):
        count = len(piece) // data.value_size
        keys = struct.pack(f"={count}I", *range(first, first + count))
        _write(map, fd, keys, _for_cpus(data, piece, count), count)
        first += count


def _fill_records(maker: Maker, map: SavedMap, data: SavedData, fd: int) -> None:
    for piece in records(maker.archive, map):
        keys, values = deinterleave(piece, data.key_size, data.value_size)
        count = len(keys) // data.key_size
        _write(map, fd, keys, _for_cpus(data, values, count), count)


def _write(map: SavedMap, fd: int, keys: bytes, values: bytes, count: int) -> None:
    if map.type in BATCHED:
        try:
            write_batch(fd, keys, values, count)
            return
        except KernelError as error:
            if error.errno not in UNBATCHED:
                raise
    key_size, stride = len(keys) // count, len(values) // count
    for index in range(count):
        update(fd, keys[index * key_size : (index + 1) * key_size], values[index * stride : (index + 1) * stride])


def _fill_cgroups(maker: Maker, map: SavedMap, data: SavedData, fd: int) -> None:
    for piece in records(maker.archive, map):
        for index, id in struct.iter_unpack("=IQ", piece):
            directory = _cgroup(maker, map, data, id, f"element {index}")
            if directory is None:
                continue
            cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                update(fd, struct.pack("=I", index), struct.pack("=I", cgroup))
            finally:
                os.close(cgroup)


def _fill_cgroup_values(maker: Maker, map: SavedMap, data: SavedData, fd: int) -> None:
    size = data.key_size + data.value_size
    for piece in records(maker.archive, map):
        for at in range(0, len(piece), size):
            (id,) = struct.unpack_from("=Q", piece, at)
            directory = _cgroup(maker, map, data, id, "a value")
            if directory is not None:
                set_cgroup_value(fd, directory, piece[at + 8 : at + size])


def _cgroup(maker: Maker, map: SavedMap, data: SavedData, id: int, what: str) -> str | None:
    """The directory of a saved cgroup; None, and a note, where it is not there."""
    from bpflens.snapshot.taking.cgroups import cgroup_directory

    path = data.devices.get(str(id))
    directory = cgroup_directory(maker.options.cgroups.get(path, path)) if path else None
    if directory is not None and os.path.isdir(directory):
        return directory
    maker.notes.append(f"{_where(map)}: its {what} (cgroup {path or id}) is not there")
    maker.partial.add(map.id)
    return None


def _fill_arena(maker: Maker, map: SavedMap, fd: int) -> None:
    def pages() -> Iterator[tuple[int, bytes]]:
        for piece in records(maker.archive, map):
            for at in range(0, len(piece), 4 + PAGE):
                number = struct.unpack_from("=I", piece, at)[0]
                if number >= map.max_entries:
                    raise InputError(_where(map), f"has no page {number}")
                yield number, piece[at + 4 : at + 4 + PAGE]

    try:
        write_pages(fd, map.max_entries * PAGE, map.map_extra, pages())
    except OSError as error:
        raise KernelError(_where(map), f"cannot be mapped at {map.map_extra:#x}: {error.strerror}", errno=error.errno or 0) from None
