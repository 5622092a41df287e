"""A recorded program, and the bytes in which it is kept.

* full: the instructions compressed, with a dictionary of other programs where there is one
* delta: what differs from the image, compressed beside the image; can be read as long as the program is loaded
* exact: nothing; inversion of the image gives the instructions back, and did so when this was written

    tag (8) | way (1) | varint, head (JSON) | varint, instructions | infos            each of the three deflated

References to maps hold 1 + the number of the map in order of first use: the loader's descriptors mean nothing later, the kernel lists the
maps of a program in that order, and the tag does not cover them.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence

from bpflens.isa.extended.insn import words
from bpflens.isa.extended.opcodes import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from bpflens.lean import field, frozen
from bpflens.original.image.tag import blanked, tags
from bpflens.original.store.delta import applied, difference, read_varint, varint
from bpflens.original.store.infos import packed, unpacked

__all__ = ("Base", "Recorded", "Way", "bare", "code_of", "decode", "encode", "map_slots", "numbered", "sizes", "way_of")

_LARGE = 1 << 16
LIMIT = 1 << 26  # bytes of anything that is inflated
_LOW = 0xFFFFFFFF
_HEAD_SAMPLE = (
    b'{"n":"cgroup_skb_egress_xdp_filter_sys_enter_sys_exit_sched_switch_handle_tp","t":5,"e":0,"l":"Dual BSD/GPL","l":"GPL","a":{'
    b'"prog_flags":1,"prog_ifindex":1,"attach_btf_id":1,"attach_prog_fd":1,"kern_version":1,"fd_array_cnt":1,"prog_btf_fd":3},"m":[1,2,1]}'
)  # fmt: skip
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
    """The kernel's image of a loaded program: words, and its info records."""

    words: Sequence[int]
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def infos(self) -> bytes:
        """Its info records, packed."""
        return packed(self.func_info, self.line_info)[-32768:]


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
    head = _head(record)
    if way is Way.FULL:
        code = _deflated(_bare(record.code).tobytes(), dictionary + _HELPER_CALLS, level)
    elif way is Way.DELTA:
        assert base is not None
        image = _bare_words(base.words)
        code = _deflated(difference(image, _bare(record.code)), _beside(image))
    else:
        code = b""
    infos = _infos(record, base if way is not Way.FULL else None)
    return bytes.fromhex(record.tag) + bytes((way,)) + varint(len(head)) + head + varint(len(code)) + code + infos


def decode(data: bytes, base: Base | None = None, dictionary: bytes = b"", exact: bytes | None = None) -> Recorded | None:
    """The record; None where a base (or, for EXACT, the reconstruction) is needed and not given. ValueError where it is damaged or the base
    is another program's: the instructions have the tag, or nothing is returned.
    """
    tag, way = data[:8].hex(), way_of(data)
    length, at = read_varint(data, 9)
    head = json.loads(_inflated(data[at : at + length], _HEAD_SAMPLE))
    length, at = read_varint(data, at + length)
    raw = data[at : at + length]
    if way is Way.FULL:
        code = _inflated(raw, dictionary + _HELPER_CALLS)
        base = None
    elif way is Way.DELTA:
        if base is None:
            return None
        image = _bare_words(base.words)
        found = applied(image, _inflated(raw, _beside(image)))
        code = struct.pack(f"<{len(found)}Q", *found)
    else:
        if exact is None or base is None:
            return None
        code = _bare(exact).tobytes()
    if not code or len(code) % 8 or tag not in tags(words(code)):
        raise ValueError("its instructions do not have the tag that it is named after")
    try:
        func_info, line_info = unpacked(_inflated(data[at + length :], base.infos if base else b""))
    except (ValueError, zlib.error):
        func_info, line_info = (), ()  # they belong to another load's image: best effort, and nothing rests on them
    attributes = {str(key): int(value) for key, value in head.get("a", {}).items()}
    return Recorded(
        tag, str(head.get("n", "")), int(head.get("t", 0)), int(head.get("e", 0)), str(head.get("l", "")),
        _with_numbers(code, head.get("m")), attributes, func_info, line_info, str(head.get("s", "recorded")),
    )  # fmt: skip


def code_of(data: bytes, dictionary: bytes) -> bytes:
    """Only the bare instructions of a full copy, unproved: what later ones have as dictionary."""
    length, at = read_varint(data, 9)
    length, at = read_varint(data, at + length)
    return _inflated(data[at : at + length], dictionary + _HELPER_CALLS)


def bare(code: bytes) -> bytes:
    """Instructions without the numbers of maps."""
    return _bare(code).tobytes()


def way_of(data: bytes) -> Way:
    """How it is kept; ValueError where nobody knows that way."""
    if len(data) < 11:
        raise ValueError("it is cut off")
    return Way(data[8])


def sizes(data: bytes) -> tuple[int, int, int]:
    """Bytes of (tag and head, instructions, infos)."""
    length, at = read_varint(data, 9)
    code, end = read_varint(data, at + length)
    return end, code, len(data) - end - code


def _head(record: Recorded) -> bytes:
    maps = [struct.unpack_from("<I", record.code, 8 * slot + 4)[0] for slot in map_slots(record.code)]
    said = {
        "n": record.name, "t": record.type, "e": record.expected_attach_type, "l": record.license, "a": dict(record.attributes), "m": maps,
        "s": record.source if record.source != "recorded" else "",
    }  # fmt: skip
    return _deflated(json.dumps({key: value for key, value in said.items() if value}, separators=(",", ":")).encode(), _HEAD_SAMPLE)


def _infos(record: Recorded, base: Base | None) -> bytes:
    return _deflated(packed(record.func_info, record.line_info), base.infos if base else b"")


def _with_numbers(code: bytes, numbers: object) -> bytes:
    slots = map_slots(code)
    if not isinstance(numbers, list) or len(numbers) != len(slots):
        numbers = [0] * len(slots)
    out = bytearray(code)
    for slot, number in zip(slots, numbers, strict=True):
        struct.pack_into("<I", out, 8 * slot + 4, int(number) & _LOW)
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
