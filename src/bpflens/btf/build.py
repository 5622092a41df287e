"""Making BTF: a new blob, types added to one that exists (whose ids stay), or the split BTF of a module.

    build = BtfBuilder()
    u32 = build.add_int("unsigned int", 4)
    build.add_struct("pair", 8, [("a", u32, 0), ("b", u32, 32)])
    blob = build.build()

Every method returns the id of its type; a type that was added before, equal in all, gets its old id again (variables, functions and
sections are always new).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from bpflens.btf.btf import MAGIC, Btf
from bpflens.btf.types import SIZED, Kind
from bpflens.errors import InputError

__all__ = ("BtfBuilder",)

StructMember = tuple[str, int, int] | tuple[str, int, int, int]
SIGNED, CHAR, BOOL = 1, 2, 4
STATIC, GLOBAL, EXTERN = range(3)
HEADER = 24
MAX_COPY = 200


class BtfBuilder:
    """BTF in the making, little-endian whatever the blob that it goes on from was."""

    def __init__(self, existing: bytes | None = None, base: Btf | None = None) -> None:
        """`existing`: a blob to go on from. `base`: the BTF that a split one builds on (with `existing`: that it builds on)."""
        self._seen: dict[bytes, int] = {}
        self._offsets: dict[str, int] = {}
        self._order = "<"
        if existing is None:
            self._types: list[bytes] = []
            self._strings = bytearray() if base else bytearray(b"\0")
            self._strings_first = base.strings_end if base else 0
            self._next = len(base) if base else 1
        else:
            btf = Btf.parse(existing, base)
            types, strings = btf.sections()
            self._types = [struct.pack(f"<{len(types) // 4}I", *struct.unpack(f">{len(types) // 4}I", types)) if btf.big_endian else types]
            self._strings = bytearray(strings or b"\0")
            self._strings_first = base.strings_end if base else 0
            self._next = len(btf)
        self._copied: dict[int, int] = {}

    def build(self) -> bytes:
        """The blob as it is now."""
        types = b"".join(self._types)
        strings = bytes(self._strings)
        return struct.pack(self._order + "HBBIIIII", MAGIC, 1, 0, HEADER, 0, len(types), len(types), len(strings)) + types + strings

    def __len__(self) -> int:
        """The id that the next type gets."""
        return self._next

    def string(self, text: str) -> int:
        """The offset of a string, added where it is new."""
        if not text:
            return 0
        offset = self._offsets.get(text)
        if offset is None:
            raw = text.encode("utf-8", "surrogateescape")
            if b"\0" in raw:
                raise InputError("BTF", f"a name with a zero byte: {text[:40]!r}")
            at = self._strings.find(b"\0" + raw + b"\0")
            if at >= 0:
                offset = at + 1 + self._strings_first
            else:
                offset = len(self._strings) + self._strings_first
                self._strings += raw + b"\0"
            self._offsets[text] = offset
        return offset

    def rename(self, id: int, name: str) -> None:
        """Give an existing type (not one of a base) another name."""
        raw = self.build()
        btf = Btf.parse(raw)
        types, _ = btf.sections()
        at = 4 * btf.position(id)
        self._types = [types[:at] + struct.pack(self._order + "I", self.string(name)) + types[at + 4 :]]
        self._seen.clear()

    def _add(
        self, name: str, kind: Kind, third: int, vlen: int = 0, flag: bool = False, tail: Iterable[int] = (), new: bool = False
    ) -> int:
        """A type of struct btf_type and the words after it."""
        if vlen > 0xFFFF:
            raise InputError("BTF", f"{name or kind.name}: {vlen} members are more than BTF can count (65535)")
        words = [self.string(name), (flag << 31) | (kind << 24) | vlen, third & 0xFFFFFFFF, *(word & 0xFFFFFFFF for word in tail)]
        raw = struct.pack(f"{self._order}{len(words)}I", *words)
        if not new and raw in self._seen:
            return self._seen[raw]
        self._types.append(raw)
        id = self._seen[raw] = self._next
        self._next += 1
        return id

    # --- one method per kind ---

    def add_int(self, name: str, size: int, encoding: int = 0, bits: int = 0) -> int:
        """An integer of `size` bytes; `encoding` of 1 signed, 2 char, 4 bool."""
        return self._add(name, Kind.INT, size, tail=[encoding << 24 | (bits or 8 * size)])

    def add_float(self, name: str, size: int) -> int:
        """A floating point number of `size` bytes."""
        return self._add(name, Kind.FLOAT, size)

    def add_ptr(self, ref: int) -> int:
        """A pointer; to void with 0."""
        return self._add("", Kind.PTR, ref)

    def add_modifier(self, kind: Kind, ref: int, name: str = "") -> int:
        """CONST, VOLATILE, RESTRICT, or TYPE_TAG with its text as name."""
        return self._add(name, kind, ref)

    def add_typedef(self, name: str, ref: int) -> int:
        """A typedef."""
        return self._add(name, Kind.TYPEDEF, ref)

    def add_array(self, element: int, count: int, index: int | None = None) -> int:
        """An array of `count` elements; the index type is u32 unless given."""
        if index is None:
            index = self.add_int("__ARRAY_SIZE_TYPE__", 4)
        return self._add("", Kind.ARRAY, 0, tail=[element, index, count])

    def add_struct(self, name: str, size: int, members: Sequence[StructMember], union: bool = False) -> int:
        """A struct or union: members are (name, type, bit offset) or, for bitfields, (name, type, bit offset, bits)."""
        flag = any(len(member) > 3 for member in members)
        tail: list[int] = []
        for member in members:
            bits = member[3] if len(member) > 3 else 0
            tail += [self.string(member[0]), member[1], member[2] | bits << 24]
        return self._add(name, Kind.UNION if union else Kind.STRUCT, size, len(members), flag, tail)

    def add_fwd(self, name: str, union: bool = False) -> int:
        """A struct or union that is only declared."""
        return self._add(name, Kind.FWD, 0, flag=union)

    def add_enum(self, name: str, constants: Sequence[tuple[str, int]], size: int = 4, signed: bool = False) -> int:
        """An enum; of 8 bytes it is an ENUM64."""
        if size == 8:
            tail = [word for text, value in constants for word in (self.string(text), value, value >> 32)]
            return self._add(name, Kind.ENUM64, size, len(constants), signed, tail)
        tail = [word for text, value in constants for word in (self.string(text), value)]
        return self._add(name, Kind.ENUM, size, len(constants), signed, tail)

    def add_func_proto(self, result: int, params: Sequence[tuple[str, int]]) -> int:
        """A function's type; ("", 0) as the last parameter is "..."."""
        tail = [word for name, type in params for word in (self.string(name), type)]
        return self._add("", Kind.FUNC_PROTO, result, len(params), tail=tail)

    def add_func(self, name: str, proto: int, linkage: int = GLOBAL) -> int:
        """A function: linkage 0 static, 1 global, 2 extern."""
        return self._add(name, Kind.FUNC, proto, linkage, new=True)

    def add_var(self, name: str, type: int, linkage: int = GLOBAL) -> int:
        """A variable."""
        return self._add(name, Kind.VAR, type, tail=[linkage], new=True)

    def add_datasec(self, name: str, size: int, variables: Sequence[tuple[int, int, int]]) -> int:
        """A section: variables are (VAR or FUNC id, byte offset, size)."""
        return self._add(name, Kind.DATASEC, size, len(variables), tail=[word for variable in variables for word in variable], new=True)

    def add_decl_tag(self, value: str, ref: int, component: int = -1) -> int:
        """A declaration tag on a type (-1) or on one of its members or parameters."""
        return self._add(value, Kind.DECL_TAG, ref, tail=[component], new=True)

    # --- from other BTF ---

    def copy(self, btf: Btf, id: int, depth: int = 0) -> int:
        """A type of other BTF as far as a function's prototype needs it: structs with their name and size but no members."""
        if id == 0:
            return 0
        if depth > MAX_COPY:
            raise InputError(btf.where, f"type {id} is nested deeper than {MAX_COPY}")
        type = btf.type(id)
        if type.kind is Kind.INT:
            encoding, _, bits = btf.int_encoding(id)
            return self.add_int(type.name, type.size, encoding, bits)
        if type.kind in (Kind.STRUCT, Kind.UNION):
            return self.add_struct(type.name, type.size, [], type.kind is Kind.UNION)
        if type.kind in (Kind.ENUM, Kind.ENUM64):
            return self.add_enum(type.name, btf.enumerators(id), type.size, type.kind_flag)
        if type.kind is Kind.FWD:
            return self.add_fwd(type.name, type.kind_flag)
        if type.kind is Kind.FUNC_PROTO:
            params = [(name, self.copy(btf, param, depth + 1)) for name, param in btf.params(id)]
            return self.add_func_proto(self.copy(btf, type.ref, depth + 1), params)
        if type.kind is Kind.ARRAY:
            element, _, count = btf.array(id)
            return self.add_array(self.copy(btf, element, depth + 1), count)
        if type.kind in SIZED:
            return self._add(type.name, type.kind, type.size)
        return self._add(type.name, type.kind, self.copy(btf, type.ref, depth + 1))
