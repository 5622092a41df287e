"""Why a text matches nothing: the tests in it that exclude each other, each compiled on its own.

    ip6 and tcp[tcpflags] & tcp-syn != 0   ──►   `ip6` and `tcp[tcpflags] & tcp-syn != 0` exclude each other: tcp[...] looks at IPv4 only
                                                 instead: ip6 and (ip6 proto 6 and ip6[53] & tcp-syn != 0)

libpcap calls such a text "expression rejects all packets" and says no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.operations import Operations
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.shifts import is_keyword
from bpflens.classic.expression.tree import And, Expression, Not, Or, text
from bpflens.lean import NamedTuple

__all__ = ("Contradiction", "why_nothing")

_LONGEST = 24  # tests of one conjunction that are tried
_TRANSPORT = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 58}
_INDEX = re.compile(r"\b(tcp|udp|sctp|icmp)\[(\w+)(:\d)?\]")
_NAMED_OFFSETS = {"tcpflags": 13, "icmptype": 0, "icmpcode": 1}
_IP6_HEADER = 40


class Contradiction(NamedTuple):
    """`tests` exclude each other; `because` says more, "" where nothing is known; `instead` is a text that may have been meant."""

    tests: tuple[str, ...]
    because: str
    instead: str | None

    @property
    def reason(self) -> str:
        """One clause."""
        shown = " and ".join(f"`{test}`" for test in self.tests)
        verb = "matches no packet by itself" if len(self.tests) == 1 else "exclude each other"
        return f"{shown} {verb}{f': {self.because}' if self.because else ''}"


def why_nothing(expression: str, compiler: Compiler) -> Contradiction | None:
    """The fewest tests of the text that exclude each other; None where the text is not understood or it takes too long."""
    tree = parse(expression)
    if tree is None:
        return None
    try:
        for branch in tree.items if isinstance(tree, Or) else (tree,):
            tests = _excluding(branch, compiler)
            if tests is not None:
                return Contradiction(tests, _because(tests), _instead(expression, tests, compiler))
    except TooComplex:
        pass
    return None


def _conjunction(e: Expression) -> Iterator[Expression]:
    if isinstance(e, And):
        for item in e.items:
            yield from _conjunction(item)
    elif isinstance(e, Not) and isinstance(e.item, Or):
        for item in e.item.items:
            yield from _conjunction(Not(item))
    else:
        yield e


def _excluding(branch: Expression, compiler: Compiler) -> tuple[str, ...] | None:
    store = compiler.store
    tests: list[tuple[str, int]] = []
    chain = ""
    for item in list(_conjunction(branch))[:_LONGEST]:
        shown = text(item, brief=False)
        node = compiler.node(f"{chain}{shown}")
        if node is None:
            node = _alone(shown, compiler)
            if node is None:
                return None
        tests.append((shown, node))
        if is_keyword(item):
            chain += f"{shown} and "
    for size in (1, 2, 3):
        for chosen in combinations(tests, size):
            if _all_of(store, [node for _, node in chosen]) == FALSE:
                return tuple(shown for shown, _ in chosen)
    return tuple(shown for shown, _ in tests) if _all_of(store, [node for _, node in tests]) == FALSE else None


def _alone(shown: str, compiler: Compiler) -> int | None:
    """A test that libpcap refuses because nothing satisfies it is FALSE; anything else that it refuses is not understood."""
    from bpflens.errors import InputError

    try:
        compiler.program(shown)
    except InputError as error:
        return FALSE if "rejects all packets" in error.reason else None
    return None


def _all_of(store: Operations, nodes: list[int]) -> int:
    result = TRUE
    for node in nodes:
        result = store.conj(result, node)
    return result


def _because(tests: tuple[str, ...]) -> str:
    for shown in tests:
        found = _INDEX.search(shown)
        if found is not None and any("ip6" in other for other in tests if other != shown):
            return f"{found[1]}[...] looks at IPv4 only"
    return ""


def _instead(expression: str, tests: tuple[str, ...], compiler: Compiler) -> str | None:
    """The same test behind an IPv6 header without extension headers."""
    if not _because(tests):
        return None
    shown = next(test for test in tests if _INDEX.search(test))
    found = _INDEX.search(shown)
    assert found is not None
    offset = _NAMED_OFFSETS.get(found[2], int(found[2]) if found[2].isdigit() else None)
    if offset is None or shown not in " ".join(expression.split()):
        return None
    moved = shown.replace(found[0], f"ip6[{_IP6_HEADER + offset}{found[3] or ''}]")
    meant = " ".join(expression.split()).replace(shown, f"(ip6 proto {_TRANSPORT[found[1]]} and {moved})")
    node = compiler.node(meant)
    return meant if node is not None and node != FALSE else None
