"""The declarations at the head of a structured function: stack objects, then variables by type.

    __u32 key;  struct event event;  __u64 now, delta;  struct sock *sk;
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bpflens.btf.c_text import declaration
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import CType
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.stored_bytes import Initial
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.result import Line
from bpflens.decompile.unit import Code

__all__ = ("declarations", "direct_parameters")


class Variables(Protocol):
    """What is declared: `names` of the variables that are used, by web, their `types`, and the stack objects that are used."""

    unit: UnitScope
    function_: Function
    names: dict[int, str]
    types: Mapping[int, CType]
    used_objects: dict[int, None]

    def type_name(self, type: CType) -> str:
        """A type as C has it."""


def direct_parameters(scope: Variables, code: Code, signature: Signature) -> dict[int, str]:
    """register -> the name of the variable that a parameter is, where it has the parameter's type."""
    if code.role == "entry":
        return {}
    of = {register: web for register, web in scope.function_.arguments.items() if register <= len(signature.parameters)}
    return {
        register: scope.names[web] for register, web in of.items()
        if web in scope.names and scope.types[web] == signature.parameters[register - 1]
    }  # fmt: skip


def declarations(
    scope: Variables, code: Code, signature: Signature, undefined: set[int], initial: Mapping[int, Initial]
) -> list[Line]:
    out = []
    for start in sorted(scope.used_objects):
        found = scope.function_.objects[start]
        value = initial.get(start)
        texts = _object_text(scope, found)
        out += [Line(f"\t{text}") for text in texts[:-1]]
        last = texts[-1] if value is None else f"{texts[-1][:-1]} = {value.text};"
        out.append(Line(f"\t{last}", value.slots if value is not None else ()))
    arguments = {web: register for register, web in scope.function_.arguments.items()}
    direct = direct_parameters(scope, code, signature)
    by_type: dict[str, list[str]] = {}
    for web, name in scope.names.items():
        type = scope.types[web]
        if web in arguments and ((name == "ctx" and code.role == "entry") or arguments[web] in direct):
            continue
        star = "*" if type.pointer else ""
        text = f"{star}{name}"
        if web in arguments:
            register = arguments[web]
            have = signature.parameters[register - 1]
            argument = "ctx" if code.role == "entry" and register == 1 else f"a{register}"
            cast = "(__u64)" if have.pointer and not type.pointer else "(void *)" if type.pointer and not have.pointer else ""
            text += f" = {cast}{argument}"
        elif web in undefined:
            text += " = 0"
        base = type.pointer.rstrip("*") if type.pointer else scope.type_name(type) + " "
        by_type.setdefault(base, []).append(text)
    for base, names in by_type.items():
        for at in range(0, len(names), 12):
            out.append(Line(f"\t{base}{', '.join(names[at : at + 12])};"))
    if out:
        out.append(Line(""))
    return out


def _object_text(scope: Variables, found: StackObject) -> list[str]:
    """The declaration of a stack object."""
    align = next(step for step in (8, 4, 2, 1) if found.start % step == 0)
    btf = scope.unit.unit.btf
    if found.type_id and btf is not None:
        scope.unit.used_types[found.type_id] = None
        return [f"{' '.join(declaration(btf, found.type_id, found.name, type_tags=False).split())} __attribute__((aligned({align})));"]
    if not found.members:
        return [f"{'char' if found.chars else '__u8'} {found.name}[{found.size}] __attribute__((aligned({align})));"]
    if len(found.members) == 1 and not found.members[0][2]:
        return [f"__u{8 * found.size} {found.name};"]
    out, end = ["struct {"], 0
    for at, size, name in found.members:
        if at > end:
            out.append(f"\t__u8 at_{end}[{at - end}];")
        out.append(f"\t__u8 {name};" if name.endswith("]") else f"\t__u{8 * size} {name};")
        end = at + size
    if end < found.size:
        out.append(f"\t__u8 at_{end}[{found.size - end}];")
    return [*out, f"}} {found.name} __attribute__((aligned({align})));"]
