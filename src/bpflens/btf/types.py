"""The records of BTF: kinds of types and what each kind holds (include/uapi/linux/btf.h)."""

from __future__ import annotations

import enum

from bpflens.lean import NamedTuple

__all__ = ("KINDS", "MODIFIERS", "SIZED", "TAILS", "VOID", "Enumerator", "Field", "Kind", "Member", "Param", "Type", "Variable")


class Kind(enum.IntEnum):
    """BTF_KIND_* (include/uapi/linux/btf.h)."""

    VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE = range(10)
    CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(10, 20)


KINDS = tuple(Kind)
MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
SIZED = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.DATASEC, Kind.FLOAT, Kind.ENUM64})
# kind -> (words after the three of struct btf_type, words per vlen)
TAILS = {
    Kind.INT: (1, 0), Kind.PTR: (0, 0), Kind.ARRAY: (3, 0), Kind.STRUCT: (0, 3), Kind.UNION: (0, 3), Kind.ENUM: (0, 2), Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0), Kind.VOLATILE: (0, 0), Kind.CONST: (0, 0), Kind.RESTRICT: (0, 0), Kind.FUNC: (0, 0), Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0), Kind.DATASEC: (0, 3), Kind.FLOAT: (0, 0), Kind.DECL_TAG: (1, 0), Kind.TYPE_TAG: (0, 0), Kind.ENUM64: (0, 3),
}  # fmt: skip


class Type(NamedTuple):
    """One type. `size` in bytes (0 where the kind has none); `ref` the type referred to, an array's element, a FUNC_PROTO's result.

    `vlen` counts members, parameters, enumerators or variables; for FUNC it is the linkage (0 static, 1 global, 2 extern).
    `kind_flag`: STRUCT and UNION with bitfields, FWD of a union, signed ENUM and ENUM64.
    """

    id: int
    kind: Kind
    name: str
    size: int
    ref: int
    vlen: int
    kind_flag: bool


class Member(NamedTuple):
    """A member of a struct or union; `bit_size` is 0 unless it is a bitfield."""

    name: str
    type_id: int
    bit_off: int
    bit_size: int


class Param(NamedTuple):
    """A parameter of a function; name "" and type 0 at the end mean "..."."""

    name: str
    type_id: int


class Enumerator(NamedTuple):
    """A constant of an enum."""

    name: str
    value: int


class Variable(NamedTuple):
    """A variable of a data section: VAR (or, in .ksyms, FUNC) type id, offset and size in bytes."""

    type_id: int
    byte_off: int
    size: int


class Field(NamedTuple):
    """Where a path of members leads: `bit_off` from the outermost struct, `bit_size` 0 unless a bitfield."""

    path: str
    type_id: int
    bit_off: int
    bit_size: int


VOID = Type(0, Kind.VOID, "void", 0, 0, 0, False)
