"""Random programs come back as C that computes the same (bench/soak_decompile.py runs more of them, in the kernel)."""

from __future__ import annotations

import subprocess
from random import Random

import pytest

import needs
from bpflens.decompile.decompile import decompile_unit
from bpflens.decompile.result import Level
from bpflens.decompile.unit import make_unit
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Input, Scene, Verdict
from bpflens.execute.subject import Subject, subjects, to_program
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from execute import random_programs

SYSCALL = 31


def same(words, tmp_path, scenes, level=Level.STRUCTURED):
    original = Subject(tuple(words), SYSCALL)
    made = decompile_unit(make_unit([to_program(original)], "random"), level)
    assert [f.level for f in made.functions] == [level]
    (tmp_path / "x.c").write_text(made.text())
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-c", str(tmp_path / "x.c"), "-o", str(tmp_path / "x.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (candidate,) = subjects((tmp_path / "x.o").read_bytes(), "x.o").values()
    result = compare(original, candidate, inputs=scenes, engine="interpreter")
    assert result.verdict is Verdict.EQUAL, result.reason


@pytest.mark.parametrize("seed", [1000000, 1000011, 2000000, 2000013, 2000034, 3000005])
def test_random_programs(tmp_path, seed):
    """Seeds that once were wrong: shifts by 32 and more of what C computes in 32 bits, an atomic addition of nothing."""
    rnd = Random(seed)
    words = random_programs.program(rnd, 60)
    same(words, tmp_path, [Scene((Input(ctx=random_programs.context(rnd)),)) for _ in range(20)])


@pytest.mark.parametrize(("seed", "blocks"), [(1000017, 12), (1000031, 12), (1000032, 12), (6000000, 24)])
def test_random_graphs(tmp_path, seed, blocks):
    """Loops within loops, ways into the middle of loops. Once a loop's exit fell out of the function, and a block was written twice."""
    rnd = Random(seed)
    words = random_programs.graph(rnd, blocks)
    same(words, tmp_path, [Scene((Input(ctx=random_programs.context(rnd)),)) for _ in range(20)])


@pytest.mark.parametrize("operation", [op.DIV, op.MOD])
def test_signed_division_is_signed_after_it(tmp_path, operation):
    """The remainder is shifted with its sign, and compared with it."""
    insns = [
        Insn.make(op.LDX | op.MEM | op.DW, 2, 1), Insn.make(op.LDX | op.MEM | op.DW, 3, 1, 8),
        Insn.make(op.ALU64 | operation | op.X, 2, 3, 1), Insn.make(op.ALU64 | op.ARSH | op.K, 2, imm=3),
        Insn.make(op.STX | op.MEM | op.DW, 1, 2, 16), Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=1),
        Insn.make(op.JMP | op.JSLT | op.K, 2, 0, 1, 5), Insn.make(op.ALU64 | op.MOV | op.K, 0, imm=2), Insn.make(op.EXIT_CODE),
    ]
    rnd = Random(operation)
    same([insn.word for insn in insns], tmp_path, [Scene((Input(ctx=random_programs.context(rnd)),)) for _ in range(20)])


@pytest.mark.parametrize("count", [31, 32, 33, 60, 63])
@pytest.mark.parametrize("shift", [op.LSH, op.RSH, op.ARSH])
def test_shifts_of_narrow_values(tmp_path, shift, count):
    """r2 has 32 bits; the shift has 64, and what is done with it has 32 again."""
    insns = [
        Insn.make(op.LDX | op.MEM | op.W, 2, 1), Insn.make(op.ALU | op.ADD | op.K, 2, imm=7),
        Insn.make(op.ALU64 | shift | op.K, 2, imm=count), Insn.make(op.STX | op.MEM | op.DW, 1, 2, 8),
        Insn.make(op.ALU | op.RSH | op.K, 2, imm=1), Insn.make(op.ALU64 | op.MOV | op.X, 0, 2), Insn.make(op.EXIT_CODE),
    ]
    rnd = Random(count)
    same([insn.word for insn in insns], tmp_path, [Scene((Input(ctx=random_programs.context(rnd)),)) for _ in range(8)])
