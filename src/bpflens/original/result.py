"""Results: a reconstruction with its grade, and the grade only if it was established.

* exact: the tag of the reconstruction is the program's tag (a hash over what was loaded)
* equivalent: loaded again with the same maps and types, the kernel rewrites it to the identical image
* recorded: the instructions were recorded when the program was loaded, not reconstructed
* unproven: none of these; `reason` says what is known
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from bpflens.isa.extended.insn import Insn, decode
from bpflens.lean import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.programs.load_attributes import Attributes
    from bpflens.original.image.image import Image
    from bpflens.original.image.image_check import ImageCheck
    from bpflens.original.invert.reconstruction import Layout
    from bpflens.original.invert.traces import Removed
    from bpflens.original.reload import Reloaded
    from bpflens.program import Program

__all__ = ("Grade", "Original")


class Grade(enum.StrEnum):
    """How well the reconstruction is proved."""

    EXACT = "exact"
    EQUIVALENT = "equivalent"
    RECORDED = "recorded"
    UNPROVEN = "unproven"

    @property
    def rank(self) -> int:
        """More is better proved."""
        return _RANKS[self]


_RANKS = {Grade.UNPROVEN: 0, Grade.EQUIVALENT: 1, Grade.RECORDED: 2, Grade.EXACT: 2}


@frozen
class Original:
    """The program as it was loaded, as far as it could be told.

    `code`: little-endian struct bpf_insn bytes; map references hold the map's id and, for values, the offset (the tag does not cover
    them). `reason` says what proves the grade, or what is missing. `algorithm`: hash that made the tag ("" unless exact).
    `func_info` and `line_info` are in instructions of the reconstruction. `layout` relates it to the image, None where it comes from an
    object file: `source` then says from where, and `program` has its names. `tags_tried` counts hashes. `unknown`: calls without a name.
    `unsure`: instructions of an unproven reconstruction that have other readings. `check`: of an exact one, what the tag does not cover.
    `notes` are said beside instructions of the object's program ("removed when loaded").
    """

    image: Image
    grade: Grade
    reason: str
    code: bytes
    layout: Layout | None
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()
    algorithm: str = ""
    attributes: Attributes | None = None
    reloaded: Reloaded | None = None
    removed: Removed | None = None
    source: str = ""
    program: Program | None = None
    tags_tried: int = 0
    unknown: Mapping[int, str] | None = None
    unsure: tuple[int, ...] = ()
    check: ImageCheck | None = None
    notes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def insns(self) -> tuple[Insn, ...]:
        """The original instructions, slot by slot."""
        return decode(self.code)

    @property
    def origins(self) -> list[int]:
        """Per slot of the image the original instruction that it was made of, -1 for what the kernel added. Empty without a layout."""
        return self.layout.origins() if self.layout is not None else []
