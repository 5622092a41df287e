"""GNU `bpf-objdump -d` (binutils): one line for each slot, its offset in bytes, the bytes, the text of its own dialect.

    0000000000000000 <one>:
       0:  61 11 00 00 00 00 00 00   ldxw %r1,[%r1+0]
       8:  85 10 00 00 ff ff ff ff   call -1
                  8: R_BPF_INSN_DISP32  .text

The bytes are the program; the text is not read, so that a listing without bytes is refused.
"""

from __future__ import annotations

import re

from bpflens.formats.dumps.source_text import SourceText
from bpflens.formats.elf.programs import little_endian
from bpflens.program import Declared, Function, Isa, Program, Relocation

__all__ = ("looks_like_gnu_objdump", "read")

_LINE = re.compile(
    r"^(?:[ \t]+(?P<at>[0-9a-f]{1,8}):[ \t]+(?:(?P<bytes>(?:[0-9a-f]{2} ){7}[0-9a-f]{2})[ \t]*(?:[a-z][^\n]*)?"
    r"|(?P<reloc>R_BPF_\w+)[ \t]+(?P<symbol>\S+)[ \t]*"
    r"|(?P<bare>[a-z]\w*(?:[ \t]+[^\n]*%r\d[^\n]*|[ \t]*)))"
    r"|Disassembly of section (?P<section>[^\n]+):[ \t]*"
    r"|[0-9a-f]{16} <(?P<label>[^>\n]+)>:[ \t]*)$",
    re.MULTILINE,
)
_HEADER = re.compile(r"file format elf64-bpf(le|be)\b")
_TEXT = re.compile(r"^[ \t]+[0-9a-f]+:[ \t]+(?:(?:[0-9a-f]{2} ){8}[ \t]*)?[a-z][a-z0-9]*[ \t]+%r\d", re.MULTILINE)
_KINDS = {"R_BPF_INSN_DISP32": "call", "R_BPF_INSN_64": "map", "R_BPF_64_32": "call", "R_BPF_64_64": "map"}


def looks_like_gnu_objdump(body: str) -> bool:
    """Its header, or registers as only it writes them."""
    return _HEADER.search(body) is not None or _TEXT.search(body) is not None


def read(text: SourceText) -> list[Program]:
    """One program for each section; InputError where bytes are missing."""
    header = _HEADER.search(text.body)
    big_endian = header is not None and header[1] == "be"
    programs: list[Program] = []
    taken: list[tuple[int, int]] = []
    section: str | None = None
    labels: list[re.Match[str]] = []
    listing: list[re.Match[str]] = []
    functions: list[Function] = []
    relocations: list[Relocation] = []

    def finish() -> None:
        if not listing:
            return
        code = bytes.fromhex("".join(line["bytes"] for line in listing))
        origin = text.origin("gnu-objdump", listing[0].start(), listing[-1].end())
        programs.append(Program(
            Isa.EXTENDED, little_endian(code) if big_endian else code, origin, name=functions[0].name if functions else "",
            declared=Declared(section=section), functions=tuple(functions), relocations=tuple(relocations),
        ))  # fmt: skip
        listing.clear()
        functions.clear()
        relocations.clear()

    for match in _LINE.finditer(text.body):
        if match["bare"] is not None:
            if match["at"] and "%r" in match["bare"]:
                text.fail(match.start(), "bpf-objdump's text without the bytes", "run it without --no-show-raw-insn")
            continue
        if match["section"] is not None:
            finish()
            section, labels = match["section"], []
        elif match["label"] is not None:
            labels.append(match)
        elif match["reloc"] is not None:
            slot = int(match["at"], 16) // 8
            relocations.append(
                Relocation(slot, _KINDS.get(match["reloc"], "extern"), match["symbol"], text=f"{match['reloc']} {match['symbol']}")
            )
        else:
            at = int(match["at"], 16)
            if at == 0:
                finish()
            if at != 8 * len(listing):
                text.fail(match.start(), f"byte {at:#x} where byte {8 * len(listing):#x} is expected")
            functions += [Function(at // 8, label["label"]) for label in labels]
            labels = []
            listing.append(match)
        taken.append(match.span())
    finish()
    text.take(taken)
    return programs
