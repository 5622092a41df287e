"""struct_ops maps: kernel structures whose function pointers are programs.

    tcp_congestion_ops "my_cc": init -> program 12, cong_avoid -> program 13

Looking up key 0 gives the value struct (bpf_struct_ops_map_sys_lookup_elem(), kernel/bpf/bpf_struct_ops.c, v6.18): a state, then
the structure as `data`, with program ids where the functions are.
"""

from __future__ import annotations

from bpflens.errors import InputError, NotFound
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.maps.map_data import lookup
from bpflens.kernel.maps.maps import map_by_fd, open_map
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.btf.btf import Btf

__all__ = ("STATES", "StructOps", "struct_ops")

STATES = {0: "init", 1: "in use", 2: "to be freed", 3: "ready"}  # enum bpf_struct_ops_state
MAP_TYPE = MapType.STRUCT_OPS
_CACHE = "struct_ops"


class StructOps(NamedTuple):
    """A registered or prepared kernel structure: `struct` its type's name, `programs` member -> (index of the member, program id)."""

    struct: str
    state: int
    programs: dict[str, tuple[int, int]]


def struct_ops(map_id: int) -> StructOps:
    """The structure in struct_ops map `map_id`. InputError where the map is of another type."""
    where = f"map:{map_id}"
    with open_map(map_id) as fd:
        map = map_by_fd(fd, where, types=False)
        if map.type != MAP_TYPE:
            raise InputError(where, "is not a struct_ops map")
        value = lookup(fd, bytes(4), map.value_size)
    if value is None:
        raise NotFound(where, "has no value")
    layout = _layout(map.fields.get("btf_vmlinux_id", 0), map.fields["btf_vmlinux_value_type_id"])
    words = {name: int.from_bytes(value[at : at + 8], "little") for name, (_, at) in layout.functions.items()}
    programs = {name: (layout.functions[name][0], id) for name, id in words.items() if id}
    return StructOps(layout.struct, int.from_bytes(value[layout.state : layout.state + 4], "little"), programs)


class _Layout(NamedTuple):
    """Of a value: the name of its structure, where the state is, member that is a function -> (index of the member, where it is)."""

    struct: str
    state: int
    functions: dict[str, tuple[int, int]]


def _layout(btf_id: int, value_type: int) -> _Layout:
    """From the kernel's types; those of vmlinux are remembered (kernel/sys/fact_cache.py), since reading them takes most of a listing."""
    from bpflens.kernel.btf import btf_by_id, btf_info, vmlinux
    from bpflens.kernel.sys import fact_cache

    if btf_id and btf_info(btf_id).name != "vmlinux":
        return _read_layout(btf_by_id(btf_id), value_type)
    stored = fact_cache.load(_CACHE)
    known: dict[str, list[Any]] = stored if isinstance(stored, dict) else {}
    found = known.get(str(value_type))
    if found is not None:
        struct, state, functions = found
        return _Layout(struct, state, {name: (index, at) for name, (index, at) in functions.items()})
    layout = _read_layout(vmlinux(), value_type)
    fact_cache.store(_CACHE, {**known, str(value_type): list(layout)})
    return layout


def _read_layout(btf: Btf, value_type: int) -> _Layout:
    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import field

    members = {member.name: member for member in btf.members(value_type)}
    state = field(btf, value_type, "common.state" if "common" in members else "state")
    data = members["data"]
    data_type = btf.skip_modifiers(data.type_id)
    functions = {
        member.name: (index, (data.bit_off + member.bit_off) // 8)
        for index, member in enumerate(btf.members(data_type))
        if _is_function(btf, member.type_id, Kind.PTR, Kind.FUNC_PROTO)
    }
    return _Layout(btf.name(data_type), state.bit_off // 8, functions)


def _is_function(btf: Btf, type_id: int, pointer: int, proto: int) -> bool:
    id = btf.skip_modifiers(type_id)
    return btf.kind(id) == pointer and btf.kind(btf.skip_modifiers(btf.type(id).ref)) == proto
