"""Where maps are in the kernel's memory: an iterator over all maps writes id and address of each.

Assembled from the kernel's type information like the program of load_attributes.py; needed where an image has the addresses themselves
(blinded constants).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.load_attributes import iterate

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("MapAddress", "map_addresses")

_ARRAY = MapType.ARRAY  # the only type whose values programs address directly
_SEQ_WRITE = 127


class MapAddress(NamedTuple):
    """Address of a struct bpf_map; `start` and `end` of its values, 0 where they can't be addressed."""

    map: int
    start: int
    end: int


def map_addresses(ids: Sequence[int]) -> dict[int, MapAddress]:
    """The addresses of live maps by id. Empty where iterators can't be used."""
    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import member_offset
    from bpflens.errors import BpflensError
    from bpflens.kernel.btf import vmlinux
    from bpflens.kernel.maps.maps import read_map_info

    try:
        btf = vmlinux()
        function = btf.find("bpf_iter_bpf_map", Kind.FUNC)
        if function is None:
            return {}
        at_value = member_offset(btf, "bpf_array", "value")
        out = {}
        for id, address in iterate(_program(btf), function, 16):
            if id in ids:
                found = read_map_info(id, types=False)
                start = address + at_value if found.type == _ARRAY else 0
                size = found.value_size * found.max_entries if found.type == _ARRAY else 0
                out[id] = MapAddress(address, start, start + size)
        return out
    except (BpflensError, OSError):
        return {}


def _program(btf: Btf) -> bytes:
    """bpf_seq_write(seq, (id, map), 16) for every map."""
    from bpflens.btf.fields import member_offset

    return encode((
        Insn.make(op.LDX | op.MEM | op.DW, 6, 1, member_offset(btf, "bpf_iter__bpf_map", "map")),
        Insn.make(op.JMP | op.JNE | op.K, 6, 0, 2, 0),
        Insn.make(op.ALU64 | op.MOV | op.K),
        Insn.make(op.EXIT_CODE),
        Insn.make(op.LDX | op.MEM | op.DW, 8, 1, member_offset(btf, "bpf_iter__bpf_map", "meta")),
        Insn.make(op.LDX | op.MEM | op.W, 2, 6, member_offset(btf, "bpf_map", "id")),
        Insn.make(op.STX | op.MEM | op.DW, 10, 2, -16),
        Insn.make(op.STX | op.MEM | op.DW, 10, 6, -8),
        Insn.make(op.LDX | op.MEM | op.DW, 1, 8, member_offset(btf, "bpf_iter_meta", "seq")),
        Insn.make(op.ALU64 | op.MOV | op.X, 2, 10),
        Insn.make(op.ALU64 | op.ADD | op.K, 2, imm=-16),
        Insn.make(op.ALU64 | op.MOV | op.K, 3, imm=16),
        Insn.make(op.CALL_CODE, imm=_SEQ_WRITE),
        Insn.make(op.ALU64 | op.MOV | op.K),
        Insn.make(op.EXIT_CODE),
    ))  # fmt: skip
