"""The structured tree that becomes C: if, loops, switch, and gotos where nothing else says it.

    if r1 == 0 goto L; r0 = 1; L: exit     ──►   If(r1 != 0, then=(Simple(r0 = 1),)), Return(r0)

Nodes are immutable. They carry `slots`, the instructions that they came from, in ascending order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from bpflens.decompile.ir import Assign, Expr, Slots, Statement

__all__ = (
    "Break", "Case", "Continue", "DoWhile", "For", "ForEver", "Goto", "If", "Label", "Node", "Return", "Simple", "Switch", "Tree", "While",
    "walk",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Simple:
    """A statement."""

    statement: Statement

    @property
    def slots(self) -> Slots:
        """The instructions of the statement."""
        return self.statement.slots


@dataclass(frozen=True, slots=True)
class Return:
    """Leave the function with `value`."""

    value: Expr
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class If:
    """`then` where `condition` holds, else `other`."""

    condition: Expr
    then: Tree
    other: Tree = ()
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class ForEver:
    """A loop that only break, goto and return leave."""

    body: Tree
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class While:
    """`body` while `condition` holds."""

    condition: Expr
    body: Tree
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class DoWhile:
    """`body`, and again while `condition` holds. `body` has no continue."""

    condition: Expr
    body: Tree
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class For:
    """`first`; while `condition` holds: `body`, `step` (after continue, too)."""

    first: Assign | None
    condition: Expr
    step: Assign
    body: Tree
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A branch of a switch for `values`; () is the default."""

    values: tuple[int, ...]
    body: Tree


@dataclass(frozen=True, slots=True)
class Switch:
    """The case for `value`; a case does not run on into the next one."""

    value: Expr
    cases: tuple[Case, ...]
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Goto:
    """To the label of that number."""

    label: int
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Label:
    """Where gotos go."""

    label: int
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the innermost loop."""

    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Continue:
    """To the next round of the innermost loop."""

    slots: Slots = ()


Node: TypeAlias = Simple | Return | If | ForEver | While | DoWhile | For | Switch | Goto | Label | Break | Continue
Tree: TypeAlias = tuple[Node, ...]


def walk(tree: Tree) -> Iterator[Node]:
    """Every node of a tree, in the order of the text. Uses its own stack: trees may be 10,000 deep."""
    pending: list[Iterator[Node]] = [iter(tree)]
    while pending:
        for node in pending[-1]:
            yield node
            if isinstance(node, If):
                pending.append(iter((*node.then, *node.other)))
                break
            if isinstance(node, (ForEver, While, DoWhile, For)):
                pending.append(iter(node.body))
                break
            if isinstance(node, Switch):
                pending.append(iter([inner for case in node.cases for inner in case.body]))
                break
        else:
            pending.pop()
