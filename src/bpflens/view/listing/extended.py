"""The listing of an extended program, objdump's way.

    ; t.o#xdp: xdp, 63 insns
    xdp_prog:
           0: (61) r1 = *(u32 *)(r1 +12)
           9: (15) if r0 == 0x0 goto pc+2 <L12>
    L12:
          12: (bf) r2 = r10

Built for speed: an instruction is formatted once per distinct word, lines are joined by the thousand, and only slots that need
something of their own (jumps, ld_imm64, targets, notes) are touched one by one; they are found by regular expressions over the
opcode bytes. No object is made per instruction. Memory: the code, one flag byte per slot, and bounded caches.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from operator import add

from bpflens.analysis.references import relocation_slots
from bpflens.analysis.slot_notes import NO_NOTES, NO_PROTOTYPES, Further, Notes, Prototypes, call_name
from bpflens.isa.extended.text import format_word, with_name
from bpflens.lean import NamedTuple
from bpflens.program import Program
from bpflens.view.listing.bodies import CACHED_WORDS, INDENT, NOTE_COLUMN, Bodies, ListingOptions
from bpflens.view.listing.jumps import MARKED, NOWHERE, SECOND_SLOT, TARGET, Jumps, Words, find_jumps, signed, words_of
from bpflens.view.style.colours import LABEL, NOTE, REFERENCE, painted
from bpflens.view.style.printable import printable

__all__ = ("ListingOptions", "listing")

_CHUNK = 1000
_NO_LINE = ("", "", "")
_BELOW = str.maketrans({"┌": "│", "┬": "│", "└": " ", "├": "│", "┼": "│", "┴": " ", "─": " ", "▸": " "})
_VERTICAL = str.maketrans({"┌": " ", "┬": " ", "└": "│", "├": "│", "┼": "│", "┴": "│", "─": " ", "▸": " "})


_FIRST_NUMBERS = tuple(f"{n:8d}: " for n in range(_CHUNK))
_NUMBERS = tuple(f"{n:03d}: " for n in range(_CHUNK))

_LD_IMM64 = re.compile(b"\x18")
_is_label = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]*").fullmatch

class _Names(NamedTuple):
    """What positions of one program are called: functions by first slot, labels by slot, notes and source lines by slot."""

    functions: dict[int, str]
    before: dict[int, list[str]]
    notes: Notes | None


_shared_bodies: dict[tuple[ListingOptions, str], Bodies] = {}


def listing(
    program: Program, options: ListingOptions, further: Further = NO_NOTES, kfuncs: Prototypes = NO_PROTOTYPES
) -> Iterator[str]:
    """The text of a program, in pieces that end with a newline; without the header line that says what the program is.

    `further`: notes by slot that a capability made, printed after those that are made here. `kfuncs`: prototypes by BTF id, for
    `options.prototypes` (analysis/kfunc_prototypes.py).
    """
    count = len(program.code) // 8
    words = words_of(program.code)
    map_by = "id" if program.xlated else "fd"
    key = (options, map_by)
    bodies = _shared_bodies.get(key)
    if bodies is None:
        bodies = _shared_bodies[key] = Bodies(options, map_by)
    functions = {function.start: printable(function.name) for function in program.functions if function.name}
    related = set(relocation_slots(program, core=False))
    flags, jumps = find_jumps(program.code, words, functions, related)
    called = options.dialect != "kernel" and options.arrows  # without arrows the name is part of the line's body
    notes = Notes(program, options.prototypes, called, flags, further, kfuncs) if options.notes else None
    names = _names(program, options, functions, notes)
    margins = None
    if options.arrows and jumps.slots:
        from bpflens.view.listing.arrows import draw

        inside = [(slot, target) for slot, target in jumps.odd.items() if 0 <= target < count and flags[target] != SECOND_SLOT]
        margins = draw(count, [*zip(jumps.slots, jumps.targets, strict=True), *inside])
    start, stop = min(options.start, count), count if options.stop is None else min(options.stop, count)
    yield from _Writer(program, words, flags, jumps, names, bodies, options, margins, related).pieces(start, stop)
    tail = program.code[count * 8 :]
    if tail:
        yield f"; {len(tail)} bytes after the last instruction: {tail.hex(' ')}\n"


def _names(program: Program, options: ListingOptions, functions: dict[int, str], notes: Notes | None) -> _Names:
    before: dict[int, list[str]] = {}
    for function in program.functions:
        heading = [""] if function.start else []
        if function.proto:
            heading.append(f"; {printable(function.proto)}")
        heading.append(f"{function.name}:" if _is_label(function.name) else f"; function {printable(function.name)}")
        before[function.start] = heading
    if options.source or options.line_numbers:
        shown = ""
        for line in program.lines:
            where = f"{line.file}:{line.line}:{line.col}" if options.line_numbers else ""
            what = line.text.strip() if options.source else ""
            if where and what.startswith(f"{line.file}:{line.line}"):  # a line whose text nobody has
                what = what.removeprefix(f"{line.file}:{line.line}").strip()
            text = printable(f"; {where}{'  ' if where and what else ''}{what}".rstrip())
            if text != shown and text != ";":  # several records may stand for pieces of one line
                before.setdefault(line.off_insns, []).append(text)
            shown = text
    return _Names(functions, before, notes)


class _Writer:
    """Writes a range of slots; the state that every line needs."""

    def __init__(
        self,
        program: Program,
        words: Words,
        flags: bytearray,
        jumps: Jumps,
        names: _Names,
        bodies: Bodies,
        options: ListingOptions,
        margins: list[str] | None,
        related: set[int],
    ) -> None:
        self.program, self.words, self.flags = program, words, flags
        self.jumps, self.names, self.bodies, self.options, self.margins = jumps, names, bodies, options, margins
        self.related = related
        self.count = len(flags)
        self.pairs: dict[tuple[int, int], str] = {}
        self.odd = sorted(jumps.odd)
        self.lone_halves = self._lone_halves()
        self.named = sorted(program.symbols)
        self.headed = sorted(names.before)
        if options.color:
            self.label, self.reference = painted("{}", LABEL), f" {painted('<{}>', REFERENCE)}"
            self.note = f" {painted('; {}', NOTE)}"
        else:
            self.label, self.reference, self.note = "{}", " <{}>", " ; {}"

    def _lone_halves(self) -> list[int]:
        """The slots of ld_imm64 without their second half: there are hardly any."""
        opcodes = self.program.code[0 : self.count * 8 : 8]
        if opcodes.count(0x18) == len(self.jumps.pairs):
            return []
        pairs = set(self.jumps.pairs)
        return [at for found in _LD_IMM64.finditer(opcodes) if (at := found.start()) not in pairs]

    def pieces(self, start: int, stop: int) -> Iterator[str]:
        get = self.bodies.__getitem__
        for chunk in range(start // _CHUNK, (stop + _CHUNK - 1) // _CHUNK):
            first = max(start, chunk * _CHUNK)
            end = min(stop, (chunk + 1) * _CHUNK)
            low = first - chunk * _CHUNK
            numbers = (_NUMBERS if chunk else _FIRST_NUMBERS)[low : low + end - first]
            heads = list(map(add, numbers, self.margins[first:end])) if self.margins else numbers
            parts = [f"\n{chunk:5d}" if chunk else "\n"] * (3 * len(heads) + 1)
            parts[1::3] = heads
            parts[2::3] = list(map(get, self.words[first:end]))
            parts[-1] = "\n"
            self._edit(parts, first, end)
            yield "".join(parts)[1:]

    def _edit(self, parts: list[str], first: int, end: int) -> None:
        """Everything that is not a function of the word alone."""
        jumps, words = self.jumps, self.words
        if first < end and first and self.flags[first] == SECOND_SLOT:
            parts[0:3] = _NO_LINE
        zero = self.bodies[0]
        low, high = bisect_left(jumps.pairs, first), bisect_left(jumps.pairs, end)
        odd = list(jumps.functions[bisect_left(jumps.functions, first) : bisect_left(jumps.functions, end)])
        if low < high and jumps.pairs[high - 1] == end - 1:  # the second half is not in this piece
            high -= 1
            odd.append(end - 1)
        origin = 3 * first - 3
        for slot in jumps.pairs[low:high]:
            at = 3 * slot - origin
            if parts[at + 2] is not zero:
                odd.append(slot)
            parts[at : at + 3] = _NO_LINE
        for slot in odd:
            parts[3 * (slot - first) + 2] = self.pairs.get((words[slot], words[slot + 1])) or self._pair(slot)
        for slot in _between(self.lone_halves, first, end) if self.lone_halves else ():
            parts[3 * (slot - first) + 2] = self.bodies.lone_half(words[slot])
        if self.margins and self.options.raw_insn:  # the arrows go on beside the second line of a ld_imm64
            for slot in jumps.pairs[bisect_left(jumps.pairs, first) : bisect_left(jumps.pairs, end)]:
                at = 3 * (slot - first) + 2
                parts[at] = parts[at].replace(INDENT, INDENT + self.margins[slot].translate(_BELOW), 1)
        if self.options.labels:
            self._refer(parts, first, end)
        if self.program.symbols:
            for slot in _between(self.named, first, end):
                if call_name(self.program.symbols, slot, words[slot]):
                    parts[3 * (slot - first) + 2] = self._named_call(slot)
        if self.names.notes:
            self._annotate(parts, self.names.notes, first, end)
        self._head(parts, first, end)

    def _annotate(self, parts: list[str], notes: Notes, first: int, end: int) -> None:
        """Adds what slots refer to."""
        origin = 3 * first - 2
        width = NOTE_COLUMN - len((_NUMBERS if first >= _CHUNK else _FIRST_NUMBERS)[0])
        found = notes.texts_between(first, end)
        if notes.plain and not self.options.color and not self.options.raw_insn and not self.margins:
            for slot, note in found:
                at = 3 * slot - origin
                text = parts[at]
                if text:
                    parts[at] = f"{text.ljust(width)} ; {note}"
                else:
                    self._add_note(parts, at, note)
            return
        odd = self.options.color or self.margins is not None
        for slot, note in found:
            at = 3 * slot - origin
            text = parts[at]
            if odd or not text or not note.isprintable() or "\n" in text:
                self._add_note(parts, at, printable(note))
            else:
                parts[at] = f"{text.ljust(width)} ; {note}"

    def _pair(self, slot: int) -> str:
        key = (self.words[slot], self.words[slot + 1])
        text = self.bodies.pair(*key)
        if key[0] >> 12 & 15 == 4 and self.options.labels:  # a function: the name of its target is not a matter of the words alone
            if slot in self.related:
                return text
            head, newline, rest = text.partition("\n")
            return f"{head}{self._reference(slot + 1 + signed(key[0] >> 32, 32))}{newline}{rest}"
        if len(self.pairs) < CACHED_WORDS:
            self.pairs[key] = text
        return text

    def _refer(self, parts: list[str], first: int, end: int) -> None:
        """Adds " <L12>" to the jumps."""
        jumps = self.jumps
        low, high = bisect_left(jumps.slots, first), bisect_left(jumps.slots, end)
        pairs = zip(jumps.slots[low:high], jumps.targets[low:high], strict=True)
        origin = 3 * first - 2
        if self.options.color:
            for slot, target in pairs:
                parts[3 * slot - origin] += self.reference.format(f"L{target}")
        else:
            for slot, target in pairs:
                parts[3 * slot - origin] += f" <L{target}>"
        low, high = bisect_left(jumps.calls, first), bisect_left(jumps.calls, end)
        for slot, target in zip(jumps.calls[low:high], jumps.called[low:high], strict=True):
            if self.bodies[self.words[slot]].find(".quad") < 0:
                parts[3 * slot - origin] += self._reference(target)
        for slot in _between(self.odd, first, end) if self.odd else ():
            target = jumps.odd[slot]
            if target in self.names.functions:
                parts[3 * slot - origin] += self._reference(target)
            elif target < NOWHERE // 2:  # a jump by its form
                where = "the middle of a ld_imm64" if 0 <= target < self.count else "outside of the program"
                self._add_note(parts, 3 * slot - origin, f"target {target}: {where}")

    def _reference(self, target: int) -> str:
        if not 0 <= target < self.count:
            return self.note.format(f"target {target}: outside of the program")
        name = self.names.functions.get(target) or f"L{target}"
        return self.reference.format(name)

    def _named_call(self, slot: int) -> str:
        word, name = self.words[slot], printable(self.program.symbols[slot])
        text = format_word(word, None, self.options.dialect, self.bodies.map_by)
        text = self.bodies.line(word, with_name(text, name))
        return f"{word.to_bytes(8, 'little').hex(' ')}  {text}" if self.options.raw_insn else text

    def _add_note(self, parts: list[str], at: int, note: str) -> None:
        if not parts[at]:  # a second half, which has no line: only a malformed object says anything of it
            parts[at - 2] += "\n"
        head, newline, rest = parts[at].partition("\n")
        parts[at] = f"{head:<{max(0, NOTE_COLUMN - len(parts[at - 1]))}}{self.note.format(note)}{newline}{rest}"

    def _head(self, parts: list[str], first: int, end: int) -> None:
        """Adds label lines and headings before their slots."""
        headed = _between(self.headed, first, end) if self.headed else []
        labels = self.options.labels
        for slot in headed:
            above = list(self.names.before[slot])
            if labels and self.flags[slot] == TARGET:
                above.append(self._label_line(slot))
            at = 3 * (slot - first)
            parts[at] = "\n" + "\n".join(above) + parts[at]
        if not labels:
            return
        origin = 3 * first
        marked = [found.start() for found in MARKED.finditer(self.flags, first, end)]
        if headed:
            marked = [slot for slot in marked if slot not in self.names.before]
        if self.margins or self.options.color:
            for slot in marked:
                parts[3 * slot - origin] = f"\n{self._label_line(slot)}{parts[3 * slot - origin]}"
        else:
            newline = f"\n{first // _CHUNK:5d}" if first >= _CHUNK else "\n"
            for slot in marked:
                parts[3 * slot - origin] = f"\nL{slot}:{newline}"

    def _label_line(self, slot: int) -> str:
        label = self.label.format(f"L{slot}:")
        if self.margins is None:
            return label
        lanes = self.margins[slot].translate(_VERTICAL).rstrip()
        return f"{label}{'':{9 - len(str(slot)) - 1}}{lanes}" if lanes else label


def _between(ordered: list[int], first: int, end: int) -> list[int]:
    return ordered[bisect_left(ordered, first) : bisect_left(ordered, end)]
