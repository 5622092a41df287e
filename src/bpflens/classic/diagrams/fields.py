"""What the variables of a diagram are: bits at a place that a classic program can load from."""

from __future__ import annotations

from bpflens.lean import NamedTuple

__all__ = ("LENGTH", "PACKET", "Base", "Field")


class Base(NamedTuple):
    """Where offsets count from.

    `region`: "packet" (start of the data), "link" (SKF_LL_OFF), "net" (SKF_NET_OFF), "data" (struct seccomp_data), "ancillary" (SKF_AD_OFF;
    the offset of a field is 4 times the SKF_AD_ number, plus the byte), "length" (skb->len), "room" (bytes captured from the base
    that `term` names on), "atom" (a condition that no single field decides; `term` is the condition, its value 0 or 1).
    `term`: the term of X that is added, None for a fixed place.
    """

    region: str
    term: object = None


class Field(NamedTuple):
    """`width` bits at byte `offset` from `base`, most significant byte first."""

    base: Base
    offset: int
    width: int


PACKET = Base("packet")
LENGTH = Field(Base("length"), 0, 32)
