"""Conditions of a path as part of a sentence, and the small words between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bpflens.decompile import ir
from bpflens.decompile.summary.claims import HasEntry
from bpflens.decompile.summary.conditions import Condition, Kind, is_absent, sentences
from bpflens.decompile.summary.naming import Namer

__all__ = ("Way", "capital", "listed", "slots_of", "way_of")

SHOWN_CONDITIONS = 4
_TRANSPORTS = ("the IP protocol is ", "the IPv6 next header is ")
_NAMELESS = ("a computed value", "a value compares", "two values", "bits of a value")


class Way(NamedTuple):
    """`said`: conditions in words, "" for none; `noun`: the packets that it is about ("IPv4 TCP packets"); `unsure`: something is not said;
    `never`: an array would have to lack an entry.
    """

    said: str
    noun: str
    unsure: bool
    never: bool


def way_of(conditions: Sequence[Condition], may: bool, namer: Namer) -> Way:
    """A path in words."""
    said = sentences(conditions, namer)
    noun, said = _noun(said)
    unsure = may or any(map(_nameless, conditions))
    said = [each for each in said if not each.startswith(_NAMELESS)]
    if len(said) > SHOWN_CONDITIONS:
        said, unsure = said[-SHOWN_CONDITIONS:], True
    never = any(is_absent(each) and isinstance(each.claim, HasEntry) for each in conditions)
    return Way(listed(said), noun, unsure, never)


def _nameless(condition: Condition) -> bool:
    return condition.kind is Kind.UNKNOWN or any(map(_nameless, (each for side in condition.alternatives for each in side)))


def _noun(said: list[str]) -> tuple[str, list[str]]:
    """("IPv4 TCP packets", the other sentences)."""
    network = next((each for each in said if each.startswith("the EtherType is ") and " not " not in each), None)
    transport = next((each for each in said if each.startswith(_TRANSPORTS) and " not " not in each), None)
    if network is None:
        return "", said
    words = network.removeprefix("the EtherType is ")
    if transport is not None:
        words += " " + transport.rpartition(" is ")[2]
    return f"{words} packets", [each for each in said if each not in (network, transport)]


def listed(items: Sequence[str]) -> str:
    """ "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}" if items else ""


def capital(text: str) -> str:
    """The text with a capital letter."""
    return text[:1].upper() + text[1:]


def slots_of(groups: Iterable[ir.Slots]) -> ir.Slots:
    """All instructions of several things."""
    return tuple(sorted({slot for slots in groups for slot in slots}))
