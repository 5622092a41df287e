"""Where inversion does not prove an original, the record of its load does: the same tag over instructions that nobody reconstructed.

Map references of a record are numbers of maps in order of first use, in which the kernel lists the maps of a loaded program.
"""

from __future__ import annotations

import struct

from bpflens.isa.extended.opcodes import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from bpflens.lean import replace
from bpflens.original.image.image import Image
from bpflens.original.result import Grade, Original
from bpflens.original.store.base import base_of
from bpflens.original.store.record import Base, map_slots
from bpflens.original.store.store import Store

__all__ = ("from_record",)


def from_record(original: Original, store: Store) -> Original:
    """The recorded original where there is one and the reconstruction is not exact; InputError where the record is damaged."""
    image = original.image
    if original.grade is Grade.EXACT or not image.tag:
        return original
    base = base_of(image.id) if image.live else Base(tuple(image.words), image.func_info, image.line_info)
    record = store.get(image.tag, base)
    if record is None:
        return original
    code, named = _with_map_ids(record.code, image)
    reason = f"recorded when it was loaded, and its tag is {record.tag}, the program's"
    if not named:
        reason += "; which maps it refers to is not told"
    return replace(
        original, grade=Grade.RECORDED, reason=reason, code=code, layout=None, reloaded=None, removed=None, unsure=(), check=None,
        source=str(store.directory), func_info=record.func_info, line_info=record.line_info,
    )  # fmt: skip


def _with_map_ids(code: bytes, image: Image) -> tuple[bytes, bool]:
    """(the code with ids of maps, all of them are told)."""
    slots = map_slots(code)
    numbers = [struct.unpack_from("<I", code, 8 * slot + 4)[0] for slot in slots]
    references = [word >> 32 for word in image.words if word & 0xFF == LD_IMM64 and word >> 12 & 0xF in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE)]
    if numbers and max(numbers) == len(image.map_ids) and min(numbers):
        ids = [image.map_ids[number - 1] for number in numbers]
    elif len(references) == len(slots):
        ids = references  # two descriptors of one map
    else:
        ids = [0] * len(slots)
    out = bytearray(code)
    for slot, id in zip(slots, ids, strict=True):
        out[8 * slot + 4 : 8 * slot + 8] = struct.pack("<I", id)
    return bytes(out), all(ids)
