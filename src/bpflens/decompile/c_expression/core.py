"""CO-RE numbers, kernel functions and symbols in C: what the loader takes from the running kernel's types.

CoreRef(0, task_struct, "0:87")   ──►   __builtin_preserve_field_info(((struct task_struct *)0)->pid, 0)
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import declaration
from bpflens.decompile import ir
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import OBJECT, POINTER, PRIMARY, S32, S64, U8, U16, U32, U64, UNARY, CText, CType, wrap
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.unit import kernel_types
from bpflens.errors import BpflensError
from bpflens.formats.elf.btf_ext import access_path

__all__ = ("core_address", "core_path", "core_text", "kfunc_declaration", "kfunc_signature", "members_named", "type_name", "type_of")

FIELD_KINDS = range(6)
TYPE_LOCAL, TYPE_TARGET, TYPE_EXISTS, TYPE_SIZE, ENUM_EXISTS, ENUM_VALUE, TYPE_MATCHES = range(6, 13)


def core_text(scope: UnitScope, ref: ir.CoreRef) -> CText:
    """The builtin that makes the relocation again; `ref.value` where its type cannot be written."""
    btf = scope.unit.btf
    made = None
    if btf is not None:
        try:
            made = _builtin(scope, btf, ref)
        except BpflensError:
            made = None
    if made is None:
        from bpflens.decompile.lift.blocks import Unsayable

        raise Unsayable("a CO-RE relocation that C cannot say")
    return CText(made, PRIMARY, U64 if ref.kind in (ENUM_VALUE, TYPE_LOCAL, TYPE_TARGET) else U32)


def core_address(scope: UnitScope, ref: ir.CoreRef, base: CText) -> CText | None:
    """The address of a field that the loader finds: base + offset as an access that clang relocates; None where it has no address."""
    btf = scope.unit.btf
    if btf is None or ref.kind != 0:
        return None
    type_text = type_name(btf, ref.type_id)
    found = core_path(btf, ref)
    if type_text is None or found is None:
        return None
    scope.core_paths[ref.type_id, ref.access] = None
    typed = base.type.pointer == f"{type_text} *"
    inside = f"{wrap(base, PRIMARY) if typed else f'(({type_text} *){wrap(base, UNARY)})'}->{found[0]}"
    return CText(f"{scope.macro('CORE')}(&{inside})", PRIMARY, OBJECT)


def core_path(btf: Btf, ref: ir.CoreRef) -> tuple[str, int] | None:
    """(path of members, type of what it leads to) of a field's offset; None for bitfields and what has no name."""
    try:
        path = access_path(btf, ref.type_id, ref.access)
        if ref.kind != 0 or not path.startswith(".") or _is_bitfield(btf, ref.type_id, ref.access):
            return None
        id = ref.type_id
        for number in ref.access.split(":")[1:]:
            id = btf.skip_modifiers(id)
            id = btf.array(id)[0] if btf.kind(id) is Kind.ARRAY else btf.member(id, int(number)).type_id
    except (BpflensError, ValueError):
        return None
    return path[1:], id


def members_named(btf: Btf, paths: Iterable[tuple[int, str]]) -> dict[int, dict[int, None]]:
    """struct -> the numbers of its members that paths (root type, access) lead through; a struct where one begins or ends may have none."""
    found: dict[int, dict[int, None]] = {}
    for root, access in paths:
        id = btf.skip_modifiers(root)
        for number in access.split(":")[1:]:
            if btf.kind(id) is Kind.ARRAY:
                id = btf.array(id)[0]
            else:
                found.setdefault(id, {})[int(number)] = None
                id = btf.member(id, int(number)).type_id
            id = btf.skip_modifiers(id)
        if btf.kind(id) in (Kind.STRUCT, Kind.UNION):
            found.setdefault(id, {})
    return found


def _is_bitfield(btf: Btf, type_id: int, access: str) -> bool:
    id, bits = type_id, 0
    for number in access.split(":")[1:]:
        id = btf.skip_modifiers(id)
        if btf.kind(id) is Kind.ARRAY:
            id, bits = btf.array(id)[0], 0
        else:
            member = btf.member(id, int(number))
            id, bits = member.type_id, member.bit_size
    return bits != 0


def _builtin(scope: UnitScope, btf: Btf, ref: ir.CoreRef) -> str | None:
    type_text = type_name(btf, ref.type_id)
    if type_text is None:
        return None
    if ref.kind in FIELD_KINDS:
        scope.core_paths[ref.type_id, ref.access] = None
        path = access_path(btf, ref.type_id, ref.access)
        if not path:
            return None
        base = f"(({type_text} *)0)"
        if path.startswith("["):
            return None
        return f"__builtin_preserve_field_info({base}->{path[1:]}, {ref.kind})"
    if ref.kind in (TYPE_TARGET, TYPE_EXISTS, TYPE_SIZE):
        scope.core_paths[ref.type_id, "0"] = None
    else:
        scope.core_types[ref.type_id] = None
    if ref.kind in (TYPE_LOCAL, TYPE_TARGET):
        return f"__builtin_btf_type_id(*({type_text} *)0, {ref.kind - TYPE_LOCAL})"
    if ref.kind in (TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES):
        return f"__builtin_preserve_type_info(*({type_text} *)0, {(TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES).index(ref.kind)})"
    if ref.kind in (ENUM_EXISTS, ENUM_VALUE):
        number = int(ref.access.split(":")[0] or 0)
        constants = btf.enumerators(btf.skip_modifiers(ref.type_id))
        if number >= len(constants):
            return None
        return f"__builtin_preserve_enum_value(*({type_text} *){constants[number].name}, {ref.kind - ENUM_EXISTS})"
    return None


def type_name(btf: Btf, type_id: int) -> str | None:
    """The type as C writes it; None for one without a name."""
    kind = btf.kind(type_id)
    name = btf.name(type_id)
    if kind is Kind.TYPEDEF:
        return name
    tags = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
    if kind in tags:
        return f"{tags[kind]} {name}" if name else None
    return " ".join(declaration(btf, type_id, "").split())


def type_of(btf: Btf, type_id: int) -> CType | None:
    """The C type of a parameter or result; None is void. Structs by value count as 64 bits."""
    id = btf.skip_modifiers(type_id)
    kind = btf.kind(id)
    if kind is Kind.VOID:
        return None
    if kind is Kind.PTR:
        return POINTER
    if kind is Kind.INT:
        signed = bool(btf.int_encoding(id)[0] & 1)
        size = btf.size(id)
        return {(1, False): U8, (2, False): U16, (4, False): U32, (8, False): U64, (4, True): S32, (8, True): S64}.get(
            (size, signed), CType(8 * size, signed)
        )
    if kind in (Kind.ENUM, Kind.ENUM64):
        return CType(8 * btf.size(id))
    return U64


def _prototype(scope: UnitScope, name: str) -> tuple[Btf, int] | None:
    own = scope.unit.btf
    if own is not None and (id := own.find(name, Kind.FUNC)) is not None:
        return own, id
    kernel = kernel_types()
    if kernel is not None and (id := kernel.find(name, Kind.FUNC)) is not None:
        return kernel, id
    return None


def kfunc_signature(scope: UnitScope, name: str) -> Signature | None:
    """The signature of a kernel function."""
    found = _prototype(scope, name)
    if found is None:
        return None
    btf, id = found
    proto = btf.type(id).ref
    params = [p for p in btf.params(proto) if p.type_id]
    return Signature(type_of(btf, btf.type(proto).ref), tuple(type_of(btf, p.type_id) or U64 for p in params))


def kfunc_declaration(scope: UnitScope, name: str) -> tuple[str, Btf, int] | None:
    """(`RESULT NAME(PARAMETERS)`, the BTF it is from, its FUNC); None where it is not known."""
    found = _prototype(scope, name)
    if found is None:
        return None
    btf, id = found
    return " ".join(declaration(btf, id, type_tags=False).split()), btf, id
