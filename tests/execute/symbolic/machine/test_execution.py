"""Symbolic execution against runs: random programs, each path; what is refused."""

from __future__ import annotations

from random import Random

import pytest

from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.result import Input
from bpflens.execute.subject import Subject
from bpflens.execute.symbolic.concrete import CTX, NotRun, Outcome, World, constants_of, run
from bpflens.execute.symbolic.machine.call_term import Call
from bpflens.execute.symbolic.machine.callbacks import map_of_callback
from bpflens.execute.symbolic.machine.calls import handle_call
from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.machine import Machine
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.values.bits import offset_by
from bpflens.execute.symbolic.values.terms import session, symbol
from bpflens.isa.extended.insn import decode
from bpflens.program import Function, Map, Relocation
from execute import random_programs
from execute.symbolic.plain_programs import SYSCALL, XDP, OnContext, executed, program, setting, start

M32 = (1 << 32) - 1


def interpreted(made, context):
    words = tuple(insn.word for insn in decode(made.code))
    outcome = InterpretedProgram(Subject(words, SYSCALL)).run(Input(ctx=context))
    assert not outcome.error
    return outcome.retval, outcome.ctx


@pytest.mark.parametrize("seed", range(12))
def test_terms_have_the_value_that_a_run_gives(seed):
    """All arithmetic, jumps, memory of the stack and the context, atomics."""
    rnd = Random(f"symbolic {seed}")
    made = program(random_programs.program(rnd, 24))
    with session(2_000_000):
        end = executed(made)
        for _ in range(3):
            context = random_programs.context(rnd)
            numbers = OnContext(context)
            result, after = interpreted(made, context)
            assert numbers(end.registers[0]) & M32 == result
            _, written = numbers.memory(end.memory("ctx").freeze())
            at = numbers._symbol(("ctx",), 64)
            assert bytes(written.get(at + n, byte) for n, byte in enumerate(context)) == after


@pytest.mark.parametrize("seed", range(12))
def test_the_evaluator_gives_what_a_run_gives(seed):
    """The second key, on a context that its world decides."""
    rnd = Random(f"concrete {seed}")
    made = program(random_programs.program(rnd, 40))
    for number in range(3):
        world = World(number, [1, 7, 0x80000000])
        context = bytes(world.byte(CTX + n) for n in range(random_programs.CTX_BYTES))
        with session(10_000):
            outcome = run(Code(made), world, "a")
        result, after = interpreted(made, context)
        assert outcome.result & M32 == result
        assert bytes(outcome.memory.get(CTX + n, byte) for n, byte in enumerate(context)) == after


def test_outcomes_that_differ():
    same = Outcome(5, (("x",),), {1: 2}, False, 3)
    assert same.differs(Outcome(5, (("x",),), {1: 2}, True, 9), 64) == ""
    assert same.differs(Outcome(5 | 1 << 40, (("x",),), {1: 2}, False, 3), 32) == ""
    assert same.differs(Outcome(5 | 1 << 40, (("x",),), {1: 2}, False, 3), 64) == "return value"
    assert same.differs(Outcome(5, (), {1: 2}, False, 3), 64) == "effects"
    assert same.differs(Outcome(5, (("x",),), {}, False, 3), 64) == "memory"


def test_worlds_are_the_same_for_the_same_seed():
    one, two, other = World(1, [77]), World(1, [77]), World(2, [77])
    assert one.packet() == two.packet() != other.packet() and len(one.packet()) >= 14
    numbers = [one.number(32, "x", n) for n in range(400)]
    assert 77 in numbers and 78 in numbers and 76 in numbers and 0 in numbers


def test_the_constants_of_the_code():
    code = Code(program("r0 = 7\nif r1 == -3 goto +0\nr2 = 0x1122334455 ll\ncall 5\nexit"))
    with session(1000):
        code.function(code.entry)
    assert constants_of(code) == [0, 1, 7, 0xFFFFFFFD]


@pytest.mark.parametrize("text", ["goto -1", "call kfunc test#9\nexit", "r1 = 5\ncall 9999\nexit"])
def test_what_the_evaluator_does_not_run(text):
    with session(100_000), pytest.raises(NotRun):
        run(Code(program(text)), World(0, [1]), "a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("r0 = r5\nexit", "a register that was not set"),
        ("r0 = 0\nmay_goto +0\nexit", "may_goto"),
        ("r10 = 5\nexit", "frame pointer"),
        ("r0 = 0\n*(u64 *)(r10 - 520) = r0\nexit", "outside of the frame"),
        ("r2 = *(u32 *)(r1 + 0)\nr2 += r10\nr0 = *(u8 *)(r2 - 8)\nexit", "variable offset"),
        ("r2 = r10\nr2 += r1\nr0 = *(u8 *)(r2 + 0)\nexit", "several pointers"),
        ("r2 = 600\nr1 = r10\nr3 = 0\ncall 113\nexit", "larger than the stack"),
        ("call pc-1\nexit", "too deep"),
        ("r1 = r10\nr2 = 8\nr3 = 0\nr4 = 0\nr5 = 0\ncall 9999\nexit", "is not known"),
        ("r0 = 0\ngoto +5\nexit", "jump out of the function"),
    ],
)
def test_what_is_refused(text, reason):
    with session(200_000), pytest.raises(Refused, match=reason):
        executed(program(text))


def test_calls_are_the_same_where_all_that_they_get_is():
    key = "r2 = r10\nr2 += -8\n*(u32 *)(r10 - 8) = {}\nr1 = 0 ll\ncall 1\nif r0 == 0 goto +1\nr0 = *(u64 *)(r0 + 0)\nexit"
    maps = {"maps": (Map("m", 1, 4, 8, 4),), "relocations": (Relocation(3, "map", "m"),)}
    with session(200_000):
        first, same, other = (executed(program(key.format(n), XDP, **maps)) for n in (5, 5, 6))
        assert first.registers[0] is same.registers[0] and first.world is same.world
        assert other.registers[0] is not first.registers[0]


def test_a_subprogram_keeps_what_it_must():
    text = "r6 = 5\nr1 = 3\ncall pc+2\nr0 += r6\nexit\nr6 = 9\nr0 = r1\nexit"
    with session(200_000):
        assert executed(program(text)).registers[0].args == 8


def test_a_tail_call_leaves_by_two_ways():
    text = "r2 = 0 ll\nr3 = 0\ncall 12\nr0 = 7\nexit"
    made = program(text, XDP, maps=(Map("jumps", 3, 4, 4, 4),), relocations=(Relocation(0, "map", "jumps"),))
    with session(200_000):
        end = executed(made)
        numbers = {OnContext(b"")(end.registers[0])}
        assert end.registers[0].op == "ite" and 7 in {leaf.args for leaf in end.registers[0].args[1:] if leaf.op == "k"} and numbers


LOOP = "r1 = 4\nr2 = 0 ll\nr3 = r10\nr3 += -8\n*(u64 *)(r10 - 8) = 0\nr4 = 0\ncall 181\nr0 = *(u64 *)(r10 - 8)\nexit\n{}"
BODY = "r3 = *(u64 *)(r2 + 0)\nr3 += r1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit"
ALSO = "r4 = r1\nr3 = *(u64 *)(r2 + 0)\nr4 += r3\n*(u64 *)(r2 + 0) = r4\nr0 = 0\nexit"


def test_a_callback_is_what_it_does():
    def made(body):
        relocation = Relocation(1, "func", "body", 10)
        return program(LOOP.format(body), functions=(Function(0, "f"), Function(10, "body")), relocations=(relocation,))

    with session(400_000):
        first, same, other = (executed(made(body)) for body in (BODY, ALSO, BODY.replace("r0 = 0", "r0 = 1")))
        assert first.registers[0] is same.registers[0] and first.registers[0] is not other.registers[0]


def test_the_map_of_a_callback():
    with session(10_000):
        here, state = setting(program("exit", maps=(Map("m", 1, 4, 8, 4),))), start()
        state.registers[1] = symbol(64, "map", "m")
        assert map_of_callback(here, state, Call(164)) == "m"
        state.registers[1] = offset_by(symbol(64, "element", "m", 0), 8)
        assert map_of_callback(here, state, Call(170)) == "m"
        state.registers[1] = symbol(64, "ctx")
        assert map_of_callback(here, state, Call(170)) == "" == map_of_callback(here, state, Call(164))


def test_each_call_has_a_frame_of_its_own():
    machine = Machine(setting(program("exit")), handle_call)
    assert [machine.new_frame() for _ in range(3)] == [1, 2, 3]
