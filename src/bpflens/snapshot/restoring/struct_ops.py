"""The members of a struct_ops value that are plain data: what can be compared between two registrations."""

from __future__ import annotations

from bpflens.errors import InputError
from bpflens.formats.snapshot.manifest import SavedMap

__all__ = ("plain_members",)


def plain_members(map: SavedMap, value: bytes) -> dict[str, bytes]:
    """Name -> bytes of the members that are neither functions nor pointers; InputError where this kernel has no such structure."""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import module, vmlinux

    btf = module(map.struct_module) if map.struct_module else vmlinux()
    id = btf.find(f"bpf_struct_ops_{map.struct}", Kind.STRUCT)
    if id is None or btf.size(id) > len(value):
        raise InputError(f"map {map.id} {map.name}", f"this kernel has no struct_ops {map.struct} of that size")
    data = next(member for member in btf.members(id) if member.name == "data")
    found = {}
    for member in btf.members(btf.skip_modifiers(data.type_id)):
        type_id = btf.skip_modifiers(member.type_id)
        if btf.kind(type_id) is Kind.PTR or member.bit_size or member.bit_off % 8:
            continue
        at = (data.bit_off + member.bit_off) // 8
        found[member.name or str(at)] = value[at : at + btf.size(type_id)]
    return found
