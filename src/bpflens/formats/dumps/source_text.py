"""A text that may hold BPF programs: cleaned of what terminals and mail put around them, with the way back to the original lines.

    > l3:	bpf filter (4): 0x28 0 0 12,      cleaned: `bpf filter (4): 0x28 0 0 12,`     original line kept for Origin.line

Readers find programs by regular expressions over `body` and take the ranges that they have read; what is taken is blank for the next
reader. Everything is linear in the size of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping

from bpflens.errors import InputError
from bpflens.program import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ("SourceText", "is_text")

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*\x07")  # colours and titles of terminals
_QUOTE = re.compile(r"[ \t]*[>|][>| \t]*")  # mail, and what some trackers and chats make of it
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")  # Markdown
_PROMPT = re.compile(r"[ \t]*(?:\[[^\]\n]*\]|[\w@.:~/-]*)[ \t]?\$ ")  # a shell's prompt and command


def is_text(data: bytes) -> bool:
    """True where bytes are text: UTF-8 or UTF-16 with a mark, and hardly a control character. BPF code has a zero byte in eight.

    A name of any bytes (a process's comm in `ss -p`, a comment in Latin-1) does not make a text binary.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return len(data) % 2 == 0 and data.count(b"\0", 0, 4096) * 4 > min(len(data), 4096)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        if 0 in data or len(data.translate(None, bytes(range(128)))) * 10 > len(data):
            return False
    controls = sum(data.count(byte) for byte in range(32) if byte not in b"\t\n\v\f\r\x1b")
    return controls * 10 <= len(data)


class SourceText:
    """`body`: the cleaned text, same line numbers as the original. `where` names it in messages."""

    def __init__(self, data: bytes, where: str) -> None:
        """UTF-8 or marked UTF-16; undecodable bytes are replaced."""
        encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        text = data.decode(encoding, "replace")
        if "\r" in text and "\n" not in text:
            text = text.replace("\r", "\n")  # line ends of old Macs
        self.where = where
        self.originals = text.split("\n")
        self.body = "\n".join(map(_clean, self.originals))
        self._starts = [0]
        for line in self.body.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def line_of(self, offset: int) -> int:
        """Line number, from 1, of an offset in `body`."""
        return min(bisect_right(self._starts, offset), len(self.originals))

    def take(self, ranges: list[tuple[int, int]]) -> None:
        """Blank these ranges of `body` (in order, start to end), keeping its length and line breaks."""
        if not ranges:
            return
        parts, at = [], 0
        for start, end in ranges:
            parts.append(self.body[at:start])
            parts.append(re.sub(r"[^\n]", " ", self.body[start:end]))
            at = end
        parts.append(self.body[at:])
        self.body = "".join(parts)

    def fail(self, offset: int, reason: str, hint: str | None = None) -> NoReturn:
        """InputError about the line at `offset`."""
        raise InputError(f"{self.where}:{self.line_of(offset)}", reason, hint)

    def origin(
        self,
        source: str,
        start: int,
        end: int,
        linktype: str | None = None,
        given: tuple[str, ...] = (),
        note: str | None = None,
        row: Mapping[str, str] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Origin:
        """The origin of a program that was read from body[start:end]: original lines, first line number."""
        first, last = self.line_of(start), self.line_of(max(start, end - 1))
        original = "\n".join(line.rstrip("\r") for line in self.originals[first - 1 : last])
        return Origin(source, f"{self.where}:{first}", original, first, linktype, given, note, warnings, row=row or {})


def _clean(line: str) -> str:
    line = line.rstrip("\r").replace("\0", "").replace("\xa0", " ")
    if "\x1b" in line:
        line = _ESCAPE.sub("", line)
    if (">" in line or "|" in line) and (quote := _QUOTE.match(line)):
        line = line[quote.end() :]
    if _FENCE.match(line) or _PROMPT.match(line):
        return ""
    return line
