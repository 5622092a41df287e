"""Which reading to try next, told by the kernel: where the image of a reload differs, or where the verifier stopped.

    r1 = *(u32*)(r0+4) is read as skb->pkt_type ─► the verifier refuses it: "R0 min value is outside" ─► read it as what it is

The likeliest reading of a slot rests on what its base register points to; the analysis of that is cut short by joins, by memory of other
functions, by kfuncs. Loading tells at which instruction a reading is wrong, or that one before it is. Each step changes one reading, and is
kept if the trouble moves on. All of it is counted in loads, so that the answer is the same everywhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping

from bpflens.lean import frozen
from bpflens.original.image.image import Image
from bpflens.original.invert.question import Options
from bpflens.original.invert.reconstruction import Layout, Misfit, lay_out
from bpflens.original.invert.segment import Segmentation, segment
from bpflens.original.reload import Reloaded
from bpflens.original.rewrites.kernel_protocol import Kernel
from bpflens.original.rewrites.template import Group

__all__ = ("Guided", "readings_where_it_differs", "unsure_insns")

MAX_LOADS, MAX_INSNS = 96, 1 << 18  # what is loaded in search of one program
_BACK = 12  # groups before the trouble that may be its cause
_READINGS = 6  # of one slot that are tried
_LAST_RESORT = 60  # readings of this cost are possible nearly everywhere: no reason to call an instruction unsure


@frozen
class Guided:
    """What came of it: the options under which the likeliest reading becomes the identical image, and the proof."""

    options: Options
    layout: Layout
    proof: Reloaded


def readings_where_it_differs(
    image: Image, kernel: Kernel, layout: Layout, proof: Reloaded, load: Callable[[Layout], Reloaded]
) -> Guided | None:
    """Readings whose reconstruction the kernel rewrites to the identical image; None where none is found.

    `layout`, `proof`: the likeliest reading and what came of loading it. `load` loads a reconstruction.
    """
    picks: dict[int, int] = {}
    loads = min(MAX_LOADS, MAX_INSNS // len(image) + 1)
    while (trouble := _trouble(layout, proof)) is not None:
        for slot, index in _next(image, kernel, layout, picks, trouble):
            tried = _read(image, kernel, {**picks, slot: index})
            if tried is None:
                continue
            if not loads:
                return None
            loads -= 1
            again = load(tried)
            if again.identical:
                return Guided(Options(picks={**picks, slot: index}), tried, again)
            if _better(again, _trouble(tried, again), proof, trouble):
                picks, layout, proof = {**picks, slot: index}, tried, again
                break
        else:
            return None
    return None


def _trouble(layout: Layout, proof: Reloaded) -> int | None:
    """The slot of the image where the reconstruction went wrong, as far as the kernel tells."""
    if proof.differs_at is not None:
        return proof.differs_at
    if proof.refused_at is None:
        return None
    return next((slot for slot, start in enumerate(layout.starts) if start >= proof.refused_at), None)


def _better(now: Reloaded, at: int | None, before: Reloaded, trouble: int) -> bool:
    """A program that the verifier takes is better than one that it refuses; else the trouble has moved on."""
    if bool(now.tag) != bool(before.tag):
        return bool(now.tag)
    return at is not None and at > trouble


def _read(image: Image, kernel: Kernel, picks: Mapping[int, int]) -> Layout | None:
    """The likeliest reading with some of them picked; None where that is no program."""
    try:
        return lay_out(image, segment(image, kernel, Options(picks=picks)))
    except Misfit:
        return None


def _next(image: Image, kernel: Kernel, layout: Layout, picks: Mapping[int, int], trouble: int) -> Iterator[tuple[int, int]]:
    """(slot, index of a reading) to try: of the instruction in trouble, then of those before it."""
    heads = [slot for slot, start in enumerate(layout.starts[:-1]) if start >= 0]
    here = bisect_right(heads, trouble) - 1
    for slot in heads[max(here - _BACK, 0) : here + 1][::-1]:
        if slot in picks:
            continue
        loose = segment(image, kernel, Options(picks={**picks, slot: 0}))
        for index, group in enumerate((loose.readings[slot] or ())[:_READINGS]):
            if not _is_there(layout, slot, group):
                yield slot, index


def _is_there(layout: Layout, slot: int, group: Group) -> bool:
    """Is this the reading that the layout has for a slot? Of what refers to others the opcode is compared."""
    start = layout.starts[slot]
    there = layout.words[start : start + len(group.items)]
    return all(now == word or (target >= 0 and now & 0xFF == word & 0xFF) for now, (word, target) in zip(there, group.items, strict=False))


def unsure_insns(segmentation: Segmentation, layout: Layout, proof: Reloaded | None) -> tuple[int, ...]:
    """Instructions of the likeliest reading that have other readings, and the one at which loading it failed."""
    found = {
        start
        for slot, start, _ in layout.groups
        if sum(group.cost < _LAST_RESORT for group in segmentation.readings[slot] or ()) > 1
    }
    trouble = _trouble(layout, proof) if proof is not None else None
    if trouble is not None and trouble < len(layout.starts):
        at = [start for start in layout.starts[: trouble + 1] if start >= 0]
        found.add(at[-1])
    return tuple(sorted(found))
