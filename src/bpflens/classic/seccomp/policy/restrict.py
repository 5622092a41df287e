"""What remains of a policy's diagram for one architecture or syscall number, and for all that no listed architecture has."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpflens.classic.diagrams.condition import decided
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.nodes import FALSE, TRUE, terminal
from bpflens.classic.diagrams.term import Load
from bpflens.classic.seccomp.policy.stack import ARCH, NR, WORD
from bpflens.classic.seccomp.policy.values import DATA
from bpflens.isa.classic.syscalls import ARCHES, OTHER_ARCHES, X32_BIT, Arch

__all__ = ("Elsewhere", "cut_out", "elsewhere", "for_arch", "for_number", "for_other", "numbers_of", "pieces_of", "without_names")


def for_arch(store: Store, node: int, arch: Arch) -> int:
    """What remains of a policy's diagram for one architecture."""
    return _restrict(store, node, ARCH, arch.audit)


class Elsewhere(NamedTuple):
    """What a policy's diagram says for AUDIT_ARCH_ values that no listed architecture has.

    `node`: what remains for them where it is the same for all, `actions`: every action that can occur, with one such value of the
    architecture for which it does. Exact: the values are not tried, the listed ones are cut out of the diagram.
    """

    node: int | None
    actions: dict[int, int]


_LISTED = 1 << 40  # no action: marks the architectures that are cut out


def elsewhere(store: Store, node: int) -> Elsewhere:
    """See `Elsewhere`."""
    rest = cut_out(store, node)
    actions = {value: _arch_for(store, rest, value) for value in sorted(store.terminals(rest) - {_LISTED})}
    sample = for_other(store, node)
    same = cut_out(store, node) == cut_out(store, sample)
    return Elsewhere(sample if same else None, actions)


_NO_ARCH = 0x0BADBEEF


def for_other(store: Store, node: int) -> int:
    """What remains of a policy's diagram for one architecture that has no name."""
    return _restrict(store, node, ARCH, _NO_ARCH)


def cut_out(store: Store, node: int) -> int:
    """The diagram with a mark, which is no action, for every listed architecture: two of them are the same where the others agree."""
    listed = FALSE
    for audit in sorted({arch.audit for arch in ARCHES}):
        listed = store.disj(listed, _is_arch(store, audit))
    return store.ite(listed, terminal(_LISTED), node)


def _is_arch(store: Store, audit: int) -> int:
    node = TRUE
    for variable, byte in zip(reversed(store.variables(ARCH)), reversed(audit.to_bytes(4, "big")), strict=True):
        node = store.conj(store.intervals(variable, ((byte, byte),)), node)
    return node


def _arch_for(store: Store, rest: int, action: int) -> int:
    """An architecture's value, one with a name if there is one, for which the action can occur."""
    for audit in OTHER_ARCHES:
        if action in store.terminals(_restrict(store, rest, ARCH, audit)):
            return audit
    path = store.path_to(rest, lambda value: value == action) or {}
    return sum(path.get(v, (0, 0))[0] << shift for v, shift in zip(store.variables(ARCH), (24, 16, 8, 0), strict=True))


def _restrict(store: Store, node: int, field: Field, value: int) -> int:
    """The diagram with a word fixed, and with it the conditions that only this word decides."""
    for variable, byte in zip(store.variables(field), value.to_bytes(4, "big"), strict=True):
        node = store.restrict(node, variable, byte)
    for variable in sorted(store.support(node)):
        base = store.field_of(variable).base
        if base.region == "atom":
            holds = decided(base.term, Load(DATA, field.offset, 4), value)
            if holds is not None:
                node = store.restrict(node, variable, int(holds))
    return node


def for_number(store: Store, node: int, number: int) -> int:
    """What remains of an architecture's diagram for one syscall number."""
    return _restrict(store, node, NR, number)


def numbers_of(arch: Arch) -> tuple[tuple[int, int], ...]:
    """The numbers that belong to an architecture, as ranges: x32 has those of x86_64 with bit 30."""
    if arch.name == "x32":
        return ((X32_BIT, 2 * X32_BIT - 1),)
    return ((0, X32_BIT - 1), (2 * X32_BIT, WORD)) if arch.name == "x86_64" else ((0, WORD),)


def pieces_of(store: Store, node: int, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """[(first, last number, what remains)] of one architecture within ranges of numbers; TooComplex where they are too many."""
    pieces = store.split(node, NR)
    return [(max(a, low), min(b, high), rest) for low, high in ranges for a, b, rest in pieces if b >= low and a <= high]


def without_names(first: int, last: int, named: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The parts of a range whose numbers have no name. `named`: the numbers that have one, ascending."""
    start = first
    for number in named[bisect_left(named, first) : bisect_right(named, last)]:
        if number > start:
            yield start, number - 1
        start = number + 1
    if start <= last:
        yield start, last
