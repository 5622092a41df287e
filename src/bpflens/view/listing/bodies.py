"""The text of an instruction in a listing, made once per distinct word and dialect.

    0xb700000000000000  ──►  "(b7) r0 = 0"
"""

from __future__ import annotations

from bpflens.isa.extended.fields import Render, compile_template
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.table import ROWS, explain_unknown
from bpflens.isa.extended.text import format_word
from bpflens.lean import NamedTuple

__all__ = ("CACHED_WORDS", "INDENT", "NOTE_COLUMN", "Bodies", "ListingOptions")

CACHED_WORDS = 1 << 16
NOTE_COLUMN = 48
INDENT = f"\n{'':10}"


class ListingOptions(NamedTuple):
    """What to show. `start` and `stop` are slots; `arrows` draws jumps in the margin; `notes` says what slots refer to."""

    dialect: str = "kernel"
    raw_insn: bool = False
    labels: bool = True
    arrows: bool = True
    source: bool = False
    line_numbers: bool = False
    notes: bool = True
    prototypes: bool = False
    start: int = 0
    stop: int | None = None
    color: bool = False


_Form = tuple[int, int, int, Render]


class Bodies(dict[int, str]):
    """word -> what follows the slot number; filled on demand and bounded."""

    def __init__(self, options: ListingOptions, map_by: str) -> None:
        self.kernel = options.dialect == "kernel"
        self.raw_insn = options.raw_insn
        self.name_calls = options.dialect == "llvm" and options.notes and not options.arrows and not options.prototypes
        self.options = options
        self.map_by = map_by
        self.forms: dict[int, list[_Form]] = {}
        self.constant: Render | None = None
        for row in ROWS if options.dialect != "raw" else ():
            if row.slots == 2 and row.matches(0x18) and not options.raw_insn:
                self.constant = compile_template("(18) " + row.kernel if self.kernel else row.llvm)

    def __missing__(self, word: int) -> str:
        code = word & 0xFF
        if code == 0x18:  # of those the second half of nearly all is zero
            text = self.constant(word, 0, self.map_by) if self.constant and word & 0xFFFFF0FF == 0x18 else self.pair(word, 0)
            if len(self) < CACHED_WORDS:
                self[word] = text
            return text
        forms = self.forms.get(code)
        if forms is None:
            forms = self.forms[code] = self._forms(code)
        for mask, value, nonzero, render in forms:
            if word & mask == value and (not nonzero or word & nonzero):
                text = render(word, 0, self.map_by)
                if code == 0x85 and self.name_calls and word >> 12 & 15 == 0 and helper_name(word >> 32):
                    text = f"{text:<{NOTE_COLUMN - 10}} ; {helper_name(word >> 32)}"
                break
        else:
            text = self.line(word, f"{format_word(word)} ; {explain_unknown(word)}")
        if self.raw_insn:
            text = f"{word.to_bytes(8, 'little').hex(' ')}  {text}"
        if len(self) < CACHED_WORDS:
            self[word] = text
        return text

    def _forms(self, code: int) -> list[_Form]:
        if self.options.dialect == "raw":
            return [(0, 0, 0, lambda word, _next, _map: format_word(word, None, "raw"))]
        lead = f"({code:02x}) " if self.kernel else ""
        rows = [row for row in ROWS if row.value & 0xFF == code and row.slots == 1]
        return [
            (row.mask, row.value, row.nonzero, compile_template(lead + (row.kernel if self.kernel else row.llvm))) for row in rows
        ]

    def lone_half(self, word: int) -> str:
        """The text of a ld_imm64 without its second half."""
        if self.options.dialect == "raw":
            text = format_word(word, None, "raw")
        else:
            text = self.line(word, f"{format_word(word)} ; ld_imm64 without its second half")
        return f"{word.to_bytes(8, 'little').hex(' ')}  {text}" if self.raw_insn else text

    def line(self, word: int, text: str) -> str:
        """The text with the opcode column of the kernel dialect."""
        return f"({word & 0xFF:02x}) {text}" if self.kernel else text

    def pair(self, word: int, following: int) -> str:
        """The columns of a ld_imm64; with raw bytes it takes two lines."""
        text = self.line(word, format_word(word, following, self.options.dialect, self.map_by))
        if self.options.dialect == "raw":
            text += f"{INDENT}{format_word(following, None, 'raw')}"
        if self.raw_insn:
            first, newline, rest = text.partition("\n")
            second = following.to_bytes(8, "little").hex(" ")
            text = f"{word.to_bytes(8, 'little').hex(' ')}  {first}{INDENT}{second}" + (f"  {rest.strip()}" if newline else "")
        return text
