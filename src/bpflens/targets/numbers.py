"""Numbers that a user types: ids, processes, descriptors."""

from __future__ import annotations

__all__ = ("as_number",)

_MOST_DIGITS = 20


def as_number(text: str) -> int | None:
    """A decimal number below 2^32; None where the text is none. Python's int() raises for thousands of digits."""
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        return None
    value = int(text)
    return value if value < 1 << 32 else None
