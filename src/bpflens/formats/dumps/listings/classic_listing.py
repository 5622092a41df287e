"""Classic code in assembler: the output of `tcpdump -d`, files in bpf_asm's syntax, and dumps of seccomp filters.

    (000) ldh      [12]                            start: ldh [12]      ; a comment
    (001) jeq      #0x800           jt 2	jf 3           jne #0x800, drop
"""

from __future__ import annotations

import re

from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.asm import MNEMONICS, assemble
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Program

__all__ = ("looks_like_bpf_asm", "read_bpf_asm", "read_seccomp_dump", "read_tcpdump")

_INSN = rf"\(\d{{3,7}}\)[ \t]+(?:{'|'.join(sorted(map(re.escape, MNEMONICS)))})\b"
_LINE = re.compile(  # some mails and trackers join lines
    rf"(?:^[ \t]*|(?<=[^\n])(?={_INSN}))\((\d{{3,7}})\)[ \t]+[a-z.]\S*(?:(?!{_INSN})[^\n])*", re.MULTILINE
)
_SECCOMP_LINE = re.compile(
    r"^[ \t]*(L?[0-9a-f]{4,5}): (?:0x)?([0-9a-f]{2}) (?:0x)?([0-9a-f]{2}) (?:0x)?([0-9a-f]{2}) (?:0x)?([0-9a-f]{8})(?:[ \t][^\n]*)?$",
    re.MULTILINE,
)
_FIRST_WORD = re.compile(r"(?>\s+|;[^\n]*|/\*(?:[^*]|\*(?!/))*+\*/|^#[^\n]*|[A-Za-z_][\w.]*[ \t]*:)*+([A-Za-z.]\w*)", re.MULTILINE)


def read_tcpdump(text: SourceText) -> list[Program]:
    """Every listing of `tcpdump -d`: a run of lines numbered from (000), which other lines may interrupt."""
    runs: list[list[re.Match[str]]] = []
    for line in _LINE.finditer(text.body):
        index = int(line[1])
        if index == 0:
            runs.append([])
        elif not runs or index != len(runs[-1]):
            text.fail(line.start(), f"instruction ({line[1]}) where ({len(runs[-1]) if runs else 0:03d}) is expected")
        runs[-1].append(line)
    programs = []
    for run in runs:
        start, end = run[0].start(), run[-1].end()
        first = text.line_of(start)
        lines = [""] * (text.line_of(end - 1) - first + 1)
        for line in run:
            lines[text.line_of(line.start() + len(line[0]) - 1) - first] += " " + line[0]
        insns = assemble("\n".join(lines), text.where, first)
        programs.append(Program(Isa.CLASSIC, encode(insns), text.origin("tcpdump-d", start, end)))
    text.take([line.span() for run in runs for line in run])
    return programs


def read_seccomp_dump(text: SourceText) -> list[Program]:
    """Every table of seccomp-tools dump, ceccomp, scmp_bpf_disasm and `firejail --seccomp.print`:

         0001: 0x15 0x00 0x0f 0xc000003e  if (A != ARCH_X86_64) goto 0017
         0001: 15 01 00 c000003e   jeq ARCH_64 0003 (false 0002)

    The numbers are the program; the words behind them are not read. Lines are numbered in decimal, by firejail in hexadecimal, by ceccomp
    from L0001 on.
    """
    runs: list[list[re.Match[str]]] = []
    for line in _SECCOMP_LINE.finditer(text.body):
        number = line[1].removeprefix("L")
        first = 1 if line[1][0] == "L" else 0
        if int(number, 16) == first:
            runs.append([])
        expected = len(runs[-1]) + first if runs else first
        if not runs or number not in (f"{expected:04d}", f"{expected:04x}", f"{expected:05d}"):
            text.fail(line.start(), f"line {line[1]} where {expected:04d} is expected")
        runs[-1].append(line)
    programs = []
    for run in runs:
        code = encode(tuple(int(field, 16) for field in line.group(2, 3, 4, 5)) for line in run)
        origin = text.origin("seccomp-dump", run[0].start(), run[-1].end(), note="seccomp filter")
        programs.append(Program(Isa.CLASSIC, code, origin))
    text.take([line.span() for run in runs for line in run])
    return programs


def looks_like_bpf_asm(body: str) -> bool:
    """The first word behind comments and labels is an instruction of bpf_asm."""
    first = _FIRST_WORD.match(body)
    return first is not None and first[1].lower() in MNEMONICS


def read_bpf_asm(text: SourceText) -> list[Program]:
    """The whole text as one program of bpf_asm; [] where it does not begin as one, InputError where it does and goes wrong."""
    if not looks_like_bpf_asm(text.body):
        return []
    insns = assemble(text.body, text.where)
    start = len(text.body) - len(text.body.lstrip())
    program = Program(Isa.CLASSIC, encode(insns), text.origin("bpf_asm", start, len(text.body.rstrip())))
    text.take([(0, len(text.body))])
    return [program]
