"""The output of `bpflens dis`, read back: every program under its heading, whatever dialect and columns it was printed with.

    ; x.o#xdp: xdp prog, attach type xdp, 17 insns, license GPL
    ; int prog(struct xdp_md *ctx)
    prog:
           0:    (bf) r6 = r1
           8: ┌─ (15) if r0 == 0x0 goto pc+2 <L11>
"""

from __future__ import annotations

import re
from itertools import zip_longest

from bpflens.errors import InputError
from bpflens.formats.dumps.listings.extended_listing import called_name
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import encode
from bpflens.program import Declared, Function, Isa, Program

__all__ = ("read",)

_HEADING = re.compile(r"^; [^\n]*[ :]\d{1,9} insns?(?:,[^\n]*)?$", re.MULTILINE)
_PROTO = re.compile(r"; ([^\n;]*\))[ \t]*$")
_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*):[ \t│]*$")
_JUMP_LABEL = re.compile(r"L\d+\Z")
_CALL = re.compile(r"^[ \t]*(\d{1,8}):[^\n]*?(?<=[ )])(call [^\n]*)", re.MULTILINE)
_SLOT = re.compile(r"[ \t]*(\d{1,8}):")
_SECTION = re.compile(r"\bsection ([^,\n]+)")


def read(text: SourceText) -> list[Program]:
    """Every program under a heading that assembles as a whole; others are left to the other readers."""
    headings = list(_HEADING.finditer(text.body))
    programs = []
    taken = []
    for heading, following in zip_longest(headings, headings[1:]):
        end = following.start() if following else len(text.body)
        program = _program(text, heading, end)
        if program is not None:
            programs.append(program)
            taken.append((heading.start(), end))
    text.take(taken)
    return programs


def _program(text: SourceText, heading: re.Match[str], end: int) -> Program | None:
    listing = text.body[heading.end() : end]
    said = heading[0]
    origin = text.origin("bpflens", heading.start(), heading.end() + len(listing.rstrip()))
    try:
        if ": classic" in said:
            from bpflens.isa.classic.asm import assemble as assemble_classic

            return Program(Isa.CLASSIC, encode(assemble_classic(listing)), origin)
        from bpflens.isa.extended.asm import assemble

        code = assemble(listing)
    except InputError:
        return None
    if not code:
        return None
    functions = _functions(listing)
    calls = ((int(call[1]), called_name(call[2])) for call in _CALL.finditer(listing))
    section = _SECTION.search(said)
    return Program(
        Isa.EXTENDED,
        code,
        origin,
        name=functions[0].name if functions else "",
        declared=Declared(section=section[1] if section else None),
        xlated="as rewritten by the kernel" in said,
        functions=functions,
        symbols={slot: name for slot, name in calls if name},
    )


def _functions(listing: str) -> tuple[Function, ...]:
    """Labels that are no jump targets, with the prototype that stands above; a label's slot is the next numbered line's."""
    functions: list[Function] = []
    waiting: tuple[str, str | None] | None = None
    proto: str | None = None
    for line in listing.split("\n"):
        if (label := _LABEL.match(line)) is not None:
            if not _JUMP_LABEL.match(label[1]):
                waiting = (label[1], proto)
        elif (slot := _SLOT.match(line)) is not None and waiting is not None:
            functions.append(Function(int(slot[1]), *waiting))
            waiting = None
        match = _PROTO.match(line)
        proto = match[1] if match else None
    return tuple(functions)
