"""The colours of everything that is printed, by meaning."""

from __future__ import annotations

__all__ = ("BAD", "DIM", "DOUBT", "GOOD", "HEADING", "LABEL", "NOTE", "OFF", "REFERENCE", "painted")

OFF = "\x1b[0m"
HEADING = "\x1b[1m"
DIM = "\x1b[2m"
LABEL = "\x1b[33m"  # of jump targets
REFERENCE = "\x1b[36m"  # <L12>, <function>
NOTE = "\x1b[32m"  # what stands beside an instruction
GOOD, BAD, DOUBT = "\x1b[32m", "\x1b[31m", "\x1b[33m"


def painted(text: str, colour: str, on: bool = True) -> str:
    """The text in a colour, where colours are on."""
    return f"{colour}{text}{OFF}" if on else text
