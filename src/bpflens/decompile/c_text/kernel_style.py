"""The kernel's style: no braces around a single statement (Documentation/process/coding-style.rst, 3), labels with a name (7).

    if (!p) {              if (!p)
        return 0;    ──►       return 0;
    }

Where one branch of an if needs braces, all have them. The last label of a function that is outside of all blocks is called "out", the
others are numbered. Cost: linear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpflens.decompile.result import Line

__all__ = ("named_labels", "without_braces")

_LABEL = re.compile(r"(\t*)(L\d+):;").fullmatch
_GOTO = re.compile(r"(\t+goto )(L\d+);").fullmatch
_HEADS = ("if (", "while (", "for (")


def named_labels(lines: Sequence[Line]) -> list[Line]:
    """The lines of a function with other names for its labels, and no empty statement behind them where another follows."""
    found = [match for line in lines if (match := _LABEL(line.text)) is not None]
    names = {match[2]: f"L{number}" for number, match in enumerate(found, 1)}
    if found and not found[-1][1]:
        names[found[-1][2]] = "out"
    out: list[Line] = []
    for at, line in enumerate(lines):
        if (label := _LABEL(line.text)) is not None:
            ends = at + 1 == len(lines) or lines[at + 1].text.lstrip("\t").startswith(("}", "case", "default:"))
            out.append(Line(f"{label[1]}{names[label[2]]}:{';' if ends else ''}", line.slots))
        elif (goto := _GOTO(line.text)) is not None and goto[2] in names:
            out.append(Line(f"{goto[1]}{names[goto[2]]};", line.slots))
        else:
            out.append(line)
    return out


def without_braces(lines: Sequence[Line]) -> list[Line]:
    """The lines of a function with the braces left out that need not be."""
    out: list[Line] = []
    at = 0
    while at < len(lines):
        bodies = _single_bodies(lines, at)
        if not bodies:
            out.append(lines[at])
            at += 1
            continue
        for number in range(bodies):
            head = lines[at + 2 * number]
            text = head.text[:-2].replace("} else", "else", 1) if number else head.text[:-2]
            out += [Line(text, head.slots), lines[at + 2 * number + 1]]
        at += 2 * bodies + 1
    return out


def _single_bodies(lines: Sequence[Line], at: int) -> int:
    """How many branches an if or loop at a line has, where each is one statement; else 0."""
    head = lines[at].text
    pad = head[: len(head) - len(head.lstrip("\t"))]
    if not head.endswith(" {") or not head[len(pad) :].startswith(_HEADS):
        return 0
    bodies = 0
    while at + 2 < len(lines):
        body = lines[at + 1].text
        if not body.startswith(pad + "\t") or body[len(pad) + 1] in "\tL}" or not body.endswith(";") or body.endswith(":;"):
            return 0
        bodies += 1
        after = lines[at + 2].text
        if after == pad + "}":
            return bodies
        if not after.startswith(pad + "} else") or not after.endswith(" {"):
            return 0
        at += 2
    return 0
