"""Pipes and files get text without control characters, as a terminal does: a name may hold any byte, and a log is looked at later."""

from __future__ import annotations

import io

__all__ = ("Stream",)

_CONTROL_BYTES = bytes(byte for byte in (*range(32), 127) if byte not in b"\t\n")
_LEADS = (b"\xc2", b"\xe2\x80", b"\xe2\x81", b"\xed")  # of what `safe` escapes, in UTF-8


class Stream(io.TextIOWrapper):
    """Standard output or standard error where it is a pipe or a file: most text has nothing to escape, which is seen fast."""

    def __init__(self, below: io.TextIOWrapper) -> None:
        """Around the buffer of an open stream, which is kept: its end would close the buffer."""
        below.flush()
        self._below = below
        super().__init__(below.buffer, below.encoding, "backslashreplace")

    def write(self, text: str) -> int:
        """Write the text with control characters escaped, but for line feeds, tabs and colours."""
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw.translate(None, _CONTROL_BYTES)) != len(raw) or (not text.isascii() and any(lead in raw for lead in _LEADS)):
            from bpflens.view.style.terminal import safe

            super().write(safe(text))
        else:
            super().write(text)
        return len(text)
