"""The global options, as every verb receives them."""

from __future__ import annotations

from bpflens.lean import NamedTuple

__all__ = ("Settings",)


class Settings(NamedTuple):
    """`json`: JSON Lines wanted; `color`: decided already; `verbosity`: number of -v; `pager`: one may be used."""

    json: bool = False
    color: bool = False
    verbosity: int = 0
    pager: bool = True
