"""Every pass keeps what a function computes: random graphs of blocks, run by the plain model after each of them."""

from __future__ import annotations

from random import Random

import pytest

from bpflens.decompile.fold import drop_unused, fold
from bpflens.decompile.join_bytes import join_bytes
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.lift.regions import analyse_regions
from bpflens.decompile.lift.stack import lay_out, place_in_frame
from bpflens.decompile.lift.webs import find_webs
from bpflens.decompile.structure.duplicate import duplicate_returns
from bpflens.decompile.structure.reduce import duplicate_tails, reduce_graph
from bpflens.decompile.structure.shape import shape
from bpflens.decompile.structure.structure import structure
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.result import Input
from bpflens.execute.subject import Subject
from decompile import plain_ir
from execute import random_programs

SYSCALL = 31


def expected(words, contexts):
    out = []
    for context in contexts:
        program = InterpretedProgram(Subject(tuple(words), SYSCALL))
        made = program.run(Input(ctx=context))
        assert not made.error
        out.append((made.retval, made.ctx))
    return out


def edges_fit(function):
    """Successors and predecessors say the same, and a condition stands where there are two ways."""
    blocks = function.blocks
    for id, block in blocks.items():
        assert block.id == id
        assert (block.condition is not None) == (len(block.successors) == 2)
        assert (block.result is not None) == (not block.successors)
        assert all(blocks[next].predecessors.count(id) == 1 for next in block.successors)
        assert all(id in blocks[source].successors for source in block.predecessors)


def check(words, contexts):
    wanted = expected(words, contexts)

    def same(run, what):
        assert [(result & 0xFFFFFFFF, after) for result, after in (run(context) for context in contexts)] == wanted, what

    def blocks(what):
        edges_fit(function)
        same(lambda context: plain_ir.run(function, context), what)

    unit = plain_ir.unit_of(words)
    code = unit.codes["f"]
    function = lift(code, 1, {})
    slots = {
        id: sorted({*block.end_slots, *(slot for statement in block.statements for slot in statement.slots)})
        for id, block in function.blocks.items()
    }
    regions = analyse_regions(code, function.blocks, code.start, slots, 1, {})
    function = lift(code, 1, {}, regions.places)
    blocks("lift")
    place_in_frame(function, lay_out(code, unit, regions), regions)
    blocks("stack")
    duplicate_returns(function)
    blocks("duplicate_returns")
    webs = find_webs(function)
    blocks("webs")
    named = lambda expr: False  # noqa: E731
    fold(function, webs, lambda call: 64, named)
    blocks("fold")
    reduce_graph(function)
    blocks("reduce")
    duplicate_tails(function)
    drop_unused(function)
    blocks("duplicate_tails")
    join_bytes(function)
    fold(function, webs, lambda call: 64, named)
    reduce_graph(function)
    blocks("again")
    tree = structure(function)
    same(lambda context: plain_ir.run_tree(tree, function, context), "structure")
    same(lambda context: plain_ir.run_tree(shape(tree), function, context), "shape")


@pytest.mark.parametrize("seed", range(18))
def test_random_graphs(seed):
    rnd = Random(f"graph {seed}")
    check(random_programs.graph(rnd, 4 + seed), [random_programs.context(rnd) for _ in range(3)])


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_with_memory(seed):
    rnd = Random(f"program {seed}")
    check(random_programs.program(rnd, 60), [random_programs.context(rnd) for _ in range(3)])
