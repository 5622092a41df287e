"""Attacker of the symbolic check: mutants of programs, none of which may be called equal where a run tells it apart.

    python bench/soak_symbolic.py [--mutants 1000] [--inputs 200] [--seed 1] [C FILE OR DIRECTORY...]

A program is compiled in two ways. One instruction of the second is changed, and the check compares it with the first, so that mutants pass
through every stage: terms, alignment, z3. What is called equal is run beside the first by the oracle (the kernel's test runs, else the
interpreter). Mutants of the same code take the stage of terms. Exits with 1 where a run contradicts a proof.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from bpflens.errors import BpflensError
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Verdict
from bpflens.execute.subject import subject_of
from bpflens.execute.symbolic import Equality, prove_equal
from bpflens.formats.elf.programs import read_object
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, decode
from bpflens.program import Program
from symbolic_pairs import BASE, WAYS, compiled, entries, sources

ARITHMETIC = (op.ADD, op.SUB, op.MUL, op.OR, op.AND, op.XOR, op.LSH, op.RSH, op.ARSH, op.DIV, op.MOD)
CONDITIONS = (op.JEQ, op.JNE, op.JSET, op.JGT, op.JGE, op.JLT, op.JLE, op.JSGT, op.JSGE, op.JSLT, op.JSLE)


def mutated(insn: Insn, r: random.Random) -> Insn | None:
    """The instruction with one thing changed, None where nothing fits."""
    code, kind, k = insn.code, insn.code & 7, r.random()
    fields = {"dst": insn.dst, "src": insn.src, "off": insn.off, "imm": insn.imm}
    if kind in (op.ALU, op.ALU64):
        if code & 0xF0 == op.END:
            return Insn.make(code, **{**fields, "imm": r.choice([16, 32, 64])})
        if k < 0.35 and not code & op.X:
            return Insn.make(code, **{**fields, "imm": insn.imm + r.choice([1, -1, 8])})
        if k < 0.5:
            return Insn.make(code ^ 3, **fields)
        if k < 0.85:
            return Insn.make(code & 0x0F | r.choice(ARITHMETIC), **{**fields, "off": 0})
        return Insn.make(code, **{**fields, r.choice(["dst", "src"]) if code & op.X else "dst": r.randrange(10)})
    if kind in (op.JMP, op.JMP32):
        if code & 0xF0 in (op.CALL, op.EXIT, op.JA):
            return None
        if k < 0.5:
            return Insn.make(code & 0x0F | r.choice(CONDITIONS), **fields)
        if k < 0.8 and not code & op.X:
            return Insn.make(code, **{**fields, "imm": insn.imm + r.choice([1, -1, 256])})
        return Insn.make(code ^ 3, **fields) if k < 0.9 else Insn.make(code, **{**fields, "off": insn.off + 1})
    if code & 0xE0 == op.ATOMIC and kind == op.STX:
        return Insn.make(code, **{**fields, "imm": r.choice([0x00, 0x40, 0x50, 0xA0, 0x01, op.XCHG])})
    if kind in (op.LDX, op.ST, op.STX):
        if k < 0.4:
            return Insn.make(code, **{**fields, "off": insn.off + r.choice([1, -1, 2, 4])})
        if k < 0.7:
            return Insn.make(code & ~0x18 | r.choice([op.B, op.H, op.W, op.DW]), **fields)
        if kind == op.ST:
            return Insn.make(code, **{**fields, "imm": insn.imm + 1})
        if kind == op.STX and k < 0.85:
            return Insn.make(op.ALU64 | op.MOV, dst=9, imm=0)
        return Insn.make(code, **{**fields, "src": r.randrange(10)})
    return None


def mutant(object: bytes, program: Program, reach: range, r: random.Random) -> tuple[bytes, str] | None:
    """The object with one instruction of a program changed, and what was changed."""
    insns = decode(program.code)
    referring = {relocation.off_insns for relocation in program.relocations}
    for _ in range(20):
        slot = r.choice(reach)
        if slot in referring or slot - 1 in referring or insns[slot].code in (0, op.LD_IMM64):
            continue
        changed = mutated(insns[slot], r)
        if changed is not None and changed != insns[slot]:
            at = object.find(program.code) + 8 * slot
            out = object[:at] + changed.word.to_bytes(8, "little") + object[at + 8 :]
            return out, f"slot {slot}: {insns[slot]!r} -> {changed!r}"
    return None


def prove(a: bytes, b: bytes, section: str, function: str) -> Equality:
    """The check on one function of two objects."""
    first, second = read_object(a, "a"), read_object(b, "b")
    x, y = (next(p for p in programs if p.section == section) for programs in (first, second))
    return prove_equal(x, y, others_a=first, others_b=second, entry_a=function, entry_b=function)


def told_apart(a: bytes, b: bytes, function: str, inputs: int) -> tuple[str, str]:
    """(what the oracle says, why)."""
    try:
        found = compare(subject_of(a, "a", function), subject_of(b, "b", function), inputs=inputs)
    except BpflensError as error:
        return "not linked", str(error)
    return found.verdict.value, found.reason


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-I", action="append", default=[], dest="include")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    r = random.Random(options.seed)
    flags = [f"-I{directory}" for directory in options.include]
    pairs = []
    for name, source in sources(options.files).items():
        first = compiled(source, BASE, flags)
        for way in WAYS if first else ():
            second = compiled(source, way, flags)
            if second:
                pairs += [(name, way, first, second, *entry) for entry in entries(read_object(second, name))]
    table: Counter[tuple[str, str]] = Counter()
    wrong, made, start = 0, 0, time.process_time()
    while made < options.mutants:
        name, way, first, second, program, function, size = r.choice(pairs)
        found = mutant(second, program, range(function.start, function.start + size), r)
        if found is None:
            continue
        made += 1
        result = prove(first, found[0], program.section or "", function.name)
        if not result.proved:
            table[result.grade, result.reason.partition(":")[0] if result.grade == "unknown" else ""] += 1
            continue
        verdict, why = told_apart(first, found[0], function.name, options.inputs)
        table[f"proved by {result.method},", f"runs: {verdict}"] += 1
        if verdict == Verdict.DIFFERENT.value:
            wrong += 1
            print(f"CONTRADICTION: {name} by {way}, {function.name}, {found[1]}: {why}", flush=True)
    print(f"{made} mutants of {len(pairs)} pairs, {time.process_time() - start:.0f} s of CPU, {wrong} proofs contradicted")
    for (grade, reason), number in sorted(table.items()):
        print(f"{number:6} {grade} {reason}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
