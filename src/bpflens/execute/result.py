"""What comparing two programs gives."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ("Comparison", "Coverage", "Difference", "Input", "Outcome", "Scene", "Verdict")


class Verdict(enum.Enum):
    """`EQUAL`: no difference on the inputs that were run; `UNDETERMINED`: nothing, or nothing that counts, could be run."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDETERMINED = "undetermined"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Input:
    """One call of the program: the packet (from the Ethernet header, where its type has one) and the context as user space gives it.

    Contexts of tracing programs are their memory: struct pt_regs, the record of a tracepoint, the words of a raw tracepoint.
    """

    packet: bytes = b""
    ctx: bytes = b""


@dataclass(frozen=True, slots=True)
class Scene:
    """Contents of the maps (by name and key; per-cpu values are one CPU's), and the inputs that are run one after the other from there.

    `memory`: what pointers of contexts point to, where they lie in the windows of objects.py.
    """

    inputs: tuple[Input, ...]
    maps: Mapping[str, Mapping[bytes, bytes]] = field(default_factory=dict)
    memory: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run left: `error` ("" for none), return value (32 bits unsigned), packet and context afterwards (b"" where the engine or
    program type gives none).
    """

    retval: int = 0
    packet: bytes = b""
    ctx: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference. `what`: "return value", "packet", "context", "map NAME at KEY" ...; `a` and `b` say it of each program.

    `scene` shows it on fresh maps: its last input is where the programs part, or after which the maps differ.
    """

    what: str
    a: str
    b: str
    scene: Scene | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Basic blocks of the first program, and branches that have no block of their own: how many there are that can be counted, and how many
    were run. `dead`: counted ones besides that the verifier proves that no input reaches. `uncounted`: those that nothing is known of.
    `unmet`: conditions that turn between two numbers which no input had: a limit that is wrong by one would not show.
    """

    reached: int
    blocks: int
    dead: int = 0
    uncounted: int = 0
    unmet: int = 0

    @property
    def whole(self) -> bool:
        """Was every block and branch run that an input can reach, and every limit met?"""
        return self.reached >= self.blocks and not self.uncounted and not self.unmet

    def __str__(self) -> str:
        dead = f" ({self.dead} more that no input reaches)" if self.dead else ""
        unknown = f", {self.uncounted} not counted" if self.uncounted else ""
        limits = f", {self.unmet} limits not met" if self.unmet else ""
        return f"{self.reached} of {self.blocks} blocks and branches{dead}{unknown}{limits}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer. `engine`: what ran the programs ("kernel", "kernel, as syscall program", "interpreter"). `inputs`: how many were run on
    both. `coverage` None where it could not be measured. `unsteady`: what a second copy of the first program did not repeat, and what is
    therefore not compared. `left_out`: what else is not compared. `assumed`: helpers that were modelled or fixed. `retvals`: distinct
    return values seen, at most 16. `refused`: why the kernel refuses the second program, "" where it does not.
    """

    verdict: Verdict
    reason: str
    engine: str = ""
    inputs: int = 0
    coverage: Coverage | None = None
    difference: Difference | None = None
    unsteady: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    retvals: tuple[int, ...] = ()
    refused: str = ""
