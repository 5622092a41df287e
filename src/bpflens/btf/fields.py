"""Members of structs by path and by offset: "__sk_common.skc_family" <-> byte 16 of struct sock."""

from __future__ import annotations

from collections import deque

from bpflens.btf.btf import MAX_CHAIN, Btf, Field, Kind, Member
from bpflens.errors import InputError

__all__ = ("field", "field_at", "member_at", "member_offset")

STRUCTS = (Kind.STRUCT, Kind.UNION)


def field(btf: Btf, type_id: int, path: str) -> Field:
    """Where members `path` ("sk.__sk_common.skc_family") of a struct lead; anonymous members need not be named.

    InputError where there is no such member.
    """
    bit_off = bit_size = 0
    id = type_id
    for name in path.split("."):
        struct = btf.skip_modifiers(id)
        found = _member(btf, struct, name)
        if found is None:
            raise InputError(btf.where, f"{btf.name(struct) or 'anonymous struct'} has no member {name}")
        bit_off, id, bit_size = bit_off + found.bit_off, found.type_id, found.bit_size
    return Field(path, id, bit_off, bit_size)


def member_offset(btf: Btf, struct: str, path: str) -> int:
    """Byte offset of a member of struct `struct`, "a.b" for a member's member; InputError where there is none."""
    return field(btf, btf.struct_id(struct), path).bit_off // 8


def member_at(btf: Btf, type_id: int, byte_off: int, size: int = 0) -> str | None:
    """What is at `byte_off` of a type: "__sk_common.skc_family", "cb[3]"; None where it is padding or outside.

    `size` (bytes of the access, 0: any) chooses among the members of unions and stops at a member of that size.
    """
    found = field_at(btf, type_id, byte_off, size)
    return found.path if found else None


def _member(btf: Btf, id: int, name: str) -> Member | None:
    """Member `name` of a struct, searched through its anonymous members, breadth first."""
    queue, seen = deque([(id, 0)]), {id}
    while queue:
        id, base = queue.popleft()
        if btf.kind(id) not in STRUCTS:
            continue
        for member in btf.members(id):
            if member.name == name:
                return member._replace(bit_off=base + member.bit_off)
            inner = id if member.name else btf.skip_modifiers(member.type_id)
            if inner not in seen:
                seen.add(inner)
                queue.append((inner, base + member.bit_off))
    return None


def field_at(btf: Btf, type_id: int, byte_off: int, size: int = 0) -> Field | None:
    """The innermost member that covers `byte_off`, and that `size` (0: any) fits best: one step down per level."""
    path, base, named = "", 0, False
    for _ in range(MAX_CHAIN):
        id = btf.skip_modifiers(type_id)
        kind, rest = btf.kind(id), byte_off - base // 8
        if kind is Kind.ARRAY:
            element, _, count = btf.array(id)
            each = btf.size(element)
            index = rest // each if each else 0
            if not each or (count and index >= count):  # a flexible array has no end
                return None
            path, type_id, base, named = f"{path}[{index}]", element, base + 8 * index * each, True
            continue
        if kind not in STRUCTS or (named and rest == 0 and size and size == btf.size(id)):
            inside = rest < max(btf.size(id), 1) or not path
            return Field(path, type_id, base, 0) if path and inside else None
        member = _covering(btf, id, rest, size)
        if member is None:
            return None
        named = bool(member.name)
        if named:
            path = f"{path}.{member.name}" if path else member.name
        type_id, base = member.type_id, base + member.bit_off
        if member.bit_size:
            return Field(path, type_id, base, member.bit_size) if path else None
    return None


def _covering(btf: Btf, id: int, byte_off: int, size: int) -> Member | None:
    """The member of a struct that covers a byte: the one that fits `size` best, the first of equals."""
    best: Member | None = None
    best_rank = 99
    for member in btf.members(id):
        start = member.bit_off // 8
        if start > byte_off:
            if btf.kind(id) is Kind.STRUCT:
                break
            continue
        if member.bit_size:
            length = (member.bit_off % 8 + member.bit_size + 7) // 8
        else:
            length = btf.size(member.type_id)
        end = start + length
        if length == 0 and btf.kind(btf.skip_modifiers(member.type_id)) is Kind.ARRAY:
            rank = 3  # a flexible array
        elif byte_off >= end:
            continue
        elif size and byte_off == start and length == size:
            rank = 0
        elif size and byte_off + size > end:
            rank = 2
        else:
            rank = 1
        if rank < best_rank:
            best, best_rank = member, rank
    return best
