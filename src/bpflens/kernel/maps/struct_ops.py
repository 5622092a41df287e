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
    from bpflens.btf.btf import Btf

__all__ = ("STATES", "StructOps", "struct_ops")

STATES = {0: "init", 1: "in use", 2: "to be freed", 3: "ready"}  # enum bpf_struct_ops_state
MAP_TYPE = MapType.STRUCT_OPS


class StructOps(NamedTuple):
    """A registered or prepared kernel structure: `struct` its type's name, `programs` member -> (index of the member, program id)."""

    struct: str
    state: int
    programs: dict[str, tuple[int, int]]


def struct_ops(map_id: int) -> StructOps:
    """The structure in struct_ops map `map_id`. InputError where the map is of another type."""
    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import field
    from bpflens.kernel.btf import btf_by_id, vmlinux

    where = f"map:{map_id}"
    with open_map(map_id) as fd:
        map = map_by_fd(fd, where, types=False)
        if map.type != MAP_TYPE:
            raise InputError(where, "is not a struct_ops map")
        value = lookup(fd, bytes(4), map.value_size)
    if value is None:
        raise NotFound(where, "has no value")
    btf_id = map.fields.get("btf_vmlinux_id", 0)
    btf = btf_by_id(btf_id) if btf_id else vmlinux()
    value_type = map.fields["btf_vmlinux_value_type_id"]
    members = {member.name: member for member in btf.members(value_type)}
    state = field(btf, value_type, "common.state" if "common" in members else "state")
    data = members["data"]
    data_type = btf.skip_modifiers(data.type_id)
    programs = {}
    for index, member in enumerate(btf.members(data_type)):
        if _is_function(btf, member.type_id, Kind.PTR, Kind.FUNC_PROTO):
            at = (data.bit_off + member.bit_off) // 8
            id = int.from_bytes(value[at : at + 8], "little")
            if id:
                programs[member.name] = (index, id)
    at = state.bit_off // 8
    return StructOps(btf.name(data_type), int.from_bytes(value[at : at + 4], "little"), programs)


def _is_function(btf: Btf, type_id: int, pointer: int, proto: int) -> bool:
    id = btf.skip_modifiers(type_id)
    return btf.kind(id) == pointer and btf.kind(btf.skip_modifiers(btf.type(id).ref)) == proto
