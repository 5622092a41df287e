"""What a program decides: one sentence for each verdict, the usual one last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.decompile import ir
from bpflens.decompile.summary.naming import Namer
from bpflens.decompile.summary.phrases import capital, slots_of, way_of
from bpflens.decompile.summary.sentence import Path, Says, Sentence
from bpflens.decompile.summary.verdicts import Verdict, verdict
from bpflens.decompile.summary.walk import Returned, Walk

__all__ = ("decisions",)

_REDIRECTS = ("bpf_redirect", "bpf_sk_redirect", "bpf_msg_redirect")
_SHOWN_PATHS = 3


def decisions(function: str, walked: Walk, namer: Namer, prog_type: int) -> Iterator[Sentence]:
    """One sentence for each verdict of a function, the usual one last."""
    groups: dict[int | None, list[Returned]] = {}
    for each in walked.returns:
        groups.setdefault(None if each.value is None else each.value & 0xFFFFFFFF, []).append(each)
    meanings = {value: verdict(prog_type, value) for value in groups if value is not None}

    def says(value: int | None, rest: bool = False) -> Says:
        paths = tuple(Path(each.conditions, each.may) for each in groups[value])
        return Says(function, "returns", value, paths, rest=rest)

    if len(groups) == 1 and meanings:
        ((value, meaning),) = meanings.items()
        yield Sentence("decides", f"Always {_named(meaning, '')}.", _slots(groups[value]), says(value))
        return
    usual = max(meanings, key=lambda value: (meanings[value].passive, len(groups[value])), default=None)
    rest = [value for value in meanings if value != usual]
    for value in sorted(rest, key=lambda value: len(groups[value])):
        if text := _decision(meanings[value], groups[value], namer):
            yield Sentence("decides", text, _slots(groups[value]), says(value))
    if None in groups:
        calls = ", ".join(dict.fromkeys(_computed_returns(walked))) or "a value that it computes"
        yield Sentence("decides", f"Otherwise, or in part of the cases, returns {calls}.", _slots(groups[None]), says(None))
    if usual is not None:
        word = "Else" if rest or None in groups else "Always"
        yield Sentence("decides", f"{word} {_named(meanings[usual], '')}.", _slots(groups[usual]), says(usual, True))


def _computed_returns(walked: Walk) -> Iterator[str]:
    """The calls that return a verdict themselves."""
    for done in walked.done:
        if isinstance(done.statement, ir.Call) and done.statement.name.startswith(_REDIRECTS):
            yield f"what {done.statement.name} gives"


def _decision(meaning: Verdict, returns: Sequence[Returned], namer: Namer) -> str:
    ways = [way for each in returns if not (way := way_of(each.conditions, each.may, namer)).never]
    if not ways:
        return ""
    nouns = {way.noun for way in ways}
    noun = nouns.pop() if len(nouns) == 1 else ""
    texts = []
    for way in ways:
        text = way.said
        if not noun and way.noun and len(ways) > 1:
            text = f"{text} among {way.noun}" if text else f"it is one of {way.noun}"
        texts.append(text)
    texts = list(dict.fromkeys(texts))
    may = any(way.unsure for way in ways) or len(texts) > _SHOWN_PATHS
    said = f"{'may ' * may}{_named(meaning, noun, may)}"
    if all(texts):
        more = len(texts) - _SHOWN_PATHS
        said += " when " + "; or when ".join(texts[:_SHOWN_PATHS]) + (f"; and in {more} more cases" if more > 0 else "")
    return capital(said) + "."


def _named(meaning: Verdict, noun: str, may: bool = False) -> str:
    words = meaning.words.replace("the packet", noun) if noun else meaning.words
    if may:
        first, _, rest = words.partition(" ")
        words = f"{first.removesuffix('s') if not first.endswith('ss') else first} {rest}".strip()
    return f"{words} ({meaning.name})" if meaning.name else words


def _slots(returns: Sequence[Returned]) -> ir.Slots:
    return slots_of(slots for each in returns for slots in (each.slots, *(condition.slots for condition in each.conditions)))
