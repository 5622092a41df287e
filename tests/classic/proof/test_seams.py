"""A small attack on "equal" and "different"; bench/soak_equal.py is the big one."""

from __future__ import annotations

import random

import pytest

from bpflens.classic.diagrams.symbolic import KERNEL
from bpflens.classic.machine.interpreter import run
from bpflens.classic.proof.equal import compare
from classic_oracles import kernel_filter
from plain_machine import execute
from seams import packets, pairs
from seams_judge import Judge

WRAP_A = [(0x20, 0, 0, 0), (0x07, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 0, 1, 65535), (0x06, 0, 0, 65535), (0x06, 0, 0, 0)]
WRAP_B = [*WRAP_A[:2], (0x40, 0, 0, 0), (0x54, 0, 0, 65535), *WRAP_A[3:]]


@pytest.mark.live
@pytest.mark.parametrize("seed", range(4))
def test_no_judge_finds_a_false_verdict(seed: int) -> None:
    judge = Judge(random.Random(seed), 12, outside=0.02)
    for _ in range(200):
        judge.one_pair()

    assert judge.lies == []
    assert judge.counts["equal (diagrams)"] > 3


def test_the_interpreter_agrees_with_a_plain_one() -> None:
    r = random.Random(7)
    generator = pairs(r)
    for _ in range(300):
        _, one, two = next(generator)
        for packet in packets(r, 4):
            for program in (one, two):
                for model in ("kernel", "libpcap"):
                    if any(insn[0] == 0x20 and insn[3] >= 0xFFFFF000 for insn in program) and model == "libpcap":
                        continue

                    assert run(program, packet, None, model) == execute(program, packet, model), (program, packet, model)


def test_a_sum_that_wraps_is_no_stretch_of_bytes() -> None:
    verdict = compare(WRAP_A, WRAP_B)

    assert verdict.grade == "none" and verdict.witness is not None
    assert {verdict.witness.a, verdict.witness.b} == {0, 65535}


@pytest.mark.live
def test_a_packet_without_a_device_gets_what_a_holds() -> None:
    program = [(0x00, 0, 0, 7), (0x20, 0, 0, 0xFFFFF008), (0x06, 0, 0, 0)]
    with kernel_filter(program) as kernel:
        assert kernel.delivered(bytes(20)) == 7

    assert run(program, bytes(20), aux={"ifindex": None}) == 7
    assert compare(program, [(0x06, 0, 0, 0)]).grade == "untruncated"


def test_what_only_differs_in_the_length_is_accepted_by_both() -> None:
    head = [(0x20, 0, 0, 0), (0x07, 0, 0, 0), (0x20, 0, 0, 4)]
    by_xor = [*head, (0xAC, 0, 0, 0), (0x15, 0, 1, 0), (0x06, 0, 0, 262144), (0x06, 0, 0, 0)]
    by_difference = [*head, (0x1C, 0, 0, 0), (0x15, 0, 1, 0), (0x06, 0, 0, 65535), (0x06, 0, 0, 0)]

    accepted = compare(by_xor, by_difference)
    returned = compare(by_xor, by_difference, values=True)

    assert (accepted.grade, accepted.method) == ("all-packets", "z3 and diagrams")
    assert returned.witness is not None and {returned.witness.a, returned.witness.b} == {262144, 65535}


def test_random_numbers_are_an_assumption() -> None:
    program = [(0x20, 0, 0, 0xFFFFF038), (0x54, 0, 0, 1), (0x15, 0, 1, 0), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    other = [*program[:2], (0x15, 1, 0, 1), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]

    verdict = compare(program, other, KERNEL)

    assert verdict.grade == "all-packets"
    assert verdict.assumptions == ("the random numbers are the same",)
