"""The macros of include/uapi/linux/filter.h (classic) and include/linux/filter.h (extended) as data: name -> the fields that it fills."""

from __future__ import annotations

from typing import NamedTuple

from bpflens.program import Isa

__all__ = ("MACROS", "Macro")


class Macro(NamedTuple):
    """`fields` are expressions over the parameters for code, dst, src, off and imm, or for code, jt, jf and k of classic ones."""

    parameters: str
    fields: tuple[str, ...]
    isa: Isa = Isa.EXTENDED
    wide: bool = False


def _rows() -> dict[str, Macro]:
    """The macros of include/uapi/linux/filter.h (classic) and include/linux/filter.h (extended), as data."""
    rows = {
        "BPF_STMT": Macro("c k", ("c", "0", "0", "k"), Isa.CLASSIC),
        "BPF_JUMP": Macro("c k t f", ("c", "t", "f", "k"), Isa.CLASSIC),
        "BPF_ENDIAN": Macro("type d len", ("BPF_ALU | BPF_END | type", "d", "0", "0", "len")),
        "BPF_BSWAP": Macro("d len", ("BPF_ALU64 | BPF_END", "d", "0", "0", "len")),
        "BPF_LD_ABS": Macro("size imm", ("BPF_LD | size | BPF_ABS", "0", "0", "0", "imm")),
        "BPF_LD_IND": Macro("size s imm", ("BPF_LD | size | BPF_IND", "0", "s", "0", "imm")),
        "BPF_LDX_MEM": Macro("size d s off", ("BPF_LDX | size | BPF_MEM", "d", "s", "off", "0")),
        "BPF_LDX_MEMSX": Macro("size d s off", ("BPF_LDX | size | BPF_MEMSX", "d", "s", "off", "0")),
        "BPF_STX_MEM": Macro("size d s off", ("BPF_STX | size | BPF_MEM", "d", "s", "off", "0")),
        "BPF_ST_MEM": Macro("size d off imm", ("BPF_ST | size | BPF_MEM", "d", "0", "off", "imm")),
        "BPF_ATOMIC_OP": Macro("size op d s off", ("BPF_STX | size | BPF_ATOMIC", "d", "s", "off", "op")),
        "BPF_STX_XADD": Macro("size d s off", ("BPF_STX | size | BPF_ATOMIC", "d", "s", "off", "0")),
        "BPF_JMP_REG": Macro("op d s off", ("BPF_JMP | op | BPF_X", "d", "s", "off", "0")),
        "BPF_JMP_IMM": Macro("op d imm off", ("BPF_JMP | op | BPF_K", "d", "0", "off", "imm")),
        "BPF_JMP32_REG": Macro("op d s off", ("BPF_JMP32 | op | BPF_X", "d", "s", "off", "0")),
        "BPF_JMP32_IMM": Macro("op d imm off", ("BPF_JMP32 | op | BPF_K", "d", "0", "off", "imm")),
        "BPF_JMP_A": Macro("off", ("BPF_JMP | BPF_JA", "0", "0", "off", "0")),
        "BPF_JMP32_A": Macro("imm", ("BPF_JMP32 | BPF_JA", "0", "0", "0", "imm")),
        "BPF_CALL_REL": Macro("imm", ("BPF_JMP | BPF_CALL", "0", "BPF_PSEUDO_CALL", "0", "imm")),
        "BPF_EMIT_CALL": Macro("func", ("BPF_JMP | BPF_CALL", "0", "0", "0", "func")),
        "BPF_CALL_HELPER": Macro("func", ("BPF_JMP | BPF_CALL", "0", "0", "0", "func")),
        "BPF_CALL_KFUNC": Macro("off imm", ("BPF_JMP | BPF_CALL", "0", "BPF_PSEUDO_KFUNC_CALL", "off", "imm")),
        "BPF_EXIT_INSN": Macro("", ("BPF_JMP | BPF_EXIT", "0", "0", "0", "0")),
        "BPF_RAW_INSN": Macro("c d s off imm", ("c", "d", "s", "off", "imm")),
        "BPF_LD_IMM64": Macro("d imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "0", "0", "imm"), wide=True),
        "BPF_LD_IMM64_RAW": Macro("d s imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "s", "0", "imm"), wide=True),
        "BPF_LD_MAP_FD": Macro("d imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "BPF_PSEUDO_MAP_FD", "0", "imm"), wide=True),
    }
    for alu in ("ALU64", "ALU32"):
        cls = "BPF_ALU64" if alu == "ALU64" else "BPF_ALU"
        rows[f"BPF_{alu}_REG"] = Macro("op d s", (f"{cls} | op | BPF_X", "d", "s", "0", "0"))
        rows[f"BPF_{alu}_IMM"] = Macro("op d imm", (f"{cls} | op | BPF_K", "d", "0", "0", "imm"))
        rows[f"BPF_{alu}_REG_OFF"] = Macro("op d s off", (f"{cls} | op | BPF_X", "d", "s", "off", "0"))
        rows[f"BPF_{alu}_IMM_OFF"] = Macro("op d imm off", (f"{cls} | op | BPF_K", "d", "0", "off", "imm"))
        mov = "MOV64" if alu == "ALU64" else "MOV32"
        rows[f"BPF_{mov}_REG"] = Macro("d s", (f"{cls} | BPF_MOV | BPF_X", "d", "s", "0", "0"))
        rows[f"BPF_{mov}_IMM"] = Macro("d imm", (f"{cls} | BPF_MOV | BPF_K", "d", "0", "0", "imm"))
        rows[f"BPF_{mov}_RAW"] = Macro("type d s imm", (f"{cls} | BPF_MOV | type", "d", "s", "0", "imm"))
        rows[f"BPF_{mov.replace('MOV', 'MOVSX')}_REG"] = Macro("d s off", (f"{cls} | BPF_MOV | BPF_X", "d", "s", "off", "0"))
    return rows


MACROS = _rows()
