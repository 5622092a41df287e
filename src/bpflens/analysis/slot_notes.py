"""What a listing says beside an instruction: the map, variable, string, function or relocation that a slot refers to.

    18 11 .. imm=12           ──►  4: ["map counters (hash)"]
    18 21 .. imm=7, next=4    ──►  9: ["counter in .bss"]
    85 .. imm=6               ──►  14: ['fmt "hello %d\\n"']

Only facts of the program's source are named; a slot without one has no note. One pass over the slots that can refer to something
(ld_imm64 and calls), found by opcode. Cost: linear in their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import eq

from bpflens.analysis.references import References
from bpflens.formats.elf.relocations.relocations import RelocationTable
from bpflens.isa.extended.helpers import HELPER_COUNT, helper_name, helper_prototype
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.isa.extended.opcodes import CALL_CODE
from bpflens.program import Program

__all__ = ("NO_NOTES", "NO_PROTOTYPES", "Further", "Notes", "Prototypes", "call_name", "slot_notes")

_TEXTS = 1 << 12
Further = Mapping[int, Sequence[str]]
NO_NOTES: Further = {}
Prototypes = Mapping[int, str]
NO_PROTOTYPES: Prototypes = {}


def slot_notes(
    program: Program, prototypes: bool = False, called: bool = False, leaders: bytes | bytearray | None = None,
    further: Further = NO_NOTES, kfuncs: Prototypes = NO_PROTOTYPES,
) -> dict[int, list[str]]:  # fmt: skip
    """Notes of an extended program by slot.

    With `prototypes` calls carry the C prototype of what they call, kfuncs that of `kfuncs` by BTF id (kfunc_prototypes.py); with
    `called`, for text that has only its number, the name.
    `leaders` has a byte for each slot, odd for targets of jumps and functions, where the caller knows them; `further` are notes that
    somebody else made, which come last.
    """
    return Notes(program, prototypes, called, leaders, further, kfuncs).between(0, len(program.code) // 8)


class Notes:
    """The notes of an extended program, made for a range of slots at a time; arguments as for `slot_notes`."""

    def __init__(
        self, program: Program, prototypes: bool, called: bool, leaders: bytes | bytearray | None, further: Further = NO_NOTES,
        kfuncs: Prototypes = NO_PROTOTYPES,
    ) -> None:  # fmt: skip
        self.program, self.prototypes, self.called = program, prototypes, called
        self.slots = References(program, leaders)
        self.everything = prototypes or called or program.xlated or bool(program.symbols)
        table = program.relocations
        self.texts = _Texts(table, self.slots) if isinstance(table, RelocationTable) else None
        self.further, self.kfuncs = further, kfuncs
        self.loads: dict[int, int] = {}  # call -> ld_imm64 that sets the first argument, where that is plain to see
        self.labels: dict[int, str] = {}  # helper whose only string is its first argument -> what that is called
        self.calls = self._lonely_calls()

    def between(self, start: int, end: int) -> dict[int, list[str]]:
        """slot -> notes, of the slots from `start` up to, not including, `end`."""
        slots = self.slots
        notes: dict[int, list[str]] = {}
        for slot, text in self._relocations(start, end):
            if slot in notes:
                notes[slot].append(text)
            else:
                notes[slot] = [text]
        for slot in slots.referring(start, end) if self.everything else slots.calls_of(_string_helpers(), start, end):
            word = slots.word(slot)
            if word & 0xFF == CALL_CODE:
                found = _call_notes(slots, slot, self.prototypes, self.called, self.kfuncs)
            elif slot in slots.related:
                found = []
            else:
                found = _reference_notes(slots, slot)
            if found:
                notes.setdefault(slot, []).extend(found)
        for slot, said in self.further.items() if self.further else ():
            if start <= slot < end:
                notes.setdefault(slot, []).extend(said)
        return notes

    @property
    def plain(self) -> bool:
        """Whether all notes that `texts_between` has given so far are printable, where that is known."""
        return self.calls is not None and self.texts is not None and self.texts.plain

    def texts_between(self, start: int, end: int) -> Iterable[tuple[int, str]]:
        """(slot, its notes as one text), as `between`, each slot once; all of them made when `plain` is asked for."""
        if self.texts is None or self.calls is None:
            return ((slot, ", ".join(found)) for slot, found in self.between(start, end).items())
        table = self.texts.table
        low, high = bisect_left(table.slots, start), bisect_left(table.slots, end)
        slots, which = table.slots[low:high], table.which[low:high]
        found = list(zip(slots, map(self.texts.__getitem__, which), strict=True))
        low, high = bisect_left(self.calls, start), bisect_left(self.calls, end)
        if low < high:
            numbers = dict(zip(slots, which, strict=True))
            known, loads = self.texts.quoted, self.loads
            words, labels = self.slots.words, self.labels
            for slot in self.calls[low:high]:
                quoted = known.get(numbers.get(loads.get(slot, -1), -1))
                label = labels.get(words[slot] >> 32)
                if label is None:
                    text = ", ".join(_call_notes(self.slots, slot, False, False, NO_PROTOTYPES))
                elif quoted is None:
                    text = _passed_string(self.slots, slot, 1, label)
                else:
                    text = f"{label} {quoted}" if quoted else ""
                if text:
                    found.append((slot, text))
                    if not text.isprintable():
                        self.texts.plain = False
        return found

    def _lonely_calls(self) -> list[int] | None:
        """The calls of helpers that take strings, where no slot has more than one thing said about it; None otherwise."""
        if self.everything or self.further or self.texts is None:
            return None
        related = self.texts.table.slots
        calls = list(self.slots.calls_of(_string_helpers()))
        if any(map(eq, related, related[1:])) or not set(calls).isdisjoint(related):
            return None
        if calls:
            from bpflens.analysis.call_strings import loads_of_first

            self.labels = _first_labels()
            self.loads = loads_of_first(self.slots, tuple(self.labels))
        return calls

    def _relocations(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        if self.texts is not None:
            table = self.texts.table
            low, high = bisect_left(table.slots, start), bisect_left(table.slots, end)
            return zip(table.slots[low:high], map(self.texts.__getitem__, table.which[low:high]), strict=True)
        slots = self.slots
        return (
            (r.off_insns, (slots.place(r.section, r.value)[0] if r.kind == "data" else "") or r.text or f"{r.kind} {r.symbol}")
            for r in self.program.relocations
            if start <= r.off_insns < end
        )


def call_name(symbols: Mapping[int, str], slot: int, word: int) -> str:
    """The name that `symbols` has for a helper or kfunc call, "" where the tables say it better or nothing is known."""
    return symbols.get(slot, "") if word & 0xFF == CALL_CODE and word >> 12 & 15 != 1 else ""


class _Texts(dict[int, str]):
    """Number of a meaning of a table of relocations -> its text."""

    def __init__(self, table: RelocationTable, slots: References) -> None:
        self.table, self.slots = table, slots
        self.quoted: dict[int, str] = {}
        self.plain = True

    def __missing__(self, number: int) -> str:
        kind, symbol, value, text, section = self.table.meaning(number)
        quoted = None
        if kind == "data":
            text, quoted = self.slots.place(section, value)
            text = text or self.table.whole(number)[3]
        if len(self) >= _TEXTS:
            self.clear()
            self.quoted.clear()
        self.quoted[number] = quoted or ""
        text = self[number] = text or f"{kind} {symbol}"
        if not text.isprintable():
            self.plain = False
        return text


def _reference_notes(slots: References, slot: int) -> list[str]:
    word = slots.word(slot)
    source = word >> 12 & 15
    if slot in slots.program.symbols:
        return [slots.program.symbols[slot]]
    if not slots.program.xlated:
        return []
    if source == 1:
        m = slots.maps_by_id.get(word >> 32)
        return [f"map {m.name} ({type_name(MAP_TYPES, m.type)})"] if m is not None else []
    target = slots.pointed_at(slot)
    return [slots.places(target[0]).place(target[1])] if target is not None else []


def _call_notes(slots: References, slot: int, prototypes: bool, called: bool, kfuncs: Prototypes) -> list[str]:
    word = slots.word(slot)
    kind, number = word >> 12 & 15, (word >> 32 ^ 0x80000000) - 0x80000000
    notes: list[str] = []
    prototype = _helper_prototype(slots, slot, number) if kind == 0 else None
    if prototypes:
        shown = prototype if kind == 0 else kfuncs.get(number) if kind == 2 and not word >> 16 & 0xFFFF else None
        if shown:
            notes.append(shown)
    if called and not notes and kind != 1:
        name = call_name(slots.program.symbols, slot, word) or (helper_name(number) if kind == 0 else None)
        if name:
            notes.append(name)
    strings = _strings_of(prototype) if prototype else ()
    notes += filter(None, (_passed_string(slots, slot, register, name) for register, name in strings))
    return notes


def _passed_string(slots: References, slot: int, register: int, name: str) -> str:
    """The constant string that a register holds the address of at a call, after its name; "" where it is none."""
    from bpflens.analysis.call_strings import pointed_by

    pointed = pointed_by(slots, slot, register)
    if pointed is None:
        return ""
    text = _quoted(pointed) if isinstance(pointed, bytes) else slots.places(pointed[0]).string(pointed[1])
    return f"{name} {text}" if text else ""


@lru_cache(maxsize=1 << 12)
def _quoted(raw: bytes) -> str | None:
    from bpflens.analysis.data_places import quoted

    return quoted(raw)


@lru_cache(maxsize=256)
def _strings_of(prototype: str) -> tuple[tuple[int, str], ...]:
    """(register, name) of the parameters that are strings."""
    parameters = prototype[prototype.index("(") + 1 :].split(", ")[:5]
    strings = [(register, text) for register, text in enumerate(parameters, 1) if text.startswith("const char *")]
    return tuple((register, text.removeprefix("const char *")) for register, text in strings)


@lru_cache(maxsize=1)
def _first_labels() -> dict[int, str]:
    """Helper whose only string is its first argument -> the name of the parameter."""
    strings = {n: _strings_of(helper_prototype(n) or "()") for n in _string_helpers()}
    return {n: found[0][1] for n, found in strings.items() if len(found) == 1 and found[0][0] == 1}


@lru_cache(maxsize=1)
def _string_helpers() -> tuple[int, ...]:
    """Numbers of the helpers that take strings."""
    return tuple(n for n in range(1, HELPER_COUNT + 1) if "const char *" in (helper_prototype(n) or ""))


def _helper_prototype(slots: References, slot: int, number: int) -> str | None:
    found = helper_prototype(number)
    if found is None and slot in slots.program.symbols:
        from bpflens.isa.extended.helpers import helper_id

        found = helper_prototype(helper_id(slots.program.symbols[slot]) or 0)
    return found
