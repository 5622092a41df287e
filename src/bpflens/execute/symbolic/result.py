"""What a check of equality says, and what its answer rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ("ASSUMPTIONS", "Difference", "Equality", "Grade")

Grade = Literal["proved", "different", "unknown"]

ASSUMPTIONS = {
    "verifier": "the kernel accepts both as the same program type: no access outside of its memory",
    "regions": "stack, context, packet, each map's values and kernel memory do not overlap",
    "alone": "no other program or process writes to the same memory while the program runs",
    "helpers": "a helper is a function of its arguments, of memory and of what happened before",
    "maps": "maps of the same name hold the same, and different names are different maps",
    "constants": "read-only data hold what the files have",
    "core": "CO-RE: one name is one field, and fields overlap only where they did for the compiler",
    "answers": "CO-RE: a field or type is there, and has a size, as the file's own types say",
    "places": "CO-RE: two fields at one offset of the file's own types are at one offset in the kernel",
    "data": "global variables start with the same contents",
    "booleans": "global variables of the type bool hold 0 or 1",
    "garbage": "bytes of the stack that were never written hold one value, the same in both programs",
    "kfuncs": "a kfunc uses no memory of the stack but what its table row says",
    "callbacks": "a helper calls a callback as a function of what it was given",
    "little": "the machine is little-endian",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A run on which two programs differ: `what` differs ("return value", "effects", "map:counts" ...), the values, and who ran it."""

    what: str
    a: str
    b: str
    confirmed_by: str
    inputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Equality:
    """`grade`: "proved" for all inputs, "different" with a run that shows it, "unknown" with a `reason` "kind: what".

    `method`: what proved it ("terms", "alignment"). `assumptions`: conditions that the grade rests on, in words. `functions`: names of the
    functions of both programs that were executed, (a, b). `steps` of the budget; `queries` to z3. `checked_by`: the second engine that
    agreed with a proof, and on how many runs.
    """

    grade: Grade
    method: str = ""
    reason: str = ""
    difference: Difference | None = None
    assumptions: tuple[str, ...] = ()
    functions: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    steps: int = 0
    queries: int = 0
    checked_by: str = ""

    @property
    def proved(self) -> bool:
        """Equal for all inputs."""
        return self.grade == "proved"
