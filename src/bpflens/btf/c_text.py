"""C from BTF: declarations ("int (*fn)(struct ctx *, u32)") and definitions of structs, unions, enums and typedefs.

A declarator is written inside out: walking from the name's type inwards, pointers go before the name, arrays and parameter lists
after it, with parentheses where a pointer meets one of those. Type ids are hostile until shown otherwise, so every step is paid
from a budget, and what costs more than any real type raises InputError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bpflens.btf.btf import Btf, Kind, Member
from bpflens.btf.layout import laid_out
from bpflens.errors import InputError

__all__ = ("TAGS", "Steps", "declaration", "definition")

DEFAULT_STEPS = 50_000  # the largest type of Linux 6.18 takes about 3,000
MAX_DEPTH = 40

TAGS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
NO_NAMES: Mapping[int, str] = {}
NO_PARTS: Mapping[int, Collection[int]] = {}
QUALIFIERS = {Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict"}


class Steps:
    """What may still be spent on writing C: one step per type, member or constant; may be shared by many declarations."""

    __slots__ = ("left",)

    def __init__(self, left: int = DEFAULT_STEPS) -> None:
        self.left = left


class _Writer:
    """One declaration or definition being written: what it may still cost, and other names for types whose own are taken."""

    __slots__ = ("btf", "names", "parts", "steps", "type_tags")

    def __init__(
        self, btf: Btf, type_tags: bool, names: Mapping[int, str], steps: Steps | None, parts: Mapping[int, Collection[int]] = NO_PARTS
    ) -> None:
        self.btf = btf
        self.parts = parts
        self.steps = steps or Steps()
        self.type_tags = type_tags
        self.names = names

    def pay(self, id: int, depth: int) -> None:
        self.steps.left -= 1
        if self.steps.left < 0 or depth > MAX_DEPTH:
            raise InputError(self.btf.where, f"type {id} is too large or too deeply nested to be written as C")

    def declare(self, id: int, inner: str, indent: str = "", depth: int = 0) -> str:
        """`inner` (a name or a declarator around one) declared with type `id`."""
        btf = self.btf
        qualifiers: list[str] = []  # of the type that is reached next, outermost first
        while True:
            self.pay(id, depth)
            type = btf.type(id)
            kind = type.kind
            if kind in QUALIFIERS:
                qualifiers.append(QUALIFIERS[kind])
            elif kind is Kind.TYPE_TAG:
                if self.type_tags:
                    qualifiers.append(f'__attribute__((btf_type_tag("{c_string(type.name)}")))')
            elif kind is Kind.PTR:
                own = " ".join(qualifiers)
                inner, qualifiers = f"*{own} {inner}".rstrip() if own else f"*{inner}", []
            elif kind is Kind.ARRAY:
                count = btf.array(id)[2]
                inner = f"{_enclosed(inner)}[{count}]"
            elif kind is Kind.FUNC_PROTO:
                inner = f"{_enclosed(inner)}({self.parameters(id, depth)})"
                qualifiers = []
            elif kind in (Kind.FUNC, Kind.VAR):
                inner = type.name or inner
            else:
                base = " ".join([*qualifiers, self.specifier(id, indent, depth)])
                return f"{base} {inner}" if inner and not inner.startswith("[") else base + inner
            id = type.ref

    def specifier(self, id: int, indent: str, depth: int) -> str:
        """What stands at the left of a declaration: "unsigned int", "struct x", or the body of an anonymous struct."""
        type = self.btf.type(id)
        if type.kind is Kind.VOID:
            return "void"
        if type.kind is Kind.FWD:
            return f"{'union' if type.kind_flag else 'struct'} {type.name}"
        tag, name = TAGS.get(type.kind), self.names.get(id, type.name)
        if tag is None:
            return name
        return f"{tag} {name}" if name else self.body(id, indent, depth + 1)

    def parameters(self, id: int, depth: int) -> str:
        """The parameter list of a FUNC_PROTO."""
        params = self.btf.params(id)
        if not params:
            return "void"
        if len(params) == 1 and not params[0].type_id and not params[0].name:
            return ""  # nothing but "...", which C has since C23 only: a function without a prototype
        return ", ".join(self.declare(p.type_id, p.name, "", depth + 1) if p.type_id or p.name else "..." for p in params)

    def body(self, id: int, indent: str, depth: int) -> str:
        """A struct, union or enum with its members: "struct x {...}" over several lines."""
        self.pay(id, depth)
        type = self.btf.type(id)
        head = f"{TAGS[type.kind]} {self.names.get(id, type.name)}".rstrip()
        if type.kind in (Kind.ENUM, Kind.ENUM64):
            return self.enum_body(id, head, indent)
        deeper = indent + "\t"
        lines = [f"{head} {{"]
        placed, attributes = self.members(id)
        for member, padding in placed:
            lines += [f"{deeper}{line}" for line in padding]
            if member is not None:
                self.pay(id, depth)
                width = f": {member.bit_size}" if member.bit_size else ""
                lines.append(f"{deeper}{self.declare(member.type_id, member.name, deeper, depth)}{width};")
        return "\n".join([*lines, f"{indent}}}{attributes}"])

    def members(self, id: int) -> tuple[Sequence[tuple[Member | None, Sequence[str]]], str]:
        """The members with the padding before each, and attributes; of a struct in part those wanted, wherever they lie."""
        if id not in self.parts:
            return laid_out(self.btf, id)
        members = self.btf.members(id)
        return [(members[number], ()) for number in sorted(self.parts[id])], ""

    def enum_body(self, id: int, head: str, indent: str) -> str:
        """An enum with its constants; a size that is not int's as an attribute."""
        type = self.btf.type(id)
        other = self.names.get(id, type.name)[len(type.name) :]  # "___2": the constants of a second enum of that name need other names too
        lines = [f"{head} {{"]
        for name, value in self.btf.enumerators(id):
            self.pay(id, 0)
            if type.kind is Kind.ENUM64 and not type.kind_flag:
                suffix = "ULL"
            elif type.kind is Kind.ENUM64:
                suffix = "LL"
            else:
                suffix = ""
            shown = f"(-{-value - 1}{suffix} - 1)" if value in (-(1 << 31), -(1 << 63)) else f"{value}{suffix}"
            lines.append(f"{indent}\t{name}{other} = {shown},")
        mode = {1: " __attribute__((mode(byte)))", 2: " __attribute__((mode(HI)))"}.get(type.size, "")
        if type.size == 8:
            mode = " __attribute__((mode(DI)))"
        return "\n".join([*lines, f"{indent}}}{mode}"])


def _enclosed(declarator: str) -> str:
    """A declarator that starts with a pointer, in parentheses: an array or a parameter list binds tighter."""
    return f"({declarator})" if declarator.startswith("*") else declarator


def c_string(text: str) -> str:
    """Text for between double quotes in C."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def declaration(
    btf: Btf, id: int, name: str = "", type_tags: bool = True, names: Mapping[int, str] = NO_NAMES, steps: Steps | None = None
) -> str:
    """A C declaration of `name` (a FUNC or VAR has its own) with type `id`, without ";". InputError for types no C can have.

    `type_tags` writes them as attributes, which gcc before 14 does not know; `names` has other names for types, by id.
    """
    return _Writer(btf, type_tags, names, steps).declare(id, name)


def definition(
    btf: Btf, id: int, type_tags: bool = True, names: Mapping[int, str] = NO_NAMES, steps: Steps | None = None,
    parts: Mapping[int, Collection[int]] = NO_PARTS,
) -> str:  # fmt: skip
    """The C definition of a struct, union, enum (or "typedef ...") with its members, ending in ";".

    `parts`: of these structs only the members with those numbers, without a layout, for accesses that are relocated by name.
    """
    writer = _Writer(btf, type_tags, names, steps, parts)
    type = btf.type(id)
    if type.kind is Kind.TYPEDEF:
        return f"typedef {writer.declare(type.ref, names.get(id, type.name))};"
    if type.kind is Kind.FWD:
        return f"{writer.specifier(id, '', 0)};"
    if type.kind in TAGS:
        return f"{writer.body(id, '', 0)};"
    return f"{writer.declare(id, '')};"
