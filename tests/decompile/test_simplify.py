"""Simpler expressions compute the same, against the plain model; the forms that the C text relies on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.decompile import ir
from bpflens.decompile.ir import Binary, Compare, Const, Negate, Sext, Swap, Var, Zext
from bpflens.decompile.simplify import deeply, evaluate, negate, simplify, substitute
from bpflens.decompile.types.bits import known_bits
from decompile.plain_ir import MASK, arithmetic, value

X, Y = Var(0), Var(1)
OPS = ("+", "-", "*", "/", "%", "s/", "s%", "&", "|", "^", "<<", ">>", "s>>")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "&")
WIDTHS = st.sampled_from((32, 64))
EDGES = (0, 1, 2, 31, 32, 48, 56, 63, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, MASK, MASK - 7)
NUMBERS = st.sampled_from(EDGES) | st.integers(0, MASK)
SMALL = 12  # variable 2 never has more bits than that


def _grown(inner):
    bits = st.sampled_from((8, 16, 32, 48))
    conditions = st.builds(Compare, st.sampled_from(COMPARISONS), inner, inner, st.booleans(), WIDTHS)
    return st.one_of(
        st.builds(Binary, st.sampled_from(OPS), inner, inner, WIDTHS),
        st.builds(Binary, st.sampled_from(("<<", ">>", "s>>", "&", "+")), inner, st.builds(Const, st.sampled_from(EDGES)), WIDTHS),
        st.builds(Zext, bits, inner),
        st.builds(Sext, st.sampled_from((8, 16, 32)), inner),
        st.builds(Swap, st.sampled_from((16, 32, 64)), inner),
        st.builds(Negate, inner, WIDTHS),
        conditions,
        st.builds(ir.Not, conditions),
    )


EXPRESSIONS = st.recursive(st.builds(Const, NUMBERS) | st.builds(Var, st.integers(0, 2)), _grown, max_leaves=8)
VARIABLES = st.fixed_dictionaries({0: NUMBERS, 1: NUMBERS, 2: st.integers(0, (1 << SMALL) - 1)})


def widths(var):
    return SMALL if var == 2 else 64


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, VARIABLES)
def test_the_simpler_expression_is_the_same_number_and_its_known_bits_hold(expr, variables):
    made = deeply(expr, widths)
    number = value(made, variables)
    assert number == value(expr, variables), made
    assert number < 1 << known_bits(made, widths)


@settings(max_examples=40, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, VARIABLES)
def test_substituting_a_variable_is_computing_it_first(expr, other, variables):
    made = substitute(expr, {0: other}.get, widths)
    assert value(made, variables) == value(expr, {**variables, 0: value(other, variables)})


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(OPS), NUMBERS, NUMBERS, WIDTHS)
def test_constants_are_evaluated_as_instructions_are(op, a, b, width):
    assert evaluate(op, a, b, width) == arithmetic(op, a, b, width)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (Binary(">>", Binary("<<", X, Const(48), 64), Const(48), 64), Zext(16, X)),
        (Binary("s>>", Binary("<<", X, Const(32), 64), Const(32), 64), Sext(32, X)),
        (Binary("+", Binary("+", X, Const(8), 64), Const(MASK - 3), 64), Binary("+", X, Const(4), 64)),
        (Binary("+", Zext(32, X), Y, 32), Binary("+", X, Y, 32)),
        (Binary("-", X, X, 64), Const(0)),
        (Binary("&", X, Const(0xFF), 64), Zext(8, X)),
        (Binary("+", ir.FrameRef(-8), Const(MASK - 7), 64), ir.FrameRef(-16)),
        (Binary("+", ir.DataRef(".bss", 4), Const(12), 64), ir.DataRef(".bss", 16)),
        (Zext(8, ir.Load(4, True, X)), Zext(8, ir.Load(4, False, X))),
        (Zext(32, ir.Load(4, False, X)), ir.Load(4, False, X)),
        (Sext(16, ir.Load(2, False, X)), ir.Load(2, True, X)),
        (Swap(16, Const(0x1234)), Const(0x3412)),
        (Compare("<", Const(3), X, True, 64), Compare(">", X, Const(3), True, 64)),
        (Compare("==", Binary("<<", X, Const(32), 64), Const(5 << 32), False, 64), Compare("==", Zext(32, X), Const(5), False, 64)),
        (Compare("==", Binary("<<", X, Const(32), 64), Const(5), False, 64),) * 2,
        (Compare("!=", Sext(16, X), Const(MASK), False, 64), Compare("!=", Zext(16, X), Const(0xFFFF), False, 64)),
        (ir.Not(Compare(">", X, Y, True, 32)), Compare("<=", X, Y, True, 32)),
        (ir.Not(Compare("&", X, Y, False, 64)),) * 2,
    ],
)
def test_forms(expr, expected):
    assert simplify(expr) == expected


def test_known_bits_of_a_variable_drop_an_extension():
    assert simplify(Zext(16, Var(2)), widths) == Var(2)
    assert simplify(Zext(8, Var(2)), widths) == Zext(8, Var(2))
    assert simplify(Binary(">>", Var(2), Const(SMALL), 64), widths) == Const(0)


def test_negation_of_what_has_no_opposite_is_not():
    common = Compare("&", X, Y, False, 64)
    less = Compare("<", X, Y, False, 64)
    assert negate(common) == ir.Not(common)
    assert negate(ir.And(less, common)) == ir.Or(Compare(">=", X, Y, False, 64), ir.Not(common))
    assert negate(Const(0)) == Const(1)
    assert negate(negate(ir.Or(less, common))) == ir.Or(less, common)


def test_what_nothing_replaces_stays_the_same_object():
    expr = Binary("+", X, Zext(8, Y), 64)
    assert substitute(expr, {}.get) is expr
