"""What is known of code that the verifier removed: dead branches, whose instructions are gone for good.

    maps that no instruction refers to      were used only by removed code (or bound to the program)
    functions in the BTF without code       inlined, dead, or of another program of the object
    source lines without instructions       the text of the removed lines, from the BTF strings
    jumps over nothing                      left behind where code was removed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpflens.analysis import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.original.image import Image
from bpflens.original.layout import Layout

if TYPE_CHECKING:
    from bpflens.formats.btf import Btf

__all__ = ("Removed", "removed")

_NOP = Insn.make(op.GOTO).word


@dataclass(frozen=True, slots=True)
class Removed:
    """Traces of removed code. `maps`: ids; `functions`: names; `lines`: source text that no instruction has (of this program or of others
    of its object); `jumps`: instructions of the reconstruction that jump over nothing; `verified_insns`: (of the program, of the
    reconstruction) where they differ: the verifier walked instructions that are not in the image.
    """

    maps: tuple[int, ...] = ()
    functions: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    jumps: tuple[int, ...] = ()
    verified_insns: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.maps or self.functions or self.lines or self.jumps or self.verified_insns)


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
    lines: tuple[str, ...] = ()
    if btf is not None:
        functions = _functions(image, btf)
        lines = _orphan_lines(image, btf)
    differ = None
    if verified_insns is not None and image.verified_insns is not None and verified_insns != image.verified_insns:
        differ = (image.verified_insns, verified_insns)
    return Removed(maps, functions, lines, jumps, differ)


def _functions(image: Image, btf: Btf) -> tuple[str, ...]:
    """Functions of the program's BTF that have no code in the image."""
    from bpflens.formats.btf import Kind

    present = {type_id for _, type_id in image.func_info}
    return tuple(btf.name(id) for id in btf.ids(Kind.FUNC) if id not in present and btf.linkage(id) != 2)


def _orphan_lines(image: Image, btf: Btf) -> tuple[str, ...]:
    """Strings of the BTF that look like source lines and that no line_info record refers to.

    The string section of an object holds names of types and, behind them, file names and source lines; a line is told by its
    leading white space, or by characters that no name has.
    """
    live = {record[2] for record in image.line_info} | {record[1] for record in image.line_info}
    if not live:
        return ()
    out = []
    offset = min(live)
    end = btf.strings_end
    while offset < end:
        text = btf.string(offset)
        if offset not in live and _is_source(text):
            out.append(text)
        offset += len(text.encode("utf-8", "surrogateescape")) + 1
    return tuple(out)


def _is_source(text: str) -> bool:
    stripped = text.strip()
    return bool(stripped) and (text[0] in " \t" or any(c in stripped for c in "(;{=")) and not stripped.startswith("//")
