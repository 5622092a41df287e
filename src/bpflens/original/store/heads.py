"""What is kept of a recorded program beside its instructions, in few bytes: name, type, license, load attributes, numbers of maps.

    way and flags (1) | type, name | license | expected attach type | attributes | numbers of maps

While the program is loaded the kernel says its name and type, and its image has the same references to maps: a flag takes their place.
The version of the running kernel, which libbpf gives with every program, takes a bit too. Everything else is there only where it is
not 0. Numbers are varints; a text has its length before it. The number of a loader's descriptor (prog_btf_fd) says nothing: it is 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bpflens.original.store.delta import read_varint, varint

__all__ = ("ATTRIBUTES", "Head", "Known", "read_head", "way_bits", "write_head")

_WAY = 3  # bits 0 and 1
_LIKE_BASE, _SAME_MAPS, _ATTACH_TYPE, _ATTRIBUTES = 1 << 2, 1 << 3, 1 << 4, 1 << 5
_LICENSE_SHIFT = 6
_LICENSES = ("", "GPL", "Dual BSD/GPL")
_OTHER = 3
ATTRIBUTES = (
    "expected_attach_type", "kern_version", "prog_flags", "prog_btf_fd", "attach_btf_id", "attach_prog_fd", "prog_ifindex",
    "core_relo_cnt", "fd_array_cnt", "log_level",
)  # fmt: skip
"""Fields of union bpf_attr; the order is part of the format. Three more bits follow them."""
_AT_ATTACH_TYPE, _AT_VERSION, _AT_BTF = 0, 1, 3
_THIS_VERSION, _IMAGE = 1 << len(ATTRIBUTES), 1 << len(ATTRIBUTES) + 1


class Head(NamedTuple):
    """`maps`: the number of each reference, in order. `source`: "recorded" or "image"."""

    name: str
    type: int
    license: str
    expected_attach_type: int
    attributes: Mapping[str, int]
    maps: Sequence[int]
    source: str


class Known(NamedTuple):
    """What the kernel says while the program is loaded; `maps` as in Head. `version`: LINUX_VERSION_CODE, 0 where it is not known."""

    name: str
    type: int
    maps: Sequence[int]
    version: int = 0


def write_head(head: Head, way: int, known: Known | None) -> bytes:
    """The bytes; `known` has to be given to read_head again. `way`: 0 to 3."""
    like = known is not None and (known.name, known.type) == (head.name, head.type)
    same = known is not None and list(known.maps) == list(head.maps)
    present, values = _present(head, known.version if known is not None else 0)
    license = _LICENSES.index(head.license) if head.license in _LICENSES else _OTHER
    flags = way | _LIKE_BASE * like | _SAME_MAPS * same | license << _LICENSE_SHIFT
    flags |= _ATTACH_TYPE * bool(head.expected_attach_type) | _ATTRIBUTES * bool(present)
    out = bytearray((flags,))
    if not like:
        out += varint(head.type) + _text(head.name)
    if license == _OTHER:
        out += _text(head.license)
    if head.expected_attach_type:
        out += varint(head.expected_attach_type)
    if present:
        out += varint(present) + b"".join(varint(value) for value in values)
    if not same:
        out += varint(len(head.maps)) + b"".join(varint(number) for number in head.maps)
    return bytes(out)


def _present(head: Head, version: int) -> tuple[int, list[int]]:
    """Which attributes there are, and the values that have to be written."""
    present, values = _IMAGE * (head.source == "image"), list[int]()
    for bit, name in enumerate(ATTRIBUTES):
        value = head.attributes.get(name, 0)
        if not value:
            continue
        if bit == _AT_VERSION and value == version:
            present |= _THIS_VERSION
            continue
        present |= 1 << bit
        if bit != _AT_BTF and not (bit == _AT_ATTACH_TYPE and head.expected_attach_type):  # that is there already
            values.append(value)
    return present, values


def read_head(data: bytes, at: int, known: Known | None) -> tuple[Head, int]:
    """(the head, where what follows begins). ValueError where it is damaged or needs `known`, which is not given."""
    if at >= len(data):
        raise ValueError("it is cut off")
    flags, at = data[at], at + 1
    if flags & (_LIKE_BASE | _SAME_MAPS) and known is None:
        raise ValueError("it needs the program's info")
    if flags & _LIKE_BASE:
        assert known is not None
        type, name = known.type, known.name
    else:
        type, at = read_varint(data, at)
        name, at = _read_text(data, at)
    if flags >> _LICENSE_SHIFT == _OTHER:
        license, at = _read_text(data, at)
    else:
        license = _LICENSES[flags >> _LICENSE_SHIFT]
    attach_type, present, attributes = 0, 0, dict[str, int]()
    if flags & _ATTACH_TYPE:
        attach_type, at = read_varint(data, at)
    if flags & _ATTRIBUTES:
        present, at = read_varint(data, at)
        attributes, at = _attributes(data, at, present, attach_type, known.version if known is not None else 0)
    if flags & _SAME_MAPS and known is not None:
        maps = known.maps
    else:
        count, at = read_varint(data, at)
        maps, at = _numbers(data, at, count)
    return Head(name, type, license, attach_type, attributes, maps, "image" if present & _IMAGE else "recorded"), at


def way_bits(data: bytes, at: int) -> int:
    """The way of the head that begins here."""
    return data[at] & _WAY


def _numbers(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    if count > len(data) - at:
        raise ValueError("it is cut off")
    numbers = []
    for _ in range(count):
        number, at = read_varint(data, at)
        numbers.append(number)
    return numbers, at


def _attributes(data: bytes, at: int, present: int, attach_type: int, version: int) -> tuple[dict[str, int], int]:
    found = {}
    for bit, name in enumerate(ATTRIBUTES):
        if bit == _AT_VERSION and present & _THIS_VERSION:
            found[name] = version
        elif not present >> bit & 1:
            continue
        elif bit == _AT_ATTACH_TYPE and attach_type:
            found[name] = attach_type
        elif bit == _AT_BTF:
            found[name] = 1
        else:
            found[name], at = read_varint(data, at)
    return found, at


def _text(text: str) -> bytes:
    raw = text.encode()
    return varint(len(raw)) + raw


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    length, at = read_varint(data, at)
    if length > len(data) - at:
        raise ValueError("it is cut off")
    return data[at : at + length].decode(errors="replace"), at + length
