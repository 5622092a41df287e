"""The initial bytes of a global variable as a C initialiser of its type.

__u32 ports[3], 50 00 00 00 bb 01 00 00 00 00 00 00   ──►   { 80, 443 }
char name[8], "eth0\\0\\0\\0\\0"                      ──►   "eth0"
"""

from __future__ import annotations

from bpflens.btf.btf import Btf, Kind

__all__ = ("initialiser",)

_MAX_DEPTH = 12
_MAX_ELEMENTS = 65536


def initialiser(btf: Btf, id: int, raw: bytes) -> str | None:
    """The text after "="; None where C of it is not worth it (bitfields, pointers, floats).

    Zero is written as well: clang lays out variables without an initialiser in the order of their use, and not in that of the file.
    """
    if not any(raw):
        return "{}" if btf.kind(btf.skip_modifiers(id)) in (Kind.ARRAY, Kind.STRUCT, Kind.UNION) else "0"
    return _value(btf, id, raw, 0)


def _value(btf: Btf, id: int, raw: bytes, depth: int) -> str | None:
    id = btf.skip_modifiers(id)
    kind = btf.kind(id)
    if depth > _MAX_DEPTH:
        return None
    if kind in (Kind.INT, Kind.ENUM, Kind.ENUM64):
        signed = kind is Kind.INT and bool(btf.int_encoding(id)[0] & 1)
        value = int.from_bytes(raw[: btf.size(id)], "little", signed=signed)
        if value < -(1 << 31) or value >= 1 << 32:
            return f"{value & (1 << 64) - 1:#x}ULL"
        return str(value) if -4096 < value < 4096 else hex(value) if value > 0 else str(value)
    if kind is Kind.PTR:
        return "0" if not any(raw) else None
    if kind is Kind.ARRAY:
        return _array(btf, id, raw, depth)
    if kind is Kind.STRUCT:
        return _struct(btf, id, raw, depth)
    return None


def _array(btf: Btf, id: int, raw: bytes, depth: int) -> str | None:
    element, _, count = btf.array(id)
    each = btf.size(element)
    if not each or count > _MAX_ELEMENTS:
        return None
    if each == 1 and btf.name(btf.skip_modifiers(element)) == "char":
        text = raw.rstrip(b"\0")
        if len(text) <= count and all(32 <= byte < 127 or byte in (9, 10) for byte in text):
            return '"' + "".join(_escaped(byte) for byte in text) + '"'
    values = []
    for index in range(count):
        piece = raw[index * each : (index + 1) * each]
        made = _value(btf, element, piece, depth + 1)
        if made is None:
            return None
        values.append(made)
    while values and values[-1] in ("0", "{}", '""'):
        values.pop()
    return "{ " + ", ".join(values) + " }" if values else "{}"


def _escaped(byte: int) -> str:
    return {9: "\\t", 10: "\\n", 34: '\\"', 92: "\\\\"}.get(byte, chr(byte))


def _struct(btf: Btf, id: int, raw: bytes, depth: int) -> str | None:
    values = []
    covered = bytearray(len(raw))
    for member in btf.members(id):
        if member.bit_size or member.bit_off % 8:
            return None
        start, size = member.bit_off // 8, btf.size(member.type_id)
        covered[start : start + size] = b"\1" * size
        piece = raw[start : start + size]
        if not any(piece):
            continue
        made = _value(btf, member.type_id, piece, depth + 1)
        if made is None or not member.name:
            return None
        values.append(f".{member.name} = {made}")
    if any(byte and not known for byte, known in zip(raw, covered, strict=False)):
        return None
    return "{ " + ", ".join(values) + " }" if values else "{}"
