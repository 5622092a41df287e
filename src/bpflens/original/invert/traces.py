"""What is known of code that the verifier removed: dead branches, whose instructions are gone for good.

    maps that no instruction refers to      were used only by removed code (or bound to the program)
    functions in the BTF without code       inlined, dead, or of another program of the object
    source lines without instructions       the text of the removed lines, from the BTF strings
    jumps over nothing                      left behind where code was removed
"""

from __future__ import annotations

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.lean import frozen
from bpflens.original.image.image import Image
from bpflens.original.invert.reconstruction import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("Removed", "removed")

_NOP = Insn.make(op.GOTO).word


@frozen
class Removed:
    """Traces of removed code. `maps`: ids; `functions`: names; `lines`: (instruction before which it stood, source text) of lines that no
    instruction has; `others`: such lines outside of the program's own, perhaps of other programs of its object; `jumps`: instructions of
    the reconstruction that jump over nothing; `verified_insns`: (of the program, of the reconstruction) where they differ: the verifier
    walked instructions that are not in the image.
    """

    maps: tuple[int, ...] = ()
    functions: tuple[str, ...] = ()
    lines: tuple[tuple[int, str], ...] = ()
    others: tuple[str, ...] = ()
    jumps: tuple[int, ...] = ()
    verified_insns: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.maps or self.lines or self.jumps or self.verified_insns)


def removed(image: Image, layout: Layout, btf: Btf | None, verified_insns: int | None = None) -> Removed:
    """The traces in an image and its types."""
    used = {
        word >> 32
        for word in layout.words
        if word & 0xFF == op.LD_IMM64 and word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX)
    }
    maps = tuple(id for id in image.map_ids if id not in used)
    jumps = tuple(index for index, word in enumerate(layout.words) if word == _NOP)
    functions: tuple[str, ...] = ()
    lines: tuple[tuple[int, str], ...] = ()
    others: tuple[str, ...] = ()
    if btf is not None:
        functions = _functions(image, btf)
        lines, others = _orphan_lines(image, layout, btf)
    differ = None
    if verified_insns is not None and image.verified_insns is not None and verified_insns != image.verified_insns:
        differ = (image.verified_insns, verified_insns)
    return Removed(maps, functions, lines, others, jumps, differ)


def _functions(image: Image, btf: Btf) -> tuple[str, ...]:
    """Static functions of the program's BTF that have no code in the image: dead, or those of another program of the object."""
    from bpflens.btf.btf import Kind

    present = {type_id for _, type_id in image.func_info}
    return tuple(btf.name(id) for id in btf.ids(Kind.FUNC) if id not in present and btf.linkage(id) == 0)


def _orphan_lines(image: Image, layout: Layout, btf: Btf) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    """Strings of the BTF that look like source lines and that no line_info record refers to: (instruction, text) of those among the
    program's own lines, and the rest.

    The string section of an object holds names of types and, behind them, file names and source lines in the order of the code; a line is
    told by its leading white space, or by characters that no name has.
    """
    from bisect import bisect_right

    first: dict[int, int] = {}  # offset of a line's text -> first instruction that has it
    for off, _, line_off, _ in image.line_info:
        at = layout.starts[off] if off < len(layout.starts) else -1
        if at >= 0:
            first[line_off] = min(at, first.get(line_off, at))
    if not first:
        return (), ()
    live = sorted(first)
    files = {record[1] for record in image.line_info}
    inside: list[tuple[int, str]] = []
    outside: list[str] = []
    offset = live[0]
    while offset < btf.strings_end:
        text = btf.string(offset)
        if offset not in first and offset not in files and _is_source(text):
            index = bisect_right(live, offset)
            if index < len(live):
                inside.append((first[live[index]], text.strip()))
            else:
                outside.append(text.strip())
        offset += len(text.encode("utf-8", "surrogateescape")) + 1
    return tuple(inside), tuple(outside)


def _is_source(text: str) -> bool:
    stripped = text.strip()
    return bool(stripped) and (text[0] in " \t" or any(c in stripped for c in "(;{=")) and not stripped.startswith("//")
