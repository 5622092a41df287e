"""Classic code as numbers in fours: `code jt jf k`, the spelling that most tools print and take.

    12                                         tcpdump -ddd
    40 0 0 12
    ...
    4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0      xt_bpf, tc: the count in front
    0x28 0 0 12, 0x15 0 1 2048, ...                        a piece of ss -b
    [(0x28, 0, 0, 12), (0x15, 0, 1, 2048), ...]            a Python list
    [{40 0 0 12} {21 0 1 2048} ...]                        what Go prints of its structures

`parse` is what the readers of ss, tc and iptables use for the numbers that they find; `read` finds bare blocks of them. Lines
that mail has wrapped are put together again, because only the sequence of numbers counts. Bare numbers without a count are a program
only where they end in a `ret`, as every valid one does: other tables of numbers are none of ours.
"""

from __future__ import annotations

import re

from bpflens.errors import InputError
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.program import Isa, Program

__all__ = ("number", "parse", "read")

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|-?[0-9]+")
_BLOCK = re.compile(r"(?:^[ \t]*(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:[ \t,]+(?:0[xX][0-9a-fA-F]+|-?[0-9]+))*[ \t,]*(?:\n|\Z))+", re.MULTILINE)
_VALUE = r"(?:0[xX][0-9a-fA-F]{1,8}|-?[0-9]{1,10})"
_TUPLE = (
    rf"(?:[(\[]\s*{_VALUE}\s*,\s*{_VALUE}\s*,\s*{_VALUE}\s*,\s*{_VALUE}\s*[)\]]"
    rf"|\{{(?:\w+:)?{_VALUE} (?:\w+:)?{_VALUE} (?:\w+:)?{_VALUE} (?:\w+:)?{_VALUE}\}})"
)
_TUPLES = re.compile(rf"{_TUPLE}(?:\s*,?\s*{_TUPLE})*+")
_COMMAS = re.compile(r",[ \t]*[0-9a-fA-FxX]+[ \t]*,")
_BYTES = re.compile(r"\s*(?:[0-9a-fA-F]{2}\s+)*[0-9a-fA-F]{2}\s*\Z")


def number(token: str) -> int:
    """The value of a decimal or 0x number; negative ones, as some programs print k, are taken modulo 2^32. -1 where it is too long."""
    if len(token) > 20:
        return -1
    value = int(token, 16) if token[:2].lower() == "0x" else int(token)
    return value & 0xFFFFFFFF if -0x80000000 <= value < 0 else value


def parse(numbers: list[int], where: str) -> tuple[SockFilter, ...]:
    """Instructions of a flat list of numbers, four for each; InputError at `where` for a number that does not fit its field."""
    for index in range(0, len(numbers), 4):
        code, jt, jf, k = numbers[index : index + 4]
        if not (0 <= code <= 0xFFFF and 0 <= jt <= 0xFF and 0 <= jf <= 0xFF and 0 <= k <= 0xFFFFFFFF):
            raise InputError(where, f"insn {index // 4}: {code} {jt} {jf} {k} does not fit struct sock_filter (16, 8, 8 and 32 bits)")
    return tuple(SockFilter(*numbers[index : index + 4]) for index in range(0, len(numbers), 4))


def numbers_of(text: str) -> list[int]:
    """Every number of a piece of text, in order."""
    return [number(token) for token in _NUMBER.findall(text)]


def read(text: SourceText) -> list[Program]:
    """Programs in blocks of lines that hold nothing but numbers in fours, with or without a count in front."""
    programs: list[Program] = []
    taken = []
    for block in _BLOCK.finditer(text.body):
        if _BYTES.match(block[0]) or _COMMAS.search(block[0]):
            continue  # hex dump of bytes; a table of something else
        tokens = list(_NUMBER.finditer(block[0]))
        if len(tokens) < 4:
            continue
        values = [number(token[0]) for token in tokens]
        behind = block[0][tokens[0].end() :].lstrip(" \t")[:1]
        if behind in (",", "\n") and not (len(values) % 4 == 0 and 4 * values[0] >= len(values)):
            programs += _counted(text, block, tokens, values)
        elif _ends(values) or tokens[0][0].lower().startswith("0x"):
            programs.append(_uncounted(text, block, values))
        else:
            continue
        taken.append(block.span())
    text.take(taken)
    return programs + _tuples(text)


def _ends(values: list[int]) -> bool:
    """The last instruction, or what is whole of it, is a ret."""
    return values[(len(values) - 1) // 4 * 4] & 7 == 6


def _tuples(text: SourceText) -> list[Program]:
    """Numbers in brackets, four and four."""
    programs = []
    taken = []
    for run in _TUPLES.finditer(text.body):
        values = numbers_of(run[0])
        if _ends(values):
            programs.append(_uncounted(text, run, values))
            taken.append(run.span())
    text.take(taken)
    return programs


def _counted(text: SourceText, block: re.Match[str], tokens: list[re.Match[str]], values: list[int]) -> list[Program]:
    """Programs of a block in which each has its count in front."""
    programs = []
    at = 0
    while at < len(values):
        count, left = values[at], len(values) - at - 1
        start = block.start() + tokens[at].start()
        if not 0 < 4 * count <= left:
            what = f"cut: {left // 4} of {count} instructions" if 4 * count > left else f"says {count} instructions, but {left // 4} follow"
            text.fail(start, what)
        last = at + 4 * count
        line_end = block[0].find("\n", tokens[last].end())
        on_line = next((n for n in range(last + 1, len(tokens)) if 0 <= line_end < tokens[n].start()), len(tokens)) - at - 1
        if on_line > 4 * count:
            text.fail(start, f"says {count} instructions, but {on_line // 4} follow")
        insns = parse(values[at + 1 : last + 1], f"{text.where}:{text.line_of(start)}")
        source = "bytecode" if block[0][tokens[at].end() : tokens[at + 1].start()].strip() == "," else "tcpdump-ddd"
        programs.append(Program(Isa.CLASSIC, encode(insns), text.origin(source, start, block.start() + tokens[last].end())))
        at = last + 1
    return programs


def _uncounted(text: SourceText, block: re.Match[str], values: list[int]) -> Program:
    if len(values) % 4:
        text.fail(block.start(), f"{len(values)} numbers; an instruction has four (code jt jf k)")
    insns = parse(values, f"{text.where}:{text.line_of(block.start())}")
    return Program(Isa.CLASSIC, encode(insns), text.origin("numbers", *block.span()))
