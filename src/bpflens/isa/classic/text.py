"""Classic instructions as text.

Dialects that assemble back to the same instructions (asm.py):
* "kernel": the syntax of bpf_asm and bpf_dbg (tools/bpf of the kernel), every line labelled: `l1:\tjeq #0x800, l2, l5`
* "tcpdump": libpcap's bpf_image, as `tcpdump -d`: `(001) jeq      #0x800           jt 2\tjf 5`

Where the syntax cannot say a word (unknown code; in the kernel dialect a jump out of the program) the line is
`.insn 0x28, jt, jf, 0xc`, which bpflens reads back and bpf_asm does not know. Values in fields without meaning (libpcap leaves some in
k of `tax`) follow in a comment that begins with `;!` and that bpflens reads: `tax ;! k=0x5`.

Raw spellings of whole programs: "ss" (`ss -0 -b`), "dd" and "ddd" (tcpdump -dd, -ddd), "xt_bpf" (also tc's bytecode).
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import ANCILLARY_BY_OFFSET, BY_CODE, Form, targets, unused_fields

__all__ = ("DIALECTS", "format", "format_insn", "format_program")

DIALECTS = ("kernel", "tcpdump", "ss", "dd", "ddd", "xt_bpf", "raw")


def format(insns: Sequence[SockFilter], dialect: str = "kernel") -> list[str]:
    """One line per instruction in a dialect of `DIALECTS` ("raw" is "ss"); ValueError for any other."""
    count = len(insns)
    if dialect == "kernel":
        return [f"l{pc}:\t{_kernel(insn, pc, count)}" for pc, insn in enumerate(insns)]
    return [format_insn(insn, pc, dialect, count) for pc, insn in enumerate(insns)]


def format_insn(insn: SockFilter, pc: int = 0, dialect: str = "kernel", count: int | None = None) -> str:
    """One instruction. In the kernel dialect without its label; `count` is the program's length where it is known."""
    match dialect:
        case "kernel":
            return _kernel(insn, pc, count)
        case "tcpdump":
            return _tcpdump(insn, pc)
        case "ss" | "raw":
            return f"0x{insn.code:02x} {insn.jt} {insn.jf} {insn.k}"
        case "dd":
            return f"{{ 0x{insn.code:x}, {insn.jt}, {insn.jf}, 0x{insn.k:08x} }},"
        case "ddd" | "xt_bpf":
            return f"{insn.code} {insn.jt} {insn.jf} {insn.k}"
    raise ValueError(f"no classic dialect {dialect!r}; there are {', '.join(DIALECTS)}")


def format_program(insns: Sequence[SockFilter], dialect: str = "kernel") -> str:
    """The whole program as the dialect's own tool writes it, without a final newline."""
    lines = format(insns, dialect)
    match dialect:
        case "ss" | "raw":
            return f"bpf filter ({len(lines)}): " + "".join(f" {line}," for line in lines)
        case "ddd":
            return "\n".join((str(len(lines)), *lines))
        case "xt_bpf":
            return ",".join((str(len(lines)), *lines))
    return "\n".join(lines)


def _signed(k: int) -> int:
    return (k ^ 0x80000000) - 0x80000000


def _operand(template: str, k: int) -> str:
    return template.format(k=_signed(k), h=f"{k:#x}")


def _directive(insn: SockFilter) -> str:
    return f".insn {insn.code:#x}, {insn.jt}, {insn.jf}, {insn.k:#x}"


def _kernel(insn: SockFilter, pc: int, count: int | None) -> str:
    row = BY_CODE.get(insn.code)
    if row is None:
        return f"{_directive(insn)}\t; unknown code"
    text = row.mnemonic
    if row.form is Form.ABS and (anc := ANCILLARY_BY_OFFSET.get(insn.k)) is not None and anc.asm:
        text += f" {anc.asm}"
    elif row.form is Form.JA:
        text += f" l{targets(insn, pc)[0]}"
    elif row.operand:
        text += f" {_operand(row.operand, insn.k)}"
    outside = False
    if row.form in (Form.JA, Form.JUMP_K, Form.JUMP_X):
        where = targets(insn, pc)
        if row.form is not Form.JA:
            text += f", l{where[0]}, l{where[1]}"
        outside = count is not None and not all(0 <= target < count for target in where)
    if outside:
        return f"{_directive(insn)}\t; {text} (jumps out of the program)"
    return text + _unused(insn)


def _tcpdump(insn: SockFilter, pc: int) -> str:
    """As libpcap's bpf_image, but for what it prints as `unimp` and for unused fields, which it leaves out."""
    row = BY_CODE.get(insn.code)
    if row is None:
        op, _, fields = _directive(insn).partition(" ")
        return f"({pc:03d}) {op:<8} {fields}"
    template = row.operand if row.tcpdump is None else row.tcpdump
    operand = _operand(template, insn.k)
    if row.form is Form.JA:
        operand = str(_signed((pc + 1 + insn.k) & 0xFFFFFFFF))  # bpf_image adds in 32 bits
    elif row.form is Form.ABS and insn.k in ANCILLARY_BY_OFFSET:
        operand = f"[{ANCILLARY_BY_OFFSET[insn.k].tcpdump}]"
    if row.form in (Form.JUMP_K, Form.JUMP_X):
        jt, jf = targets(insn, pc)
        return f"({pc:03d}) {row.mnemonic:<8} {operand:<16} jt {jt}\tjf {jf}{_unused(insn)}"
    return f"({pc:03d}) {row.mnemonic:<8} {operand}{_unused(insn)}"


def _unused(insn: SockFilter) -> str:
    fields = unused_fields(insn)
    return f" ;! {' '.join(f'{name}={value:#x}' for name, value in fields.items())}" if fields else ""
