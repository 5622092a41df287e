"""Conditions of a path as part of a sentence, and the small words between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.claims import HasEntry
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.words.naming import ASSUMED, STATED, Namer
from bpflens.decompile.summary.words.said import NAMELESS, is_absent, sentences

__all__ = ("Way", "capital", "listed", "noted_once", "slots_of", "way_of")

SHOWN_CONDITIONS = 4
_TRANSPORT = re.compile(r"the (?:IP protocol|IPv6 next header) is (?!not |at |above|below)((?!.* (?:to|or) ).*)$")
_NETWORK = re.compile(r"the EtherType is (?!not |at |above|below)((?!.* or )[\w .-]+)$")


class Way(NamedTuple):
    """`said`: conditions in words, "" for none, and `whole` where some were left out of it; `noun`: the packets that it is about ("IPv4 TCP
    packets"); `unsure`: something has no words; `never`: an array would have to lack an entry; `stated`: that the IPv4 header
    has no options is one of the conditions in `said`.
    """

    said: str
    whole: str
    noun: str
    unsure: bool
    never: bool
    stated: bool

    @property
    def cut(self) -> bool:
        """Conditions were left out of `said`."""
        return self.said != self.whole


def way_of(conditions: Sequence[Condition], may: bool, namer: Namer) -> Way:
    """A path in words."""
    said = sentences(conditions, namer)
    noun, said = _noun(said)
    unsure = may or any(map(_nameless, conditions))
    said = [each for each in said if not each.startswith(NAMELESS)]
    never = any(is_absent(each) and isinstance(each.claim, HasEntry) for each in conditions)
    shown = said[-SHOWN_CONDITIONS:]
    return Way(_noted(shown), _noted(said), noun, unsure, never, not STATED.isdisjoint(shown))


def _noted(said: Sequence[str]) -> str:
    """Conditions as a list; what is assumed of the header is not said where it is one of them."""
    text = listed(said)
    return text.replace(ASSUMED, "") if not STATED.isdisjoint(said) else noted_once(text)


def noted_once(text: str) -> str:
    """ "(if the IPv4 header has no options)" the first time only."""
    first, found, rest = text.partition(ASSUMED)
    return first + found + rest.replace(ASSUMED, "")


def _nameless(condition: Condition) -> bool:
    return condition.kind is Kind.UNKNOWN or any(map(_nameless, (each for side in condition.alternatives for each in side)))


def _noun(said: list[str]) -> tuple[str, list[str]]:
    """("IPv4 TCP packets", the other sentences)."""
    network = next((found for each in said if (found := _NETWORK.match(each))), None)
    transport = next((found for each in said if (found := _TRANSPORT.match(each))), None)
    if network is None:
        return "", said
    words = [network[1], *([transport[1]] if transport is not None else [])]
    return f"{' '.join(words)} packets", [each for each in said if each not in (network[0], transport and transport[0])]


def listed(items: Sequence[str]) -> str:
    """ "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}" if items else ""


def capital(text: str) -> str:
    """The text with a capital letter."""
    return text[:1].upper() + text[1:]


def slots_of(groups: Iterable[ir.Slots]) -> ir.Slots:
    """All instructions of several things."""
    return tuple(sorted({slot for slots in groups for slot in slots}))
