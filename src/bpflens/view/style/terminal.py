"""A terminal that gets text and colours, and nothing that a file, a process or a program has put into a name.

    "bpf\\x1b[2J\\x1b[1mtest\\x1b[0m"   ──►   "bpf\\\\x1b[2J" and then "test" in bold

The views escape what they know to be foreign (view/style/printable.py); this is the net below them. Before pipes and files
stands a quicker one (stream.py): who looks at a log later has a terminal as well.
"""

from __future__ import annotations

import io
import re

__all__ = ("Terminal", "safe")

_UNSAFE = re.compile(
    "(\x1b\\[[0-9;]{0,32}m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def safe(text: str) -> str:
    """`text` with control characters and marks of writing direction escaped, but for line feeds, tabs and colours."""
    return _UNSAFE.sub(lambda found: found[1] or ascii(found[0])[1:-1], text)


class Terminal(io.TextIOWrapper):
    """Standard output or standard error where it is a terminal."""

    def write(self, text: str) -> int:
        """Write `safe(text)`."""
        super().write(safe(text))
        return len(text)
