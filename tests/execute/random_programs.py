"""Random programs that the verifier accepts: every arithmetic form on scalars, jumps forward, stack and context memory, atomics.

Registers r0 to r5 and r7 to r9 are scalars throughout, r6 is the context. The program ends with everything folded into r0.
"""

from __future__ import annotations

from random import Random

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import ROWS, Row

CTX_BYTES = 64
SCALARS = (0, 1, 2, 3, 4, 5, 7, 8, 9)
ALU = tuple(
    row for row in ROWS
    if row.value & 7 in (op.ALU, op.ALU64) and row.group not in ("internal", "llvm") and row.name != "addr_space_cast"
)  # fmt: skip
CONDITIONS = tuple(row for row in ROWS if row.control == "cond" and row.name != "may_goto")
STORES = tuple(row for row in ROWS if row.name.startswith(("stx", "st8", "st16", "st32", "st64")))
LOADS = tuple(row for row in ROWS if row.name.startswith(("ldx", "ldsx")))
ATOMICS = tuple(row for row in ROWS if row.name.startswith("atomic_"))
NUMBERS = (0, 1, 2, 7, 31, 32, 63, 255, 256, 65535, 0x7FFFFFFF, -1, -2, -(1 << 31))


def program(rnd: Random, length: int) -> list[int]:
    """The words of a program with `length` random instructions, that reads and changes a context of CTX_BYTES."""
    code = [Insn.make(op.ALU64 | op.MOV | op.X, 6, 1)]
    code += [Insn.make(op.LDX | op.MEM | op.DW, register, 6, 8 * (n % 8)) for n, register in enumerate(SCALARS)]
    code += [Insn.make(op.STX | op.MEM | op.DW, 10, rnd.choice(SCALARS), -8 * n) for n in range(1, 9)]
    body = [_instruction(rnd) for _ in range(length)]
    for at in rnd.sample(range(length), length // 6):
        body[at] = _filled(rnd, rnd.choice(CONDITIONS), off=rnd.randrange(min(12, length - at)))
    code += body
    for n, register in enumerate(SCALARS[1:]):
        code.append(Insn.make(op.ALU64 | (op.XOR if n & 1 else op.ADD) | op.X, 0, register))
        code.append(Insn.make(op.STX | op.MEM | op.DW, 6, register, 8 * n))
    code += [Insn.make(op.LDX | op.MEM | op.DW, 1, 10, -16), Insn.make(op.ALU64 | op.XOR | op.X, 0, 1)]
    code += [Insn.make(op.ALU64 | op.MOV | op.X, 1, 0), Insn.make(op.ALU64 | op.RSH | op.K, 1, imm=32)]
    code += [Insn.make(op.ALU64 | op.XOR | op.X, 0, 1), Insn.make(op.EXIT_CODE)]
    return [insn.word for insn in code]


def context(rnd: Random) -> bytes:
    """A context of numbers at the edges."""
    return b"".join(
        (rnd.choice(NUMBERS) & 0xFFFFFFFFFFFFFFFF if rnd.random() < 0.5 else rnd.getrandbits(64)).to_bytes(8, "little")
        for _ in range(CTX_BYTES // 8)
    )


def _instruction(rnd: Random) -> Insn:
    how = rnd.random()
    if how < 0.7:
        return _filled(rnd, rnd.choice(ALU))
    if how < 0.8:
        row = rnd.choice(STORES)
        register, off = _place(rnd, _size(row))
        return _filled(rnd, row, dst=register, off=off)
    if how < 0.92:
        row = rnd.choice(LOADS)
        register, off = _place(rnd, _size(row))
        return _filled(rnd, row, src=register, off=off)
    return _filled(rnd, rnd.choice(ATOMICS), dst=10, off=-8 * rnd.randrange(1, 9))


def _size(row: Row) -> int:
    return op.SIZE_BYTES[row.value & 0x18]


def _place(rnd: Random, size: int) -> tuple[int, int]:
    """(register, offset) of initialised memory: the stack, or the context."""
    if rnd.random() < 0.6:
        return 10, -size * rnd.randrange(1, 64 // size + 1)
    return 6, size * rnd.randrange(CTX_BYTES // size)


def _filled(rnd: Random, row: Row, *, dst: int | None = None, src: int | None = None, off: int | None = None) -> Insn:
    """The row with its free fields drawn: immediates that the verifier takes."""
    fixed = Insn(row.value)
    imm = fixed.imm
    if not row.mask >> 32:
        imm = rnd.choice(NUMBERS) if rnd.random() < 0.6 else rnd.getrandbits(32) - (1 << 31)
        if row.name.startswith(("lsh", "rsh", "arsh")):
            imm %= 64 if "64" in row.name else 32
        elif row.name.startswith(("div", "mod", "sdiv", "smod")) and imm == 0:
            imm = 3
    return Insn.make(
        fixed.code,
        fixed.dst if row.mask & 0xF00 else rnd.choice(SCALARS) if dst is None else dst,
        fixed.src if row.mask & 0xF000 else rnd.choice(SCALARS) if src is None else src,
        fixed.off if row.mask & 0xFFFF0000 else off or 0,
        imm,
    )


def graph(rnd: Random, blocks: int, fuel: int = 60) -> list[int]:
    """The words of a program whose blocks jump to any other: loops within loops, ways into the middle of loops, dead code. Each block costs
    one of `fuel`, in r9; without any the program ends. The verifier takes few of them, the interpreter all.
    """
    code = [Insn.make(op.ALU64 | op.MOV | op.X, 6, 1)]
    code += [Insn.make(op.LDX | op.MEM | op.DW, register, 6, 8 * (n % 8)) for n, register in enumerate(SCALARS)]
    code.append(Insn.make(op.ALU64 | op.MOV | op.K, 9, imm=fuel))
    plain = [row for row in ALU if "div" not in row.name and "mod" not in row.name]
    conditions = [row for row in CONDITIONS if row.name != "may_goto"]
    made: list[list[Insn]] = []
    for number in range(blocks):
        body = [_no_fuel(rnd, plain) for _ in range(rnd.randrange(4))]
        if rnd.random() < 0.3:
            body.append(Insn.make(op.STX | op.MEM | op.DW, 6, rnd.choice((0, 1, 2, 3, 4, 5, 7, 8)), 8 * (number % 8)))
        body += [Insn.make(op.ALU64 | op.ADD | op.K, 9, imm=-1), Insn.make(op.JMP | op.JSLE | op.K, 9)]
        if rnd.random() < 0.75:
            body.append(_filled(rnd, rnd.choice(conditions)))
        if rnd.random() < 0.3:
            body.append(Insn.make(op.GOTO))
        made.append(body)
    starts = [len(code)]
    for body in made:
        starts.append(starts[-1] + len(body))
    end = starts.pop()
    for body in made:
        for insn in body:
            if insn.code & 7 in (op.JMP, op.JMP32):
                target = end if insn.code == op.JMP | op.JSLE | op.K and insn.dst == 9 and not insn.imm else rnd.choice(starts)
                insn = Insn.make(insn.code, insn.dst, insn.src, target - len(code) - 1, insn.imm)
            code.append(insn)
    for register in (1, 2, 3, 4, 5, 7, 8):
        code += [Insn.make(op.ALU64 | op.MUL | op.K, 0, imm=31), Insn.make(op.ALU64 | op.ADD | op.X, 0, register)]
    code.append(Insn.make(op.EXIT_CODE))
    return [insn.word for insn in code]


def _no_fuel(rnd: Random, rows: list[Row]) -> Insn:
    """An instruction that leaves r9 alone."""
    return _filled(rnd, rnd.choice(rows), dst=rnd.choice((0, 1, 2, 3, 4, 5, 7, 8)), src=rnd.choice((0, 1, 2, 3, 4, 5, 7, 8)))
