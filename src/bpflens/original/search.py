"""The search for the reading that has the program's tag, cheapest first, under a budget.

Most programs match with the first reading of every group. Where they do not, readings are changed: all groups of the same words together
(compilers are consistent), then each on its own, in order of total cost; then map references by index (light skeletons), then jumps over
nothing that the kernel removed, then the spills around inlined calls (fastcall.py). A tag of 1,000 instructions costs 10 µs.
"""

from __future__ import annotations

import heapq
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bpflens.analysis import opcodes as op
from bpflens.original.image import Image
from bpflens.original.layout import Layout, Misfit, lay_out
from bpflens.original.segment import Segmentation
from bpflens.original.tag import ALGORITHMS, tag, tags

__all__ = ("Budget", "Found", "search")

_HOPELESS = 500  # readings of this cost are no readings of a program that the verifier accepts


@dataclass(slots=True)
class Budget:
    """What a search may spend: `tags` hashes and `seconds`; `spent` counts hashes."""

    tags: int = 512
    seconds: float = 0.05
    spent: int = 0
    started: float = field(default_factory=time.monotonic)

    def left(self) -> bool:
        """Count one hash; False when the budget is used up."""
        self.spent += 1
        if self.spent > self.tags:
            return False
        return self.spent % 16 != 0 or time.monotonic() - self.started <= self.seconds


@dataclass(frozen=True, slots=True)
class Found:
    """`layout`: the reconstruction, the first readings' where no tag fits; `words` differ from the layout's only where `by_index`.

    `matched`: the tag is equal. `algorithm` then tells by which hash. `complete`: every reading was tried.
    """

    layout: Layout
    words: array[int]
    matched: bool
    algorithm: str = ""
    by_index: bool = False
    complete: bool = False


def search(image: Image, segmentation: Segmentation, budget: Budget, algorithm: str = "") -> Found:
    """The reading with the image's tag, else the first one. Misfit where even the first readings make no program."""
    first = lay_out(image, segmentation)
    wanted = image.tag
    if not wanted:
        return Found(first, first.words, False)
    budget.spent += 1
    for name, got in zip(ALGORITHMS, tags(first.words), strict=True):
        if got == wanted:
            return Found(first, first.words, True, name)
    names = (algorithm,) if algorithm else ALGORITHMS
    for words in _by_index(image, first.words):
        for name in names:
            if budget.left() and tag(words, name) == wanted:
                return Found(first, words, True, name, by_index=True)
    complete = True
    for choice in _choices(image, segmentation):
        if not budget.left():
            complete = False
            break
        try:
            layout = lay_out(image, segmentation, choice)
        except Misfit:
            continue
        for name in names:
            if tag(layout.words, name) == wanted:
                return Found(layout, layout.words, True, name)
    return Found(first, first.words, False, complete=complete)


def _choices(image: Image, segmentation: Segmentation) -> Iterator[dict[int, int]]:
    """Choices other than the first one, by total cost: classes of equal groups together, then single groups."""
    classes: dict[tuple[int, ...], list[int]] = {}
    slot = 0
    while slot < segmentation.end:
        readings = segmentation.readings[slot]
        if readings is None:
            slot += 1
            continue
        if len(readings) > 1 and readings[1].cost < _HOPELESS:
            shape = tuple(word for group in readings for word, _ in group.items)
            classes.setdefault(shape, []).append(slot)
        slot += readings[0].length
    units: list[list[tuple[int, dict[int, int]]]] = []
    singles: list[list[tuple[int, dict[int, int]]]] = []
    for slots in classes.values():
        readings = segmentation.readings[slots[0]] or ()
        costs = [(group.cost, index) for index, group in enumerate(readings) if index and group.cost < _HOPELESS]
        units.append([(cost, dict.fromkeys(slots, index)) for cost, index in costs])
        if len(slots) > 1:
            singles += [[(cost, {slot: index}) for cost, index in costs] for slot in slots]
    yield from _cheapest(units)
    if singles:
        yield from _cheapest([*(unit for unit in units if len(unit[0][1]) == 1), *singles])


def _cheapest(units: Sequence[list[tuple[int, dict[int, int]]]]) -> Iterator[dict[int, int]]:
    """Every non-empty combination of alternatives, one per unit at most, in order of total cost.

    Each combination is reached once: from the one whose last unit is advanced to its next alternative or replaced by the next unit,
    or to which the next unit is added.
    """
    ordered = sorted((sorted(unit, key=lambda a: a[0]) for unit in units if unit), key=lambda unit: unit[0][0])
    if not ordered:
        return
    serial = 0
    heap: list[tuple[int, int, tuple[tuple[int, int], ...]]] = [(ordered[0][0][0], serial, ((0, 0),))]
    while heap:
        cost, _, picked = heapq.heappop(heap)
        choice: dict[int, int] = {}
        for unit, alternative in picked:
            choice.update(ordered[unit][alternative][1])
        yield choice
        unit, alternative = picked[-1]
        own = ordered[unit][alternative][0]
        following = []
        if alternative + 1 < len(ordered[unit]):
            following.append((cost - own + ordered[unit][alternative + 1][0], (*picked[:-1], (unit, alternative + 1))))
        if unit + 1 < len(ordered):
            other = ordered[unit + 1][0][0]
            following.append((cost + other, (*picked, (unit + 1, 0))))
            if alternative == 0:
                following.append((cost - own + other, (*picked[:-1], (unit + 1, 0))))
        for total, combination in following:
            serial += 1
            heapq.heappush(heap, (total, serial, combination))


def _by_index(image: Image, words: array[int]) -> Iterator[array[int]]:
    """Variants with map references by index in fd_array, as light skeletons make them: maps are numbered as they were created."""
    places = [
        index
        for index, word in enumerate(words)
        if word & 0xFF == op.LD_IMM64 and word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE)
    ]
    if not places:
        return
    ids = [words[index] >> 32 for index in places]
    lowest = min(ids)
    numberings = [{id: number for number, id in enumerate(sorted(set(ids)))}]
    numberings += [{id: id - lowest + skipped for id in ids} for skipped in range(8)]
    seen: list[dict[int, int]] = []
    for numbering in numberings:
        if numbering in seen or max(numbering.values()) > 64:
            continue
        seen.append(numbering)
        out = array("Q", words)
        for index, id in zip(places, ids, strict=True):
            word = words[index]
            src = op.PSEUDO_MAP_IDX if word >> 12 & 0xF == op.PSEUDO_MAP_FD else op.PSEUDO_MAP_IDX_VALUE
            out[index] = word & 0x0FFF | src << 12 | numbering[id] << 32
        yield out
