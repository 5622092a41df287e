"""Chains of keywords that move headers, as the constants of a program suggest them.

    jeq #0x8100 ... and #0xfff, jeq #2   ──►   vlan 2, vlan, vlan 2 and vlan ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpflens.classic.diagrams.linktypes import PACKET, layout_of
from bpflens.classic.diagrams.term import Load, Op
from bpflens.classic.expression.candidates.candidate import Test
from bpflens.classic.expression.tree import KEYWORDS

__all__ = ("Context", "contexts", "following")

_ETHERTYPE_VLAN = {0x8100, 0x88A8, 0x9100}
_Constants = dict[tuple[int, int, int | None], set[int]]


class Context:
    """A chain of keywords: `text`, the shift of the network header in bytes (None: it varies), its diagram."""

    def __init__(self, shown: str, shift: int | None, node: int) -> None:
        self.text = shown
        self.shift = shift
        self.node = node


def contexts(compile: Callable[[str], int | None], linktype: str, tests: Sequence[Test]) -> list[Context]:
    """Chains of vlan, mpls, pppoes and geneve that the program's constants suggest, the longest first."""
    equal: _Constants = {}
    anywhere: set[int] = set()
    for op, a, b in tests:
        if op != "jeq" or type(b) is not int:
            continue
        anywhere.add(b)
        mask = a.b if type(a) is Op and a.op == "and" and type(a.b) is int else None
        load = a.a if type(a) is Op and mask is not None else a
        if type(load) is Load and load.base == PACKET:
            equal.setdefault((load.offset, load.size, mask), set()).add(b)
    found: list[tuple[str, int | None]] = []
    layout = layout_of(linktype)
    if layout.protocol is not None and layout.network is not None:
        _chains("", 0, equal, found, layout.protocol, layout.network)
    if 6081 in anywhere:
        for vni in sorted({b >> 8 for op, a, b in tests if op == "jeq" and type(b) is int and _masks(a, 0xFFFFFF00)})[:4]:
            found.append((f"geneve {vni}", None))
        found.append(("geneve", None))
    result = []
    for shown, shift in sorted(found, key=lambda item: -item[0].count(" and ")):
        node = compile(shown)
        if node is not None:
            result.append(Context(shown, shift, node))
    return result


def _chains(
    prefix: str, shift: int, equal: _Constants, found: list[tuple[str, int | None]], protocol: int, network: int
) -> None:
    ethertypes = equal.get((protocol + shift, 2, None), set())
    options: list[tuple[str, int]] = []
    at = network + shift
    if ethertypes & _ETHERTYPE_VLAN:
        options += [(f"vlan {tag}", 4) for tag in sorted(equal.get((at, 2, 0xFFF), ()))[:6]] + [("vlan", 4)]
    if 0x8847 in ethertypes or "mpls" in prefix:
        labels = {value >> 12 for value in equal.get((at, 4, 0xFFFFF000), ())}
        options += [(f"mpls {label}", 4) for label in sorted(labels)[:6]]
        options.append(("mpls", 4))
    if 0x8864 in ethertypes:
        sessions = equal.get((at + 2, 2, None), set()) | equal.get((at, 4, 0xFFFF), set())
        options += [(f"pppoes {session:#x}", 8) for session in sorted(sessions)[:6]] + [("pppoes", 8)]
    for option, step in options:
        chain = f"{prefix} and {option}" if prefix else option
        found.append((chain, shift + step))
        if chain.count(" and ") < 3:
            _chains(chain, shift + step, equal, found, protocol, network)


def following(tests: Sequence[Test], keyword: str) -> list[str]:
    """The keyword with the values that occur behind its own header."""
    word = keyword.split()[0]
    mask, down = {"vlan": (0xFFF, 0), "mpls": (0xFFFFF000, 12)}.get(word, (0, 0))
    values = {b >> down for op, a, b in tests if op == "jeq" and type(b) is int and mask and _masks(a, mask)}
    return [word, *(f"{word} {value}" for value in sorted(values)[:8])] if word in KEYWORDS else []


def _masks(a: object, mask: int) -> bool:
    return type(a) is Op and a.op == "and" and a.b == mask
