"""What remains of a policy's diagram for one architecture or syscall number, and for all that no listed architecture has."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bpflens.classic.diagrams.condition import looks_at, with_word
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.nodes import FALSE, TRUE, terminal
from bpflens.classic.diagrams.term import Load
from bpflens.classic.seccomp.policy.stack import ARCH, NR, WORD
from bpflens.classic.seccomp.policy.values import DATA
from bpflens.isa.classic.syscalls import ARCHES, OTHER_ARCHES, X32_BIT, Arch

__all__ = ("Elsewhere", "cut_out", "elsewhere", "for_arch", "for_number", "for_other", "looks_at_arch", "numbers_of", "pieces_of",
           "without_names")  # fmt: skip


def for_arch(store: Store, node: int, arch: Arch) -> int:
    """What remains of a policy's diagram for one architecture."""
    return _restrict(store, node, ARCH, arch.audit)


class Elsewhere(NamedTuple):
    """What a policy's diagram says for AUDIT_ARCH_ values that no listed architecture has.

    `node`: what remains for them where it is the same for all, `actions`: every action that can occur, with one such value of the
    architecture for which it does; None where the diagram has the action under conditions of which nobody knows whether they can hold.
    No other action occurs: the values are not tried, the listed ones are cut out of the diagram.
    """

    node: int | None
    actions: dict[int, int | None]


_LISTED = 1 << 40  # no action: marks the architectures that are cut out


def elsewhere(store: Store, node: int) -> Elsewhere:
    """See `Elsewhere`."""
    rest = cut_out(store, node)
    sample = for_other(store, node)
    actions = sorted(store.terminals(rest) - {_LISTED})
    found = {action: _arch_for(store, rest, action) for action in actions}
    asked = [action for action in actions if found[action] is None]
    if asked:
        from bpflens.classic.proof.z3_check import data_with

        for action, answer in zip(asked, data_with(store, rest, asked), strict=True):
            if answer.packet is not None:
                found[action] = int.from_bytes(answer.packet.data[ARCH.offset : ARCH.offset + 4], "big")
            elif answer.found == "unsat":
                del found[action]
    return Elsewhere(sample if rest == cut_out(store, sample) else None, found)


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


def _arch_for(store: Store, rest: int, action: int) -> int | None:
    """An architecture's value, one with a name if there is one, for which the action occurs; None where the diagram alone does not tell."""
    path = store.path_to(rest, lambda value: value == action) or {}
    first = sum(path.get(v, (0, 0))[0] << shift for v, shift in zip(store.variables(ARCH), (24, 16, 8, 0), strict=True))
    if not _conditions(store, rest):
        return next((audit for audit in OTHER_ARCHES if action in store.terminals(_restrict(store, rest, ARCH, audit))), first)
    for audit in (*OTHER_ARCHES, first):
        own = _restrict(store, rest, ARCH, audit)
        if action in store.terminals(own) and not _conditions(store, own):
            return audit
    return None


def _conditions(store: Store, node: int) -> list[tuple[int, Any]]:
    """(variable, condition) of the diagram's tests that are of more than one byte: it takes them for independent, which they may not be."""
    bases = [(variable, store.field_of(variable).base) for variable in sorted(store.support(node))]
    return [(variable, base.term) for variable, base in bases if base.region == "atom"]


def looks_at_arch(store: Store, node: int) -> bool:
    """Whether the architecture matters to a policy's diagram."""
    word = Load(DATA, ARCH.offset, 4)
    if any(store.depends(node, variable) for variable in store.variables(ARCH)):
        return True
    return any(looks_at(condition, word) for _, condition in _conditions(store, node))


def _restrict(store: Store, node: int, field: Field, value: int) -> int:
    """The diagram with a word fixed, in the conditions too."""
    for variable, byte in zip(store.variables(field), value.to_bytes(4, "big"), strict=True):
        node = store.restrict(node, variable, byte)
    word = Load(DATA, field.offset, 4)
    for variable, condition in _conditions(store, node):
        if looks_at(condition, word):
            holds = with_word(store, condition, word, value)
            node = store.ite(holds, store.restrict(node, variable, 1), store.restrict(node, variable, 0))
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
