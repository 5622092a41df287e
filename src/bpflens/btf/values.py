"""Bytes decoded by their BTF type: keys and values of maps, variables of global data.

    struct event { int pid; char comm[16]; }   {0x0c 0 0 0, "bash\\0..."}   ──►   { .pid = 12, .comm = "bash" }

Integers by size and sign, enums by name, pointers in hexadecimal, bitfields, arrays, char arrays that hold text as text, unions with
all their members. Bytes that a type does not cover are padding and left out. Little-endian and big-endian by the type's own blob.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from bpflens.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("Name", "Pointer", "Value", "decode", "to_text")

Value = int | float | bool | str | None | Sequence["Value"] | Mapping[str, "Value"]
_DEPTH = 32  # nesting that is followed: types of real programs need less, hostile ones more
_ELEMENTS = 65536  # values that one type may make; a hostile array of arrays would make more
_RUN = 3  # equal elements in a row that are written out
_SIGNED, _CHAR, _BOOL = 1, 2, 4  # encoding bits of BTF_KIND_INT


class Name(str):
    """A constant of an enum."""

    __slots__ = ()


class Pointer(str):
    """An address, in hexadecimal."""

    __slots__ = ()


def decode(btf: Btf, type_id: int, data: bytes) -> Value:
    """The value of type `type_id` in `data`: numbers, strings, lists, dicts by member name. InputError where it does not fit the bytes."""
    return _Decoder(btf).value(type_id, data, 0, 0)


class _Decoder:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.left = _ELEMENTS

    def value(self, type_id: int, data: bytes, bit_off: int, depth: int, bit_size: int = 0) -> Value:
        from bpflens.btf.btf import Kind

        btf = self.btf
        self.left -= 1
        if depth > _DEPTH or self.left < 0:
            raise InputError(btf.where, "a type is nested too deeply or too large to show a value of it")
        id = btf.skip_modifiers(type_id)
        type = btf.type(id)
        kind = type.kind
        start = bit_off // 8
        if kind in (Kind.STRUCT, Kind.UNION):
            return self.struct(id, data, bit_off, depth)
        if kind is Kind.ARRAY:
            return self.array(id, data, start, depth)
        if kind in (Kind.VOID, Kind.FWD, Kind.FUNC, Kind.FUNC_PROTO):
            return None
        size = btf.size(id)
        if kind is Kind.VAR:
            return self.value(type.ref, data, bit_off, depth + 1)
        if kind is Kind.FLOAT and size in (4, 8):
            layout = (">" if btf.big_endian else "<") + ("f" if size == 4 else "d")
            number: float = struct.unpack(layout, self.take(data, start, size))[0]
            return number
        raw = self.bits(data, bit_off, bit_size) if bit_size else self.number(data, start, size)
        width = bit_size or size * 8
        if kind is Kind.INT:
            encoding, _, bits = btf.int_encoding(id)
            if not bit_size and 0 < bits < width:
                raw &= (1 << bits) - 1
                width = bits
            if encoding & _BOOL and raw < 2:
                return bool(raw)
            return raw - (1 << width) if encoding & _SIGNED and raw >> (width - 1) else raw
        if kind in (Kind.ENUM, Kind.ENUM64):
            signed = raw - (1 << width) if type.kind_flag and raw >> (width - 1) else raw
            for enumerator in btf.enumerators(id):
                if enumerator.value in (raw, signed):
                    return Name(enumerator.name)
            return signed
        if kind is Kind.PTR:
            return Pointer(f"{raw:#x}")
        return raw

    def struct(self, id: int, data: bytes, bit_off: int, depth: int) -> Value:
        out: dict[str, Value] = {}
        for number, member in enumerate(self.btf.members(id)):
            value = self.value(member.type_id, data, bit_off + member.bit_off, depth + 1, member.bit_size)
            if member.name:
                out[member.name] = value
            elif isinstance(value, Mapping):  # an anonymous struct or union: its members are reached directly
                out.update(value)
            else:
                out[f"#{number}"] = value
        return out

    def array(self, id: int, data: bytes, start: int, depth: int) -> Value:
        element, _, count = self.btf.array(id)
        size = self.btf.size(element)
        if size == 1 and self.is_char(element):
            raw = self.take(data, start, count)
            text = raw.split(b"\0", 1)[0]
            if count and not raw[len(text) :].strip(b"\0") and all(32 <= byte < 127 or byte in (9, 10) for byte in text):
                return text.decode("ascii")
        return [self.value(element, data, (start + at * size) * 8, depth + 1) for at in range(count)]

    def is_char(self, type_id: int) -> bool:
        from bpflens.btf.btf import Kind

        id = self.btf.skip_modifiers(type_id)
        type = self.btf.type(id)
        return type.kind is Kind.INT and (type.name in ("char", "signed char") or bool(self.btf.int_encoding(id)[0] & _CHAR))

    def take(self, data: bytes, start: int, size: int) -> bytes:
        if start + size > len(data):
            raise InputError(self.btf.where, f"a value of {len(data)} bytes is too short for its type")
        return data[start : start + size]

    def number(self, data: bytes, start: int, size: int) -> int:
        return int.from_bytes(self.take(data, start, size), "big" if self.btf.big_endian else "little")

    def bits(self, data: bytes, bit_off: int, bit_size: int) -> int:
        first, last = bit_off // 8, (bit_off + bit_size + 7) // 8
        raw = self.number(data, first, last - first)
        shift = bit_off % 8 if not self.btf.big_endian else last * 8 - bit_off - bit_size
        return raw >> shift & ((1 << bit_size) - 1)


def to_text(value: Value) -> str:
    """A value in C initialiser syntax, on one line; long runs of equal elements as `[4 ... 63] = 0`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "?"
    if isinstance(value, (Name, Pointer)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f".{name} = {to_text(item)}" for name, item in value.items()) + " }" if value else "{}"
    if isinstance(value, Sequence):
        return "{ " + ", ".join(_runs(value)) + " }" if value else "{}"
    return str(value)


def _runs(values: Sequence[Value]) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(values):
        end = at
        while end < len(values) and values[end] == values[at]:
            end += 1
        if end - at > _RUN:
            out.append(f"[{at} ... {end - 1}] = {to_text(values[at])}")
        else:
            out += [to_text(item) for item in values[at:end]]
        at = end
    return out
