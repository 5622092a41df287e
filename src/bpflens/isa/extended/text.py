"""An extended instruction as text, in three dialects.

    kernel   r0 = *(u32 *)(r1 +4)         as the verifier log and bpftool print it (kernel/bpf/disasm.c, Linux 6.18)
    llvm     r0 = *(u32 *)(r1 + 0x4)      as llvm-objdump prints it (LLVM 19 to 21), with r for plain loads and stores
    raw      { 0x61, 0, 1, 4, 0 },        an initialiser of struct bpf_insn

Whatever is printed in `kernel` or `llvm` is read back by asm.py to the same bytes. Where the models print two instructions alike,
or print none, this prints more: helper, function and kfunc calls differ; an unknown word is `.quad 0x...`.
"""

from __future__ import annotations

from bpflens.isa.extended.fields import compile_template
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import Row, lookup

__all__ = ("DIALECTS", "format_insn", "format_word", "is_pair", "with_name")

DIALECTS = ("kernel", "llvm", "raw")

_SECOND_SLOT = 0xFFFFFFFF  # all but imm must be zero in the second slot of ld_imm64


def format_insn(insn: Insn, next_insn: Insn | None = None, dialect: str = "kernel", xlated: bool = False) -> str:
    """The text of one instruction.

    `next_insn` is the following slot, which completes ld_imm64 (without it ld_imm64 prints as an unknown word). `xlated` says
    that map references hold ids, as in a program that was loaded, and not descriptors. Jump targets are relative.
    """
    following = None if next_insn is None else next_insn.word
    return format_word(insn.word, following, dialect, "id" if xlated else "fd")


def is_pair(word: int, following: int | None) -> bool:
    """Do these two slots make one ld_imm64?"""
    if word & 0xFF != 0x18 or following is None or following & _SECOND_SLOT:
        return False
    row = lookup(word)
    return row is not None


def format_word(word: int, following: int | None = None, dialect: str = "kernel", map_by: str = "fd") -> str:
    """As `format_insn`, of 64-bit words; `map_by` is "fd" or "id"."""
    if dialect == "raw":
        return _raw(word)
    row = lookup(word)
    if row is None:
        return f".quad {word:#018x}"
    if row.slots == 1:
        return compile_template(row.kernel if dialect == "kernel" else row.llvm)(word, 0, map_by)
    if following is None or following & _SECOND_SLOT:
        return f".quad {word:#018x}"
    return compile_template(_template(row, dialect))(word, following, map_by)


def with_name(text: str, name: str) -> str:
    """The kernel dialect's text of a helper or kfunc call with the name of what is called, where the number alone does not say it."""
    if not name:
        return text
    return text.replace("call unknown#", f"call {name}#", 1).replace("call kernel-function#", f"call kfunc {name}#", 1)


def _template(row: Row, dialect: str) -> str:
    return row.kernel if dialect == "kernel" else row.llvm


def _raw(word: int) -> str:
    off = (word >> 16 & 0xFFFF ^ 0x8000) - 0x8000
    imm = (word >> 32 ^ 0x80000000) - 0x80000000
    return f"{{ {word & 0xFF:#04x}, {word >> 8 & 15}, {word >> 12 & 15}, {off}, {imm} }},"
