"""Arrows from jumps to their targets in the margin of a listing.

    [(0, 3), (2, 5)], 6 slots  ──►   ┌───     jumps to one target share a lane; a jump that begins earlier is further left,
                                     │        so that a loop's arrow stands left of what is inside it.
                                     │┌──
                                     └┼─▸
                                      │
                                      └▸

Greedy interval colouring, left to right (optimal for intervals: Golumbic, Algorithmic Graph Theory, 8.1): n log n in the number of
targets. What needs more than MAX_LANES lanes is not drawn; its label says where it goes.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ("MAX_LANES", "draw")

MAX_LANES = 8

_ACROSS = str.maketrans({" ": "─", "│": "┼", "┌": "┬", "└": "┴", "├": "┼"})


def draw(count: int, jumps: Iterable[tuple[int, int]]) -> list[str] | None:
    """The margin of each of `count` slots, all of one width; None where there is nothing to draw. `jumps`: (slot, target)."""
    sources: dict[int, list[int]] = {}
    for slot, target in jumps:
        if target != slot:
            sources.setdefault(target, []).append(slot)
    spans = sorted((min(slots[0], target), -max(slots[-1], target), target) for target, slots in sources.items())
    lanes: list[int] = []  # last slot of each
    placed: list[list[tuple[int, int, int]]] = []
    for low, minus_high, target in spans:
        for lane, last in enumerate(lanes):  # noqa: B007
            if last < low:
                break
        else:
            lane = len(lanes)
            if lane == MAX_LANES:
                continue
            lanes.append(0)
            placed.append([])
        lanes[lane] = -minus_high
        placed[lane].append((low, -minus_high, target))
    if not lanes:
        return None
    margins = list(map("".join, zip(*(_column(count, lane) for lane in placed), [" "] * count, strict=True)))
    for lane, spans_of_lane in enumerate(placed):
        for _, _, target in spans_of_lane:
            _across(margins, target, lane, "▸")
            for slot in sources[target]:
                _across(margins, slot, lane, "─")
    return [f"{margin} " for margin in margins]


def _column(count: int, spans: list[tuple[int, int, int]]) -> str:
    """One lane from top to bottom."""
    pieces = []
    at = 0
    for low, high, _ in spans:
        pieces.append(" " * (low - at) + "┌" + "│" * (high - low - 1) + "└")
        at = high + 1
    pieces.append(" " * (count - at))
    return "".join(pieces)


def _across(margins: list[str], slot: int, lane: int, end: str) -> None:
    """From the lane to the instruction."""
    margin = margins[slot]
    corner = "├" if margin[lane] == "│" else margin[lane]
    last = "▸" if end == "▸" or margin[-1] == "▸" else "─"
    margins[slot] = margin[:lane] + corner + margin[lane + 1 : -1].translate(_ACROSS) + last
