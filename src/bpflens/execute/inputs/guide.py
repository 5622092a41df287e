"""Inputs that reach much of a program: made at random, kept and changed when they run a block that no input before them ran.

The instrumented program says after each run which blocks it has run; the keys that it looks up are put into its maps for later rounds. A
round starts from fresh maps and is kept whole, as a `Scene`, so that running it again reaches the same blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.kernel_maps import Contents
from bpflens.execute.objects import made_memory
from bpflens.execute.result import Coverage, Input, Outcome, Scene
from bpflens.execute.subject import Subject

__all__ = ("Guided", "Watched", "guided", "unguided", "with_edges")

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
    """Scenes in the order in which they were found, and what they reached together. `seeds`: inputs that reached something new, each as a
    scene of its own.
    """

    scenes: tuple[Scene, ...]
    coverage: Coverage | None
    seeds: tuple[Scene, ...] = ()


def guided(program: Watched, maker: InputMaker, inputs: int, *, effort: float = 2.0, global_data: bool = True) -> Guided:
    """Scenes with `inputs` inputs in all, out of `effort` times as many that were tried; those that reached something new come first."""
    rnd: Random = maker.rnd
    pool: list[Input] = []
    seeds: list[Scene] = []
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
                seeds.append(Scene((input,), contents, memory))
        kept.append((gain, Scene(tuple(played), contents, memory)))
    wanted = max(1, -(-inputs // ROUND))
    best = sorted(range(len(kept)), key=lambda n: (kept[n][0] == 0, -n))[:wanted]
    needed = [n for n in range(len(kept)) if kept[n][0]]
    chosen = sorted({*best, *needed})
    return Guided(tuple(kept[n][1] for n in chosen), Coverage(reached, program.blocks) if program.blocks else None, tuple(seeds))


def with_edges(program: Watched, maker: InputMaker, subject: Subject, found: Guided, runs: int) -> Guided:
    """The scenes of `found`, and before them those that solve.py makes of its seeds; `program` counts what they reach together."""
    from bpflens.execute.inputs.solve import explored

    rnd = maker.rnd
    seeds = list(found.seeds[-_MAX_SEEDS:])
    for scene in found.scenes[:4]:
        seeds += [replace(scene, inputs=(input,)) for input in rnd.sample(scene.inputs, min(6, len(scene.inputs)))]
    found_more = explored(subject, seeds, rnd, runs, _STEPS)
    edges = _together([*found_more.scenes, *found_more.seeds])
    for scene in edges:
        program.set(scene.maps, scene.memory)
        for input in scene.inputs:
            program.run(input)
    coverage = Coverage(program.reached(), program.blocks, unmet=found_more.unmet) if found.coverage is not None else None
    return Guided((*edges, *found.scenes), coverage)


def _together(scenes: list[Scene]) -> list[Scene]:
    """Scenes that start from the same maps and memory become one, for contents cost more to set up than inputs to run."""
    groups: dict[tuple[int, int], list[Scene]] = {}
    for scene in scenes:
        groups.setdefault((id(scene.maps), id(scene.memory)), []).append(scene)
    return [replace(group[0], inputs=tuple(scene.inputs[-1] for scene in group)) for group in groups.values()]


_MAX_SEEDS, _STEPS = 120, 50_000


def unguided(maker: InputMaker, inputs: int, *, global_data: bool = True) -> Guided:
    """Scenes made without looking at what they reach."""
    scenes = []
    for _ in range(max(1, -(-inputs // ROUND))):
        contents = maker.contents(global_data=global_data)
        memory = made_memory(maker.rnd, maker.mined.constants) if maker.pointers else b""
        scenes.append(Scene(tuple(maker.fresh() for _ in range(ROUND)), contents, memory))
    return Guided(tuple(scenes), None)
