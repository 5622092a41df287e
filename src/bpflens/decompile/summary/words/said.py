"""Conditions of a path in words, each thing once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpflens.decompile.summary.walk.bits import Bit
from bpflens.decompile.summary.walk.claims import Between, Gives, HasEntry, Relation
from bpflens.decompile.summary.walk.conditions import SHORT, Condition, Kind, layers_of
from bpflens.decompile.summary.words.naming import Layers, Namer

__all__ = ("NAMELESS", "follows", "is_absent", "sentences")

NAMELESS = ("a computed value", "a value compares", "two values", "bits of a value")
"""How the texts of conditions begin that have no words."""


def is_absent(condition: Condition) -> bool:
    """Says that something is not there that is always, or nearly always: an entry of an array, memory for an event, enough packet."""
    if condition.kind is Kind.BOUND:
        return condition.text == SHORT
    if condition.kind is not Kind.PRESENT:
        return False
    claim = condition.claim
    return not claim.there if isinstance(claim, HasEntry) else isinstance(claim, Gives) and claim.op == "=="


def sentences(
    conditions: Sequence[Condition], namer: Namer, around: Layers | None = None, given: Mapping[Bit, int] | None = None
) -> list[str]:
    """What a path's conditions say, each thing once; equalities of bits are put together first. Bounds and what follows from an equality
    that is said are left out. `around`, `given`: the layers, and the bits, that are known outside of an alternative.
    """
    layers = layers_of(conditions, namer)
    if around is not None:
        layers = Layers(layers.network or around.network, layers.transport or around.transport)
    known: dict[Bit, int] = {}
    for condition in conditions:
        if condition.is_equality:
            known.update(condition.bits)
    out: list[str] = list(namer.phrases(known, layers)) if known else []
    known = {**(given or {}), **known}
    for condition in conditions:
        if condition.kind in (Kind.BOUND, Kind.PRESENT) or condition.is_equality:
            if is_absent(condition):
                out.append(condition.text)
        elif condition.alternatives:
            if text := _alternatives(condition, namer, layers, known):
                out.append(text)
        elif follows(condition, known):
            continue
        elif condition.bits:
            said = list(namer.phrases(dict(condition.bits), layers, negated=True))
            out.append(said[0] if len(said) == 1 else "not both: " + " and ".join(namer.phrases(dict(condition.bits), layers)))
        else:
            out.append(condition.text)
    return list(dict.fromkeys(out))


def follows(condition: Condition, known: Mapping[Bit, int]) -> bool:
    """All bits that a condition speaks of are known: it says nothing more, for it is so on the same path."""
    claim = condition.claim
    bits: list[Bit | int] = [bit for bit, _ in condition.bits]
    if isinstance(claim, Relation):
        bits = [*claim.left, *claim.right]
    elif isinstance(claim, Between):
        bits = [*claim.number]
    return bool(bits) and all(isinstance(bit, int) or bit in known for bit in bits)


def holds_of(condition: Condition, known: Mapping[Bit, int]) -> bool | None:
    """Whether a condition about bits that are known holds; None where it is about others."""
    if condition.alternatives or not condition.bits or any(bit not in known for bit, _ in condition.bits):
        return None
    return all(known[bit] == value for bit, value in condition.bits) != condition.negated


def _alternatives(condition: Condition, namer: Namer, layers: Layers, known: Mapping[Bit, int]) -> str:
    """ "(a or b)"; "" where one of the sides need not be said."""
    sides = [side for side in _sides(condition) if not any(map(is_absent, side))] or list(condition.alternatives)
    sides = [side for side in sides if not any(holds_of(each, known) is False for each in side)] or sides
    if any(all(holds_of(each, known) for each in side) for side in sides):
        return ""
    said = [[_named(text) for text in sentences(side, namer, layers, known)] for side in sides]
    if not all(said):
        return ""
    texts = list(dict.fromkeys(f"({' and '.join(side)})" if len(side) > 1 and len(said) > 1 else " and ".join(side) for side in said))
    if len(texts) > 2 and (short := _one_of(texts)):
        return short
    return f"({' or '.join(texts)})" if len(texts) > 1 else texts[0]


def _named(text: str) -> str:
    return "another condition holds" if text.startswith(NAMELESS) else text


def _sides(condition: Condition) -> list[tuple[Condition, ...]]:
    """All alternatives; those of a side that is nothing but alternatives itself among them."""
    out = []
    for side in condition.alternatives:
        out += _sides(side[0]) if len(side) == 1 and side[0].alternatives else [side]
    return out


def _one_of(texts: Sequence[str]) -> str:
    """ "the port is 25, 465 or 587"; "" where the texts do not begin alike."""
    start, found, _ = texts[0].partition(" is ")
    if not found or not all(text.startswith(f"{start} is ") and " not " not in text and " and " not in text for text in texts):
        return ""
    values = [text.removeprefix(f"{start} is ") for text in texts]
    return f"{start} is {', '.join(values[:-1])} or {values[-1]}"
