"""Spills around calls that the kernel inlines are removed with them (v6.12): they come back where registers outlive the call."""

from __future__ import annotations

import os

import pytest

from bpflens.analysis.liveness import written_before
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import decode
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.recover import recover

EXACT = {
    # The helper after it takes no argument, so that r1 does not outlive the call though calls clobber it.
    "call without arguments behind it": "r2 = *(u32 *)(r1 +0)\n*(u64 *)(r10 -8) = r2\ncall bpf_get_smp_processor_id\n"
    "r2 = *(u64 *)(r10 -8)\nr6 = r2\nr6 += r0\ncall bpf_ktime_get_ns\nr0 += r6\nexit\n",
    # r3 to r5 have no value before it, whatever a call behind it could take.
    "registers without a value": "r6 = r1\nr2 = *(u32 *)(r1 +0)\n*(u64 *)(r10 -16) = r2\ncall bpf_get_smp_processor_id\n"
    "r2 = *(u64 *)(r10 -16)\n*(u32 *)(r10 -4) = r0\nr1 = r10\nr1 += -4\nr2 &= 4\nr2 = 4\ncall bpf_trace_printk\nr0 = 0\nexit\n",
    "stack of the function only": "*(u64 *)(r10 -64) = r1\ncall pc+2\nr0 = 0\nexit\n"
    "r2 = 7\n*(u64 *)(r10 -8) = r2\ncall bpf_get_smp_processor_id\nr2 = *(u64 *)(r10 -8)\nr0 += r2\nexit\n",
}
DEAD = "r7 = 0\nif r7 != 0 goto dead\n{}exit\ndead:\nr0 = 9\nexit\n"


SMALL = "r1 = 5\n*(u64 *)(r10 -8) = r1\ncall bpf_get_smp_processor_id\nr1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\n"


@pytest.fixture
def inlined():
    fd = load_program(assemble(SMALL, "kernel"), 3)
    try:
        slots = prog_info_by_fd(fd).xlated_len // 8
    finally:
        os.close(fd)
    if slots != 6:
        pytest.skip("this kernel does not inline bpf_get_smp_processor_id (v6.12)")


@pytest.mark.live
@pytest.mark.parametrize("name", EXACT)
def test_spills_come_back(name, inlined):
    code = assemble(EXACT[name], "kernel")
    fd = load_program(code, 3)
    try:
        original = recover(prog_info_by_fd(fd).id)
    finally:
        os.close(fd)

    assert original.grade == "exact", original.reason
    assert original.code == code


@pytest.mark.live
def test_with_removed_code_it_is_equivalent(inlined):
    """Without the spills the kernel would refuse it, and no tag tells where code is gone."""
    body = "r2 = *(u32 *)(r1 +0)\n*(u64 *)(r10 -8) = r2\ncall bpf_get_smp_processor_id\nr2 = *(u64 *)(r10 -8)\nr0 += r2\n"
    fd = load_program(assemble(DEAD.format(body), "kernel"), 3)
    try:
        original = recover(prog_info_by_fd(fd).id)
    finally:
        os.close(fd)

    assert original.grade == "equivalent", original.reason
    assert assemble(body, "kernel") in original.code


def test_registers_that_may_have_a_value():
    insns = decode(assemble("r2 = 1\nif r1 == 0 goto +1\nr3 = 2\ncall bpf_ktime_get_ns\nr4 = 5\nexit\n", "kernel"))

    found = written_before(insns, {0: 0b10}, lambda slot: False)

    assert found == [0b10, 0b110, 0b110, 0b1110, 0b1, 0b10001]
    assert written_before(insns, {0: 0b10}, lambda slot: True)[5] == 0b11111
