"""Two programs beside each other: what counts as a difference, and who cannot be held to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import needs
from bpflens.execute.oracle import interpreted_compare, kernel_compare
from bpflens.execute.oracle.side_by_side import assumptions, compare_runs
from bpflens.execute.oracle.states import plan
from bpflens.execute.result import Input, Outcome, Scene, Verdict
from bpflens.execute.subject import Subject
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.program import Map

XDP, SYSCALL = 6, 31
COUNTS = Map("counts", 2, 4, 4, 1)


class Runs:
    """A program that is a Python function of (its counter, the input): (result, the counter afterwards)."""

    def __init__(self, step):
        self.step, self.count = step, 0

    def set(self, contents, memory=b""):
        self.count = 0

    def run(self, input):
        result, self.count = self.step(self.count, input.packet[0])
        return Outcome(error=result) if isinstance(result, str) else Outcome(result)

    def read(self):
        return {"counts": self.count.to_bytes(8, "little")}


SUBJECT = Subject((), XDP, maps={"counts": COUNTS})
SCENE = Scene(tuple(Input(bytes((n,))) for n in (1, 2, 3)))


def compared(a, b, again=None, scenes=(SCENE,)):
    return compare_runs(Runs(a), Runs(b), Runs(again or a), scenes, SUBJECT, plan(SUBJECT, SUBJECT), engine="test", coverage=None)


def test_no_difference():
    made = compared(lambda count, n: (n, count + 1), lambda count, n: (n, count + 1))
    assert (made.verdict, made.inputs, made.retvals, made.reason) == (Verdict.EQUAL, 3, (1, 2, 3), "no difference on 3 inputs")


def test_a_result_that_differs_comes_with_the_shortest_scene():
    made = compared(lambda count, n: (n, 0), lambda count, n: (n + (n == 2), 0))
    assert made.verdict is Verdict.DIFFERENT and made.reason == "return value: 2 and 3"
    assert made.difference.scene.inputs == (Input(b"\2"),)


def test_a_difference_that_needs_what_came_before():
    made = compared(lambda count, n: (count, count + 1), lambda count, n: (min(count, 1), count + 1))
    assert made.difference.scene.inputs == SCENE.inputs and made.reason == "return value: 2 and 1"


def test_maps_that_differ_at_the_end():
    made = compared(lambda count, n: (0, count + 1), lambda count, n: (0, count + 1 + (n == 3)))
    assert made.difference.what.startswith("map counts") and made.difference.scene.inputs == (Input(b"\3"),)


def test_what_the_copy_does_not_repeat_is_not_held_against_the_other():
    turn = iter(range(1000))
    made = compared(lambda count, n: (0, 0), lambda count, n: (1, 0), again=lambda count, n: (next(turn), 0))
    assert made.verdict is not Verdict.DIFFERENT and "return value" in made.unsteady
    assert made.verdict is Verdict.UNDETERMINED and "does not repeat" in made.reason


def test_a_difference_that_does_not_come_again_is_none():
    once = iter([1])
    made = compared(lambda count, n: (0, 0), lambda count, n: (next(once, 0), 0))
    assert made.verdict is Verdict.EQUAL and made.unsteady == ("return value",)


def test_inputs_that_nobody_can_run_are_not_counted():
    refusing = lambda count, n: ("no packet" if n == 1 else 0, 0)  # noqa: E731
    assert compared(refusing, refusing).inputs == 2
    none = lambda count, n: ("no packet", 0)  # noqa: E731
    made = compared(none, none)
    assert made.verdict is Verdict.UNDETERMINED and made.reason == "no input could be run: no packet"
    assert compared(refusing, lambda count, n: (0, 0)).reason == "run: no packet and ran"


def test_what_is_assumed_of_helpers():
    made = Subject(tuple(words(assemble("call 5\nr1 = 5 ll\ncall 109\nexit"))), XDP)
    assert assumptions(made) == ("bpf_ktime_get_ns fixed", "bpf_send_signal recorded, not called")


# --- both engines ---


def program(text, prog_type=XDP, **more):
    return Subject(tuple(words(assemble(text))), prog_type, **more)


FIRST = "r2 = *(u32 *)(r1 + 4)\nr1 = *(u32 *)(r1 + 0)\nr3 = r1\nr3 += 14\nr0 = 2\nif r3 > r2 goto +3\nr3 = *(u8 *)(r1 + 13)\n"
DROPS, SAME, OTHER = (f"{FIRST}{end}" for end in (
    "if r3 != 6 goto +1\nr0 = 1\nexit", "r0 = 1\nif r3 == 6 goto +1\nr0 = 2\nexit", "if r3 != 7 goto +1\nr0 = 1\nexit",
))  # fmt: skip


@pytest.mark.parametrize(("other", "verdict"), [(SAME, Verdict.EQUAL), (OTHER, Verdict.DIFFERENT)])
def test_the_interpreter_compares(other, verdict):
    made = interpreted_compare.compare(program(DROPS), program(other), 100, 1, 1.0)
    assert made.verdict is verdict and made.engine == interpreted_compare.ENGINE
    if verdict is Verdict.EQUAL:
        assert made.coverage.reached == made.coverage.blocks - 1 and {1, 2} <= set(made.retvals)  # no packet is that short


def test_stack_that_was_never_written_is_left_out():
    reads = program("r0 = *(u32 *)(r10 - 4)\nexit", SYSCALL)
    made = interpreted_compare.compare(reads, reads, 10, 1, 1.0)
    assert made.verdict is Verdict.EQUAL and made.left_out


@pytest.mark.live
@pytest.mark.parametrize(("other", "verdict"), [(SAME, Verdict.EQUAL), (OTHER, Verdict.DIFFERENT)])
def test_the_kernel_compares(other, verdict):
    needs.root()
    scenes = [Scene((Input(bytes(13) + bytes((n,)) + bytes(46)),)) for n in (6, 7)]
    made = kernel_compare.compare(program(DROPS), program(other), scenes, 1, 1)
    assert made.verdict is verdict and made.engine.startswith("kernel")


@pytest.mark.live
def test_a_program_that_the_kernel_refuses_is_said():
    needs.root()
    broken = program(DROPS.replace("if r3 > r2 goto +3", "if r3 > r2 goto +0"))
    made = kernel_compare.compare(program(DROPS), broken, 10, 1, 1)
    assert made.verdict is Verdict.UNDETERMINED and made.refused and "refuses the second program" in made.reason
    made = kernel_compare.compare(broken, replace(broken), 10, 1, 1)
    assert "refuses the first program" in made.reason and not made.refused
