"""Layout of BTF types in C: alignment as a compiler for a 64-bit machine chooses it, and the padding that C needs to get BTF's offsets.

BTF has sizes and offsets but no alignment: a packed struct is seen by a member that is not where its own alignment would put it.
"""

from __future__ import annotations

from bpflens.btf.btf import MAX_CHAIN, Btf
from bpflens.btf.types import SIZED, Kind, Member
from bpflens.errors import InputError

__all__ = ("align", "is_packed", "laid_out")

UNITS = (("char", 8), ("short", 16), ("int", 32), ("long", 64))


def align(btf: Btf, id: int, depth: int = 0) -> int:
    """Natural alignment in bytes of a type, as a compiler for a 64-bit machine would choose it; packed structs have 1.

    The blob remembers its structs, so that the cost is linear in the types met. InputError for a cycle.
    """
    known = btf.alignments
    if depth > MAX_CHAIN:
        raise InputError(btf.where, f"type {id}: structs nested deeper than {MAX_CHAIN}, or within themselves")
    for _ in range(MAX_CHAIN):
        if id in known:
            return known[id]
        type = btf.type(id)
        if type.kind is Kind.PTR:
            return 8
        if type.kind in (Kind.STRUCT, Kind.UNION):
            found = 1 if is_packed(btf, id, depth) else _natural(btf, id, depth)
            known[id] = found
            return found
        if type.kind in SIZED:
            # 16-byte integers too; odd sizes do not occur in C
            return type.size if type.size in (1, 2, 4, 8, 16) else 1
        if type.kind in (Kind.FUNC, Kind.FUNC_PROTO, Kind.VOID, Kind.FWD):
            return 1
        id = type.ref
    raise InputError(btf.where, f"type {id}: a chain of more than {MAX_CHAIN} references")


def _natural(btf: Btf, id: int, depth: int) -> int:
    """The largest alignment of the members that are not bitfields of no storage of their own."""
    found = 1
    for member in btf.members(id):
        found = max(found, align(btf, member.type_id, depth + 1))
    return found


def is_packed(btf: Btf, id: int, depth: int = 0) -> bool:
    """Whether a struct can only be written with __attribute__((packed))."""
    type = btf.type(id)
    for member in btf.members(id):
        if member.bit_size:
            each = btf.size(member.type_id) * 8
            if each and member.bit_off // each != (member.bit_off + member.bit_size - 1) // each:
                return True  # crosses its storage unit
        elif member.bit_off % (8 * align(btf, member.type_id, depth + 1)):
            return True
    return bool(type.size % _natural(btf, id, depth))


def laid_out(btf: Btf, id: int) -> tuple[list[tuple[Member | None, list[str]]], str]:
    """The members of a struct or union, each with the padding lines that C needs before it, and the attributes after the "}".

    The last entry may be padding only (None). A member that overlaps the one before it, which C cannot say, gets a comment.
    """
    type = btf.type(id)
    packed = align(btf, id) == 1 and is_packed(btf, id)
    natural = 1 if packed else align(btf, id)
    attributes = " __attribute__((packed))" if packed else ""
    if type.kind is Kind.UNION:
        members: list[tuple[Member | None, list[str]]] = [(member, []) for member in btf.members(id)]
        largest = max((member.bit_size + 7 >> 3 or btf.size(member.type_id) for member in btf.members(id)), default=0)
        if -(-largest // natural) * natural < type.size:
            members.append((None, [f"unsigned char __pad_{id}[{type.size}];"]))
        return members, attributes
    placed: list[tuple[Member | None, list[str]]] = []
    cursor = 0
    for member in btf.members(id):
        unit = 8 * btf.size(member.type_id)
        expected = cursor
        if not member.bit_size:
            expected = _up(cursor, 8 if packed else 8 * align(btf, member.type_id))
        elif not packed and unit and cursor // unit != (cursor + member.bit_size - 1) // unit:
            expected = _up(cursor, unit)
        if expected < member.bit_off:
            placed.append((member, _padding(id, cursor, member.bit_off)))
        elif expected > member.bit_off:
            placed.append((member, [f"/* at bit {member.bit_off}, which C cannot say */"]))
        else:
            placed.append((member, []))
        cursor = member.bit_off + (member.bit_size or unit)
    if _up(cursor, 8 * natural) < 8 * type.size:
        placed.append((None, _padding(id, cursor, 8 * type.size)))
    return placed, attributes


def _up(value: int, step: int) -> int:
    """`value` rounded up to a multiple of `step`."""
    return -(-value // step) * step


def _padding(id: int, start: int, end: int) -> list[str]:
    """Lines of C that take the bits from `start` to `end`: unnamed bitfields, or bytes where it is long."""
    lines = []
    if end - start > 8 * 64:
        first = _up(start, 8)
        count = (end - first) // 8
        lines = _padding(id, start, first)
        lines.append(f"unsigned char __pad_{id}_{first // 8}[{count}];")
        start = first + 8 * count
    while start < end:
        name, bits = next((unit for unit in UNITS if start // unit[1] == (end - 1) // unit[1]), UNITS[-1])
        width = min(end - start, bits - start % bits)
        lines.append(f"{name}: {width};")
        start += width
    return lines
