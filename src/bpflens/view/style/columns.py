"""A table fitted to the width of a terminal: important columns keep their place, long cells are cut with a mark.

    KIND           OBJECT         PROGRAM                     KIND           OBJECT     PROGRAM
    tcx/ingress    dev:enp1s0f0   12 handle_ingress   ──►     tcx/ingress    dev:enp…   12 handle_in…

A cell may begin with words that are never cut: it goes on in lines of its own instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bpflens.lean import NamedTuple

__all__ = ("Cell", "Column", "columns", "folded", "terminal_width")

_GAP = 2


class Cell(NamedTuple):
    """`keep`: how many characters from the start must stay whole; `style`: an SGR sequence for the cell ("1;31"), "" for none."""

    text: str
    keep: int = 0
    style: str = ""


class Column(NamedTuple):
    """`least`: the narrowest that the column may be made; 0: never cut. `middle`: cut in the middle, since the end tells as much."""

    title: str
    least: int = 0
    middle: bool = False
    optional: bool = False


def terminal_width(stream_fd: int = 1) -> int | None:
    """Columns of the terminal (COLUMNS has the last word); None where the output is no terminal: nothing is fitted then."""
    if not os.isatty(stream_fd):
        return None
    try:
        return int(os.environ["COLUMNS"]) or None
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(stream_fd).columns or None
    except OSError:
        return None


def columns(
    head: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None, color: bool, mark: str = "…",
    below: Sequence[Sequence[str]] = (), left_out: list[str] | None = None,
) -> Iterator[str]:  # fmt: skip
    """The lines of the table, title line first. `width` None: every cell whole. `mark` stands for what was cut. `below`: for each row
    lines that stand under it. `left_out` gets the titles of columns for which there is no room and that say something.
    """
    order = list(range(len(head)))
    widths = [max([len(column.title), *(len(row[number].text) for row in rows)]) for number, column in enumerate(head)]
    if width is not None:
        _narrow(head, widths, order, width)
        if left_out is not None:
            dropped = [number for number in range(len(head)) if number not in order]
            left_out += [head[number].title for number in dropped if any(row[number].text for row in rows)]
    last = order[-1]
    for number, row in enumerate([[Cell(column.title, style="1") for column in head], *rows]):
        parts: list[tuple[list[str], int, str]] = []
        for index in order:
            cell = row[index]
            room = widths[index] if width is not None or index != last else len(cell.text)
            parts.append((_lines(cell, room, head[index].middle, mark), 0 if index == last else room, cell.style))
        yield from _joined(parts, color)
        if below and number:
            yield from below[number - 1]


def _narrow(head: Sequence[Column], widths: list[int], order: list[int], width: int) -> None:
    """Take from the widest column that may give, one character at a time by arithmetic; leave optional columns out at the last."""

    def excess() -> int:
        return sum(widths[index] for index in order) + _GAP * (len(order) - 1) - width

    while excess() > 0:
        able = [index for index in order if head[index].least and widths[index] > max(head[index].least, len(head[index].title))]
        if not able:
            droppable = [index for index in order if head[index].optional]
            if not droppable:
                return
            order.remove(droppable[-1])
            continue
        widest = max(able, key=lambda index: widths[index])
        next_widest = max([widths[index] for index in able if index != widest] + [head[widest].least, len(head[widest].title)])
        give = max(min(excess(), widths[widest] - next_widest), 1)
        widths[widest] -= give


def _lines(cell: Cell, room: int, middle: bool, mark: str) -> list[str]:
    """The cell in its column: cut with the mark, or, as far as it must be kept, wrapped between words."""
    text = cell.text
    if len(text) <= room:
        return [text]
    if cell.keep:
        whole = _wrapped(text[: cell.keep], room)
        rest = text[cell.keep :].lstrip()
        space = room - len(whole[-1]) - 1
        if rest and space > 8:
            whole[-1] += " " + (rest if len(rest) <= space else rest[: space - len(mark)] + mark)
        elif rest:
            whole.append(rest if len(rest) <= room else rest[: room - len(mark)] + mark)
        return whole
    if middle and room > 12:
        end = (room - len(mark)) // 2
        return [text[: room - len(mark) - end] + mark + text[-end:]]
    return [text[: max(room - len(mark), 0)] + mark]


def _wrapped(text: str, room: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def _joined(parts: list[tuple[list[str], int, str]], color: bool) -> Iterator[str]:
    for number in range(max(len(lines) for lines, _, _ in parts)):
        text = ""
        for column, (lines, room, style) in enumerate(parts):
            piece = lines[number] if number < len(lines) else ""
            pad = " " * max(room - len(piece), 0)
            text += (" " * _GAP if column else "") + (f"\033[{style}m{piece}\033[0m" if color and style and piece else piece) + pad
        yield text.rstrip()


def folded(line: str, width: int | None, indent: int) -> list[str]:
    """A line in pieces no wider than a terminal, broken between words and hanging by `indent`. What has colours is left whole."""
    if width is None or len(line) <= width or "\033" in line or width < indent + _GAP:
        return [line]
    pieces: list[str] = []
    rest = line
    while len(rest) > width:
        lead = len(rest) - len(rest.lstrip())
        at = rest.rfind(" ", max(lead, indent if pieces or lead < indent else lead) + 1, width + 1)
        if at < 0:
            at = rest.find(" ", width)
            if at < 0:
                break
        pieces.append(rest[:at].rstrip())
        rest = " " * indent + rest[at:].lstrip()
    return [*pieces, rest]
