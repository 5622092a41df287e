"""The opcode values that analyses compare with, in the kernel's spelling without BPF_ (include/uapi/linux/bpf.h, RFC 9669)."""

from __future__ import annotations

# classes
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
# sizes and modes of loads and stores
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
# modes that only the kernel makes (include/linux/filter.h): PROBE_MEM, PROBE_MEMSX, PROBE_MEM32, PROBE_MEM32SX, PROBE_ATOMIC, NOSPEC
PROBE_MEM, PROBE_MEMSX, PROBE_MEM32, PROBE_MEM32SX, PROBE_ATOMIC, NOSPEC = 0x20, 0x40, 0xA0, 0xC0, 0xE0, 0xC0
# arithmetic
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = (op << 4 for op in range(14))
# jumps
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE, JCOND = (op << 4 for op in range(15))
# source of the operand
K, X = 0x00, 0x08

LD_IMM64 = LD | IMM | DW
CALL_CODE = JMP | CALL
EXIT_CODE = JMP | EXIT
GOTO = JMP | JA
GOTOL = JMP32 | JA
MAY_GOTO = JMP | JCOND

# src of ld_imm64
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_BTF_ID, PSEUDO_FUNC, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE = range(1, 7)
# src of call
PSEUDO_CALL, PSEUDO_KFUNC_CALL = 1, 2

FETCH = 0x01
XCHG, CMPXCHG = 0xE1, 0xF1
LOAD_ACQ, STORE_REL = 0x100, 0x110

SIZE_BYTES = {W: 4, H: 2, B: 1, DW: 8}
SIZE_CODE = {4: W, 2: H, 1: B, 8: DW}

AX = 11  # BPF_REG_AX: the hidden register of the kernel's own rewriting; never in a program as loaded
# Linux 246ad6e5ee25 ("bpf: Introduce bpf register BPF_REG_PARAMS"), 7.2: r11 is the base of arguments beyond the fifth there, r12 hidden
PARAMS, AX_BESIDE_PARAMS = 11, 12
FP = 10
