"""Results: a reconstruction with its grade, and the grade only if it was established.

* exact: the tag of the reconstruction is the program's tag (a hash over what was loaded)
* equivalent: loaded again with the same maps and types, the kernel rewrites it to the identical image
* recorded: the instructions were recorded when the program was loaded, not reconstructed
* unproven: none of these; `reason` says what is known
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bpflens.kernel.load_attributes import Attributes
from bpflens.original.image.image import Image
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


@dataclass(frozen=True, slots=True)
class Original:
    """The program as it was loaded, as far as it could be told.

    `code`: little-endian struct bpf_insn bytes; map references hold the map's id and, for values, the offset (the tag does not cover
    them). `reason` says what proves the grade, or what is missing. `algorithm`: hash that made the tag ("" unless exact).
    `func_info` and `line_info` are in instructions of the reconstruction. `layout` relates it to the image, None where it comes from an
    object file: `source` then says from where, and `program` has its names. `tags_tried` counts hashes.
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
    unknown: dict[int, str] | None = None
