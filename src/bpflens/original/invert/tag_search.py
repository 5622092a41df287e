"""The search for the reading that has the program's tag, cheapest first, under a budget of steps.

Most programs match with the first reading of every group. Where they do not, map references are taken by index (light skeletons), then
readings are changed, in order of total cost. What the kernel removed without a trace is tried later (put_back.py). A tag of 1,000
instructions costs 10 µs, less where only words near the end change.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence

from bpflens.isa.extended import opcodes as op
from bpflens.lean import NamedTuple
from bpflens.original.image.image import Image
from bpflens.original.image.tag import ALGORITHMS, Tagger, tag, tags
from bpflens.original.invert.reconstruction import Layout, Misfit, lay_out
from bpflens.original.invert.segment import Segmentation

__all__ = ("STEPS", "Budget", "Found", "search")

STEPS = 1 << 15
"""Steps of one search where no other number is asked for."""
_INSNS_PER_STEP = 512  # hashed in about the time that a short hash takes to set up
_LAID_OUT_PER_STEP = 32
_HOPELESS = 500  # readings of this cost are no readings of a program that the verifier accepts


class Budget:
    """What a search may cost. A step is a hash of up to 512 instructions, or 32 instructions laid out. No clock is read and nothing but the
    search is counted, so that the answer is the same on every machine, whether or not anything was learnt before.
    """

    __slots__ = ("steps", "tags")

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        self.tags = 0  # hashes made so far

    def hash(self, insns: int) -> bool:
        """Pay for a hash; False where the budget is used up."""
        self.tags += 1
        self.steps -= 1 + insns // _INSNS_PER_STEP
        return self.steps >= 0

    def lay_out(self, insns: int) -> bool:
        """Pay for a layout; False where the budget is used up."""
        self.steps -= 1 + insns // _LAID_OUT_PER_STEP
        return self.steps >= 0


class Found(NamedTuple):
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
    budget.hash(len(first.words))
    for name, got in zip(ALGORITHMS, tags(first.words), strict=True):
        if got == wanted:
            return Found(first, first.words, True, name)
    names = (algorithm,) if algorithm else ALGORITHMS  # both where it is not known: one more hash per reading
    for words in _by_index(image, first.words):
        for name in names:
            if budget.hash(len(words)) and tag(words, name) == wanted:
                return Found(first, words, True, name, by_index=True)
    return _other_readings(image, segmentation, budget, names, first)


def _other_readings(image: Image, segmentation: Segmentation, budget: Budget, names: Sequence[str], first: Layout) -> Found:
    taggers = [Tagger(first.words, name) for name in names]
    for choice in _choices(segmentation):
        patch = _patch(segmentation, first, choice)
        if patch is not None:
            if not all(budget.hash(tagger.insns_hashed(patch)) for tagger in taggers):
                return Found(first, first.words, False)
            for name, tagger in zip(names, taggers, strict=True):
                if tagger.with_words(patch) == image.tag:
                    layout = _patched(segmentation, first, choice, patch)
                    return Found(layout, layout.words, True, name)
            continue
        if not budget.lay_out(len(first.words)):
            return Found(first, first.words, False)
        try:
            layout = lay_out(image, segmentation, choice)
        except Misfit:
            continue
        for name in names:
            if budget.hash(len(layout.words)) and tag(layout.words, name) == image.tag:
                return Found(layout, layout.words, True, name)
    return Found(first, first.words, False, complete=True)


def _patch(segmentation: Segmentation, first: Layout, choice: dict[int, int]) -> dict[int, int] | None:
    """The words that a choice changes, where every changed group keeps its length and refers to nothing; else None."""
    patch: dict[int, int] = {}
    for slot, index in choice.items():
        readings = segmentation.readings[slot] or ()
        old, new = readings[0], readings[index]
        if old.length != new.length or len(old.items) != len(new.items):
            return None
        at = first.starts[slot]
        for (old_word, old_target), (word, target) in zip(old.items, new.items, strict=True):
            if target >= 0 or old_target >= 0 or (old_word & 0xFF == op.LD_IMM64) or (word & 0xFF == op.LD_IMM64):
                return None
            patch[at] = word
            at += 1
    return patch


def _patched(segmentation: Segmentation, first: Layout, choice: dict[int, int], patch: dict[int, int]) -> Layout:
    """The layout with the words of a choice that moves nothing."""
    words = array("Q", first.words)
    for at, word in patch.items():
        words[at] = word
    readings = segmentation.readings
    groups = tuple(
        (slot, at, (readings[slot] or ())[choice[slot]]) if slot in choice else (slot, at, group) for slot, at, group in first.groups
    )
    return first._replace(words=words, groups=groups)


def _choices(segmentation: Segmentation) -> Iterator[dict[int, int]]:
    """Choices other than the first, by total cost. Groups of the same words are changed together (compilers are consistent), and
    each on its own for a little more.
    """
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
    for slots in classes.values():
        readings = segmentation.readings[slots[0]] or ()
        costs = [(group.cost, index) for index, group in enumerate(readings) if index and group.cost < _HOPELESS]
        units.append([(cost, dict.fromkeys(slots, index)) for cost, index in costs])
        if len(slots) > 1:
            units += [[(cost + 1, {slot: index}) for cost, index in costs] for slot in slots]
    return _cheapest(units)


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
