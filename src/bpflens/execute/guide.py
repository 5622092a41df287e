"""Inputs that reach much of a program: made at random, kept and changed when they run a block that no input before them ran.

The instrumented program says after each run which blocks it has run; the keys that it looks up are put into its maps for later rounds. A
round starts from fresh maps and is kept whole, as a `Scene`, so that running it again reaches the same blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from bpflens.execute.inputs import InputMaker
from bpflens.execute.kernel_maps import Contents
from bpflens.execute.objects import made_memory
from bpflens.execute.result import Coverage, Input, Outcome, Scene

__all__ = ("Guided", "Watched", "guided", "unguided")

ROUND = 100  # inputs of a scene


class Watched(Protocol):
    """A program that says what its runs reached."""

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects that contexts point to this memory."""

    def run(self, input: Input) -> Outcome:
        """One run."""

    def reached(self) -> int:
        """How many blocks were run since the start."""

    def keys(self) -> dict[str, list[bytes]]:
        """Keys looked up in the last run, by map."""

    @property
    def blocks(self) -> int:
        """How many blocks there are."""


@dataclass(frozen=True, slots=True)
class Guided:
    """Scenes in the order in which they were found, and what they reached together."""

    scenes: tuple[Scene, ...]
    coverage: Coverage | None


def guided(program: Watched, maker: InputMaker, inputs: int, *, effort: float = 2.0, global_data: bool = True) -> Guided:
    """Scenes with `inputs` inputs in all, out of `effort` times as many that were tried; those that reached something new come first."""
    rnd: Random = maker.rnd
    pool: list[Input] = []
    kept: list[tuple[int, Scene]] = []
    reached = 0
    rounds = max(2, round(effort * inputs / ROUND))
    for _ in range(rounds):
        contents = maker.contents(global_data=global_data)
        memory = made_memory(rnd, maker.mined.constants) if maker.pointers else b""
        program.set(contents, memory)
        played, gain = [], 0
        for _ in range(ROUND):
            if not pool or rnd.random() < 0.25:
                input = maker.fresh()
            else:
                input = maker.changed(rnd.choice(pool[-40:] if rnd.random() < 0.6 else pool))
            program.run(input)
            played.append(input)
            for name, keys in program.keys().items():
                maker.saw_keys(name, keys)
            now = program.reached()
            if now > reached:
                gain += now - reached
                reached = now
                pool.append(input)
        kept.append((gain, Scene(tuple(played), contents, memory)))
    wanted = max(1, -(-inputs // ROUND))
    best = sorted(range(len(kept)), key=lambda n: (kept[n][0] == 0, -n))[:wanted]
    needed = [n for n in range(len(kept)) if kept[n][0]]
    chosen = sorted({*best, *needed})
    return Guided(tuple(kept[n][1] for n in chosen), Coverage(reached, program.blocks) if program.blocks else None)


def unguided(maker: InputMaker, inputs: int, *, global_data: bool = True) -> Guided:
    """Scenes made without looking at what they reach."""
    scenes = []
    for _ in range(max(1, -(-inputs // ROUND))):
        contents = maker.contents(global_data=global_data)
        memory = made_memory(maker.rnd, maker.mined.constants) if maker.pointers else b""
        scenes.append(Scene(tuple(maker.fresh() for _ in range(ROUND)), contents, memory))
    return Guided(tuple(scenes), None)
