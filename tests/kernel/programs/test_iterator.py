"""Iterator programs over the kernel's maps and programs."""

from __future__ import annotations

import os

import pytest

from bpflens.btf.fields import member_offset
from bpflens.errors import InputError, KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.iterator import OBJECT, iterate, over
from bpflens.kernel.programs.load import create_map

pytestmark = pytest.mark.live


def id_and_type() -> list[Insn]:
    """The body of a program that writes two numbers of each map."""
    body = []
    for at, name in ((-16, "id"), (-8, "map_type")):
        body += [
            Insn.make(op.LDX | op.MEM | op.W, 2, OBJECT, member_offset(vmlinux(), "bpf_map", name)),
            Insn.make(op.STX | op.MEM | op.DW, 10, 2, at),
        ]
    return body


def test_a_row_for_each_map() -> None:
    """Each once, also one that was made just now, and nothing for the call after the last."""
    fd = create_map(2, 4, 8, 5, name="bl_iterator")
    try:
        made = map_by_fd(fd, types=False)
        rows = list(iterate(*over(vmlinux(), "map", id_and_type(), 16), 16))
        assert (made.id, 2) in rows
        assert len({id for id, _ in rows}) == len(rows)
        assert all(0 < id < 1 << 32 and 0 < type < 64 for id, type in rows)
    finally:
        os.close(fd)


def test_what_the_kernel_does_not_iterate_over() -> None:
    with pytest.raises(InputError, match="no such iterator"):
        over(vmlinux(), "nothing", [], 8)


def test_a_refused_program_leaves_no_descriptor() -> None:
    """A row that the body has not written is stack that was not initialized."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError):
        iterate(*over(vmlinux(), "map", [Insn.make(op.LDX | op.MEM | op.DW, 2, OBJECT, -8)], 16), 16)
    assert os.listdir("/proc/self/fd") == before
