"""Types of C as far as they decide what an expression means, and pieces of C with their type and precedence.

    u8 + u8   ──►   int that is not negative        u32 + s64   ──►   s64"""

from __future__ import annotations

from typing import NamedTuple

__all__ = (
    "ADD",
    "AND",
    "BAND",
    "BOR",
    "EQUAL",
    "INT",
    "MUL",
    "OBJECT",
    "OR",
    "POINTER",
    "PRIMARY",
    "RELATION",
    "S16",
    "S32",
    "S64",
    "SHIFT",
    "U8",
    "U16",
    "U32",
    "U64",
    "UNARY",
    "UNSIGNED",
    "XOR",
    "CText",
    "CType",
    "common",
    "int_type",
    "promoted",
    "wrap",
)  # fmt: skip


class CType(NamedTuple):
    """`bits` of an integer type; `signed`; a pointer has its C text in `pointer`. INT is an int whose value is known to be >= 0."""

    bits: int
    signed: bool = False
    pointer: str = ""


U8, U16, U32, U64 = CType(8), CType(16), CType(32), CType(64)
S8, S16, S32, S64 = CType(8, True), CType(16, True), CType(32, True), CType(64, True)
INT = CType(31)  # a C int, not negative
POINTER = CType(64, False, "void *")
OBJECT = CType(64, False, "object *")  # the address of something that C knows the type of: arithmetic on it needs a cast
UNSIGNED = {8: U8, 16: U16, 32: U32, 64: U64}
_SIGNED = {8: S8, 16: S16, 32: S32, 64: S64}

# precedence of C: higher binds tighter
PRIMARY, UNARY, MUL, ADD, SHIFT, RELATION, EQUAL, BAND, XOR, BOR, AND, OR = 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4


class CText(NamedTuple):
    """A piece of C, the precedence of its outermost operator, its type."""

    text: str
    level: int
    type: CType


def int_type(bits: int, signed: bool = False) -> CType:
    """The integer type of that width."""
    return (_SIGNED if signed else UNSIGNED)[bits]


def wrap(made: CText, level: int) -> str:
    """The text, in parentheses where its operator binds less tightly than `level`."""
    return f"({made.text})" if made.level < level else made.text


def common(a: CType, b: CType) -> CType:
    """C's usual arithmetic conversions."""
    if a.bits == 64 or b.bits == 64:
        signed = (a.bits < 64 or a.signed) and (b.bits < 64 or b.signed)
        return S64 if signed else U64
    if U32 in (a, b):
        return U32
    return S32 if a.signed or b.signed else INT


def promoted(type: CType) -> CType:
    return INT if type.bits < 32 and not type.signed else S32 if type.bits < 32 else type
