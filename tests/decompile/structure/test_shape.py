"""Blocks to the shapes that people write, and the smaller graphs before it."""

from __future__ import annotations

import pytest

from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Binary, Call, Compare, Const, Load, Store, Var, Zext
from bpflens.decompile.lift.webs import find_webs
from bpflens.decompile.structure.duplicate import duplicate_returns
from bpflens.decompile.structure.reduce import duplicate_tails, reduce_graph
from bpflens.decompile.structure.shape import leaves, rewrite, shape
from bpflens.decompile.structure.structure import structure
from bpflens.decompile.tree import (
    Break,
    Case,
    Continue,
    DoWhile,
    For,
    ForEver,
    Goto,
    If,
    Label,
    Return,
    Simple,
    Switch,
    While,
    walk,
)
from decompile.plain_ir import lifted

X, Y = Var(1), Var(2)
C = Compare("==", X, Const(0), False, 64)
NOT_C = Compare("!=", X, Const(0), False, 64)
A, B = Simple(Call(None, "helper", "a", 1, ())), Simple(Call(None, "helper", "b", 2, ()))
R = Return(Const(1))


def equal(number, var=X):
    return Compare("==", var, Const(number), False, 64)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ((ForEver((If(C, (Break(),)), A)),), (While(NOT_C, (A,)),)),
        ((ForEver((A, If(C, (Break(),)))),), (DoWhile(NOT_C, (A,)),)),
        ((ForEver((A, If(C, (Continue(),)), Break())),), (DoWhile(C, (A,)),)),
        ((ForEver((If(C, (A, Continue())), Break())),), (While(C, (A,)),)),
        ((ForEver((A, Continue())),), (ForEver((A,)),)),
        ((ForEver((A, If(NOT_C, (Continue(),)), B, If(C, (Break(),)))),),) * 2,
        ((If(C, (), (A,)),), (If(NOT_C, (A,)),)),
        ((If(C, (), ()), A), (A,)),
        ((R, A, Label(3), B), (R, Label(3), B)),
        ((If(C, (A, R), (B,)),), (If(C, (A, R)), B)),
        ((If(C, (A,), (B, R)),), (If(NOT_C, (B, R)), A)),
        ((If(C, (A, R), (R,)),), (If(NOT_C, (R,)), A, R)),
        ((If(C, (A,), (B,)),),) * 2,
    ],
)
def test_shapes(tree, expected):
    assert shape(tree) == expected


STEP = Simple(Assign(1, Binary("+", X, Const(1), 64)))
LESS = Compare("<", X, Const(9), False, 64)


def test_a_counting_loop_is_for():
    first = Simple(Assign(1, Const(0)))
    loop = While(LESS, (A, STEP))
    assert shape((first, loop)) == (For(first.statement, LESS, STEP.statement, (A,)),)
    assert shape((A, loop)) == (A, For(None, LESS, STEP.statement, (A,)))


def test_a_loop_that_goes_on_before_its_step_or_counts_something_else_is_not_for():
    on = While(LESS, (If(C, (Continue(),)), A, STEP))
    assert shape((on,)) == (on,)
    other = While(LESS, (A, Simple(Assign(2, Binary("+", Y, Const(1), 64)))))
    assert shape((other,)) == (other,)


def test_a_ladder_of_equals_is_a_switch():
    ladder = If(equal(1), (A,), (If(ir.Or(equal(2), equal(3)), (B,), (If(equal(4), (A,), (B,)),)),))
    assert shape((ladder,)) == (Switch(X, (Case((1,), (A,)), Case((2, 3), (B,)), Case((4,), (A,)), Case((), (B,)))),)


@pytest.mark.parametrize(
    "ladder",
    [
        If(equal(1), (A,), (If(equal(2), (B,), (A,)),)),  # two cases
        If(equal(1), (A,), (If(equal(2), (B,), (If(equal(3, Y), (A,), (B,)),)),)),  # of another variable
        If(equal(1), (A,), (If(equal(2), (B,), (If(equal(1), (A,), (B,)),)),)),  # the same number twice
    ],
)
def test_ladders_that_are_none(ladder):
    assert not any(isinstance(node, Switch) for node in walk(shape((ladder,))))


def test_a_break_of_the_loop_around_it_keeps_a_ladder():
    ladder = If(equal(1), (Break(),), (If(equal(2), (B,), (If(equal(3), (A,), (B,)),)),))
    assert not any(isinstance(node, Switch) for node in walk(shape((ForEver((B, ladder)),))))


def test_comparisons_of_32_bits_switch_on_32_bits():
    ladder = (If(Compare("==", X, Const(3), False, 32), (A,)),)
    for number in (2, 1):
        ladder = (If(Compare("==", X, Const(number), False, 32), (A,), ladder),)
    (made,) = shape(ladder)
    assert isinstance(made, Switch) and made.value == Zext(32, X)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((), False), ((A,), False), ((A, R), True), ((Goto(1),), True), ((If(C, (R,)),), False), ((If(C, (R,), (A, R)),), True),
        ((If(C, (A,), (R,)),), False), ((ForEver((A,)),), True), ((ForEver((If(C, (Break(),)),)),), False),
        ((Switch(X, (Case((1,), (R,)),)),), False), ((Switch(X, (Case((1,), (R,)), Case((), (R,)))),), True), ((While(C, (R,)),), False),
    ],
)  # fmt: skip
def test_where_control_never_comes_out(nodes, expected):
    assert leaves(nodes) is expected


def test_rules_see_the_innermost_list_first_however_deep():
    tree = (A,)
    for _ in range(3000):
        tree = (If(C, tree),)
    seen = []
    rewrite(tree, lambda nodes: seen.append(nodes) or nodes)
    assert seen[0] == (A,) and seen[1] == () and len(seen) == 6001


def test_what_a_rule_gives_stands_in_every_list():
    tree = (If(C, (A,), (A,)), Switch(X, (Case((1,), (A,)),)), While(C, (A,)), A)
    made = rewrite(tree, lambda nodes: tuple(B if node is A else node for node in nodes))
    assert made == (If(C, (B,), (B,)), Switch(X, (Case((1,), (B,)),)), While(C, (B,)), B)


# --- blocks ---


def structured(text):
    function = lifted(text)
    find_webs(function)
    return shape(structure(function))


def test_blocks_as_a_tree():
    (simple, choice, back) = structured("r0 = 1\nif r1 == 0 goto +1\nr0 = 2\nexit")
    assert isinstance(simple, Simple) and isinstance(back, Return)
    assert isinstance(choice, If) and choice.condition.op == "!=" and len(choice.then) == 1 and not choice.other


def test_a_back_edge_is_a_loop():
    tree = structured("r2 = 0\nr2 += 1\nif r2 < 9 goto -2\nr0 = r2\nexit")
    assert [type(node) for node in tree] == [Simple, DoWhile, Simple, Return]


def test_a_jump_into_a_loop_is_a_goto():
    tree = structured("r2 = 0\nif r1 == 0 goto +1\nr2 += 1\nr2 += 2\nif r2 < 9 goto -3\nr0 = r2\nexit")
    nodes = list(walk(tree))
    labels = {node.label for node in nodes if isinstance(node, Label)}
    assert labels and {node.label for node in nodes if isinstance(node, Goto)} == labels


def reduced(text):
    function = lifted(text)
    find_webs(function)
    reduce_graph(function)
    return function.blocks


def test_two_tests_with_one_outcome_are_one():
    blocks = reduced("r0 = 1\nif r1 == 0 goto +2\nif r1 == 5 goto +1\nr0 = 2\nexit")
    condition = blocks[0].condition
    assert isinstance(condition, ir.Or) and (condition.left.op, condition.right.op) == ("==", "==")
    blocks = reduced("r0 = 1\nif r1 == 0 goto +1\nif r1 == 5 goto +1\nr0 = 2\nexit")
    condition = blocks[0].condition
    assert isinstance(condition, ir.Or) and (condition.left.op, condition.right.op) == ("==", "!=")
    blocks = reduced("r0 = 1\nif r1 == 0 goto +1\ngoto +2\nif r1 != 5 goto +1\nr0 = 2\nexit")
    condition = blocks[0].condition
    assert isinstance(condition, ir.And) and (condition.left.op, condition.right.op) == ("==", "==")


def test_a_load_before_the_second_test_stays_behind_the_first():
    blocks = reduced("r0 = 1\nif r1 == 0 goto +3\nr2 = *(u32 *)(r1 + 0)\nif r2 == 5 goto +1\nr0 = 2\nexit")
    assert isinstance(blocks[0].condition, Compare)


def test_a_condition_that_is_decided_leaves_the_other_way():
    function = lifted("r0 = 1\nif r1 == 0 goto +1\nr0 = 2\nexit")
    function.blocks[0].condition = Const(1)
    reduce_graph(function)
    assert list(function.blocks) == [0]
    assert [statement.value for statement in function.blocks[0].statements] == [Const(1)]


SHARED = "r0 = 1\nif r1 == 0 goto +2\nr0 = 2\ngoto +0\n{}exit"


def test_each_path_has_its_own_return():
    function = lifted(SHARED.format(""))
    duplicate_returns(function)
    assert sum(block.result is not None for block in function.blocks.values()) == 2
    assert all(len(block.predecessors) <= 1 for block in function.blocks.values())


def test_an_ending_with_a_call_is_shared():
    function = lifted(SHARED.format("call bpf_ktime_get_ns\n"))
    duplicate_returns(function)
    assert sum(block.result is not None for block in function.blocks.values()) == 1


def test_short_tails_are_copied_but_not_calls():
    text = "r0 = 1\nif r1 == 0 goto +2\ncall bpf_ktime_get_ns\ngoto +1\ncall bpf_ktime_get_ns\n{}\nexit"
    for line, endings in (("r0 += 1", 2), ("call bpf_get_smp_processor_id", 1)):
        function = lifted(text.format(line))
        duplicate_tails(function)
        assert sum(block.result is not None for block in function.blocks.values()) == endings


def test_stores_and_loads_are_no_trouble_for_tails():
    function = lifted("r2 = r1\nif r1 == 0 goto +2\ncall bpf_ktime_get_ns\nr2 = r0\n*(u64 *)(r10 - 8) = r2\nr0 = *(u64 *)(r10 - 8)\nexit")
    duplicate_tails(function)
    ends = [block for block in function.blocks.values() if block.result is not None]
    assert len(ends) == 2
    assert all(isinstance(end.statements[-2], Store) and isinstance(end.statements[-1].value, Load) for end in ends)
