""".BTF.ext: which function, which source line and which CO-RE relocation belongs to which instruction (Documentation/bpf/btf.rst).

    ext = BtfExt.parse(data, btf)
    ext.lines("xdp")       # source lines of the section's instructions
    ext.core("xdp")        # "CO-RE field byte offset of struct task_struct { .pid }"

Offsets in the file are bytes of the section; the records made here count slots of 8 bytes.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import Steps, declaration
from bpflens.errors import InputError
from bpflens.formats.elf.on_demand import OnDemand
from bpflens.lean import NamedTuple, frozen
from bpflens.program import SourceLine

__all__ = ("CORE_KINDS", "BtfExt", "CoreRelocation", "FuncInfo", "SourceLines", "access_numbers", "access_path", "core_text")

# enum bpf_core_relo_kind, include/uapi/linux/bpf.h
CORE_KINDS = (
    "field byte offset", "field byte size", "field existence", "field signedness", "field left shift", "field right shift",
    "local type id", "target type id", "type existence", "type size", "enum value existence", "enum value", "type match",
)  # fmt: skip
FIELD_KINDS = range(6)
ENUM_KINDS = range(10, 12)


class FuncInfo(NamedTuple):
    """A function starts at slot `off_insns`; `type_id` is its BTF FUNC."""

    off_insns: int
    type_id: int


class CoreRelocation(NamedTuple):
    """A CO-RE relocation at slot `off_insns`: `kind` of enum bpf_core_relo_kind, root type, access string ("0:1:2")."""

    off_insns: int
    type_id: int
    access: str
    kind: int


class SourceLines(OnDemand[SourceLine]):
    """line_info records as source lines: a program of a million slots has hundreds of thousands, and most readers want none of them.

    `words` are struct bpf_line_info of `width` words each; `unit` is 8 where insn_off counts bytes (.BTF.ext), 1 where slots (the kernel).
    `text` is a line without its indentation.
    """

    __slots__ = ("_btf", "_strings", "_unit", "_width", "_words")

    def __init__(self, btf: Btf, words: array[int], width: int, unit: int = 8) -> None:
        self._btf, self._words, self._width, self._unit = btf, words, width, unit
        self._strings: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._words) // self._width

    def item(self, index: int) -> SourceLine:
        """Made from one record."""
        at = self._width * index
        off, file, text, place = self._words[at : at + 4]
        return SourceLine(off // self._unit, self._string(file), place >> 10, place & 0x3FF, self._string(text).strip())

    def _string(self, offset: int) -> str:
        text = self._strings.get(offset)
        if text is None:
            try:
                text = self._btf.string(offset)
            except InputError:  # a damaged record: the others still serve
                text = "?"
            self._strings[offset] = text
        return text

    def between(self, start: int, end: int) -> tuple[SourceLine, ...]:
        """The lines of the slots from `start` up to, not including, `end`."""
        width, unit = self._width, self._unit
        return tuple(self[index] for index, off in enumerate(self._words[::width]) if start <= off // unit < end)


@frozen
class BtfExt:
    """The parsed section: for each kind of record, section name -> words of all its records, `width` words each."""

    btf: Btf
    where: str
    _funcs: dict[str, tuple[int, array[int]]]
    _lines: dict[str, tuple[int, array[int]]]
    _core: dict[str, tuple[int, array[int]]]

    @staticmethod
    def parse(data: bytes, btf: Btf, where: str = "BTF.ext") -> BtfExt:
        """The records of a .BTF.ext section that belongs to `btf`; InputError where malformed."""
        order = ">" if btf.big_endian else "<"
        if len(data) < 24:
            raise InputError(where, f".BTF.ext of {len(data)} bytes is too short for its header (24)")
        magic, version, _, header = struct.unpack_from(order + "HBBI", data)
        if magic != 0xEB9F or version != 1 or header < 24 or header > len(data):
            raise InputError(where, ".BTF.ext has a malformed header")
        count = 6 if header >= 32 else 4
        spans = (*struct.unpack_from(f"{order}{count}I", data, 8), 0, 0)
        parts = [
            _read(data, header + spans[2 * index], spans[2 * index + 1], least, order, btf, where) for index, least in enumerate((2, 4, 4))
        ]
        return BtfExt(btf, where, *parts)

    def functions(self, section: str) -> list[FuncInfo]:
        """The functions of a section."""
        width, words = self._funcs.get(section, (1, array("I")))
        return [FuncInfo(off // 8, type) for off, type in zip(words[::width], words[1::width], strict=True)]

    def lines(self, section: str) -> Sequence[SourceLine]:
        """The source lines of a section, in the order of the file; each is made when it is asked for."""
        width, words = self._lines.get(section, (4, array("I")))
        return SourceLines(self.btf, words, width)

    def core(self, section: str) -> list[CoreRelocation]:
        """The CO-RE relocations of a section."""
        width, words = self._core.get(section, (1, array("I")))
        return [
            CoreRelocation(words[at] // 8, words[at + 1], self.btf.string(words[at + 2]), words[at + 3])
            for at in range(0, len(words), width)
        ]

    @property
    def sections(self) -> set[str]:
        """The names of all sections that it speaks of."""
        return {*self._funcs, *self._lines, *self._core}


def _read(data: bytes, start: int, length: int, least: int, order: str, btf: Btf, where: str) -> dict[str, tuple[int, array[int]]]:
    """One kind of record: section name -> (words per record, words)."""
    found: dict[str, tuple[int, array[int]]] = {}
    if not length:
        return found
    end = start + length
    if end > len(data) or length < 4:
        raise InputError(where, f".BTF.ext: records at {start}, {length} bytes, are outside its {len(data)} bytes")
    (size,) = struct.unpack_from(order + "I", data, start)
    if size % 4 or size < 4 * least:
        raise InputError(where, f".BTF.ext: records of {size} bytes are too short or ragged")
    swap = order != ("<" if struct.pack("=H", 1)[0] else ">")
    at = start + 4
    while at < end:
        if at + 8 > end:
            raise InputError(where, ".BTF.ext: ends within a section's header")
        name, count = struct.unpack_from(order + "II", data, at)
        at += 8
        if at + count * size > end:
            raise InputError(where, f".BTF.ext: {count} records of {size} bytes go past the end")
        words = array("I")
        words.frombytes(memoryview(data)[at : at + count * size])
        if swap:
            words.byteswap()
        section = btf.string(name)
        found[section] = (size // 4, found[section][1] + words if section in found else words)
        at += count * size
    return found


def access_path(btf: Btf, type_id: int, access: str) -> str:
    """The members that an access string walks through: "0:1:2" of struct a -> ".b.c", "0:3:5" -> ".list[5]".

    The first number indexes the root itself, as a pointer would be; anonymous members add nothing. InputError where it leads nowhere.
    """
    numbers = access_numbers(btf, access)
    path = f"[{numbers[0]}]" if numbers[0] else ""
    id = type_id
    for number in numbers[1:]:
        id = btf.skip_modifiers(id)
        kind = btf.kind(id)
        if kind is Kind.ARRAY:
            path, id = f"{path}[{number}]", btf.array(id)[0]
            continue
        member = btf.member(id, number)
        if member.name:
            path += f".{member.name}"
        id = member.type_id
    return path


def core_text(btf: Btf, relocation: CoreRelocation, steps: Steps | None = None) -> str:
    """A CO-RE relocation in words: "CO-RE field byte offset of struct task_struct { .pid }"."""
    kind = relocation.kind
    if kind >= len(CORE_KINDS):
        return f"CO-RE unknown kind {kind} of type {relocation.type_id}, access {relocation.access!r}"
    type = _type(btf, relocation.type_id, steps)
    if kind in FIELD_KINDS:
        return f"CO-RE {CORE_KINDS[kind]} of {type} {{ {access_path(btf, relocation.type_id, relocation.access)} }}"
    if kind in ENUM_KINDS:
        number = access_numbers(btf, relocation.access)[0]
        constants = btf.enumerators(btf.skip_modifiers(relocation.type_id))
        if number >= len(constants):
            raise InputError(btf.where, f"{type} has no constant {number}")
        return f"CO-RE {CORE_KINDS[kind]} of {type} {{ {constants[number].name} = {constants[number].value} }}"
    return f"CO-RE {CORE_KINDS[kind]} of {type}"


def _type(btf: Btf, id: int, steps: Steps | None) -> str:
    """A type on one line: "struct task_struct", "pid_t", "anonymous union"."""
    kind = btf.kind(id)
    if kind in (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64) and not btf.name(id):
        return f"anonymous {kind.name.lower().removesuffix('64')}"
    return " ".join(declaration(btf, id, steps=steps).split())


def access_numbers(btf: Btf, access: str) -> list[int]:
    """The numbers of an access string, at least one; InputError where it is malformed."""
    numbers = [int(number) if number.isascii() and number.isdigit() and len(number) < 10 else -1 for number in access.split(":")]
    if -1 in numbers or len(numbers) > 64:
        raise InputError(btf.where, f"malformed access string {access[:40]!r}")
    return numbers
