"""The interpreter without a kernel: what the kernel's test runs can't show, faults, budgets, models."""

from __future__ import annotations

import pytest

import objects
from bpflens.execute.effects import CALLS
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.result import Input, Outcome
from bpflens.execute.subject import Subject, subject_of
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.program import Map
from execute import c_programs

SYSCALL, XDP = 31, 6
PACKET = bytes(range(64))


def subject(text: str, prog_type: int = SYSCALL, **maps: Map) -> Subject:
    """A program from its text; `map NAME` in a line's end says which map an ld_imm64 means."""
    lines = [line.partition(" ; map ") for line in text.strip().splitlines()]
    code = tuple(words(assemble("\n".join(line for line, _, _ in lines))))
    map_at, slot = {}, 0
    for line, _, name in lines:
        if name:
            map_at[slot] = name.strip()
        slot += 2 if " ll" in line or "map[" in line else 1
    return Subject(code, prog_type, maps=maps, map_at=map_at)


def run(text: str, *, ctx: bytes = bytes(64), steps: int = 10000, prog_type: int = SYSCALL) -> Outcome:
    """The outcome of one run."""
    return InterpretedProgram(subject(text, prog_type), steps=steps).run(Input(PACKET, b"" if prog_type == XDP else ctx))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("r0 = *(u64 *)(r10 + 0)\nexit", "read of 8 bytes at byte 512 of 512"),
        ("r0 = *(u8 *)(r1 + 64)\nexit", "read of 1 bytes at byte 64 of 64"),
        ("r1 = 0\nr0 = *(u8 *)(r1 + 8)\nexit", "where nothing is"),
        ("*(u32 *)(r10 - 516) = 1\nexit", "where nothing is"),
        ("r0 = 0\ngoto -2", "more than 10000 instructions"),
        ("r0 = 1", "leaves the code at slot 1"),
        ("call 1\nexit", "is no map"),
    ],
)
def test_what_a_verified_program_never_does_is_told(text: str, said: str) -> None:
    assert said in run(text).error


def test_acquire_release_and_may_goto() -> None:
    assert run("r1 = 7\nstore_release((u64 *)(r10 - 8), r1)\nr0 = load_acquire((u64 *)(r10 - 8))\nexit").retval == 7
    assert run("r0 = 0\nmay_goto +2\nr0 += 1\nif r0 < 9 goto -3\nexit").retval == 9


def test_signed_corners() -> None:
    assert run("r0 = -9\nr1 = 4\nr0 s/= r1\nexit").retval == 2**32 - 2
    assert run("r0 = -9\nr1 = 4\nr0 s%= r1\nexit").retval == 2**32 - 1
    assert run("r0 = 5\nr1 = 0\nr0 /= r1\nexit").retval == 0
    assert run("r0 = 5\nr1 = 0\nr0 %= r1\nexit").retval == 5
    assert run("w0 = 1\nw0 <<= 31\nw0 s>>= 31\nexit").retval == 2**32 - 1


def test_stack_memory_that_was_not_written_has_the_pattern() -> None:
    program = subject("r0 = *(u32 *)(r10 - 4)\nexit")
    assert InterpretedProgram(program, pattern=0x5A5A5A5A).run(Input(ctx=bytes(8))).retval == 0x5A5A5A5A
    assert InterpretedProgram(program).run(Input(ctx=bytes(8))).retval == 0


def test_tail_calls_go_to_the_other_program_and_back_to_none() -> None:
    jumps = Map("jumps", 3, 4, 4, 4)
    entry = subject("r2 = 0 ll ; map jumps\nr3 = 1\ncall 12\nr0 = 3\nexit", jumps=jumps)
    other = subject("r0 = 77\nexit")
    assert InterpretedProgram(entry).run(Input(ctx=bytes(8))).retval == 3
    assert InterpretedProgram(entry, tail={"jumps": {1: other}}).run(Input(ctx=bytes(8))).retval == 77
    again = InterpretedProgram(entry, tail={"jumps": {1: entry}}).run(Input(ctx=bytes(8)))
    assert again.retval == 3 and not again.error  # 33 times, then the call fails


def test_calls_with_effects_are_recorded_in_order() -> None:
    program = InterpretedProgram(subject("r1 = 9\ncall 109\nr1 = 11\ncall 109\nr0 = 0\nexit"))
    program.run(Input(ctx=bytes(8)))
    calls = program.read()[CALLS]
    assert [call[4] for call in calls] == [9, 11]
    assert "bpf_send_signal recorded, not called" in program.machine.modelled


def test_unknown_helpers_are_modelled_and_said() -> None:
    program = InterpretedProgram(subject("r1 = 5\nr2 = 6\nr3 = 7\ncall 50\nexit"))
    assert program.run(Input(ctx=bytes(8))).error == ""
    assert any("modelled" in name for name in program.machine.modelled)


def test_runs_repeat_themselves() -> None:
    subject = subject_of(objects.compiled(c_programs.source("hash")), "hash", "entry")
    first, second = InterpretedProgram(subject), InterpretedProgram(subject)
    for n in range(40):
        packet = bytes([n % 7] * 20)
        assert first.run(Input(packet)) == second.run(Input(packet))
    assert first.read() == second.read()
    assert first.reached() == second.reached() > 3


def test_kernel_memory_reads_as_numbers_of_its_own_and_faults_where_nothing_can_be() -> None:
    read = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = {} ll\ncall 113\nr1 = *(u64 *)(r10 - 8)\nexit"
    assert run(read.format("0xffff900000001000")).retval == 0
    assert run(read.format("0x10")).retval == 2**32 - 14
