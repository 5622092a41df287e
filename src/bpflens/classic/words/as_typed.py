"""The words for a text that somebody has typed, where no plainer expression was found.

    (vlan 2 and ip) or (vlan 3 and ip)   ──►   IPv4 packets in VLAN 2.
                                               IPv4 packets in VLAN 3, read 4 bytes further.

The keywords that move headers stand among the other terms here, so that nothing is compiled on its own: only what the text says is said.
"""

from __future__ import annotations

from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.shifts import keywords_before, moved_by
from bpflens.classic.expression.tree import Expression, Or
from bpflens.classic.words.sentences import describe, plain_sentence

__all__ = ("describe_typed",)


def describe_typed(tree: Expression, compiler: Compiler, universe: int) -> tuple[str, ...]:
    """One sentence for each alternative, in the order of the text; what a keyword moves beyond its own conjunction is said."""
    parts = list(tree.items) if isinstance(tree, Or) else [tree]
    if not keywords_before([*parts, tree])[-1][0]:
        return describe(tree, compiler, universe)
    return tuple(f"{plain_sentence(part)}{_further(moved)}." for part, moved in zip(parts, moved_by(parts), strict=True))


def _further(moved: dict[str, int]) -> str:
    """Which primitives are read elsewhere than they seem: all of them, or those that are named."""
    places = set(moved.values())
    if places == {0}:
        return ""
    if len(places) == 1:
        return f", {_read(places.pop())}"
    words = ""
    for by in sorted(places - {0}):
        shown = [f"`{primitive}`" for primitive, count in moved.items() if count == by]
        words += f"; {', '.join(shown)} {'is' if len(shown) == 1 else 'are'} {_read(by)}"
    return words


def _read(by: int) -> str:
    return f"read {by} bytes further" if by > 0 else "read inside the packet that is carried"
