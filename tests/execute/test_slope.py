"""Inputs that meet the limit of a sum, by the slope of what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from bpflens.execute.inputs.slope import sloped
from bpflens.execute.result import Input, Scene


class Compared(NamedTuple):
    slot: int
    distance: int


def scene(value: int, packet: bytes = b"") -> Scene:
    return Scene((Input(packet),), {"m": {b"k": value.to_bytes(4, "little")}})


def value_of(made: Scene) -> int:
    return int.from_bytes(made.maps["m"][b"k"], "little")


def three_times(made: Scene) -> Sequence[Compared]:
    """if (3 * v + 40 > 1000), at slot 5."""
    return [Compared(5, 3 * value_of(made) + 40 - 1000)]


def test_a_number_of_a_map_is_moved_to_the_limit() -> None:
    found = list(sloped([scene(7)], three_times, lambda slot: [0], Random(1)))
    assert [value_of(made) for made in found] == [320] and three_times(found[0])[0].distance == 0


def test_limits_that_the_slope_does_not_meet_give_nothing() -> None:
    assert list(sloped([scene(7)], three_times, lambda slot: [1], Random(1))) == []
    assert list(sloped([scene(7)], three_times, lambda slot: [], Random(1))) == []
    too_far = 3 << 33  # the number has 32 bits
    assert list(sloped([scene(7)], lambda made: [Compared(5, 3 * value_of(made) - too_far)], lambda slot: [0], Random(1))) == []


def test_bytes_of_the_packet_are_moved_within_a_byte() -> None:
    def sum_of_bytes(made: Scene) -> Sequence[Compared]:
        return [Compared(2, sum(made.inputs[-1].packet) - 100)]

    found = list(sloped([scene(0, bytes((10, 20)))], sum_of_bytes, lambda slot: [0, 1000], Random(1)))
    assert {made.inputs[-1].packet for made in found} == {bytes((80, 20)), bytes((10, 90))}


def test_the_evaluation_that_is_nearest_is_moved() -> None:
    """A loop compares at one slot many times: the last round is one step from its limit."""
    def rounds(made: Scene) -> Sequence[Compared]:
        return [Compared(3, value_of(made) - limit) for limit in (90, 50, 11)]

    assert {value_of(made) for made in sloped([scene(10)], rounds, lambda slot: [0], Random(1))} == {11}
