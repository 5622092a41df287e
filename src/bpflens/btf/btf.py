"""BTF: the type information of BPF programs, objects and the kernel (Documentation/bpf/btf.rst, include/uapi/linux/btf.h).

    btf = Btf.parse(data)                      # either byte order; base=... for the split BTF of a module
    id = btf.find("sk_buff", Kind.STRUCT)      # no table of names is built
    member_offset(btf, "sk_buff", "len")       # bytes: fields.py
    declaration(btf, id, "*skb")               # "struct sk_buff *skb": c_text.py

Parsing only walks the type section once to note where each type starts (Linux 6.18's vmlinux: 143,000 types, 5.5 MB, about
30 ms); everything else is read when asked for. Malformed BTF raises InputError: at once where the walk sees it, otherwise when the
bad part is read. Chains of references are followed with a bound, so that cyclic types end in an error and not in a hang.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence

from bpflens.btf.names import NameIndex, string_offsets
from bpflens.btf.types import KINDS, MODIFIERS, SIZED, TAILS, VOID, Enumerator, Field, Kind, Member, Param, Type, Variable
from bpflens.errors import InputError

__all__ = ("Btf", "Enumerator", "Field", "Kind", "Member", "Param", "Type", "Variable")

MAGIC = 0xEB9F
MAX_STRING = 1 << 16  # longer ones are cut: many types may share one enormous name
MAX_CHAIN = 64  # references followed for one type; the kernel allows 32 (kernel/bpf/btf.c, MAX_RESOLVE_DEPTH)


class _Lengths(dict[int, int]):
    """info word of struct btf_type -> words that the type takes; filled as words are met (a vmlinux has a few hundred)."""

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 0x1F
        if not 0 < kind < len(KINDS):
            raise KeyError(kind)
        fixed, each = TAILS[KINDS[kind]]
        words = self[info] = 3 + fixed + each * (info & 0xFFFF)
        return words


class Btf:
    """Types of one BTF blob, by id. Id 0 is void; with a `base`, ids and string offsets go on where the base's end."""

    __slots__ = (
        "_data",
        "_first",
        "_names",
        "_order",
        "_positions",
        "_strings",
        "_strings_at",
        "_strings_first",
        "_words",
        "alignments",
        "base",
        "big_endian",
        "types_at",
        "where",
    )  # fmt: skip

    def __init__(self, data: bytes, base: Btf | None, where: str) -> None:
        self._data = data
        self.base = base
        self.where = where
        self.alignments: dict[int, int] = {}
        self._names: NameIndex | None = None  # made at the first search
        types, strings = self._header()
        self.types_at = types[0]
        self._strings_at, self._strings = strings
        self._strings_first = base.strings_end if base else 0
        self._words = array("I")
        self._words.frombytes(data[types[0] : types[0] + types[1]])
        if self.big_endian != (sys.byteorder == "big"):
            self._words.byteswap()
        self._first = len(base) if base else 0
        self._positions = array("I") if base else array("I", [0])
        self._index()

    @staticmethod
    def parse(data: bytes, base: Btf | None = None, where: str = "BTF") -> Btf:
        """The types of a .BTF section or of /sys/kernel/btf/NAME; `base` is vmlinux for a module's. InputError where malformed."""
        return Btf(data, base, where)

    # --- parsing ---

    def _header(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """((start, length) of the types, (start, length) of the strings), checked against the data."""
        data = self._data
        if len(data) < 24:
            raise self._bad(f"{len(data)} bytes are too few for a header (24)")
        for order in "<>":
            magic, version, _, header, types_off, types_len, strings_off, strings_len = struct.unpack_from(order + "HBBIIIII", data)
            if magic == MAGIC:
                break
        else:
            raise self._bad(f"no BTF magic: starts with {data[:2].hex()}")
        self._order = order
        self.big_endian = order == ">"
        if version != 1:
            raise self._bad(f"version {version} is unknown")
        types, strings = (header + types_off, types_len), (header + strings_off, strings_len)
        for what, (start, length) in (("types", types), ("strings", strings)):
            if header < 24 or start + length > len(data):
                raise self._bad(f"{what} at {start}, {length} bytes, are outside its {len(data)} bytes")
        if types_off % 4 or types_len % 4:
            raise self._bad("the type section is not aligned to 4 bytes")
        if strings_len and data[strings[0] + strings_len - 1]:
            raise self._bad("the string section does not end with a zero byte")
        return types, strings

    def _index(self) -> None:
        """Note where each type starts."""
        words, lengths, add = self._words, _Lengths(), self._positions.append
        position, end = 0, len(words)
        try:
            while position < end:
                add(position)
                position += lengths[words[position + 1]]
        except IndexError:
            position = end + 1
        except KeyError as error:
            raise self._bad(f"type {len(self) - 1} has the unknown kind {error.args[0]}") from None
        if position != end:
            raise self._bad(f"type {len(self) - 1} goes past the end of the type section")

    def _bad(self, reason: str) -> InputError:
        return InputError(self.where, reason)

    # --- strings and types ---

    def __len__(self) -> int:
        """Number of types including void and those of the base: ids go from 0 to this, exclusive."""
        return self._first + len(self._positions)

    @property
    def first_id(self) -> int:
        """The first id that is not the base's; 1 without a base."""
        return self._first or 1

    @property
    def strings_end(self) -> int:
        """The string offset after the last one, the base's included."""
        return self._strings_first + self._strings

    @property
    def data(self) -> bytes:
        """The blob that was parsed."""
        return self._data

    def sections(self) -> tuple[bytes, bytes]:
        """The bytes of the own types and of the own strings."""
        types, strings = self.types_at, self._strings_at
        return self._data[types : types + 4 * len(self._words)], self._data[strings : strings + self._strings]

    def position(self, id: int) -> int:
        """Where an own type starts in the type section, in words of 4 bytes."""
        owner, at = self._at(id)
        if owner is not self or not id:
            raise self._bad(f"type {id} is not one of its own")
        return at

    def string(self, offset: int) -> str:
        """The string at an offset of the string section; InputError where it is outside."""
        if offset < self._strings_first:
            assert self.base is not None
            return self.base.string(offset)
        start = self._strings_at + offset - self._strings_first
        limit = self._strings_at + self._strings
        if start >= limit:
            if offset == 0:
                return ""
            raise self._bad(f"string offset {offset} is outside the string section ({self.strings_end} bytes)")
        end = self._data.find(b"\0", start, min(limit, start + MAX_STRING))
        return self._data[start : end if end >= 0 else start + MAX_STRING].decode("utf-8", "backslashreplace")

    def _at(self, id: int) -> tuple[Btf, int]:
        """(the blob that has type `id`, position of its first word)."""
        index = id - self._first
        if index < 0:
            if id < 0 or self.base is None:
                raise self._bad(f"type id {id} does not exist")
            return self.base._at(id)
        try:
            return self, self._positions[index]
        except IndexError:
            raise self._bad(f"type id {id} does not exist: the ids end at {len(self) - 1}") from None

    def type(self, id: int) -> Type:
        """Type `id`; InputError where there is none."""
        if id == 0:
            return VOID
        owner, at = self._at(id)
        words = owner._words
        info, size_or_type = words[at + 1], words[at + 2]
        kind = KINDS[info >> 24 & 0x1F]
        size, ref = (size_or_type, 0) if kind in SIZED else (0, size_or_type)
        if kind is Kind.ARRAY:
            ref = words[at + 3]
        return Type(id, kind, self.string(words[at]), size, ref, info & 0xFFFF, info >> 31 == 1)

    def name(self, id: int) -> str:
        """The name of type `id`, "" where it has none."""
        if id == 0:
            return ""
        owner, at = self._at(id)
        return self.string(owner._words[at])

    def name_and_ref(self, id: int) -> tuple[str, int]:
        """The name of type `id`, which has no size of its own (VAR, FUNC, TYPEDEF ...), and the type that it refers to."""
        owner, at = self._at(id)
        return self.string(owner._words[at]), owner._words[at + 2]

    def kind(self, id: int) -> Kind:
        """The kind of type `id`."""
        if id == 0:
            return Kind.VOID
        owner, at = self._at(id)
        return KINDS[owner._words[at + 1] >> 24 & 0x1F]

    def _tail(self, id: int, *kinds: Kind) -> tuple[Type, array[int]]:
        """Type `id`, which must be of one of `kinds`, and the words after its first three."""
        type = self.type(id)
        if type.kind not in kinds:
            raise self._bad(f"type {id} ({type.name or 'no name'}) is {type.kind.name}, not {' or '.join(k.name for k in kinds)}")
        owner, at = self._at(id)
        fixed, each = TAILS[type.kind]
        return type, owner._words[at + 3 : at + 3 + fixed + each * type.vlen]

    def int_encoding(self, id: int) -> tuple[int, int, int]:
        """INT: (encoding bits: 1 signed, 2 char, 4 bool; bit offset; bits)."""
        _, (word,) = self._tail(id, Kind.INT)
        return word >> 24 & 0xF, word >> 16 & 0xFF, word & 0xFF

    def array(self, id: int) -> tuple[int, int, int]:
        """ARRAY: (element type id, index type id, number of elements)."""
        _, (element, index, count) = self._tail(id, Kind.ARRAY)
        return element, index, count

    def params(self, id: int) -> tuple[Param, ...]:
        """The parameters of a FUNC_PROTO, or of a FUNC's."""
        if self.kind(id) is Kind.FUNC:
            id = self.type(id).ref
        _, words = self._tail(id, Kind.FUNC_PROTO)
        return tuple(Param(self.string(name), type) for name, type in zip(words[::2], words[1::2], strict=True))

    def enumerators(self, id: int) -> tuple[Enumerator, ...]:
        """The constants of an ENUM or ENUM64, negative ones where kind_flag says that it is signed.

        Compilers older than that flag (clang before 16, gcc before 13) leave it out: their -1 reads as 4294967295, as in bpftool.
        """
        type, words = self._tail(id, Kind.ENUM, Kind.ENUM64)
        if type.kind is Kind.ENUM:
            names, values, sign = words[::2], list(words[1::2]), 1 << 31
        else:
            names, sign = words[::3], 1 << 63
            values = [low | high << 32 for low, high in zip(words[1::3], words[2::3], strict=True)]
        if type.kind_flag:
            values = [(value ^ sign) - sign for value in values]
        return tuple(map(Enumerator, map(self.string, names), values))

    def variables(self, id: int) -> tuple[Variable, ...]:
        """The variables of a DATASEC, in the order of the section."""
        _, words = self._tail(id, Kind.DATASEC)
        return tuple(map(Variable, words[::3], words[1::3], words[2::3]))

    def variable_columns(self, id: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """(type ids, byte offsets, sizes) of those variables of a DATASEC that are VAR."""
        _, words = self._tail(id, Kind.DATASEC)
        types, offsets, sizes = words[::3], words[1::3], words[2::3]
        kinds = list(map(self.kind, types))
        if kinds.count(Kind.VAR) == len(kinds):
            return types, offsets, sizes
        keep = [index for index, kind in enumerate(kinds) if kind is Kind.VAR]
        return [types[index] for index in keep], [offsets[index] for index in keep], [sizes[index] for index in keep]

    def linkage(self, id: int) -> int:
        """VAR and FUNC: 0 static, 1 global, 2 extern."""
        type, words = self._tail(id, Kind.VAR, Kind.FUNC)
        return words[0] if type.kind is Kind.VAR else type.vlen

    def decl_tag(self, id: int) -> tuple[str, int, int]:
        """DECL_TAG: (value, type tagged, index of the member or parameter, -1 for the type itself)."""
        type, (index,) = self._tail(id, Kind.DECL_TAG)
        return type.name, type.ref, (index ^ 1 << 31) - (1 << 31)

    def members(self, id: int) -> tuple[Member, ...]:
        """The members of a STRUCT or UNION."""
        type, words = self._tail(id, Kind.STRUCT, Kind.UNION)
        names = map(self.string, words[::3])
        if type.kind_flag:
            return tuple(Member(n, t, w & 0xFFFFFF, w >> 24) for n, t, w in zip(names, words[1::3], words[2::3], strict=True))
        return tuple(self._member(*each) for each in zip(names, words[1::3], words[2::3], strict=True))

    def member(self, id: int, index: int) -> Member:
        """Member `index` of a STRUCT or UNION, without making the others; InputError where there is none."""
        type = self.type(id)
        if type.kind not in (Kind.STRUCT, Kind.UNION) or not 0 <= index < type.vlen:
            raise self._bad(f"type {id} ({type.kind.name} {type.name}) has no member {index}")
        owner, at = self._at(id)
        name, member, where = owner._words[at + 3 + 3 * index : at + 6 + 3 * index]
        if type.kind_flag:
            return Member(self.string(name), member, where & 0xFFFFFF, where >> 24)
        return self._member(self.string(name), member, where)

    def _member(self, name: str, type_id: int, bit_off: int) -> Member:
        """A member without kind_flag: a bitfield is told by its INT's own bits (as before Linux 4.20)."""
        end = self.skip_modifiers(type_id)
        if self.kind(end) is Kind.INT:
            _, offset, bits = self.int_encoding(end)
            if offset or bits != 8 * self.type(end).size:
                return Member(name, type_id, bit_off + offset, bits)
        return Member(name, type_id, bit_off, 0)

    # --- search ---

    def find(self, name: str, kind: Kind | None = None) -> int | None:
        """The id of the first type of that name (and kind): own types before the base's; None where there is none."""
        found = next(self.find_all(name, kind), None)
        return found if found is not None or self.base is None else self.base.find(name, kind)

    def find_all(self, name: str, kind: Kind | None = None) -> Iterator[int]:
        """The ids of own types of that name (and kind), ascending. Searches bytes: no table of names is needed."""
        if self._names is None:
            self._names = NameIndex(self._words, self._positions)
        for index in self._names.find(set(self._string_offsets(name))):
            id = self._first + index
            if id and (kind is None or self.kind(id) is kind):
                yield id

    def _string_offsets(self, name: str) -> Iterator[int]:
        """The offsets at which string `name` starts, also as the tail of a longer one; the base's included."""
        if self.base is not None:
            yield from self.base._string_offsets(name)
        start = self._strings_at
        for at in string_offsets(self._data, start, start + self._strings, name):
            yield at - start + self._strings_first

    def ids(self, kind: Kind) -> Iterator[int]:
        """All own ids of a kind, ascending."""
        words, wanted = self._words, int(kind)
        for id, at in enumerate(self._positions, self._first):
            if id and words[at + 1] >> 24 & 0x1F == wanted:
                yield id

    # --- meaning ---

    def skip_modifiers(self, id: int) -> int:
        """The id behind typedefs, const, volatile, restrict and type tags; InputError for a cycle."""
        for _ in range(MAX_CHAIN):
            type = self.type(id)
            if type.kind not in MODIFIERS:
                return id
            id = type.ref
        raise self._bad(f"type {id}: a chain of more than {MAX_CHAIN} references")

    def size(self, id: int) -> int:
        """sizeof in bytes: pointers are 8 (BPF is a 64-bit machine); 0 for void and functions. InputError for a cycle."""
        count = 1
        for _ in range(MAX_CHAIN):
            type = self.type(id)
            if type.kind in SIZED:
                return count * type.size
            if type.kind is Kind.PTR:
                return count * 8
            if type.kind is Kind.ARRAY:
                count *= self.array(id)[2]
            elif type.kind not in MODIFIERS and type.kind is not Kind.VAR:
                return 0
            id = type.ref
        raise self._bad(f"type {id}: a chain of more than {MAX_CHAIN} references")

    def struct(self, name: str) -> tuple[Member, ...]:
        """The members of struct (or union) `name`; InputError where there is none."""
        return self.members(self.struct_id(name))

    def struct_id(self, name: str) -> int:
        """The id of struct (or union, or a typedef of one) `name`; InputError where there is none."""
        for kind in (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF):
            id = self.find(name, kind)
            if id is not None:
                return id
        raise self._bad(f"has no struct {name}")
