"""Types of what functions take and return, as far as C's arithmetic needs them.

    void *bpf_map_lookup_elem(void *map, const void *key)   ──►   Signature(void *, (void *, void *))"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from bpflens.decompile.c_expression.types import POINTER, S32, S64, U8, U16, U32, U64, CType
from bpflens.isa.extended.helpers import helper_prototype

__all__ = ("Signature", "helper_signature")

_INTEGERS = {
    "int": S32, "long": S64, "__u8": U8, "__u16": U16, "__u32": U32, "__u64": U64, "__be16": U16, "__be32": U32, "__s64": S64, "__s32": S32,
    "__wsum": U32, "unsigned int": U32, "unsigned long": U64, "char": U8, "bool": U8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of a function: None is void (no result)."""

    result: CType | None
    parameters: tuple[CType, ...]
    variadic: bool = False
    pointees: tuple[int, ...] = ()  # BTF types that the parameters point to, 0 where they do not or it is not known


@lru_cache(maxsize=512)
def helper_signature(number: int) -> Signature | None:
    """The signature of a helper, from its C prototype; pointers are void *."""
    prototype = helper_prototype(number)
    if prototype is None:
        return None
    head, _, rest = prototype.partition("(")
    inside = rest.rstrip(")").strip()
    parameters: list[CType] = []
    variadic = False
    for part in inside.split(",") if inside != "void" else ():
        part = part.strip()
        if part == "...":
            variadic = True
        else:
            parameters.append(_c_type(part))
    return Signature(_c_type(head) if not head.startswith("void ") or "*" in head else None, tuple(parameters), variadic)


def _c_type(declaration: str) -> CType:
    if "*" in declaration or "[" in declaration:
        return POINTER
    words = re.sub(r"\b(const|struct|enum)\b", "", declaration).split()
    return _INTEGERS.get(" ".join(words[:-1]), U64)
