"""Inputs that meet the limit of a sum: a number is moved by one, and from what that changes follows by how much it has to be moved.

    if total > 1000 with total = 3 * v + 40, v = 7   ──►   v = 8 gives 64 instead of 61: slope 3   ──►   v = 320 gives 1000

What solve.py exchanges has to stand in the input as it is compared; here it may be scaled and added up, over a map or a packet. It is one
step of the descent of "Angora: Efficient Fuzzing by Principled Search" (S&P 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Protocol

from bpflens.execute.result import Scene

__all__ = ("sloped",)

_PLACES = 4  # numbers of a scene that are tried, of maps and of the packet each
_FAR = 1 << 40
Measure = Callable[[Scene], "Sequence[Compared]"]


class Compared(Protocol):
    """A condition that was evaluated."""

    @property
    def slot(self) -> int:
        """Of the jump."""

    @property
    def distance(self) -> int:
        """Of the left side from the right one, signed."""


def sloped(scenes: list[Scene], measure: Measure, missing: Callable[[int], list[int]], rnd: Random) -> Iterator[Scene]:
    """Scenes that should meet distances that are `missing` at a slot; `measure` runs one and says what was compared."""
    for scene in scenes:
        nearest: dict[int, tuple[int, int, int]] = {}  # slot -> (how far, which time it was evaluated, distance)
        times: dict[int, int] = {}
        for entry in measure(scene):
            time = times[entry.slot] = times.get(entry.slot, -1) + 1
            far = abs(entry.distance)
            if far < _FAR and far < nearest.get(entry.slot, (_FAR, 0, 0))[0] and missing(entry.slot):
                nearest[entry.slot] = far, time, entry.distance
        for slot, (_, time, distance) in nearest.items():
            for move in _moves(scene, rnd):
                moved = move(1)
                there = [entry.distance for entry in measure(moved) if entry.slot == slot] if moved is not None else []
                slope = there[time] - distance if time < len(there) else 0
                for wanted in missing(slot) if slope else ():
                    needed = wanted - distance
                    found = move(needed // slope) if needed % slope == 0 else None
                    if found is not None:
                        yield found
                if not missing(slot):
                    break


def _moves(scene: Scene, rnd: Random) -> Iterator[Callable[[int], Scene | None]]:
    """Functions that give the scene with one of its numbers moved, None where it does not fit."""
    values = [(name, key) for name, elements in scene.maps.items() if name[:1] != "*" for key, value in elements.items() if value]
    for name, key in rnd.sample(values, min(_PLACES, len(values))):
        yield partial(_in_map, scene, name, key)
    size = len(scene.inputs[-1].packet)
    for offset in rnd.sample(range(size), min(_PLACES, size)):
        yield partial(_in_packet, scene, offset)


def _in_map(scene: Scene, name: str, key: bytes, by: int) -> Scene | None:
    elements: Mapping[bytes, bytes] = scene.maps[name]
    value = elements[key]
    size = next(n for n in (8, 4, 2, 1) if n <= len(value))
    number = int.from_bytes(value[:size], "little") + by
    if not 0 <= number < 1 << 8 * size:
        return None
    changed = number.to_bytes(size, "little") + value[size:]
    return replace(scene, maps={**scene.maps, name: {**elements, key: changed}})


def _in_packet(scene: Scene, offset: int, by: int) -> Scene | None:
    input = scene.inputs[-1]
    number = input.packet[offset] + by
    if not 0 <= number < 256:
        return None
    packet = input.packet[:offset] + bytes([number]) + input.packet[offset + 1 :]
    return replace(scene, inputs=(replace(input, packet=packet),))
