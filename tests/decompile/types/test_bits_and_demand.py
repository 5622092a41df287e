"""How many bits a value may have, and how many anybody looks at."""

from __future__ import annotations

import pytest

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Binary, Block, Call, Compare, Const, Load, Negate, Sext, Store, Swap, Var, Zext
from bpflens.decompile.types.bits import known_bits
from bpflens.decompile.types.demand import demanded_bits, signed_uses

X, Y = Var(0), Var(1)


@pytest.mark.parametrize(
    ("expr", "bits"),
    [
        (Const(0), 1),
        (Const(255), 8),
        (X, 10),
        (Load(2, False, X), 16),
        (Load(2, True, X), 64),
        (Zext(8, X), 8),
        (Zext(16, X), 10),
        (Sext(8, X), 64),
        (Swap(16, X), 16),
        (Negate(X, 32), 32),
        (Binary("<<", Load(1, False, X), Const(4), 64), 12),
        (Binary("<<", Load(1, False, X), Y, 32), 32),
        (Binary(">>", X, Const(4), 64), 6),
        (Binary(">>", X, Const(20), 64), 1),
        (Binary("&", Load(4, False, X), Const(0xFFF), 64), 12),
        (Binary("|", X, Const(0x7FF), 64), 11),
        (Binary("+", X, X, 64), 11),
        (Binary("*", X, X, 64), 20),
        (Binary("-", X, X, 64), 64),
        (Binary("%", X, Y, 64), 10),
        (Binary("s%", X, Y, 32), 32),
        (Compare("<", X, Y, True, 64), 1),
        (ir.MapRef("m"), 64),
    ],
)
def test_known_bits(expr, bits):
    assert known_bits(expr, {0: 10, 1: 64}.get) == bits


def function(statements, condition=None, result=X):
    block = Block(0, 0)
    block.statements, block.condition, block.result = statements, condition, result
    return Function("f", {0: block}, 0, 0)


def demanded(statements, condition=None, result=X, bits=32):
    return demanded_bits(function(statements, condition, result), lambda web: 64, lambda call, index: 16 * (index + 1), bits)


def test_demand_goes_from_the_result_through_assignments():
    sum = Assign(0, Binary("+", Var(1), Var(2), 64))
    assert demanded([Assign(1, Var(3)), sum]) == {0: 32, 1: 32, 2: 32, 3: 32}
    assert demanded([Assign(1, Var(3)), sum], bits=64) == {0: 64, 1: 64, 2: 64, 3: 64}


@pytest.mark.parametrize(
    ("value", "demand"),
    [
        (Binary(">>", Var(1), Const(8), 64), 64),
        (Binary("<<", Var(1), Const(8), 64), 32),
        (Binary("<<", Var(1), Const(31), 64), 32),
        (Binary("<<", Var(1), Const(32), 64), 64),
        (Binary("&", Var(1), Const(0xFFFFFFFF), 64), 32),
        (Binary("&", Var(1), Var(2), 64), 32),
        (Binary("&", Var(1), Const(0xFF), 64), 8),
        (Zext(16, Var(1)), 16),
        (Sext(8, Var(1)), 8),
        (Swap(64, Var(1)), 64),
        (Negate(Var(1), 64), 32),
        (Load(4, False, Var(1)), 64),
    ],
)
def test_demand_of_an_operand_of_a_result_of_32_bits(value, demand):
    assert demanded([Assign(0, value)])[1] == demand


def test_stores_calls_and_conditions_demand_what_they_use():
    store = Store(2, Var(1), Var(2))
    call = Call(None, "helper", "f", 0, (Var(3), Var(4)))
    condition = Compare("==", Var(5), Var(6), False, 32)
    assert demanded([store, call], condition, None) == {1: 64, 2: 16, 3: 16, 4: 32, 5: 32, 6: 32}


def test_nobody_demands_what_nobody_reads():
    assert demanded([Assign(1, Var(2))]) == {0: 32}


def test_a_relocated_number_is_added_in_full():
    value = Binary("+", Var(1), ir.CoreRef(0, 1, "0:1", 8), 64)
    assert demanded([Assign(0, value)])[1] == 64


def test_signed_where_only_signed_comparisons_are():
    less = Compare("<", Var(1), Const(3), True, 64)
    unsigned = Compare("<", Var(2), Var(3), False, 64)
    both = Compare("<", Var(3), Const(3), True, 64)
    equal = Compare("==", Var(4), Const(3), True, 64)
    made = function([Assign(5, less), Assign(6, unsigned), Assign(7, Binary("/", Var(1), Const(2), 32))], ir.And(both, equal))
    assert signed_uses(made) == {1: False, 2: False, 3: False}
    assert signed_uses(function([], less)) == {1: True}
