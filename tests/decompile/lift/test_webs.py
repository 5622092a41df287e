"""Registers and slots as variables: one for each web of definitions that reach a common use."""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Binary, Call, Const, Load, Store, Var
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import find_webs, has_load, live_in, map_inputs, with_var, written
from decompile.plain_ir import lifted


def test_a_register_that_is_used_for_two_things_is_two_variables():
    function = lifted("r2 = 1\n*(u64 *)(r1 + 0) = r2\nr2 = 2\n*(u64 *)(r1 + 8) = r2\nr0 = 0\nexit")
    webs = find_webs(function)
    block = function.blocks[0]
    first, store, second, other, _ = block.statements
    assert (store.value, other.value) == (Var(first.var), Var(second.var))
    assert first.var != second.var
    assert webs.single(first.var) and webs.single(second.var)
    assert webs.arguments == function.arguments == {1: store.address.id}


def test_definitions_that_meet_are_one_variable():
    function = lifted("r0 = 1\nif r1 == 0 goto +1\nr0 = 2\nexit")
    webs = find_webs(function)
    one, two = function.blocks[0].statements[0], function.blocks[2].statements[0]
    assert one.var == two.var == function.blocks[3].result.id
    assert webs.definitions[one.var] == 2 and not webs.single(one.var)


def test_what_nobody_reads_goes_but_not_what_it_does():
    function = lifted("r2 = 5\nr3 = r2\ncall bpf_ktime_get_ns\nr0 = 0\nexit")
    find_webs(function)
    call, zero = function.blocks[0].statements
    assert isinstance(call, Call) and call.var is None
    assert zero.value == Const(0)


def test_a_variable_that_is_read_before_it_is_written_is_undefined():
    function = lifted("r0 = r7\nexit")
    webs = find_webs(function)
    assert webs.undefined == {function.blocks[0].statements[0].value.id}


def test_live_variables():
    function = lifted("r2 = 1\nif r1 == 0 goto +1\nr2 = r3\nr0 = r2\nexit")
    live = live_in(function.blocks, postorder(function.blocks, 0))
    assert {id: bin(bits) for id, bits in live.items()} == {0: "0b1010", 2: "0b1000", 3: "0b100"}


STATEMENTS = (
    Assign(1, Var(2), (1,)),
    Store(4, Var(2), Var(3), ir.Place("ctx", "", 4), (2,)),
    Call(1, "helper", "f", 9, (Var(2), Var(3)), (3,)),
    ir.Atomic(1, "cmpxchg", 8, Var(2), Var(3), Var(4), ir.Place("value"), (4,)),
    ir.Asm(1, "x", (Var(2),), (5,)),
)


def test_statements_keep_all_but_what_is_mapped():
    for statement in STATEMENTS:
        assert map_inputs(statement, lambda expr: expr) == statement
        moved = map_inputs(statement, lambda expr: Var(expr.id + 10))
        assert [e.id for e in ir.inputs(moved)] == [e.id + 10 for e in ir.inputs(statement)]
        assert moved.slots == statement.slots


def test_the_variable_that_a_statement_writes():
    assert [written(statement) for statement in STATEMENTS] == [1, None, 1, 1, 1]
    assert [written(with_var(statement, 7)) for statement in STATEMENTS] == [7, None, 7, 7, 7]


def test_an_expression_with_a_load_in_it():
    assert has_load(Binary("+", Var(1), Load(4, False, Var(2)), 64))
    assert not has_load(Binary("+", Var(1), ir.MapRef("m"), 64))
