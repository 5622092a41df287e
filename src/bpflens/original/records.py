"""The records that say where functions and source lines begin, moved from the image to the reconstruction."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.original.image.image import Image
    from bpflens.original.invert.reconstruction import Layout

__all__ = ("original_funcs", "original_lines")


def original_funcs(image: Image, layout: Layout) -> tuple[tuple[int, int], ...]:
    """func_info in slots of the reconstruction: (insn_off, type_id)."""
    return tuple((layout.starts[off], type_id) for off, type_id in image.func_info if off < len(layout.starts) and layout.starts[off] >= 0)


def original_lines(image: Image, layout: Layout) -> tuple[tuple[int, int, int, int], ...]:
    """line_info in slots of the reconstruction; records of removed code are gone, those that fell on one instruction are one."""
    out: list[tuple[int, int, int, int]] = []
    for off, *rest in image.line_info:
        at = layout.starts[off] if off < len(layout.starts) else -1
        if at >= 0 and (not out or at > out[-1][0]):
            out.append((at, rest[0], rest[1], rest[2]))
    return tuple(out)
