"""Originals as text: the grade first, then the program; beside the image with --side-by-side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType

from bpflens.isa.extended.names import ATTACH_TYPES, PROG_TYPES, type_name
from bpflens.isa.extended.opcodes import LD_IMM64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.isa.extended.insn import Insn
    from bpflens.original.invert.traces import Removed
    from bpflens.original.result import Original
    from bpflens.program import Program, SourceLine

__all__ = ("heading_lines", "removed_lines", "side_by_side", "text")

_COLUMN = 44


def heading_lines(original: Original, program: Program) -> list[str]:
    """What is known of a program, as comment lines."""
    image = original.image
    kind = type_name(PROG_TYPES, image.prog_type)
    attach = program.expected_attach_type
    what = f"{kind} {program.name}".strip() + (f", attach type {type_name(ATTACH_TYPES, attach)}" if attach else "")
    state = "as loaded" if str(original.grade) in ("exact", "recorded") else "reconstructed"
    counts = f"{len(original.code) // 8} insns {state}, {len(image)} after the verifier's rewriting"
    tag = f", tag {image.tag}" if image.tag else ""
    lines = [f"; {image.where}: {what}{tag}, {counts}", f"; {original.grade}: {original.reason}"]
    if original.source:
        lines.append(f"; from {original.source}")
    return lines


def removed_lines(removed: Removed, source: bool = False) -> list[str]:
    """What is known of removed code, as comment lines; `source`: also the source lines that may be of other programs."""
    lines = []
    if removed.verified_insns:
        before, now = removed.verified_insns
        lines.append(f"; code is missing here: the verifier walked {before} insns when it was loaded, {now} of this reconstruction")
    if removed.maps:
        lines.append(f"; maps that only removed code refers to (or that were bound): {', '.join(f'map:{id}' for id in removed.maps)}")
    if removed.jumps:
        lines.append(f"; code was removed behind the jumps at {', '.join(map(str, removed.jumps))}")
    if removed.functions:
        lines.append(f"; functions without code here: {', '.join(removed.functions)}")
    if removed.others and source:
        lines.append("; source lines without instructions behind its last one, of this program or others of its object:")
        lines += [f";     {line}" for line in removed.others]
    return lines


def text(
    original: Original, program: Program, dialect: str, color: bool, source: bool = False, notes: Mapping[int, Sequence[str]] | None = None
) -> Iterator[str]:
    """The original as a listing, in pieces; `notes` by instruction as original/to_program makes them."""
    from bpflens.lean import replace
    from bpflens.view.listing.extended import ListingOptions, listing

    commented = dialect != "raw"
    if commented:
        yield "\n".join(heading_lines(original, program)) + "\n"
    if original.code:
        options = ListingOptions(
            dialect=dialect, labels=commented, arrows=False, source=source and commented, notes=commented, color=color
        )
        shown = replace(program, xlated=True)  # map references hold ids, as in an image
        if original.removed and original.removed.lines and commented and not original.source:
            shown = replace(shown, lines=_with_removed(program.lines if source else (), original.removed))
            options = options._replace(source=True)
        yield from listing(shown, options, notes or {})
    if commented and original.removed:
        yield "".join(f"{line}\n" for line in removed_lines(original.removed, source))
        if not original.source and original.image.id:
            yield "; the file that it was loaded from has the missing code: --objects FILE or DIR finds it there\n"


def _with_removed(lines: Sequence[SourceLine], removed: Removed) -> tuple[SourceLine, ...]:
    """Source lines, and between them those whose code was removed."""
    from bpflens.program import SourceLine

    marked = [SourceLine(at, "", 0, 0, f"removed: {text}") for at, text in removed.lines]
    return tuple(sorted([*marked, *lines], key=lambda line: line.off_insns))


def side_by_side(original: Original, program: Program, calls: Mapping[int, str], color: bool) -> Iterator[str]:
    """Every original instruction beside the slots that were made of it, with the name of the rewrite. `calls`: names of what slots of the
    image call.
    """
    yield "\n".join(heading_lines(original, program)) + "\n"
    layout, image = original.layout, original.image
    if layout is None:
        return
    new = original.insns
    names = {function.start: function.name for function in program.functions}
    groups = {slot: group for slot, _, group in layout.groups}
    slot, end, shown_to = 0, len(image), 0
    while slot < end:
        index = layout.starts[slot] if slot < len(layout.starts) else -1
        group = groups.get(slot)
        length = group.length if group else (2 if image.insns[slot].code == LD_IMM64 else 1)
        count = len(group.items) if group else length
        yield from _gone(new, shown_to, index, names)
        shown_to = max(shown_to, index + count) if index >= 0 else shown_to
        if index in names and count:
            yield f"{names.pop(index)}:\n"
        left = _lines(new, index, index + count) if index >= 0 else []
        right = _lines(image.insns, slot, min(slot + length, end), calls)
        note = "appended by the kernel" if index < 0 else group.rewrite if group else ""
        yield from _beside(left, right, note, color)
        slot += length
    yield from _gone(new, shown_to, len(new), names)
    if original.removed:
        yield "".join(f"{line}\n" for line in removed_lines(original.removed))


def _lines(insns: Sequence[Insn], start: int, end: int, calls: Mapping[int, str] = MappingProxyType({})) -> list[str]:
    """Instructions with their numbers."""
    from bpflens.isa.extended.text import format_word

    out = []
    while start < end:
        following = insns[start + 1].word if start + 1 < len(insns) else None
        text = f"call {calls[start]}" if start in calls else format_word(insns[start].word, following, "kernel", "id")
        out.append(f"{start:5d}: {text}")
        start += 2 if insns[start].code == LD_IMM64 else 1
    return out


def _beside(left: Sequence[str], right: Sequence[str], note: str, color: bool) -> Iterator[str]:
    """Rows of two columns, the note at the end of the first."""
    for row, (a, b) in enumerate(zip_longest(left, right, fillvalue="")):
        mark = f"  ; {note}" if note and row == 0 else ""
        if color and mark:
            mark = f"\x1b[32m{mark}\x1b[0m"
        yield f"{a:{_COLUMN}} | {b}{mark}\n"


def _gone(insns: Sequence[Insn], start: int, end: int, names: dict[int, str]) -> Iterator[str]:
    """Instructions that went nowhere: the object's program has them, the image not."""
    while start < end:
        if start in names:
            yield f"{names.pop(start)}:\n"
        yield _lines(insns, start, start + 1)[0].ljust(_COLUMN) + " |  ; removed\n"
        start += 2 if insns[start].code == LD_IMM64 else 1
