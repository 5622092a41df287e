"""A recorded program, and the bytes in which it is kept.

* full: the instructions compressed, with a dictionary of other programs where there is one
* delta: what differs from the image, compressed beside the image; can be read as long as the program is loaded
* exact: nothing; inversion of the image gives the instructions back, and did so when this was written

    tag (8) | head (heads.py, with the way) | varint, instructions | infos      the last two deflated

References to maps hold 1 + the number of the map in order of first use: the loader's descriptors mean nothing later, the kernel lists the
maps of a program in that order, and the tag does not cover them.
"""

from __future__ import annotations

import enum
import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence

from bpflens.isa.extended.insn import words
from bpflens.isa.extended.opcodes import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from bpflens.lean import field, frozen
from bpflens.original.image.tag import blanked, tags
from bpflens.original.store.delta import applied, difference, read_varint, varint
from bpflens.original.store.heads import Head, Known, read_head, way_bits, write_head
from bpflens.original.store.infos import packed, unpacked

__all__ = ("Base", "Recorded", "Way", "bare", "code_of", "decode", "encode", "map_slots", "numbered", "sizes", "way_of")

_LARGE = 1 << 16
LIMIT = 1 << 26  # bytes of anything that is inflated
_LOW = 0xFFFFFFFF
_HELPER_CALLS = b"".join(struct.pack("<II", 0x85, number) for number in range(220, 0, -1))


class Way(enum.IntEnum):
    """How the instructions are kept."""

    FULL = 1
    DELTA = 2
    EXACT = 3


@frozen
class Recorded:
    """A program as it was loaded. `attributes`: fields of union bpf_attr that are not 0, by the kernel's names. `source`: "recorded", or
    "image" where it was loaded before the recorder and its reconstruction has the tag.
    """

    tag: str
    name: str
    type: int
    expected_attach_type: int
    license: str
    code: bytes
    attributes: Mapping[str, int] = field(default_factory=dict)
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()
    source: str = "recorded"


@frozen
class Base:
    """The kernel's image of a loaded program: words, its info records, its name and type, and the kernel's LINUX_VERSION_CODE."""

    words: Sequence[int]
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()
    name: str = ""
    type: int = 0
    version: int = 0

    @property
    def infos(self) -> bytes:
        """Its info records, packed."""
        return packed(self.func_info, self.line_info)[-32768:]

    @property
    def known(self) -> Known:
        """What a head need not say."""
        return Known(self.name, self.type, _numbers(numbered(struct.pack(f"<{len(self.words)}Q", *self.words))), self.version)


def numbered(code: bytes) -> bytes:
    """The instructions with their map references numbered in order of first use."""
    out, known = bytearray(code), dict[int, int]()
    for slot in map_slots(code):
        (fd,) = struct.unpack_from("<I", code, 8 * slot + 4)
        struct.pack_into("<I", out, 8 * slot + 4, known.setdefault(fd, len(known) + 1))
    return bytes(out)


def map_slots(code: bytes) -> list[int]:
    """First slots of references to maps, by descriptor or number."""
    slots, at, opcodes = [], 0, code[::8]
    while (at := opcodes.find(LD_IMM64, at)) >= 0:
        if code[8 * at + 1] >> 4 in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
            slots.append(at)
        at += 2
    return slots


def encode(record: Recorded, way: Way, base: Base | None = None, dictionary: bytes = b"", level: int = 9) -> bytes:
    """The bytes to keep. `base` for DELTA and EXACT; its references to maps do not matter. `level`: of deflate, for the instructions."""
    head = _head(record, base.known if base is not None and way is not Way.FULL else None, way)
    if way is Way.FULL:
        code = _deflated(_bare(record.code).tobytes(), dictionary + _HELPER_CALLS, level)
    elif way is Way.DELTA:
        assert base is not None
        image = _bare_words(base.words)
        code = _deflated(difference(image, _bare(record.code)), _beside(image))
    else:
        code = b""
    infos = _infos(record, base if way is not Way.FULL else None)
    return bytes.fromhex(record.tag) + head + varint(len(code)) + code + infos


def decode(data: bytes, base: Base | None = None, dictionary: bytes = b"", exact: bytes | None = None) -> Recorded | None:
    """The record; None where a base (or, for EXACT, the reconstruction) is needed and not given. ValueError where it is damaged or the base
    is another program's: the instructions have the tag, or nothing is returned.
    """
    tag, way = data[:8].hex(), way_of(data)
    if way is Way.FULL:
        base = None
    elif base is None:
        return None
    head, at = read_head(data, 8, base.known if base is not None else None)
    length, at = read_varint(data, at)
    raw = data[at : at + length]
    if base is None:
        code = _inflated(raw, dictionary + _HELPER_CALLS)
    elif way is Way.DELTA:
        image = _bare_words(base.words)
        found = applied(image, _inflated(raw, _beside(image)))
        code = struct.pack(f"<{len(found)}Q", *found)
    else:
        if exact is None:
            return None
        code = _bare(exact).tobytes()
    if not code or len(code) % 8 or tag not in tags(words(code)):
        raise ValueError("its instructions do not have the tag that it is named after")
    try:
        func_info, line_info = unpacked(_inflated(data[at + length :], base.infos if base else b""))
    except (ValueError, zlib.error):
        func_info, line_info = (), ()  # they belong to another load's image: best effort, and nothing rests on them
    return Recorded(
        tag, head.name, head.type, head.expected_attach_type, head.license, _with_numbers(code, head.maps), head.attributes,
        func_info, line_info, head.source,
    )  # fmt: skip


def code_of(data: bytes, dictionary: bytes) -> bytes:
    """Only the bare instructions of a full copy, unproved: what later ones have as dictionary."""
    _, at = read_head(data, 8, None)
    length, at = read_varint(data, at)
    return _inflated(data[at : at + length], dictionary + _HELPER_CALLS)


def bare(code: bytes) -> bytes:
    """Instructions without the numbers of maps."""
    return _bare(code).tobytes()


def way_of(data: bytes) -> Way:
    """How it is kept; ValueError where nobody knows that way."""
    if len(data) < 10:
        raise ValueError("it is cut off")
    return Way(way_bits(data, 8))


def sizes(data: bytes) -> tuple[int, int, int]:
    """Bytes of (tag and head, instructions, infos)."""
    _, at = read_head(data, 8, Known("", 0, ()))
    code, end = read_varint(data, at)
    return end, code, len(data) - end - code


def _head(record: Recorded, known: Known | None, way: Way) -> bytes:
    head = Head(
        record.name, record.type, record.license, record.expected_attach_type, record.attributes, _numbers(record.code), record.source
    )
    return write_head(head, way, known)


def _numbers(code: bytes) -> list[int]:
    """The number of each reference to a map."""
    return [struct.unpack_from("<I", code, 8 * slot + 4)[0] for slot in map_slots(code)]


def _infos(record: Recorded, base: Base | None) -> bytes:
    return _deflated(packed(record.func_info, record.line_info), base.infos if base else b"")


def _with_numbers(code: bytes, numbers: Sequence[int]) -> bytes:
    slots = map_slots(code)
    if len(numbers) != len(slots):
        numbers = [0] * len(slots)
    out = bytearray(code)
    for slot, number in zip(slots, numbers, strict=True):
        struct.pack_into("<I", out, 8 * slot + 4, number & _LOW)
    return bytes(out)


def _bare(code: bytes) -> array[int]:
    return _bare_words(words(code))


def _bare_words(given: Sequence[int]) -> array[int]:
    """Words without the numbers of maps; offsets of values stay."""
    out = blanked(given)
    opcodes, at = out.tobytes()[::8], -2  # little-endian, as all of this package's extended code
    while (at := opcodes.find(LD_IMM64, at + 2)) >= 0:
        if at + 1 < len(out):
            out[at + 1] = given[at + 1]
    return out


def _beside(image: array[int]) -> bytes:
    return _HELPER_CALLS + image[-3800:].tobytes()


def _deflated(data: bytes, beside: bytes, level: int = 9) -> bytes:
    level = level if len(data) < _LARGE else min(level, 4)  # long programs are repetitive, and deflate's best effort is slow there
    plain = zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY
    packer = zlib.compressobj(level, *plain, beside[-32768:]) if beside else zlib.compressobj(level, *plain)
    return packer.compress(data) + packer.flush()


def _inflated(data: bytes, beside: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15, beside[-32768:]) if beside else zlib.decompressobj(-15)
    try:
        found = unpacker.decompress(data, LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("it is cut off, or too large")
    return found
