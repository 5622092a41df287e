"""What a decompiled function is: its lines with the instructions they came from, its level, and what is proved of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from bpflens.decompile.function import StackObject, Variable
from bpflens.decompile.tree import Tree

__all__ = ("Badge", "Decompiled", "DecompiledFunction", "Level", "Line")


class Level(enum.StrEnum):
    """How a function came out: as structured C, as one statement per instruction, as assembly."""

    STRUCTURED = "structured"
    INSTRUCTIONS = "instructions"
    ASSEMBLY = "assembly"


class Badge(enum.StrEnum):
    """What is known of the C, from the strongest on: equal for all inputs; agreed in test runs, which ran every block that an input can
    reach; agreed in test runs that did not; the kernel accepts it; clang accepts it.
    """

    PROVED = "proved"
    TESTED = "tested"
    TESTED_IN_PART = "tested in part"
    LOADS = "loads"
    COMPILES = "compiles"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of C; `slots`: the instructions it says, ascending, none for declarations and braces."""

    text: str
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DecompiledFunction:
    """A function. `slots` count from the start of `section`'s code (of the program, for loaded ones); `start` and `end` are its own.

    `role`: entry, static, global or callback. `badge` with the `reason` for it: "clang 14 and Linux accept it", "no --check".
    `refused`: for each higher level that was tried, why it was not taken. `tree` and `variables` are the structured form, () below it.
    """

    name: str
    section: str
    start: int
    end: int
    role: str
    level: Level
    lines: tuple[Line, ...]
    badge: Badge = Badge.UNCHECKED
    reason: str = "not checked"
    refused: tuple[str, ...] = ()
    tree: Tree = ()
    variables: Mapping[int, Variable] = field(default_factory=dict)
    objects: Mapping[int, StackObject] = field(default_factory=dict)
    arguments: Mapping[int, int] = field(default_factory=dict)
    asm_statements: int = 0

    @property
    def insn_count(self) -> int:
        """Slots of the function."""
        return self.end - self.start

    def lines_of(self, slot: int) -> tuple[int, ...]:
        """Indexes of the lines that say an instruction."""
        return tuple(index for index, line in enumerate(self.lines) if slot in line.slots)


@dataclass(frozen=True, slots=True)
class Decompiled:
    """A whole C file: `before` are includes, types, maps, globals and declarations, `after` the license."""

    where: str
    before: tuple[Line, ...]
    functions: tuple[DecompiledFunction, ...]
    after: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The C file."""
        pieces = [line.text for line in self.before]
        for function in self.functions:
            pieces.append("")
            pieces += [line.text for line in function.lines]
        pieces.append("")
        pieces += [line.text for line in self.after]
        return "\n".join(pieces) + "\n"
