"""The types of a C file: integers, and definitions from BTF, of structs that are relocated by name only the members that are named."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_header import Header
from bpflens.btf.c_text import Steps, declaration, definition
from bpflens.decompile.c_expression.core import members_named
from bpflens.errors import BpflensError

__all__ = ("Types", "basic_types", "words_of")

_BASIC = {
    "__u8": "unsigned char", "__u16": "unsigned short", "__u32": "unsigned int", "__u64": "unsigned long long", "__s8": "signed char",
    "__s16": "short", "__s32": "int", "__s64": "long long",
}  # fmt: skip
_RAW = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
_MAX_STEPS = 1_000_000
_WORD = re.compile(r"\w+")
_TAGGED = re.compile(r"\b(?:struct|union) \w+")


class Types:
    """The types of BTF that the file needs; empty without BTF."""

    def __init__(self, btf: Btf | None) -> None:
        self.btf = btf
        self.header = Header(btf) if btf is not None else None
        self.failed = False
        self.contexts: set[str] = set()  # structs that are written as uapi has them

    def add(self, id: int) -> bool:
        """Take a type; whether it can be written."""
        if self.header is None or not id:
            return False
        try:
            self.header.add(id)
        except BpflensError:
            self.failed = True
            return False
        return True

    def add_pointed(self, id: int) -> None:
        """Take a type that variables point to: a struct is declared, all else written."""
        if self.btf is not None and self.header is not None:
            self.header.add(id, self.btf.kind(self.btf.skip_modifiers(id)) not in (Kind.STRUCT, Kind.UNION))

    def add_parts(self, paths: Collection[tuple[int, str]]) -> None:
        """Take the members of structs that are named in relocations, and none else of these structs."""
        if self.btf is not None and self.header is not None:
            for root, _ in paths:
                self.add_pointed(root)
            self.header.add_parts(members_named(self.btf, paths))

    def declare(self, id: int, name: str) -> str:
        """`name` declared with a type."""
        assert self.btf is not None and self.header is not None
        return " ".join(declaration(self.btf, id, name, type_tags=False, names=self.header.names).split())

    def text(self) -> list[str]:
        """The definitions, those of the basic types left out."""
        header, btf = self.header, self.btf
        if header is None or btf is None:
            return []
        lines: list[str] = []
        steps = Steps(_MAX_STEPS)
        own = {*_BASIC, *_RAW}
        for id in header.order:
            if btf.kind(id) is Kind.TYPEDEF and btf.name(id) in own:
                continue
            if btf.kind(id) is Kind.STRUCT and btf.name(id) in self.contexts:
                continue
            lines.append(definition(btf, id, False, header.names, steps, header.parts))
        return [*self._declared(lines), *lines]

    def _declared(self, definitions: Sequence[str]) -> list[str]:
        """Declarations of the structs that are not defined before they are named for the first time."""
        assert self.header is not None and self.btf is not None
        out = []
        first: dict[str, str] = {}
        for text in definitions:
            head = text.partition(" {")[0]
            for named in _TAGGED.findall(text):
                first.setdefault(named, head)
        for id in self.header.declared:
            type = self.btf.type(id)
            union = type.kind is Kind.UNION or (type.kind is Kind.FWD and type.kind_flag)
            named = f"{'union' if union else 'struct'} {self.header.names.get(id, type.name)}"
            if first.get(named) != named:
                out.append(f"{named};")
        return out


def words_of(lines: Iterable[str]) -> set[str]:
    """Every word of the text."""
    return {word for line in lines for word in _WORD.findall(line)}


def basic_types(words: set[str]) -> list[str]:
    """The typedefs of integers that the file uses."""
    raw = [name for name in _RAW if name in words]
    boolean = ["#define _Bool __u8 /* the program may see any byte; C would take it for 0 or 1 */"] if "_Bool" in words else []
    needed = words | {f"__{name}" for name in raw} | ({"__u8"} if boolean else set())
    out = [f"typedef {c} {name};" for name, c in _BASIC.items() if name in needed]
    if raw:
        out.append("/* memory accesses of one width: may alias any type */")
    return [*out, *(f"typedef __{name} {name} __attribute__((may_alias));" for name in raw), *boolean]
