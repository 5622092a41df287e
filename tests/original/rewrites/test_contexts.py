"""Every access to every context that the running kernel allows comes back exact, whatever its registers are."""

from __future__ import annotations

import os

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import IDENTITY, context_struct, fields
from bpflens.isa.extended.insn import Insn, encode
from bpflens.isa.extended.names import PROG_TYPES
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.image.tag import blanked
from bpflens.original.kernels.probe import learn_context, learn_sockets
from bpflens.original.recover import recover

pytestmark = pytest.mark.live

CONTEXTS = (
    (1, 0), (3, 0), (4, 0), (6, 33), (6, 37), (7, 0), (8, 0), (8, 1), (9, 2), (9, 12), (9, 13), (10, 0), (12, 0), (13, 3), (14, 5),
    (15, 6), (16, 7), (18, 8), (18, 9), (18, 10), (18, 14), (18, 15), (18, 19), (18, 30), (21, 39), (22, 17), (23, 18), (25, 21), (25, 22),
    (30, 36), (32, 45),
)  # fmt: skip
REGISTERS = ((6, 7), (7, 0), (8, 9), (9, 8), (1, 2), (2, 2), (6, 6), (9, 9))


def accesses(prog_type, attach):
    """(form, offset, size, registers) of what the kernel allows: asked for with other registers than those tried here."""
    allowed = {(row.form, row.offset, row.size) for row in learn_context(prog_type, attach)}
    last = fields(context_struct(prog_type))[-1]
    if prog_type in IDENTITY:
        allowed = {("R", offset, size) for offset in range(last.offset + last.size) for size in (1, 2, 4, 8) if offset % size == 0}
    serial = 0
    for form, offset, size in sorted(allowed):
        for variant in {"R": ("load", "load-signed"), "W": ("store",), "I": ("store-number",)}[form]:
            if not (variant == "load-signed" and size == 8):
                serial += 1
                yield variant, offset, size, REGISTERS[serial % len(REGISTERS)]


def program(form, offset, size, base, value):
    width = op.SIZE_CODE[size]
    code = [Insn.make(op.ALU64 | op.MOV | op.X, base, 1)] if base != 1 else []
    if form == "load":
        code.append(Insn.make(op.LDX | op.MEM | width, value, base, offset))
    elif form == "load-signed":
        code.append(Insn.make(op.LDX | op.MEMSX | width, value, base, offset))
    elif form == "store":
        if base == value:
            return None
        code += [Insn.make(op.ALU64 | op.MOV | op.K, value, imm=offset), Insn.make(op.STX | op.MEM | width, base, value, offset)]
    else:
        code.append(Insn.make(op.ST | op.MEM | width, base, 0, offset, 77))
    return [*code, Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=1), Insn.make(op.EXIT_CODE)]


@pytest.mark.parametrize(("prog_type", "attach"), CONTEXTS, ids=lambda value: PROG_TYPES.get(value, str(value)))
def test_every_access_comes_back(prog_type, attach):
    tried = 0
    for form, offset, size, (base, value) in accesses(prog_type, attach):
        insns = program(form, offset, size, base, value)
        if insns is None:
            continue
        try:
            fd = load_program(encode(insns), prog_type, expected_attach_type=attach)
        except KernelError:
            continue
        try:
            original = recover(prog_info_by_fd(fd).id)
        finally:
            os.close(fd)
        tried += 1
        what = f"{form} of {size} at {offset}, base r{base}, value r{value}"
        assert original.grade == "exact", f"{what}: {original.reason}"
        assert list(blanked(original.layout.words)) == [insn.word for insn in insns], what
    if not tried:
        needs.kernel_feature(False, f"{PROG_TYPES[prog_type]} programs")


def _unless_null(register):
    return [
        Insn.make(op.JMP | op.JNE | op.K, register, 0, 2, 0),
        Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=1),
        Insn.make(op.EXIT_CODE),
    ]


TO_SK = [Insn.make(op.LDX | op.MEM | op.DW, 1, 1, 168), *_unless_null(1)]
SOCKETS = {
    "sock_common": (TO_SK, 1),
    "sock": ([*TO_SK, Insn.make(op.CALL_CODE, imm=95), *_unless_null(0)], 0),
    "tcp_sock": ([*TO_SK, Insn.make(op.CALL_CODE, imm=96), *_unless_null(0)], 0),
}


@pytest.mark.parametrize("kind", SOCKETS)
def test_every_access_to_a_socket_comes_back(kind):
    setup, result = SOCKETS[kind]
    rows = learn_sockets()[kind]
    assert len(rows) > 20
    for number, row in enumerate(rows):
        base, value = REGISTERS[number % len(REGISTERS)]
        insns = [
            *setup,
            Insn.make(op.ALU64 | op.MOV | op.X, base, result),
            Insn.make(op.LDX | op.MEM | op.SIZE_CODE[row.size], value, base, row.offset),
            Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=1),
            Insn.make(op.EXIT_CODE),
        ]
        fd = load_program(encode(insns), 3)
        try:
            original = recover(prog_info_by_fd(fd).id)
        finally:
            os.close(fd)
        assert original.grade == "exact", f"{row.size} at {row.offset}: {original.reason}"
        assert list(blanked(original.layout.words)) == [insn.word for insn in insns]
