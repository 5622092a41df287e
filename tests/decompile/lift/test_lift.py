"""Instructions as statements in blocks: one form each, and what has none."""

from __future__ import annotations

import pytest

from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Atomic, Binary, Call, Compare, Const, FrameRef, Load, Sext, Store, Swap, Var, Zext
from bpflens.decompile.lift.arity import arities_of, variable_arguments
from bpflens.decompile.lift.blocks import Unsayable, split_blocks
from bpflens.decompile.lift.lift import call_arity, lift
from bpflens.decompile.unit import Reference
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from decompile.plain_ir import code_of, lifted, unit_of

MASK = (1 << 64) - 1


def statement(line):
    """The statement of one line before an exit."""
    block = lifted(f"{line}\nexit").blocks[0]
    (made,) = block.statements
    return made


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("r1 += r2", Assign(1, Binary("+", Var(1), Var(2), 64), (0,))),
        ("w1 -= 1", Assign(1, Binary("-", Var(1), Const(1), 32), (0,))),
        ("r1 += -1", Assign(1, Binary("+", Var(1), Const(MASK), 64), (0,))),
        ("r1 s/= r2", Assign(1, Binary("s/", Var(1), Var(2), 64), (0,))),
        ("w1 s%= 7", Assign(1, Binary("s%", Var(1), Const(7), 32), (0,))),
        ("r1 s>>= 3", Assign(1, Binary("s>>", Var(1), Const(3), 64), (0,))),
        ("r1 = -r1", Assign(1, ir.Negate(Var(1), 64), (0,))),
        ("w1 = w2", Assign(1, Zext(32, Var(2)), (0,))),
        ("w1 = -1", Assign(1, Const(0xFFFFFFFF), (0,))),
        ("r1 = -1", Assign(1, Const(MASK), (0,))),
        ("r1 = (s8)r2", Assign(1, Sext(8, Var(2)), (0,))),
        ("w1 = (s16)w2", Assign(1, Zext(32, Sext(16, Var(2))), (0,))),
        ("r1 = be16 r1", Assign(1, Swap(16, Var(1)), (0,))),
        ("r1 = le32 r1", Assign(1, Zext(32, Var(1)), (0,))),
        ("r1 = le64 r1", Assign(1, Var(1), (0,))),
        ("r1 = bswap64 r1", Assign(1, Swap(64, Var(1)), (0,))),
        ("r1 = 0x123456789abcdef0 ll", Assign(1, Const(0x123456789ABCDEF0), (0,))),
        ("r1 = r10", Assign(1, FrameRef(0), (0,))),
        ("r1 = *(u16 *)(r2 + 4)", Assign(1, Load(2, False, Binary("+", Var(2), Const(4), 64), slot=0), (0,))),
        ("r1 = *(s32 *)(r2 + 0)", Assign(1, Load(4, True, Var(2), slot=0), (0,))),
        ("*(u64 *)(r10 - 8) = r1", Store(8, FrameRef(-8), Var(1), slots=(0,))),
        ("*(u16 *)(r2 - 4) = -2", Store(2, Binary("+", Var(2), Const(MASK - 3), 64), Const(0xFFFE), slots=(0,))),
        ("lock *(u32 *)(r2 + 0) += w3", Atomic(None, "+", 4, Var(2), Var(3), slots=(0,))),
        ("r3 = atomic_fetch_xor((u64 *)(r2 + 0), r3)", Atomic(3, "^", 8, Var(2), Var(3), slots=(0,))),
        ("r0 = cmpxchg_64(r2 + 0, r0, r3)", Atomic(0, "cmpxchg", 8, Var(2), Var(3), Var(0), slots=(0,))),
        ("w3 = xchg32_32(r2 + 0, w3)", Atomic(3, "xchg", 4, Var(2), Var(3), slots=(0,))),
        ("r1 = load_acquire((u64 *)(r2 + 0))", Atomic(1, "load_acquire", 8, Var(2), Const(0), slots=(0,))),
        ("store_release((u8 *)(r2 + 0), w1)", Atomic(None, "store_release", 1, Var(2), Var(1), slots=(0,))),
        ("r0 = *(u16 *)skb[12]", Call(0, "packet", "load_half", 2, (Var(6), Const(12)), (0,))),
        ("r0 = *(u8 *)skb[r7 + 3]", Call(0, "packet", "load_byte", 1, (Var(6), Binary("+", Var(7), Const(3), 64)), (0,))),
        ("call bpf_map_lookup_elem", Call(0, "helper", "bpf_map_lookup_elem", 1, (Var(1), Var(2)), (0,))),
        ("call bpf_ktime_get_ns", Call(0, "helper", "bpf_ktime_get_ns", 5, (), (0,))),
        ("call 9999", Call(0, "helper", "helper_9999", 9999, tuple(Var(n) for n in range(1, 6)), (0,))),
    ],
)
def test_a_statement_for_each_form(line, expected):
    assert statement(line) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("r10 = 1", "writes to r10"),
        ("r1 = map_by_fd(3) ll", "refers to something that is not known"),
        ("callx r1", "an indirect call"),
        ("goto -5", "leaves the function"),
        ("goto +1", "leaves the function"),
    ],
)
def test_what_c_cannot_say_is_said(line, reason):
    if "map_by_fd" in line:
        words = [Insn.make(op.LD_IMM64, 1, 3).word, 0, Insn.make(op.EXIT_CODE).word]
        code = code_of(words)
    else:
        code = code_of(f"{line}\nexit")
    with pytest.raises(Unsayable, match=reason):
        lift(code, 1, {})


def test_conditions_and_edges():
    blocks = lifted("if w1 s> 5 goto +2\nr0 = 0\nexit\nr0 = 1\nexit").blocks
    assert blocks[0].condition == Compare(">", Var(1), Const(5), True, 32)
    assert (blocks[0].successors, blocks[0].end_slots) == ([1, 3], (0,))
    assert blocks[1].predecessors == blocks[3].predecessors == [0]
    assert blocks[3].result == Var(0) and blocks[3].end_slots == (4,)


def test_both_ways_to_one_place_is_one_way():
    block = lifted("r0 = 0\nif r1 == 0 goto +0\nexit").blocks[0]
    assert block.successors == [2] and block.condition is None


def test_may_goto_is_a_condition_of_the_kernel():
    block = lifted("r0 = 0\nmay_goto +1\nr0 = 1\nexit").blocks[0]
    assert block.statements[-1] == ir.Asm(11, "may_goto", (), (1,))
    assert block.condition == Compare("!=", Var(11), Const(0), False, 64)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("r0 = 0", "runs on past the end"),
        ("r0 = 0\ngoto +1\nr1 = 5 ll\nexit", "middle of an instruction at 3"),
    ],
)
def test_blocks_that_are_none(text, reason):
    with pytest.raises(Unsayable, match=reason):
        split_blocks(code_of(text))


def test_blocks_without_what_cannot_be_reached():
    blocks = split_blocks(code_of("r0 = 0\nexit\nr0 = 1\ngoto -2\nr0 = 2\nexit"))
    assert list(blocks) == [0]
    assert blocks[0].end_slots == (0, 1)


def test_arguments_of_calls():
    call = Insn.make(op.CALL_CODE, 0, 0, 0, 2)
    assert call_arity(call, None, {}) == 4
    function = Insn.make(op.CALL_CODE, 0, 1)
    assert call_arity(function, Reference("call", "g"), {"g": 2}) == 2
    kfunc = Insn.make(op.CALL_CODE, 0, 2)
    assert call_arity(kfunc, Reference("kfunc", "k"), {"kfunc k": 1}) == 1
    assert call_arity(kfunc, None, {}) == 5


def test_arity_is_the_highest_register_that_is_read_before_it_is_written():
    unit = unit_of(
        """
        r1 = 1
        r2 = 2
        r3 = 3
        call pc+1
        exit
        r0 = r3
        r2 = 0
        r0 += r2
        exit
        """
    )
    assert arities_of(unit) == {"subprogram_5": 3, "f": 1}


def test_printk_has_as_many_arguments_as_registers_hold_something():
    code = code_of("r2 = 5\nr3 = 1\ncall bpf_trace_printk\nr1 = 1\nr2 = 1\ncall bpf_trace_printk\nr0 = 0\nexit")
    assert variable_arguments(code, 1) == {2: 3, 5: 2}
    assert variable_arguments(code_of("r0 = 0\nexit"), 1) == {}
