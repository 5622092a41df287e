"""The assemblers of seccomp-tools and ceccomp: a seccomp filter as assignments, comparisons and labels.

    A = arch
    A == ARCH_X86_64 ? next : dead           if (A != ARCH_X86_64) goto dead
    A = sys_number                           A = args[0] >> 32
    A == write ? ok : next
    return ERRNO(5)
    ok: return ALLOW
    dead: return KILL

ceccomp writes `$A = $syscall_nr` and `$A = $high_args[0]`. Names of system calls are those of the architecture that the text names last;
`next` is the following instruction.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bpflens.errors import InputError
from bpflens.formats.dumps.seccomp.seccomp_code import ARCH, ARG, NR, action_value
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.syscalls import Arch, find_arch, syscall_number
from bpflens.program import Isa, Program

__all__ = ("looks_like_seccomp_asm", "read")

_SIGN = re.compile(
    r"^[ \t]*(?:\w+:[ \t]*)?\$?A[ \t]*=[ \t]*\$?(?:arch|sys_number|syscall_nr|(?:low_|high_)?args(?:_h)?\[\d\])", re.MULTILINE
)
_DOLLAR = re.compile(r"\$(?=[A-Za-z])")  # ceccomp marks registers and data so
_COMMENT = re.compile(r"#[^\n]*")
_LABEL = re.compile(r"[ \t]*([A-Za-z_]\w*)[ \t]*:(?!=)")
_TERNARY = re.compile(r"(.+?)\?\s*([A-Za-z_]\w*)\s*:\s*([A-Za-z_]\w*)\s*\Z")
_IF = re.compile(r"if\s*\((.+)\)\s*goto\s+([A-Za-z_]\w*)(?:\s*,?\s*else\s+(?:goto\s+)?([A-Za-z_]\w*))?\s*\Z")
_COMPARE = re.compile(r"(!?)\s*\(?\s*A\s*(==|!=|>=|<=|>|<|&)\s*([\w.]+)\s*\)?\s*\Z")
_ASSIGN = re.compile(r"(A|X|mem\[(?:0x)?[0-9a-fA-F]{1,2}\])\s*(<<|>>|[-+*/&|^])?=\s*(.+)\Z")
_SHIFTED = re.compile(r"args\[([0-5])\]\s*>>\s*32\Z")
_ACTION = re.compile(r"(?:return|ret)\s+([A-Za-z_]+|0[xX][0-9a-fA-F]{1,8}|\d{1,10})(?:\s*\((\w+)\))?\s*\Z")
_MEMORY = re.compile(r"mem\[((?:0x)?[0-9a-fA-F]{1,2})\]\Z")
_ALU = {"+": 0x00, "-": 0x10, "*": 0x20, "/": 0x30, "|": 0x40, "&": 0x50, "<<": 0x60, ">>": 0x70, "^": 0xA0}
_JUMPS = {
    "==": (0x15, False), "!=": (0x15, True), ">": (0x25, False), "<=": (0x25, True), ">=": (0x35, False), "<": (0x35, True),
    "&": (0x45, False),
}  # fmt: skip
_ARCHES = {"x86_64": "x86_64", "amd64": "x86_64", "i386": "i386", "aarch64": "arm64", "s390x": "s390x"}


class _Line(NamedTuple):
    text: str
    at: int  # offset in the body


def looks_like_seccomp_asm(body: str) -> bool:
    """The accumulator is loaded from the system call's data by name."""
    return _SIGN.search(body) is not None


def read(text: SourceText) -> list[Program]:
    """The whole text as one filter; InputError for a line that is no statement, or a label that is none."""
    if not looks_like_seccomp_asm(text.body):
        return []
    lines: list[_Line] = []
    labels: dict[str, int] = {}
    for match in re.finditer(r"[^\n]+", _COMMENT.sub(lambda found: " " * len(found[0]), text.body)):
        line, at = _DOLLAR.sub(" ", match[0]), match.start()
        while (label := _LABEL.match(line)) and "?" not in line[: label.end()]:
            labels[label[1]] = len(lines)
            line, at = line[label.end() :], at + label.end()
        if line.strip():
            lines.append(_Line(line.strip(), at + len(line) - len(line.lstrip())))
    assembler = _Assembler(text, lines, labels)
    insns = [assembler.insn(pc) for pc in range(len(lines))]
    start, end = lines[0].at, len(text.body.rstrip())
    text.take([(0, len(text.body))])
    return [Program(Isa.CLASSIC, encode(insns), text.origin("seccomp-asm", start, end, "SECCOMP", note="seccomp filter"))]


class _Assembler:
    def __init__(self, text: SourceText, lines: list[_Line], labels: dict[str, int]) -> None:
        self.text, self.lines, self.labels = text, lines, labels
        self.arch: Arch = find_arch("x86_64")

    def insn(self, pc: int) -> SockFilter:
        """The instruction of statement `pc`; each statement is one."""
        line = self.lines[pc].text
        if found := _ACTION.match(line):
            return self.ret(pc, found)
        if line.startswith("goto "):
            return SockFilter(0x05, 0, 0, self.skip(pc, line[5:].strip(), 1 << 32))
        if found := _TERNARY.match(line):
            return self.jump(pc, found[1], found[2], found[3])
        if found := _IF.match(line):
            return self.jump(pc, found[1], found[2], found[3] or "next")
        if found := _ASSIGN.match(line):
            return self.assign(pc, found[1], found[2], found[3].strip())
        return self.fail(pc, f"no statement: {line[:40]!r}")

    def fail(self, pc: int, reason: str) -> SockFilter:
        """Refuse statement `pc`."""
        self.text.fail(self.lines[pc].at, reason)

    def ret(self, pc: int, found: re.Match[str]) -> SockFilter:
        if found[1].upper() == "A":
            return SockFilter(0x16, 0, 0, 0)
        if found[1][0].isdigit():
            return SockFilter(0x06, 0, 0, _integer(found[1]) & 0xFFFFFFFF)
        value = action_value(found[1].upper(), self.number(pc, found[2]) if found[2] else 0)
        return self.fail(pc, f"no action {found[1]}") if value is None else SockFilter(0x06, 0, 0, value)

    def jump(self, pc: int, condition: str, true: str, false: str) -> SockFilter:
        found = _COMPARE.match(condition.strip())
        if found is None:
            return self.fail(pc, f"cannot read the condition {condition.strip()[:40]!r}")
        code, inverted = _JUMPS[found[2]]
        register = found[3] == "X"
        value = 0 if register else self.number(pc, found[3])
        jt, jf = self.skip(pc, true, 256), self.skip(pc, false, 256)
        if inverted != bool(found[1]):
            jt, jf = jf, jt
        return SockFilter(code | 8 * register, jt, jf, value)

    def assign(self, pc: int, to: str, op: str | None, value: str) -> SockFilter:
        if op is not None:
            if to != "A":
                return self.fail(pc, "only A is computed with")
            return SockFilter(0x0C | _ALU[op], 0, 0, 0) if value == "X" else SockFilter(0x04 | _ALU[op], 0, 0, self.number(pc, value))
        if to.startswith("mem"):
            if value not in ("A", "X"):
                return self.fail(pc, "only A and X are stored")
            return SockFilter(0x02 + (value == "X"), 0, 0, _integer(to[4:-1]))
        if value in ("A", "X") and value != to:
            return SockFilter(0x87 if to == "A" else 0x07, 0, 0, 0)
        if value == "-A":
            return SockFilter(0x84, 0, 0, 0)
        if value in ("len", "sizeof(struct seccomp_data)"):
            return SockFilter(0x80 + (to == "X"), 0, 0, 0)
        if found := _MEMORY.match(value):
            return SockFilter(0x60 + (to == "X"), 0, 0, _integer(found[1]))
        offset = _offset(value)
        if offset is not None:
            return SockFilter(0x20, 0, 0, offset) if to == "A" else self.fail(pc, "only A is loaded from the system call's data")
        return SockFilter(0x00 + (to == "X"), 0, 0, self.number(pc, value))

    def skip(self, pc: int, label: str, limit: int) -> int:
        target = pc + 1 if label == "next" else self.labels.get(label, -1)
        if target < 0:
            self.fail(pc, f"no label {label!r}")
        if not 0 <= target - pc - 1 < limit or target >= len(self.lines):
            self.fail(pc, f"label {label!r} cannot be reached: a jump spans 0 to {limit - 1} instructions ahead")
        return target - pc - 1

    def number(self, pc: int, token: str) -> int:
        """A number, an architecture, or a system call of the last architecture that was named."""
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|\d{1,10}", token):
            return _integer(token) & 0xFFFFFFFF
        try:
            if token.startswith("ARCH_"):
                self.arch = find_arch(_ARCHES.get(token[5:].lower(), token[5:].lower()))
                return self.arch.audit
            arch, _, name = token.rpartition(".")
            return syscall_number(_ARCHES.get(arch, arch) or self.arch.name, name.removeprefix("__NR_"))
        except InputError:
            self.fail(pc, f"{token[:40]!r} is neither a number nor a system call of {self.arch.name}")
        return 0


def _integer(text: str) -> int:
    return int(text, 10 if text.isdigit() else 16)


def _offset(value: str) -> int | None:
    if value in ("arch", "sys_number", "syscall_nr"):
        return ARCH if value == "arch" else NR
    if value in ("instruction_pointer", "instruction_pointer >> 32", "low_pc", "high_pc"):
        return 12 if ">>" in value or value == "high_pc" else 8
    if found := _SHIFTED.match(value):
        return ARG + 8 * int(found[1]) + 4
    found = re.match(r"(?:low_)?args\[([0-5])\]\Z", value)
    high = re.match(r"(?:args_h|high_args)\[([0-5])\]\Z", value)
    return ARG + 8 * int(high[1]) + 4 if high else ARG + 8 * int(found[1]) if found else None
