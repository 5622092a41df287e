"""Where maps are in the kernel's memory: an iterator over all maps (programs/iterator.py) writes id and address of each.

Needed where an image has the addresses themselves (blinded constants).
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.iterator import OBJECT, iterate, over
from bpflens.lean import NamedTuple

__all__ = ("MapAddress", "map_addresses")

_ARRAY = MapType.ARRAY  # the only type whose values programs address directly


class MapAddress(NamedTuple):
    """Address of a struct bpf_map; `start` and `end` of its values, 0 where they can't be addressed."""

    map: int
    start: int
    end: int


def map_addresses(ids: Sequence[int]) -> dict[int, MapAddress]:
    """The addresses of live maps by id. Empty where iterators can't be used."""
    from bpflens.btf.fields import member_offset
    from bpflens.errors import BpflensError
    from bpflens.kernel.btf import vmlinux
    from bpflens.kernel.maps.maps import read_map_info

    try:
        btf = vmlinux()
        body = (
            Insn.make(op.LDX | op.MEM | op.W, 2, OBJECT, member_offset(btf, "bpf_map", "id")),
            Insn.make(op.STX | op.MEM | op.DW, 10, 2, -16),
            Insn.make(op.STX | op.MEM | op.DW, 10, OBJECT, -8),
        )
        code, function = over(btf, "map", body, 16)
        at_value = member_offset(btf, "bpf_array", "value")
        out = {}
        for id, address in iterate(code, function, 16):
            if id in ids:
                found = read_map_info(id, types=False)
                start = address + at_value if found.type == _ARRAY else 0
                size = found.value_size * found.max_entries if found.type == _ARRAY else 0
                out[id] = MapAddress(address, start, start + size)
        return out
    except (BpflensError, OSError):
        return {}
