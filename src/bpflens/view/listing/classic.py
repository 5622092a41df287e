"""The listing of a classic program: its text with notes, one line per instruction.

    (000) ldh      [12]                             ; ether type
    (001) jeq      #0x800           jt 2    jf 3    ; IPv4
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.analysis.classic_notes import slot_notes
from bpflens.isa.classic.insn import decode
from bpflens.isa.classic.text import format, format_program
from bpflens.program import Program
from bpflens.view.style.colours import NOTE, painted

__all__ = ("WHOLE", "classic_listing")

WHOLE = ("raw", "ss", "dd", "ddd", "xt_bpf")
"""Dialects in which the program is one text that another tool reads; nothing is added to it."""

_NOTE_COLUMN = 48


def classic_listing(
    program: Program, dialect: str, raw_insn: bool = False, notes: bool = True, color: bool = False, start: int = 0, stop: int | None = None
) -> Iterator[str]:
    """The lines of a classic program, each with its newline: from slot `start` to before `stop`."""
    insns = decode(program.code)
    if dialect in WHOLE:
        yield format_program(insns[start:stop], dialect) + "\n"
        return
    said = slot_notes(program, insns) if notes else {}
    for pc, line in list(enumerate(format(insns, dialect)))[start:stop]:
        text = line.expandtabs(8)
        if raw_insn:
            text = f"{program.code[pc * 8 : pc * 8 + 8].hex(' ')}  {text}"
        if pc in said:
            note = f"; {', '.join(said[pc])}"
            text = f"{text:<{_NOTE_COLUMN}} {painted(note, NOTE, color)}"
        yield text + "\n"
    tail = program.code[len(insns) * 8 :]
    if tail and stop is None:
        yield f"; {len(tail)} bytes after the last instruction: {tail.hex(' ')}\n"
