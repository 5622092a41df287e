"""The relocations of a section of code, kept as columns: an object of a million instructions has a hundred thousand, few of them distinct.

    table = RelocationTable(slots, which, meaning)
    table[0]                  Relocation(off_insns=slots[0], *meaning(which[0]))
    table.meaning(which[0])   ("data", "counter", 0, ".bss: counter", ".bss"), worked out once
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from bpflens.formats.elf.on_demand import OnDemand
from bpflens.program import Relocation

__all__ = ("Meaning", "RelocationTable")

Meaning = tuple[str, str, int, str, str]
"""kind, symbol, value, text and section of a `Relocation`."""


class RelocationTable(OnDemand[Relocation]):
    """Relocations in the order of their slots; `which[i]` is the number of the meaning of the one at `slots[i]`.

    `meaning` works one out, the text of "data" only where it is asked for; `more` are CO-RE relocations.
    """

    __slots__ = ("_first_more", "_known", "_meaning", "_whole", "slots", "which")

    def __init__(
        self, slots: list[int], which: list[int], meaning: Callable[[int, bool], Meaning], more: Sequence[Relocation] = ()
    ) -> None:
        self._meaning = meaning
        self._known: dict[int, Meaning] = {}  # of `more`
        self._whole: dict[int, Meaning] = {}
        self._first_more = first = 1 + max(which, default=-1)
        for number, r in enumerate(more, first):
            self._known[number] = self._whole[number] = (r.kind, r.symbol, r.value, r.text, r.section)
        if more:
            slots, which = [*slots, *(r.off_insns for r in more)], [*which, *range(first, first + len(more))]
        if more or slots != sorted(slots):
            order = sorted(range(len(slots)), key=slots.__getitem__)
            slots, which = list(map(slots.__getitem__, order)), list(map(which.__getitem__, order))
        self.slots, self.which = array("I", slots), array("I", which)

    def meaning(self, number: int) -> Meaning:
        """What the relocations with this number of a meaning refer to, "data" without its text; InputError where that is malformed."""
        known = self._known.get(number)
        if known is None:
            known = self._meaning(number, False)
        return known

    def whole(self, number: int) -> Meaning:
        """As `meaning`, with the text of "data" too."""
        known = self._whole.get(number)
        if known is None:
            known = self._whole[number] = self._meaning(number, True)
        return known

    @property
    def of_the_linker(self) -> Sequence[int]:
        """The slots without those of `more`."""
        first = self._first_more
        if not self._known:
            return self.slots
        return [slot for slot, number in zip(self.slots, self.which, strict=True) if number < first]

    def __len__(self) -> int:
        return len(self.slots)

    def item(self, index: int) -> Relocation:
        """Made with the text of its meaning."""
        return Relocation(self.slots[index], *self.whole(self.which[index]))
