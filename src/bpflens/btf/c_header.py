"""A C header from BTF: the types asked for and all that they need, each after what it depends on, as `bpftool btf dump format c` does.

    struct b;                       <- every struct is declared first: a pointer needs no more
    struct a { struct b *p; };      <- before c, which has one by value
    struct c { struct a a; };

Method: depth-first walk of the types; what a type has by value is written before it, what it only points to is not.
Cost: linear in the types that are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import TAGS, Steps, definition
from bpflens.errors import InputError

__all__ = ("Header", "header")

MAX_DEPTH = 200
MAX_STEPS = 10_000_000  # all of Linux 6.18 takes about 200,000
STRUCTS = (Kind.STRUCT, Kind.UNION)
ENUMS = (Kind.ENUM, Kind.ENUM64)


class Header:
    """The types of a header in the order in which C wants them: `order` of those defined, `declared` of structs, `names` where changed."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.order: list[int] = []
        self.declared: dict[int, None] = {}
        self.names: dict[int, str] = {}
        self.parts: dict[int, Collection[int]] = {}  # structs of which only these members are written
        self._taken: dict[tuple[bool, str], int] = {}
        self._done: set[int] = set()
        self._doing: set[int] = set()

    def add(self, id: int, complete: bool = True, depth: int = 0) -> None:
        """Take type `id` and what it needs. `complete`: its size must be known. InputError for types within themselves."""
        btf = self.btf
        while True:
            if depth > MAX_DEPTH:
                raise InputError(btf.where, f"type {id} is nested deeper than {MAX_DEPTH}")
            type = btf.type(id)
            kind = type.kind
            if kind in STRUCTS:
                self._struct(id, complete, depth)
                return
            if kind in ENUMS:
                self._define(id)
                return
            if kind is Kind.FWD:
                self.declared[id] = None
                return
            if kind is Kind.FUNC_PROTO:
                for param in btf.params(id):
                    self.add(param.type_id, False, depth + 1)
                complete = False
            elif kind is Kind.TYPEDEF:
                if id not in self._done:
                    self.add(type.ref, False, depth + 1)
                    if not type.name.startswith("__builtin_"):
                        self._define(id)
            elif kind is Kind.PTR:
                complete = False
            elif kind is Kind.ARRAY:
                complete = True
            elif not type.ref:
                return
            id = type.ref
            depth += 1

    def _struct(self, id: int, complete: bool, depth: int) -> None:
        named = bool(self.btf.name(id))
        if named:
            self._rename(id)
            self.declared[id] = None
        if id in self._done or (named and not complete):
            return
        if id in self._doing:
            raise InputError(self.btf.where, f"struct {self.btf.name(id) or id} contains itself")
        self._doing.add(id)
        for member in self.btf.members(id):
            self.add(member.type_id, True, depth + 1)
        self._doing.discard(id)
        if named:
            self._define(id)
        else:
            self._done.add(id)

    def add_parts(self, wanted: Mapping[int, Collection[int]]) -> None:
        """Take structs of which only some members are named (struct -> numbers), for accesses that are relocated by name.

        What `add` has taken already stays whole; so all that is wanted whole comes before.
        """
        for id in wanted:
            self._part(id, wanted, 0)

    def _part(self, id: int, wanted: Mapping[int, Collection[int]], depth: int) -> None:
        if id in self._done or id in self._doing:
            return
        if depth > MAX_DEPTH:
            raise InputError(self.btf.where, f"type {id} is nested deeper than {MAX_DEPTH}")
        named = bool(self.btf.name(id))
        if named:
            self._rename(id)
            self.declared[id] = None
        self._doing.add(id)
        numbers = wanted.get(id, ())
        members = self.btf.members(id)
        for number in numbers:
            held = type_id = members[number].type_id
            while self.btf.kind(held) in (Kind.ARRAY, Kind.CONST, Kind.VOLATILE):
                held = self.btf.array(held)[0] if self.btf.kind(held) is Kind.ARRAY else self.btf.type(held).ref
            if self.btf.kind(held) in STRUCTS:
                self._part(held, wanted, depth + 1)
            else:
                self.add(type_id, True, depth + 1)
        self._doing.discard(id)
        if id not in self._done:
            self.parts[id] = numbers
            if named:
                self._define(id)
            else:
                self._done.add(id)

    def _define(self, id: int) -> None:
        if id not in self._done:
            self._done.add(id)
            self._rename(id)
            if self.btf.name(id) or self.btf.kind(id) not in TAGS:
                self.order.append(id)

    def _rename(self, id: int) -> None:
        """Give a type whose name another one has already the name NAME___2, as bpftool does."""
        name = self.btf.name(id)
        if not name or id in self.names:
            return
        tag = self.btf.kind(id) in TAGS
        if self._taken.setdefault((tag, name), id) != id:
            number = 2
            while self._taken.setdefault((tag, f"{name}___{number}"), id) != id:
                number += 1
            self.names[id] = f"{name}___{number}"

    def text(self, type_tags: bool = False) -> str:
        """The header."""
        lines = []
        for id in self.declared:
            type = self.btf.type(id)
            union = type.kind is Kind.UNION or (type.kind is Kind.FWD and type.kind_flag)
            lines.append(f"{'union' if union else 'struct'} {self.names.get(id, type.name)};")
        steps = Steps(MAX_STEPS)
        lines += [definition(self.btf, id, type_tags, self.names, steps, self.parts) for id in self.order]
        return "\n\n".join(["\n".join(lines[: len(self.declared)]), *lines[len(self.declared) :]]) + "\n"


def header(btf: Btf, ids: Iterable[int], type_tags: bool = False) -> str:
    """C of the types `ids` and of all that they need, in an order that compiles."""
    made = Header(btf)
    for id in ids:
        made.add(id)
    return made.text(type_tags)
