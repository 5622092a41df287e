"""The words for a text that somebody has typed, where no plainer expression was found.

    (vlan 2 and ip) or (vlan 3 and ip)   ──►   IPv4 packets in VLAN 2.
                                               IPv4 packets in VLAN 3, read 4 bytes further.

The keywords that move headers stand among the other terms here, so that nothing is compiled on its own: only what the text says is said.
"""

from __future__ import annotations

from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.shifts import keywords_before
from bpflens.classic.expression.tree import Expression, Or
from bpflens.classic.words.sentences import describe, plain_sentence

__all__ = ("describe_typed",)


def describe_typed(tree: Expression, compiler: Compiler, universe: int) -> tuple[str, ...]:
    """One sentence for each alternative, in the order of the text."""
    parts = list(tree.items) if isinstance(tree, Or) else [tree]
    places = keywords_before([*parts, tree])
    if not places[-1][0]:
        return describe(tree, compiler, universe)
    lines = []
    for part, (count, moved) in zip(parts, places, strict=False):
        further = "" if not count else f", read {moved} bytes further" if moved >= 0 else ", read inside the packet that is carried"
        lines.append(f"{plain_sentence(part)}{further}.")
    return tuple(lines)
