"""Iterator programs: one BPF program runs over all programs, or all maps, of the kernel and writes a row of 64-bit numbers for each.

    code, function = over(btf, "map", [*body], 16)        bpf_iter/bpf_map
    iterate(code, function, 16)   ──►   [(7, 0xffff...), (9, 0xffff...)]

Bodies have typed loads, assembled from the kernel's own type information: no address is read, so that it works under lockdown too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence

from bpflens.errors import InputError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.isa.extended.uapi import AttachType, ProgType
from bpflens.kernel.descriptors import close
from bpflens.kernel.sys.bpf import bpf, cmd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("OBJECT", "iterate", "over")

OBJECT = 6
"""The register that holds the object, in the body of a program."""
_META = 8  # the register that holds struct bpf_iter_meta
_SEQ_WRITE = 127  # BPF_FUNC_seq_write


def over(btf: Btf, kind: str, body: Sequence[Insn], row_bytes: int) -> tuple[bytes, int]:
    """The program over all objects of a kind ("prog", "map"), and the BTF id of the function that it is attached to.

    `body` writes a row at r10 - `row_bytes`; r2 to r5, r7 and r9 are free. InputError where this kernel has no such iterator.
    """
    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import member_offset

    function = btf.find(f"bpf_iter_bpf_{kind}", Kind.FUNC)
    if function is None:
        raise InputError(f"bpf_iter/bpf_{kind}", "this kernel has no such iterator")
    context = f"bpf_iter__bpf_{kind}"
    end = (Insn.make(op.ALU64 | op.MOV | op.K), Insn.make(op.EXIT_CODE))  # return 0
    return encode((
        Insn.make(op.LDX | op.MEM | op.DW, OBJECT, 1, member_offset(btf, context, kind)),
        Insn.make(op.JMP | op.JNE | op.K, OBJECT, 0, len(end), 0),
        *end,  # it is called once more when all objects have been seen
        Insn.make(op.LDX | op.MEM | op.DW, _META, 1, member_offset(btf, context, "meta")),
        *body,
        Insn.make(op.LDX | op.MEM | op.DW, 1, _META, member_offset(btf, "bpf_iter_meta", "seq")),
        Insn.make(op.ALU64 | op.MOV | op.X, 2, 10),
        Insn.make(op.ALU64 | op.ADD | op.K, 2, imm=-row_bytes),
        Insn.make(op.ALU64 | op.MOV | op.K, 3, imm=row_bytes),
        Insn.make(op.CALL_CODE, imm=_SEQ_WRITE),
        *end,
    )), function  # fmt: skip


def iterate(code: bytes, function: int, row_bytes: int) -> Iterable[tuple[int, ...]]:
    """Run an iterator program once: the rows that it writes. KernelError where it can't be loaded."""
    from bpflens.kernel.programs.load import load_program

    prog = link = iterator = -1
    try:
        prog = load_program(code, ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=function)
        link = bpf(cmd.LINK_CREATE, struct.pack("=III", prog, 0, AttachType.TRACE_ITER), "bpf_iter/bpf_prog", "cannot link")[0]
        iterator = bpf(cmd.ITER_CREATE, struct.pack("=II", link, 0), "bpf_iter/bpf_prog", "cannot create")[0]
        data = bytearray()
        while piece := os.read(iterator, 1 << 16):
            data += piece
    finally:
        close(*(fd for fd in (iterator, link, prog) if fd >= 0))
    return list(struct.iter_unpack(f"={row_bytes // 8}Q", bytes(data[: len(data) // row_bytes * row_bytes])))
