"""What a map of maps accepts as inner maps: the kernel shows it nowhere but in memory, so an iterator over all maps reads it.

One bpf_iter/bpf_map program with typed loads, assembled from the kernel's type information like that of attributes.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.kernel.load_attributes import iterate
from bpflens.program import Map

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("inner_map",)

_FIELDS = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
_SEQ_WRITE = 127


def inner_map(outer_id: int) -> Map | None:
    """The template of a map of maps; None where it can't be read."""
    from bpflens.kernel.btf import vmlinux

    try:
        code, fn_id = _assemble(vmlinux())
        rows = iterate(code, fn_id, 8 * (len(_FIELDS) + 1))
    except (BpflensError, KernelError, OSError):
        return None
    for id, *values in rows:
        if id == outer_id and values[0]:
            map_type, key_size, value_size, max_entries, flags = values
            return Map("inner", map_type, key_size, value_size, max_entries, flags)
    return None


def _assemble(btf: Btf) -> tuple[bytes, int]:
    from functools import partial

    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import member_offset
    from bpflens.errors import InputError

    fn_id = btf.find("bpf_iter_bpf_map", Kind.FUNC)
    if fn_id is None:
        raise InputError("bpf_iter/bpf_map", "this kernel has no such iterator")
    offset = partial(member_offset, btf)
    row = 8 * (len(_FIELDS) + 1)
    code = [
        Insn.make(op.LDX | op.MEM | op.DW, 6, 1, offset("bpf_iter__bpf_map", "map")),
        Insn.make(op.JMP | op.JNE | op.K, 6, 0, 2, 0),
        Insn.make(op.ALU64 | op.MOV | op.K),
        Insn.make(op.EXIT_CODE),
        Insn.make(op.LDX | op.MEM | op.DW, 8, 1, offset("bpf_iter__bpf_map", "meta")),
        Insn.make(op.LDX | op.MEM | op.W, 2, 6, offset("bpf_map", "id")),
        Insn.make(op.STX | op.MEM | op.DW, 10, 2, -row),
        Insn.make(op.LDX | op.MEM | op.DW, 7, 6, offset("bpf_map", "inner_map_meta")),
    ]
    for index, name in enumerate(_FIELDS):
        slot = -row + 8 * (index + 1)
        code += [
            Insn.make(op.ST | op.MEM | op.DW, 10, 0, slot, 0),
            Insn.make(op.JMP | op.JEQ | op.K, 7, 0, 2, 0),
            Insn.make(op.LDX | op.MEM | op.W, 2, 7, offset("bpf_map", name)),
            Insn.make(op.STX | op.MEM | op.DW, 10, 2, slot),
        ]
    code += [
        Insn.make(op.LDX | op.MEM | op.DW, 1, 8, offset("bpf_iter_meta", "seq")),
        Insn.make(op.ALU64 | op.MOV | op.X, 2, 10),
        Insn.make(op.ALU64 | op.ADD | op.K, 2, imm=-row),
        Insn.make(op.ALU64 | op.MOV | op.K, 3, imm=row),
        Insn.make(op.CALL_CODE, imm=_SEQ_WRITE),
        Insn.make(op.ALU64 | op.MOV | op.K),
        Insn.make(op.EXIT_CODE),
    ]
    return encode(code), fn_id
