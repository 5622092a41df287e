"""A sentence with the instructions that it rests on, and what it says in a form that runs can be held against."""

from __future__ import annotations

from dataclasses import dataclass

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.conditions import Condition
from bpflens.decompile.summary.walk.walk import Done

__all__ = ("Path", "Says", "Sentence")


@dataclass(frozen=True, slots=True)
class Path:
    """All conditions of one way through a function. `may`: some are not said, so that it may be taken where the others hold."""

    conditions: tuple[Condition, ...]
    may: bool = False


@dataclass(frozen=True, slots=True)
class Says:
    """What a sentence about `function` says. `kind`: "returns" `value` (None: one that is computed) on one of the `paths`, and on no others
    unless it is the `rest`; or "does" what is in `done`; or "map" with what is done to `map`.
    """

    function: str
    kind: str
    value: int | None = None
    paths: tuple[Path, ...] = ()
    done: tuple[Done, ...] = ()
    rest: bool = False
    map: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """`kind`: alarm, decides, map, effect, reads, calls or note; `slots` are the instructions that it rests on. `whole`: the same with
    nothing left out, "" where `text` is that.
    """

    kind: str
    text: str
    slots: ir.Slots = ()
    says: Says | None = None
    whole: str = ""
