"""Two seccomp policies: the syscalls that they treat differently, with a system call for each that shows it.

Both stacks become diagrams in one store, where equal functions are the same node; so "equal" is a proof, and every syscall whose
diagrams differ is named. A difference comes with a number and arguments for which both stacks have been run and act differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TooComplex
from bpflens.classic.diagrams.symbolic import SECCOMP
from bpflens.classic.seccomp.policy.policy import second_key
from bpflens.classic.seccomp.policy.restrict import cut_out, for_arch, for_number, for_other, numbers_of, pieces_of, without_names
from bpflens.classic.seccomp.policy.rules import Rule, describe_rule
from bpflens.classic.seccomp.policy.stack import ARGS_OFFSET, Insns, run_stack, stack_node
from bpflens.classic.seccomp.policy.values import DATA, Place
from bpflens.isa.classic.syscalls import ARCHES, Arch, syscall_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ("Change", "PolicyDiff", "Witness", "diff_policies")


class Witness(NamedTuple):
    """A system call and what each policy does; `confirmed` by running the filters."""

    audit_arch: int
    number: int
    args: tuple[int, ...]
    before: int
    after: int
    confirmed: bool


class Change(NamedTuple):
    """Numbers `before.first` to `before.last` of one architecture, which the policies treat differently.

    Numbers without a name that change in the same way are one change: the widest range, and how many `more` ranges there are.
    """

    arch: Arch
    before: Rule
    after: Rule
    witness: Witness | None
    more: int = 0


class PolicyDiff(NamedTuple):
    """`equal`: for every system call of every architecture. `other`: architectures that neither names are treated differently too.

    `witness` is one system call on which they differ; None where they are equal. `unconfirmed`: why only the decision diagrams say that
    they are equal, None where a second engine agrees.
    """

    equal: bool
    changes: tuple[Change, ...]
    other: bool
    witness: Witness | None = None
    unconfirmed: str | None = None


_CEILING_S = 60.0  # for one question to z3, which counts steps


def diff_policies(before: Insns | Sequence[Insns], after: Insns | Sequence[Insns]) -> PolicyDiff:
    """Compare two valid filters, or two stacks of them (oldest first). TooComplex where a diagram grows beyond its budget."""
    stacks = (_stack(before), _stack(after))
    store = Store()
    a, b = (stack_node(store, stack) for stack in stacks)
    if a == b:
        return PolicyDiff(True, (), False, unconfirmed=_unconfirmed(stacks, store))
    pairs = {arch: (for_arch(store, a, arch), for_arch(store, b, arch)) for arch in ARCHES}
    reason = _unconfirmed(stacks, store)
    if reason is None and _same_by_z3(stacks, store, a, b):
        return PolicyDiff(True, (), False)
    others = cut_out(store, a), cut_out(store, b)
    usual = for_other(store, a), for_other(store, b)
    changes: list[Change] = []
    for arch, (x, y) in pairs.items():
        if x != y and (x, y) != usual:
            changes += _changes(store, arch, x, y, stacks)
    if not changes:  # no architecture is told apart from the others: say it for the first
        arch = ARCHES[0]
        changes += _changes(store, arch, *pairs[arch], stacks)
    return PolicyDiff(False, tuple(changes), others[0] != others[1], _witness(store, a, b, stacks))


def _unconfirmed(stacks: Sequence[Sequence[Insns]], store: Store) -> str | None:
    """Why only the diagrams speak for what is said of the two policies; None where a second engine does too."""
    return next((reason for stack in stacks if (reason := second_key(stack, store)) is not None), None)


def _same_by_z3(stacks: Sequence[Sequence[Insns]], store: Store, a: int, b: int) -> bool:
    """Whether two diagrams that are not the same node have no system call that tells them apart: conditions may exclude each other."""
    from bpflens.classic.proof import fragment, z3_check

    if all(fragment.outside(insns, seccomp=True) is None for stack in stacks for insns in stack):
        return False
    question = z3_check.Question((), (), SECCOMP, None, True, True, _CEILING_S)
    return z3_check.diagrams_differ(question, store, a, b).found == "unsat"


def _stack(stack: Insns | Sequence[Insns]) -> Sequence[Insns]:
    return (stack,) if _is_program(stack) else stack


def _is_program(stack: Insns | Sequence[Insns]) -> TypeIs[Insns]:
    """Whether this is one program, whose items are instructions of four numbers."""
    return bool(stack and stack[0] and isinstance(stack[0][0], int))


def _changes(store: Store, arch: Arch, a: int, b: int, stacks: Sequence[Sequence[Insns]]) -> Iterator[Change]:
    names = syscall_names(arch.name)
    for number, name in sorted(names.items()):
        x, y = for_number(store, a, number), for_number(store, b, number)
        if x != y:
            yield _change(store, arch, number, number, name, x, y, stacks)
    named = sorted(names)
    unnamed: dict[tuple[int, int], list[tuple[int, int]]] = {}
    try:
        for first, last, x in pieces_of(store, a, numbers_of(arch)):
            for start, end, y in pieces_of(store, b, [(first, last)]):
                if x != y:
                    unnamed.setdefault((x, y), []).extend(without_names(start, end, named))
    except TooComplex:
        unnamed.clear()  # ranges without number: the witness of the whole still shows the difference
    for (x, y), ranges in unnamed.items():
        if ranges:
            first, last = max(ranges, key=lambda span: span[1] - span[0])
            yield _change(store, arch, first, last, None, x, y, stacks)._replace(more=len(ranges) - 1)


def _change(
    store: Store, arch: Arch, first: int, last: int, name: str | None, a: int, b: int, stacks: Sequence[Sequence[Insns]]
) -> Change:
    before, after = (describe_rule(store, arch, first, last, name, node) for node in (a, b))
    return Change(arch, before, after, _witness(store, a, b, stacks, arch, first))


def _witness(
    store: Store, a: int, b: int, stacks: Sequence[Sequence[Insns]], arch: Arch | None = None, number: int | None = None
) -> Witness | None:
    """Architecture, number and arguments, as far as they are not given, with which the two differ."""
    differs = FALSE
    for value in store.terminals(a):
        differs = store.disj(differs, store.diff(store.where(a, value), store.where(b, value)))
    path = store.path_to(differs, bool)
    if path is None:
        return None
    data = bytearray(64)
    for variable, (lowest, _) in path.items():
        field = store.field_of(variable)
        if field.base == DATA:
            data[field.offset] = lowest
    for given, start in ((number, 0), (arch.audit if arch else None, 4)):
        if given is not None:
            data[start : start + 4] = given.to_bytes(4, "big")
    words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, 64, 4)]
    big_endian = arch.big_endian if arch else not words[1] & 0x40000000  # __AUDIT_ARCH_LE
    args = []
    for offset in range(ARGS_OFFSET, 64, 8):
        place = Place.of(offset, big_endian)
        args.append(words[place.high // 4] << 32 | words[place.low // 4])
    x, y = (run_stack(stack, bytes(data)) for stack in stacks)
    return Witness(words[1], words[0], tuple(args), x, y, x != y)
