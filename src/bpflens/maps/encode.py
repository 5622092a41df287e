"""A value as a person writes it -> the bytes that a map holds: the inverse of reading.

    struct key { __be32 saddr; __be16 dport; }     {"saddr": "10.0.0.1", "dport": 80}   ──►   0a 00 00 01 00 50 00 00
    __u64                                          17                                   ──►   11 00 ... 00

Values are JSON: numbers, strings, lists, objects by member name; `0x...` strings of the whole size are bytes as they stand.
"""

from __future__ import annotations

import ipaddress
import json

from bpflens.btf.btf import Btf, Kind
from bpflens.errors import InputError
from bpflens.maps.conditions import as_address
from bpflens.maps.readable import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("encode", "parse")


def parse(text: str) -> Any:
    """JSON, or a plain word as a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def encode(
    btf: Btf | None, type_id: int, size: int, value: Any, what: str, lpm: bool = False, notes: dict[str, None] | None = None
) -> bytes:
    """`size` bytes of a key or value; InputError naming `what` where the value does not fit the type.

    `notes` takes what was understood without a type that says it: a number of 4 or 16 bytes that is written as an address.
    """
    notes = {} if notes is None else notes
    if isinstance(value, str) and value.startswith("0x") and len(value) == 2 + 2 * size:
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    if lpm and isinstance(value, str):
        return _prefix(value, size, what)
    if btf is None or not type_id:
        return _address(value, size, what, notes) or _number(value, size, what, "little")
    reader = Reader(btf, type_id)
    out = bytearray(size)
    _put(reader, type_id, "", value, out, 0, what, notes)
    return bytes(out)


def _put(reader: Reader, type_id: int, name: str, value: Any, out: bytearray, at: int, what: str, notes: dict[str, None]) -> None:
    btf = reader.btf
    id = btf.skip_modifiers(type_id)
    kind, size = btf.kind(id), btf.size(id)
    form = reader._form(type_id, name)
    if form:
        out[at : at + size] = _written(form, value, size, what)
    elif kind in (Kind.STRUCT, Kind.UNION):
        _put_struct(reader, id, value, out, at, what, notes)
    elif kind is Kind.ARRAY:
        element, _, count = btf.array(id)
        step = btf.size(element)
        if isinstance(value, str) and step == 1:
            raw = value.encode()
            if len(raw) > count:
                raw = _address(value, size, what, notes) or raw
            if len(raw) > count:
                raise InputError(what, f"{len(raw)} bytes do not fit into {count}")
            out[at : at + len(raw)] = raw
        elif isinstance(value, list) and len(value) <= count:
            for number, item in enumerate(value):
                _put(reader, element, name, item, out, at + number * step, f"{what}[{number}]", notes)
        elif packed := _address(value, size, what, notes):
            out[at : at + size] = packed
        else:
            raise InputError(what, f"is an array of {count}: a list, or a text")
    elif kind in (Kind.ENUM, Kind.ENUM64) and isinstance(value, str):
        found = next((each.value for each in btf.enumerators(id) if each.name == value), None)
        if found is None:
            raise InputError(what, f"no constant {value!r} of enum {btf.name(id)}")
        out[at : at + size] = _number(found, size, what, "little")
    else:
        order = "big" if btf.big_endian else "little"
        out[at : at + size] = _address(value, size, what, notes) or _number(value, size, what, order)


def _put_struct(reader: Reader, id: int, value: Any, out: bytearray, at: int, what: str, notes: dict[str, None]) -> None:
    btf = reader.btf
    if not isinstance(value, dict):
        raise InputError(what, f"is a structure: an object with {', '.join(m.name for m in btf.members(id) if m.name)}")
    left = dict(value)
    for member in btf.members(id):
        if member.name and member.name in left:
            if member.bit_size:
                _put_bits(out, 8 * at + member.bit_off, member.bit_size, left.pop(member.name), f"{what}.{member.name}")
            else:
                part = f"{what}.{member.name}"
                _put(reader, member.type_id, member.name, left.pop(member.name), out, at + member.bit_off // 8, part, notes)
        elif not member.name and btf.kind(btf.skip_modifiers(member.type_id)) in (Kind.STRUCT, Kind.UNION):
            inner = {m.name for m in btf.members(btf.skip_modifiers(member.type_id))}
            own = {name: left.pop(name) for name in list(left) if name in inner}
            if own:
                _put(reader, member.type_id, "", own, out, at + member.bit_off // 8, what, notes)
    if left:
        raise InputError(what, f"no member {next(iter(left))!r}", f"there are: {', '.join(m.name for m in btf.members(id) if m.name)}")


def _put_bits(out: bytearray, bit_off: int, bit_size: int, value: Any, what: str) -> None:
    if not isinstance(value, int) or not 0 <= value < 1 << bit_size:
        raise InputError(what, f"does not fit into {bit_size} bits")
    whole = int.from_bytes(out, "little") & ~(((1 << bit_size) - 1) << bit_off) | value << bit_off
    out[:] = whole.to_bytes(len(out), "little")


def _address(value: Any, size: int, what: str, notes: dict[str, None]) -> bytes | None:
    """An address that is written for a number of its size: its bytes in network order, and a note; None for anything else."""
    if not isinstance(value, str) or size not in (4, 16):
        return None
    try:
        packed = ipaddress.ip_address(value).packed
    except ValueError:
        return None
    if len(packed) != size:
        raise InputError(what, f"{value!r} is an address of {len(packed)} bytes, and {size} are wanted")
    notes[f"{what} is {as_address(size)}"] = None
    return packed


def _number(value: Any, size: int, what: str, order: str) -> bytes:
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            raise InputError(what, f"{value[:40]!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int):
        value = int(value) if isinstance(value, bool) else None
    if value is None or not -(1 << 8 * size - 1) <= value < 1 << 8 * size:
        raise InputError(what, f"needs a number of {size} bytes, or 0x and {2 * size} digits")
    return int(value & (1 << 8 * size) - 1).to_bytes(size, "big" if order == "big" else "little")


def _written(form: str, value: Any, size: int, what: str) -> bytes:
    if isinstance(value, list) and len(value) == size and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return bytes(value)
    if form in ("ipv6", "mac") and not isinstance(value, str):
        raise InputError(what, f"is an address: a text, or a list of {size} bytes")
    if isinstance(value, str) and form in ("ipv4", "ipv6", "be32"):
        try:
            packed = ipaddress.ip_address(value).packed
        except ValueError:
            raise InputError(what, f"{value[:60]!r} is no address") from None
        if len(packed) != size:
            raise InputError(what, f"{value!r} is not of {size} bytes")
        return packed
    if isinstance(value, str) and form == "mac":
        try:
            raw = bytes.fromhex(value.replace(":", ""))
        except ValueError:
            raw = b""
        if len(raw) != size:
            raise InputError(what, f"{value[:40]!r} is no hardware address")
        return raw
    return _number(value, size, what, "big")


def _prefix(value: str, size: int, what: str) -> bytes:
    try:
        network = ipaddress.ip_interface(value)
    except ValueError:
        raise InputError(what, f"{value[:60]!r} is no prefix", "for instance: 10.0.0.0/8") from None
    packed = network.ip.packed
    if len(packed) + 4 != size:
        raise InputError(what, f"the map's keys have {size - 4} bytes of address")
    return network.network.prefixlen.to_bytes(4, "little") + packed
