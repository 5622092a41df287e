"""What a condition claims, in a form that a run can be held against. Words and claim are made at one place, from the same facts.

    "the TTL is below 5"                              Relation(bits of byte 22 of the packet, "<", 5)
    "map h4blk has an entry for the TCP ..."          HasEntry("h4blk", key bytes, there=True)
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import Bits

__all__ = ("Between", "Claim", "Gives", "HasEntry", "KeyPart", "Length", "Relation", "compare")


class Relation(NamedTuple):
    """Two numbers stand in a relation: `op` of == != < <= > >=; `size` in bytes, for signed comparisons."""

    left: Bits
    op: str
    right: Bits
    signed: bool
    size: int


class Between(NamedTuple):
    """A number is from `low` to `high` (or, not `inside`, is not)."""

    number: Bits
    low: int
    high: int
    inside: bool


class KeyPart(NamedTuple):
    """Bytes `at` to `at + size - 1` of a key."""

    at: int
    size: int
    bits: Bits


class HasEntry(NamedTuple):
    """A map has (or has not) an entry for a key, as the call at `slots` finds; `parts` are () where the key is not known."""

    map: str
    key_size: int
    parts: tuple[KeyPart, ...]
    there: bool
    slots: ir.Slots


class Gives(NamedTuple):
    """The result of the call at `slots`, a signed number of 64 bits, stands in a relation to a number."""

    name: str
    slots: ir.Slots
    op: str
    value: int


class Length(NamedTuple):
    """The packet, from where the program sees it, has at least (or, `shorter`, fewer than) so many bytes."""

    size: int
    shorter: bool


Claim: TypeAlias = Relation | Between | HasEntry | Gives | Length


def compare(left: int, op: str, right: int) -> bool:
    """Whether two numbers stand in a relation."""
    match op:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
    return left >= right
