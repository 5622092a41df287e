"""Accesses of global variables by their names.

    Load(4, DataRef(".bss", 8))   ──►   counter        (an unsigned int at byte 8)
"""

from __future__ import annotations

from bpflens.btf.btf import Kind
from bpflens.btf.fields import field_at
from bpflens.decompile import ir
from bpflens.decompile.c_expression.unit_scope import UnitScope

__all__ = ("global_lvalue",)

_INTS = (Kind.INT, Kind.ENUM, Kind.ENUM64)


def global_lvalue(unit: UnitScope, ref: ir.DataRef, size: int) -> tuple[str, bool] | None:
    """(the variable or its field as C, whether it is signed) where the access is exactly one integer; None else."""
    found = unit.find(ref.section, ref.offset)
    btf = unit.unit.btf
    if found is None or btf is None or not found.type_id:
        return None
    inside = ref.offset - found.offset
    id = btf.skip_modifiers(found.type_id)
    path = ""
    if btf.kind(id) not in _INTS:
        field = field_at(btf, found.type_id, inside, size)
        if field is None or field.bit_size or field.bit_off != 8 * inside:
            return None
        id, path = btf.skip_modifiers(field.type_id), field.path
    elif inside:
        return None
    if btf.kind(id) not in _INTS or btf.size(id) != size:
        return None
    unit.used_sections[ref.section] = None
    signed = btf.kind(id) is Kind.INT and bool(btf.int_encoding(id)[0] & 1)
    return f"{found.name}{'' if not path or path.startswith('[') else '.'}{path}", signed
