"""What differs between the elements of two maps, or of one map at two times."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bpflens.btf.values import Value
from bpflens.lean import frozen
from bpflens.maps.elements import elements
from bpflens.maps.parts import Element
from bpflens.program import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = ("Difference", "differences", "watch")


@frozen
class Difference:
    """An element that is `new`, `gone` or `changed`."""

    kind: Literal["new", "gone", "changed"]
    key: Value
    before: Value = None
    after: Value = None


def differences(a: Map, b: Map) -> Iterator[Difference]:
    """From `a` to `b`, by the bytes of keys and values."""
    yield from _between(_taken(a), _taken(b))


def watch(map: Map, interval: float, rounds: int | None = None) -> Iterator[Difference]:
    """The changes of a map, looked at every `interval` seconds; `rounds` None: for ever. Changes back within one interval are not seen."""
    before = _taken(map)
    while rounds is None or rounds > 0:
        time.sleep(interval)
        after = _taken(map)
        yield from _between(before, after)
        before = after
        rounds = None if rounds is None else rounds - 1


def _taken(map: Map) -> dict[bytes, Element]:
    return {element.raw_key: element for element in elements(map)}


def _between(before: dict[bytes, Element], after: dict[bytes, Element]) -> Iterator[Difference]:
    for key, element in before.items():
        other = after.get(key)
        if other is None:
            yield Difference("gone", element.key, element.value)
        elif other.raw_value != element.raw_value:
            yield Difference("changed", element.key, element.value, other.value)
    for key, element in after.items():
        if key not in before:
            yield Difference("new", element.key, None, element.value)
