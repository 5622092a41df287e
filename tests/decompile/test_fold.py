"""What goes where it is used and what stays; numbers read byte by byte."""

from __future__ import annotations

import pytest

from bpflens.decompile import ir
from bpflens.decompile.fold import count_uses, drop_unused, fold, widths_of
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Binary, Block, Call, Compare, Const, Load, MapRef, Place, Store, Swap, Var
from bpflens.decompile.join_bytes import join_bytes
from bpflens.decompile.lift.webs import Webs

ZERO = Const(0)
P = Var(0)  # an argument
PACKET = Place("packet")


def function(*statements, result=ZERO):
    block = Block(0, 0)
    block.statements, block.result = list(statements), result
    return Function("f", {0: block}, 0, 1)


def webs_of(made):
    webs = Webs(10, {0: 1}, set(), {1: 0})
    for block in made.blocks.values():
        for statement in block.statements:
            if not isinstance(statement, Store) and statement.var is not None:
                webs.definitions[statement.var] = webs.definitions.get(statement.var, 0) + 1
    return webs


def folded(*statements, result=ZERO, named=lambda expr: False, **options):
    made = function(*statements, result=result)
    fold(made, webs_of(made), lambda call: 64, named, **options)
    return made.blocks[0].statements, made.blocks[0].result


LOADED = Load(1, False, Binary("+", P, Const(23), 64))


def test_a_load_that_is_used_once_goes_where_it_is_used_with_its_slot():
    statements, result = folded(Assign(1, LOADED, (1,)), Assign(2, Binary("+", Var(1), Const(2), 64), (2,)), result=Var(2))
    assert statements == []
    assert result == Binary("+", LOADED, Const(2), 64)


def test_a_load_stays_before_what_may_write_memory():
    store = Store(1, P, Const(1), slots=(2,))
    statements, result = folded(Assign(1, LOADED, (1,)), store, result=Var(1))
    assert statements == [Assign(1, LOADED, (1,)), store] and result == Var(1)


def test_a_load_stays_before_a_call():
    call = Call(None, "helper", "f", 1, (), (2,))
    statements, _ = folded(Assign(1, LOADED, (1,)), call, result=Var(1))
    assert statements == [Assign(1, LOADED, (1,)), call]


def test_constants_go_everywhere_and_their_slots_with_them():
    call = Call(None, "helper", "f", 1, (Var(1), Var(2), Var(1)), (3,))
    statements, _ = folded(Assign(1, MapRef("m"), (1,)), Assign(2, Const(5), (2,)), call)
    assert statements == [Call(None, "helper", "f", 1, (MapRef("m"), Const(5), MapRef("m")), (1, 2, 3))]


def test_a_computation_that_is_used_twice_stays():
    sum = Assign(1, Binary("*", P, P, 64), (1,))
    statements, result = folded(sum, result=Binary("^", Var(1), Binary(">>", Var(1), Const(3), 64), 64))
    assert statements == [sum]
    assert result == Binary("^", Var(1), Binary(">>", Var(1), Const(3), 64), 64)


@pytest.mark.parametrize("value", [Binary("/", P, Var(5), 64), Binary("s%", P, Var(5), 32)])
def test_divisions_by_a_variable_stay(value):
    assert folded(Assign(1, value, (1,)), result=Var(1))[0] == [Assign(1, value, (1,))]


def test_what_is_named_barred_or_not_to_be_inlined_stays():
    sum = Assign(1, Binary("+", P, Const(4), 64), (1,))
    assert folded(sum, result=Var(1))[0] == []
    assert folded(sum, result=Var(1), named=lambda expr: expr == sum.value)[0] == [sum]
    assert folded(sum, result=Var(1), barred=frozenset((1,)))[0] == [sum]
    assert folded(sum, result=Var(1), inline=False)[0] == [sum]


def test_no_relocated_number_within_another():
    inner = Assign(1, Load(8, False, Binary("+", P, ir.CoreRef(0, 1, "0:1", 8), 64)), (1,))
    outer = Load(4, False, Binary("+", Var(1), ir.CoreRef(0, 2, "0:2", 4), 64))
    statements, result = folded(inner, result=outer)
    assert statements == [inner] and result == outer


def test_widths_are_what_all_definitions_allow():
    made = function(
        Assign(1, Load(1, False, P)), Assign(2, Binary("<<", Var(1), Const(4), 64)), Assign(3, Const(3)), Assign(3, Const(700)),
        Call(4, "helper", "f", 1, ()), ir.Atomic(5, "+", 4, P, Const(1)), ir.Asm(6, "x", ()),
    )  # fmt: skip
    assert widths_of(made, webs_of(made), lambda call: 20).known == {1: 8, 2: 12, 3: 10, 4: 20, 5: 32, 6: 64}


def test_what_only_it_reads_itself_is_dropped_and_a_call_keeps_its_effect():
    count = Assign(1, Binary("+", Var(1), Const(1), 64))
    made = function(Assign(1, Const(0)), count, Call(2, "helper", "f", 1, (P,)), Assign(3, Var(3)))
    assert drop_unused(made)
    assert made.blocks[0].statements == [Call(None, "helper", "f", 1, (P,))]
    assert not drop_unused(made)


def test_uses_are_counted_as_often_as_they_are():
    made = function(Assign(1, Binary("+", P, P, 64)), result=Var(1))
    made.blocks[0].condition = Compare("==", Var(1), P, False, 64)
    assert count_uses(made) == {0: 3, 1: 2}


# --- bytes joined ---


def byte(offset, size=1, kind="packet"):
    address = Binary("+", P, Const(offset), 64) if offset else P
    return Load(size, False, address, Place(kind), offset)


def upper(expr, bits=8, width=64):
    return Binary("<<", expr, Const(bits), width)


def joined(expr):
    made = function(result=expr)
    join_bytes(made)
    return made.blocks[0].result


def test_bytes_of_the_packet_are_read_at_once():
    assert joined(Binary("|", upper(byte(13)), byte(12), 64)) == byte(12, 2)
    assert joined(Binary("|", byte(12), upper(byte(13)), 64)) == byte(12, 2)
    assert joined(Binary("|", upper(byte(0)), byte(1), 64)) == Swap(16, byte(0, 2))


def test_four_bytes_are_one_number():
    high = Binary("|", upper(byte(0)), byte(1), 64)
    low = Binary("|", upper(byte(2)), byte(3), 64)
    assert joined(Binary("|", upper(high, 16), low, 64)) == Swap(32, byte(0, 4))


@pytest.mark.parametrize(
    "expr",
    [
        Binary("|", upper(byte(14)), byte(12), 64),
        Binary("|", upper(byte(13), 16), byte(12), 64),
        Binary("|", upper(byte(13, kind="value")), byte(12), 64),
        Binary("|", upper(byte(14, 2), 16), byte(12, 1), 64),
        Binary("|", upper(byte(12, 2), 16), byte(14, 2), 64),
        Binary("+", upper(byte(13)), byte(12), 64),
        Binary("|", upper(byte(14, 2), 16, 32), byte(12, 2), 16),
    ],
)
def test_bytes_that_are_no_number(expr):
    assert joined(expr) == expr
