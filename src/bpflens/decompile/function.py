"""A function on its way through the passes: its blocks, then its variables and stack objects, then its tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpflens.decompile.ir import Block
from bpflens.decompile.tree import Tree

__all__ = ("Function", "StackObject", "Variable")


@dataclass(frozen=True, slots=True)
class Variable:
    """A C variable: `type` as C text ("__u32", "struct iphdr *"). `read`: its name was read from debug information, not inferred."""

    name: str
    type: str
    read: bool = False


@dataclass(frozen=True, slots=True)
class StackObject:
    """Bytes `start` to `start + size` of the frame as one C object: of BTF type `type_id`, else a struct of `members` (offset, size, name;
    a single one without a name is a plain number), else an array of bytes. `read`: its name was read from debug information. `chars`:
    the bytes are characters.
    """

    start: int
    size: int
    name: str
    type_id: int = 0
    members: tuple[tuple[int, int, str], ...] = ()
    read: bool = False
    chars: bool = False


@dataclass(slots=True)
class Function:
    """A function on its way through the passes.

    `blocks` by id, the entry first; `variables` by id once there are webs; `objects` by start in the frame; `arguments`: variable of
    each argument register that is read, by register; `tree` once it is structured.
    """

    name: str
    blocks: dict[int, Block]
    entry: int
    arity: int
    objects: dict[int, StackObject] = field(default_factory=dict)
    variables: dict[int, Variable] = field(default_factory=dict)
    arguments: Mapping[int, int] = field(default_factory=dict)
    tree: Tree = ()
