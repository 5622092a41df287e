"""Text that comes from a file or from the kernel, made safe for a terminal and for one line.

    escape, [2J, line feed  ──►  \\x1b, [2J, \\n        names, comm, source lines, paths, BTF strings

Control characters would move the cursor or recolour the screen; a line feed would begin a line that an assembler reads; marks of
writing direction would show another order than the bytes have. All of them print as the escapes of a string literal.
"""

from __future__ import annotations

__all__ = ("printable",)


def printable(text: str) -> str:
    """`text` with everything escaped that is not printable (str.isprintable); tabs become spaces."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else ascii(c)[1:-1] for c in text)
