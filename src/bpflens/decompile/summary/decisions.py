"""What a program decides: one sentence for each verdict, the usual one last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.decompile import ir
from bpflens.decompile.summary.sentence import Path, Says, Sentence
from bpflens.decompile.summary.walk.complements import without_complements
from bpflens.decompile.summary.walk.walk import Returned, Walk
from bpflens.decompile.summary.words.naming import Namer
from bpflens.decompile.summary.words.phrases import capital, slots_of, way_of
from bpflens.decompile.summary.words.verdicts import Verdict, verdict

__all__ = ("decisions",)

_SHOWN_PATHS = 3
_STEMS = {"goes": "go", "has": "have"}


def decisions(function: str, walked: Walk, namer: Namer, prog_type: int) -> Iterator[Sentence]:
    """One sentence for each verdict of a function, the usual one last."""
    groups: dict[int | None, list[Returned]] = {}
    for each in walked.returns:
        groups.setdefault(None if each.value is None else each.value & 0xFFFFFFFF, []).append(each)
    ways = {value: without_complements(group) for value, group in groups.items()}
    meanings = {value: verdict(prog_type, value) for value in groups if value is not None}

    def says(value: int | None, rest: bool = False) -> Says:
        paths = tuple(Path(each.conditions, each.may) for each in ways[value])
        return Says(function, "returns", value, paths, rest=rest)

    if len(groups) == 1 and meanings:
        ((value, meaning),) = meanings.items()
        yield Sentence("decides", f"Always {_named(meaning, '')}.", _slots(groups[value]), says(value))
        return
    usual = max(meanings, key=lambda value: (meanings[value].passive, len(groups[value])), default=None)
    rest = [value for value in meanings if value != usual]
    for value in sorted(rest, key=lambda value: len(groups[value])):
        if text := _decision(meanings[value], ways[value], namer):
            whole = _decision(meanings[value], ways[value], namer, whole=True)
            yield Sentence("decides", text, _slots(groups[value]), says(value), whole)
    computed = ways.get(None, [])
    for what in dict.fromkeys(each.what for each in computed):
        words = f"returns {what or 'a value that it computes'}"
        mine = [each for each in computed if each.what == what]
        text, whole = (_decision(Verdict("", words), mine, namer, whole=each) for each in (False, True))
        paths = tuple(Path(each.conditions, each.may) for each in mine)
        yield Sentence("decides", text or f"{capital(words)}.", _slots(mine), Says(function, "returns", None, paths), whole)
    if usual is not None:
        word = "Else" if rest or None in groups else "Always"
        yield Sentence("decides", f"{word} {_named(meanings[usual], '')}.", _slots(groups[usual]), says(usual, True))


def _decision(meaning: Verdict, returns: Sequence[Returned], namer: Namer, whole: bool = False) -> str:
    """ "Drops IPv4 packets (XDP_DROP) when ..."; `whole`: with all paths and conditions. "" where it never comes to that."""
    ways = [way for each in returns if not (way := way_of(each.conditions, each.may, namer)).never]
    if not ways:
        return ""
    nouns = {way.noun for way in ways}
    noun = nouns.pop() if len(nouns) == 1 and "the packet" in meaning.words else ""
    texts = []
    for way in ways:
        text = way.whole if whole else way.said
        if not noun and way.noun:
            text = f"{text} among {way.noun}" if text else f"it is one of {way.noun}"
        texts.append(text)
    texts = list(dict.fromkeys(texts))
    count = len(texts) if whole else _SHOWN_PATHS
    may = any(way.unsure or (way.cut and not whole) for way in ways)
    said = f"{'may ' * may}{_named(meaning, noun, may)}"
    if all(texts):
        more = len(texts) - count
        said += " when " + "; or when ".join(texts[:count]) + (f"; and in {more} more case{'s' * (more > 1)}" if more > 0 else "")
    return capital(said) + "."


def _named(meaning: Verdict, noun: str, may: bool = False) -> str:
    words = meaning.words.replace("the packet", noun) if noun else meaning.words
    if may:
        first, _, rest = words.partition(" ")
        words = f"{_STEMS.get(first) or first.removesuffix('es' if first.endswith('sses') else 's')} {rest}".strip()
    return f"{words} ({meaning.name})" if meaning.name else words


def _slots(returns: Sequence[Returned]) -> ir.Slots:
    return slots_of(slots for each in returns for slots in (each.slots, *(condition.slots for condition in each.conditions)))
