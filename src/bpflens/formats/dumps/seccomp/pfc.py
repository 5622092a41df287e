"""libseccomp's pseudo filter code, as seccomp_export_pfc(3) and `scmp_bpf_sim` print it.

    if ($arch == 3221225534)
      if ($syscall == 16)
        if ($a1.hi32 & 0x00000000 == 0)
          if ($a1.lo32 & 0xffffffff == 21522)
            action ERRNO(1);
      action ALLOW;
    action KILL;

The nesting is that of the indentation, as libseccomp has it; a branch that goes on with what follows may be empty. The code is made here
from the text: it decides as libseccomp's filter does, and is not the same code.
"""

from __future__ import annotations

import re

from bpflens.formats.dumps.seccomp.seccomp_code import ACTIONS, ARCH, ARG, NR, If, Return, Statement, Test, action_value, code_of
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import encode
from bpflens.isa.classic.syscalls import X32_BIT, find_arch
from bpflens.program import Isa, Program

__all__ = ("read",)

_LINE = re.compile(r"^([ \t]*)(if \((.*)\)|else|action ([A-Z_]+)(?:\((\d{1,10})\))?;)[ \t]*$", re.MULTILINE)
_SKIPPED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)+")
_FIELD = r"\$(?:(arch)|(syscall)|a([0-5])\.(hi32|lo32))"
_TEST = re.compile(rf"{_FIELD}(?: & (0x[0-9a-f]{{1,16}}|\d{{1,20}}))? (==|!=|>=|>|<=|<) (0x[0-9a-f]{{1,16}}|\d{{1,20}})\Z")
_MOST_NESTED = 64


def read(text: SourceText) -> list[Program]:
    """Every filter in the text: a run of statements that comments and blank lines may interrupt."""
    programs: list[Program] = []
    taken: list[tuple[int, int]] = []
    lines = list(_LINE.finditer(text.body))
    at = 0
    while at < len(lines):
        end = at + 1
        while end < len(lines) and _more(lines[at:end]) and _SKIPPED.fullmatch(text.body, lines[end - 1].end(), lines[end].start()):
            end += 1
        run = lines[at:end]
        if run[0][3] and run[0][3].lstrip().startswith("$"):
            statements, used = _block(text, run, 0, len(run[0][1].expandtabs()), 0)
            if used < len(run):
                text.fail(run[used].start(), "this line's indentation fits no condition above it")
            start, stop = run[0].start(), run[-1].end()
            if "arch x32" not in text.body:
                statements = [_without_x32(statement) for statement in statements]
            origin = text.origin("pfc", start, stop, "SECCOMP", note="seccomp filter, made from libseccomp's pseudo code")
            programs.append(Program(Isa.CLASSIC, encode(code_of(statements)), origin))
            taken.append((start, stop))
        at = end
    text.take(taken)
    return programs


def _without_x32(statement: Statement) -> Statement:
    """libseccomp's filters for x86_64 kill what comes by x32, and its pseudo code does not say so (src/gen_bpf.c, src/gen_pfc.c)."""
    x86_64 = (Test(ARCH, "==", find_arch("x86_64").audit),)
    if not isinstance(statement, If) or statement.tests != x86_64:
        return statement
    refusal = If((Test(NR, ">=", X32_BIT), Test(NR, "!=", 0xFFFFFFFF)), (Return(ACTIONS["KILL"]),))
    return If(x86_64, (refusal, *statement.body), statement.otherwise)


def _more(run: list[re.Match[str]]) -> bool:
    """A filter ends with an action at the outermost level."""
    return not (run[-1][4] and len(run[-1][1]) <= len(run[0][1]))


def _block(text: SourceText, run: list[re.Match[str]], at: int, indent: int, depth: int) -> tuple[list[Statement], int]:
    """The statements of one level from line `at` on, and the first line that is not of them."""
    if depth > _MOST_NESTED:
        text.fail(run[at].start(), f"conditions nested deeper than {_MOST_NESTED}")
    statements: list[Statement] = []
    while at < len(run) and len(run[at][1].expandtabs()) == indent:
        line = run[at]
        at += 1
        if line[4]:
            value = action_value(line[4].removeprefix("SCMP_ACT_"), int(line[5] or 0))
            if value is None:
                text.fail(line.start(), f"no action {line[4]}")
            statements.append(Return(value))
            continue
        deeper = len(run[at][1].expandtabs()) if at < len(run) else 0
        body: list[Statement] = []
        if deeper > indent:
            body, at = _block(text, run, at, deeper, depth + 1)
        elif line[3] is None or at >= len(run) or run[at][2] != "else":  # libseccomp leaves a branch that goes on empty
            text.fail(line.start(), "a condition without a body")
        if line[3] is not None:
            statements.append(If((_test(text, line),), tuple(body)))
        elif statements and isinstance(before := statements[-1], If) and not before.otherwise:
            statements[-1] = If(before.tests, before.body, tuple(body))
        else:
            text.fail(line.start(), "else without if")
    return statements, at


def _test(text: SourceText, line: re.Match[str]) -> Test:
    found = _TEST.match(line[3].strip())
    if found is None:
        text.fail(line.start(), f"cannot read the condition {line[3][:60]!r}")
    arch, _, argument, half, mask, op, value = found.groups()
    offset = ARCH if arch else NR if argument is None else ARG + 8 * int(argument) + 4 * (half == "hi32")
    number, under = _integer(value), _integer(mask) if mask else 0xFFFFFFFF
    if number > 0xFFFFFFFF or under > 0xFFFFFFFF:
        text.fail(line.start(), "a number of the condition does not fit in 32 bits")
    return Test(offset, op, number, under)


def _integer(text: str) -> int:
    return int(text, 10 if text.isdigit() else 16)
