"""Where inversion does not prove an original, the record of its load does: the same tag over instructions that nobody reconstructed.

Map references of a record are the loader's descriptors. Those of the image have the same order where none was removed; then the record gets
the image's ids, else 0.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from bpflens.isa.extended.opcodes import LD_IMM64
from bpflens.original.image.image import Image
from bpflens.original.record_store import Recorded, Store
from bpflens.original.result import Grade, Original

__all__ = ("from_record",)

_MAP_FD, _MAP_VALUE = 1, 2  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE


def from_record(original: Original, store: Store) -> Original:
    """The recorded original where there is one and the reconstruction is not exact; InputError where the record is damaged."""
    if original.grade is Grade.EXACT or not original.image.tag:
        return original
    record = store.get(original.image.tag)
    if record is None:
        return original
    code, named = _with_map_ids(record.code, original.image)
    reason = f"recorded when it was loaded, and its tag is {record.tag}, the program's"
    if not named:
        reason += "; which maps it refers to is not told"
    return replace(
        original, grade=Grade.RECORDED, reason=reason, code=code, layout=None, reloaded=None, removed=None, unsure=(), check=None,
        source=str(store.directory), func_info=_func_info(record), line_info=_line_info(record),
    )  # fmt: skip


def _with_map_ids(code: bytes, image: Image) -> tuple[bytes, bool]:
    """(the code with the ids of the image's maps, all of them are told)."""
    ids = [word >> 32 & 0xFFFFFFFF for word in image.words if word & 0xFF == LD_IMM64 and word >> 12 & 0xF in (_MAP_FD, _MAP_VALUE)]
    slots = _map_slots(code)
    told = len(ids) == len(slots)
    out = bytearray(code)
    for number, slot in enumerate(slots):
        out[8 * slot + 4 : 8 * slot + 8] = struct.pack("<I", ids[number] if told else 0)
    return bytes(out), told


def _map_slots(code: bytes) -> list[int]:
    slots, at = [], 0
    while at < len(code) // 8:
        if code[8 * at] == LD_IMM64:
            if code[8 * at + 1] >> 4 in (_MAP_FD, _MAP_VALUE):
                slots.append(at)
            at += 1
        at += 1
    return slots


def _func_info(record: Recorded) -> tuple[tuple[int, int], ...]:
    raw = bytes.fromhex(record.func_info)
    return tuple(struct.iter_unpack("<II", raw[: len(raw) // 8 * 8]))


def _line_info(record: Recorded) -> tuple[tuple[int, int, int, int], ...]:
    raw = bytes.fromhex(record.line_info)
    return tuple(struct.iter_unpack("<IIII", raw[: len(raw) // 16 * 16]))
