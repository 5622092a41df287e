"""Originals as text and JSON: the grade first, then the program; beside the image with --side-by-side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bpflens.isa.extended.names import ATTACH_TYPES, PROG_TYPES, type_name

if TYPE_CHECKING:
    from bpflens.isa.extended.insn import Insn
    from bpflens.original.invert.traces import Removed
    from bpflens.original.result import Original
    from bpflens.program import Program, SourceLine

__all__ = ("heading_lines", "record", "removed_lines", "side_by_side", "text")

_COLUMN = 44


def record(original: Original) -> str:
    """One JSON line, schema original/1. `insns`: hex of all instructions; map references hold the id of the map (and the offset for
    values), which the tag does not cover. `rewrites`: [instruction, first slot of the image, slots, name].
    """
    image = original.image
    out: dict[str, Any] = {
        "schema": "original/1",
        "id": image.id or None,
        "name": image.name,
        "type": type_name(PROG_TYPES, image.prog_type),
        "tag": image.tag,
        "grade": str(original.grade),
        "insns": original.code.hex(),
        "reason": original.reason,
        "insn_count": len(original.code) // 8,
        "xlated_insn_count": len(image),
        "hash": original.algorithm or None,
        "source": original.source or None,
        "tags_tried": original.tags_tried,
    }
    if original.attributes is not None:
        out["expected_attach_type"] = original.attributes.expected_attach_type
        out["prog_flags"] = original.attributes.flags
    if original.layout is not None:
        out["rewrites"] = [[index, slot, group.length, group.rewrite] for slot, index, group in original.layout.groups if group.rewrite]
    if original.removed:
        out["removed"] = {
            "maps": list(original.removed.maps),
            "functions": list(original.removed.functions),
            "lines": [list(line) for line in original.removed.lines],
            "jumps_over_nothing": list(original.removed.jumps),
            "verified_insns": list(original.removed.verified_insns) if original.removed.verified_insns else None,
        }
    return json.dumps(out, ensure_ascii=False)


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


def text(original: Original, program: Program, dialect: str, color: bool, source: bool = False) -> Iterator[str]:
    """The original as a listing, in pieces."""
    from dataclasses import replace

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
        yield from listing(shown, options)
    if commented and original.removed:
        yield "".join(f"{line}\n" for line in removed_lines(original.removed, source))
        if not original.source and original.image.id:
            yield "; the file that it was loaded from has the missing code: --objects FILE or DIR finds it there\n"


def _with_removed(lines: Sequence[SourceLine], removed: Removed) -> tuple[SourceLine, ...]:
    """Source lines, and between them those whose code was removed."""
    from bpflens.program import SourceLine

    marked = [SourceLine(at, "", 0, 0, f"removed: {text}") for at, text in removed.lines]
    return tuple(sorted([*marked, *lines], key=lambda line: line.off_insns))


def side_by_side(original: Original, program: Program, color: bool) -> Iterator[str]:
    """Every original instruction beside the slots that were made of it, with the name of the rewrite."""
    from bpflens.isa.extended.insn import decode
    from bpflens.isa.extended.text import format_word

    yield "\n".join(heading_lines(original, program)) + "\n"
    layout, image = original.layout, original.image
    if layout is None:
        return
    new = decode(original.code)
    names = {function.start: function.name for function in program.functions}
    groups = {slot: group for slot, _, group in layout.groups}
    symbols = _symbols(original)
    slot, end = 0, len(image)
    shown_to = 0
    while slot < end:
        index = layout.starts[slot] if slot < len(layout.starts) else -1
        group = groups.get(slot)
        length = group.length if group else (2 if image.insns[slot].code == 0x18 else 1)
        count = len(group.items) if group else length
        yield from _gone(new, shown_to, index, names)
        shown_to = max(shown_to, index + count) if index >= 0 else shown_to
        if index in names and count:
            yield f"{names.pop(index)}:\n"
        left = []
        position = index
        while index >= 0 and position < index + count:
            following = new[position + 1].word if position + 1 < len(new) else None
            left.append(f"{position:5d}: {format_word(new[position].word, following, 'kernel', 'id')}")
            position += 2 if new[position].code == 0x18 else 1
        right = []
        position = slot
        while position < min(slot + length, end):
            insn = image.insns[position]
            following = image.words[position + 1] if position + 1 < end else None
            shown = format_word(insn.word, following, "kernel", "id")
            if position in symbols:
                shown = f"call {symbols[position]}"
            right.append(f"{position:5d}: {shown}")
            position += 2 if insn.code == 0x18 else 1
        note = group.rewrite if group else ""
        if index < 0:
            note = "appended by the kernel"
        for row in range(max(len(left), len(right))):
            a = left[row] if row < len(left) else ""
            b = right[row] if row < len(right) else ""
            mark = f"  ; {note}" if note and row == 0 else ""
            if color and mark:
                mark = f"\x1b[32m{mark}\x1b[0m"
            yield f"{a:{_COLUMN}} | {b}{mark}\n"
        slot += length
    yield from _gone(new, shown_to, len(new), names)
    if original.removed:
        yield "".join(f"{line}\n" for line in removed_lines(original.removed))


def _gone(insns: Sequence[Insn], start: int, end: int, names: dict[int, str]) -> Iterator[str]:
    """Instructions that went nowhere: the object's program has them, the image not."""
    from bpflens.isa.extended.text import format_word

    while start < end:
        if start in names:
            yield f"{names.pop(start)}:\n"
        following = insns[start + 1].word if start + 1 < len(insns) else None
        yield f"{start:5d}: {format_word(insns[start].word, following, 'kernel', 'id')}".ljust(_COLUMN) + " |  ; removed\n"
        start += 2 if insns[start].code == 0x18 else 1


def _symbols(original: Original) -> dict[int, str]:
    from bpflens.kernel.progs import resolve_symbols

    words = b"".join(word.to_bytes(8, "little") for word in original.image.words)
    calls = resolve_symbols(words)
    return {slot: name for slot, name in calls.items() if original.image.insns[slot].code == 0x85}
