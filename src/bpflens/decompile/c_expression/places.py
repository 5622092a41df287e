"""Memory accesses by name: members of stack objects, of map values, of kernel structures, global variables.

    Load(4, Var(v: struct event *) + 8)     ──►   v->pid
    Load(8, StackRef(-24, 16))              ──►   stack_24.at_16

A name is used only for an access that is exactly that member: the same offset, the same size, a number or a pointer. So it cannot change
what the program does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.fields import field_at
from bpflens.decompile import ir
from bpflens.decompile.c_expression.core import core_path, type_name
from bpflens.decompile.c_expression.globals import global_lvalue
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.function import StackObject
from bpflens.decompile.ir import Expr

__all__ = ("Named", "named_place", "struct_member")

_INTS = (Kind.INT, Kind.ENUM, Kind.ENUM64)


class Named(NamedTuple):
    """A place as C: its text, whether it is signed, whether it is a pointer; `relocated`: must stand inside of CORE()."""

    text: str
    signed: bool = False
    pointer: bool = False
    relocated: bool = False


def named_place(
    unit: UnitScope, address: Expr, size: int, objects: Mapping[int, StackObject], pointees: Mapping[int, int], name: Mapping[int, str]
) -> Named | None:
    """The name of `size` bytes at an address; None where it has none."""
    if isinstance(address, ir.DataRef):
        found = global_lvalue(unit, address, size)
        return Named(found[0], found[1]) if found is not None else None
    if isinstance(address, ir.StackRef):
        return _in_frame(unit, objects[address.start], address.offset, size)
    offset = 0
    if isinstance(address, ir.Binary) and address.op == "+" and address.width == 64 and isinstance(address.left, ir.Var):
        if isinstance(address.right, ir.CoreRef):
            return _relocated(unit, address.left.id, address.right, size, pointees, name)
        if not isinstance(address.right, ir.Const):
            return None
        offset = address.right.value - (1 << 64) if address.right.value >> 63 else address.right.value
        address = address.left
    if not isinstance(address, ir.Var) or address.id not in pointees or unit.unit.btf is None or offset < 0:
        return None
    found_member = struct_member(unit.unit.btf, pointees[address.id], offset, size)
    if found_member is None or address.id not in name:
        return None
    path, signed, pointer = found_member
    unit.used_types[pointees[address.id]] = None
    return Named(f"{name[address.id]}->{path}" if path else f"*{name[address.id]}", signed, pointer)


def struct_member(btf: Btf, type_id: int, offset: int, size: int) -> tuple[str, bool, bool] | None:
    """(path, signed, pointer) of the member that is exactly `size` bytes at `offset`; path "" is the whole."""
    id = btf.skip_modifiers(type_id)
    path = ""
    if btf.kind(id) not in (*_INTS, Kind.PTR):
        if btf.kind(id) not in (Kind.STRUCT, Kind.UNION):
            return None
        field = field_at(btf, type_id, offset, size)
        if field is None or field.bit_size or field.bit_off != 8 * offset:
            return None
        id, path = btf.skip_modifiers(field.type_id), field.path
    elif offset:
        return None
    if btf.kind(id) is Kind.PTR:
        return (path, False, True) if size == 8 else None
    if btf.kind(id) not in _INTS or btf.size(id) != size:
        return None
    signed = btf.kind(id) is Kind.INT and bool(btf.int_encoding(id)[0] & 1)
    return path, signed, False


def _in_frame(unit: UnitScope, found: StackObject, offset: int, size: int) -> Named | None:
    if found.type_id and unit.unit.btf is not None:
        member = struct_member(unit.unit.btf, found.type_id, offset, size)
        if member is None:
            return None
        path, signed, pointer = member
        return Named(f"{found.name}.{path}" if path else found.name, signed, pointer)
    if found.chars and size == 1 and 0 <= offset < found.size:
        return Named(f"{found.name}[{offset}]", True)
    for at, length, name in found.members:
        if (at, length) == (offset, size) and not name.endswith("]"):
            return Named(f"{found.name}.{name}" if name else found.name)
    return None


def _relocated(
    unit: UnitScope, web: int, ref: ir.CoreRef, size: int, pointees: Mapping[int, int], name: Mapping[int, str]
) -> Named | None:
    btf = unit.unit.btf
    if btf is None or web not in name:
        return None
    found = core_path(btf, ref)
    type_text = type_name(btf, ref.type_id)
    if found is None or type_text is None:
        return None
    base = name[web] if pointees.get(web) == ref.type_id else f"(({type_text} *){name[web]})"
    path, type_id = found
    unit.core_paths[ref.type_id, ref.access] = None
    id = btf.skip_modifiers(type_id)
    if btf.kind(id) is Kind.PTR and size == 8:
        return Named(f"{base}->{path}", False, True, True)
    if btf.kind(id) not in _INTS or btf.size(id) != size:
        return None
    return Named(f"{base}->{path}", btf.kind(id) is Kind.INT and bool(btf.int_encoding(id)[0] & 1), False, True)
