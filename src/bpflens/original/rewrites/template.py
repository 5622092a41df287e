"""A template: what an original instruction becomes, and how to tell it in an image.

    Template("skb->len", image=(rD = *(u32*)(rS+112)), original=(rD = *(u32*)(rS+0)), base="ctx")

`TemplateSet` finds those that may start at a word. Real programs have few distinct words, so the first slot of every template is
compared once per distinct word and the answer kept: at most slots the set says "none" after one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bpflens.isa.extended.opcodes import AX
from bpflens.lean import NamedTuple
from bpflens.original.rewrites.ctx_access import Row, patterns
from bpflens.original.rewrites.pattern import Slot, bind_symbol, parse, with_hidden_register, zeros_by_xor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from bpflens.original.image.image import Image
else:
    Protocol = object

__all__ = ("Group", "Item", "Rewrite", "Symbols", "Template", "TemplateSet", "rewrite")

_CODE_AND_OFF = 0xFFFF00FF
_CACHED_PAIRS = 1 << 16

# One original slot: its word, and the xlated slot that it refers to (a jump, a call, a PSEUDO_FUNC), -1 for none.
Item = tuple[int, int]


class Group(NamedTuple):
    """One reading of a run of image slots: `length` slots were made of `items`; `rewrite` names how, `cost` ranks readings. `loose`:
    numbers of the kernel's own code in them that the original does not have, by placeholder (image_check.py).
    """

    length: int
    items: tuple[Item, ...]
    rewrite: str = ""
    cost: int = 0
    loose: tuple[tuple[str, int], ...] = ()


Builder = Callable[["Image", int, dict[str, int]], "tuple[Item, ...] | None"]


class Template(NamedTuple):
    """A rewriting rule read backwards.

    `name` is for people. `image` and `original` are patterns that share placeholders; a `build` function makes the original where a
    pattern cannot say it, and may refuse (None). `base` is the kind of pointer that register S must hold ("ctx", "sock" ...; "" any).
    `types` limits it to program types. `cost` ranks it among the readings of the same words: 0 is certain or natural.
    """

    name: str
    image: tuple[Slot, ...]
    original: tuple[Slot, ...] = ()
    base: str = ""
    types: frozenset[int] | None = None
    cost: int = 0
    build: Builder | None = None

    def loose(self, bound: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
        """The numbers among the placeholders that the original does not have."""
        kept = {bind.name for slot in self.original for bind in slot.binds}
        return tuple((name, value) for name, value in bound.items() if name not in kept and len(name) > 1)


class Rewrite(NamedTuple):
    """A row of a table of rewrites: a template whose patterns are still text (pattern.py), for few of them occur in any one program."""

    name: str
    image: str
    original: str = ""
    types: frozenset[int] | None = None
    cost: int = 0
    build: Builder | None = None

    def bound(self, symbols: Symbols | None) -> Template | None:
        """The template, with the imms and ids of its calls; None where the kernel does not have the function."""
        image = _resolve(parse(self.image), symbols.imm_of if symbols else None)
        if image is None:
            return None
        original = _resolve(parse(self.original), symbols.kfunc_id if symbols else None) if self.original else ()
        return None if original is None else Template(self.name, image, original, "", self.types, self.cost, self.build)


class Symbols(Protocol):
    """What templates need of a kernel: the imm by which its code calls a function."""

    def imm_of(self, name: str) -> int | None:
        """Address of function `name` less __bpf_call_base; None where it is unknown or hidden."""

    def kfunc_id(self, name: str) -> int | None:
        """BTF id of kfunc `name`."""


def rewrite(
    name: str,
    image: str,
    original: str = "",
    *,
    types: Iterable[int] | None = None,
    cost: int = 0,
    build: Builder | None = None,
) -> Rewrite:
    """A row of a table of rewrites."""
    return Rewrite(name, image, original, frozenset(types) if types else None, cost, build)


class TemplateSet:
    """The templates that may occur in an image, bound to the kernel that made it."""

    def __init__(
        self,
        rewrites: Iterable[Rewrite],
        symbols: Symbols | None = None,
        accesses: Mapping[tuple[str, str], Sequence[Row]] | None = None,
        changed: Callable[[tuple[Slot, ...]], tuple[Slot, ...]] = lambda slots: slots,
    ) -> None:
        """`accesses`: rows learnt from a kernel by (kind of pointer, name of struct); they become templates when a word asks for them.
        `changed`: what is done to the image of every template.
        """
        self._source = (rewrites := tuple(rewrites), symbols, accesses)
        self._symbols = symbols
        self._changed = changed
        self._variants: dict[str, TemplateSet] = {}
        self._by_code: dict[int, list[tuple[Slot, Rewrite]]] = {}
        self._by_word: dict[int, tuple[Template, ...]] = {}
        self._by_pair: dict[int, tuple[Template, ...]] = {}
        self._rows: dict[int, list[tuple[str, str, Row]]] = {}
        for (kind, struct_name), rows in (accesses or {}).items():
            for row in rows:
                if row.image:
                    self._rows.setdefault(row.image[0] & _CODE_AND_OFF, []).append((kind, struct_name, row))
        for rewrite in rewrites:
            (first,) = changed(parse(rewrite.image.partition(";")[0])[:1])
            self._by_code.setdefault(first.value & 0xFF, []).append((first, rewrite))

    def starting_with(self, word: int) -> tuple[Template, ...]:
        """The templates whose first slot fits `word`, in the order in which they were given."""
        known = self._by_word.get(word)
        if known is None:
            fits = []
            for first, rewrite in self._by_code.get(word & 0xFF, ()):
                if word & first.mask == first.value and (bound := rewrite.bound(self._symbols)) is not None:
                    fits.append(bound._replace(image=self._changed(bound.image)))
            for kind, struct_name, row in self._rows.get(word & _CODE_AND_OFF, ()):
                for access in patterns(struct_name, row):
                    fits.append(Template(access.name, self._changed(access.image), access.original, kind, None, access.odd))
            known = tuple(t for t in fits if word & t.image[0].mask == t.image[0].value)
            self._by_word[word] = known
        return known

    def starting_with_both(self, word: int, following: int) -> tuple[Template, ...]:
        """Those of `starting_with` whose second slot, where they have one, fits the word that follows."""
        key = word | following << 64
        known = self._by_pair.get(key)
        if known is None:
            known = tuple(
                t for t in self.starting_with(word) if len(t.image) < 2 or following & t.image[1].mask == t.image[1].value
            )
            if len(self._by_pair) < _CACHED_PAIRS:
                self._by_pair[key] = known
        return known

    def calls_hidden(self) -> TemplateSet:
        """The same templates for an image whose calls all read 0."""
        rewrites, symbols, accesses = self._source
        if "calls hidden" not in self._variants:
            hidden = _HiddenCalls(symbols) if symbols else None
            self._variants["calls hidden"] = TemplateSet(rewrites, hidden, accesses, self._changed)
        return self._variants["calls hidden"]

    def blinded(self) -> TemplateSet:
        """The same templates for an image whose constants were blinded: zeros are set by ^= there."""
        return self._variant("blinded", zeros_by_xor)

    def hidden_register(self, register: int) -> TemplateSet:
        """The same templates for a kernel whose hidden register is `register`."""
        return self._variant(f"r{register}", lambda slots: with_hidden_register(slots, register)) if register != AX else self

    def _variant(self, name: str, change: Callable[[tuple[Slot, ...]], tuple[Slot, ...]]) -> TemplateSet:
        if name not in self._variants:
            before = self._changed
            self._variants[name] = TemplateSet(*self._source, lambda slots: change(before(slots)))
        return self._variants[name]

    def words_cached(self) -> dict[int, tuple[Template, ...]]:
        """The cache itself, for callers that look up in a loop; `starting_with` fills it."""
        return self._by_word


class _HiddenCalls:
    """Symbols of a kernel that shows no addresses."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    def imm_of(self, name: str) -> int | None:
        """Every call reads 0."""
        return 0

    def kfunc_id(self, name: str) -> int | None:
        """As before."""
        return self._symbols.kfunc_id(name)


def _resolve(slots: tuple[Slot, ...], find: Callable[[str], int | None] | None) -> tuple[Slot, ...] | None:
    """The slots with the numbers of the functions that they name; None where there is none."""
    out = []
    for slot in slots:
        if slot.symbol:
            imm = find(slot.symbol) if find is not None else None
            if imm is None:
                return None
            slot = bind_symbol(slot, imm)
        out.append(slot)
    return tuple(out)


def distinct(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Readings ordered by cost, without repetitions of the same (length, items)."""
    seen = set()
    out = []
    for group in sorted(groups, key=lambda g: g.cost):
        key = (group.length, group.items)
        if key not in seen:
            seen.add(key)
            out.append(group)
    return tuple(out)
