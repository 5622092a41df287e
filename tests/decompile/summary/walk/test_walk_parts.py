"""What the walk knows: values on ways that meet, the stack, keys, sources of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Binary, Call, Const, Load, MapRef, Place, StackRef, Store, Var, Zext
from bpflens.decompile.summary.walk.bits import Source, read_bits
from bpflens.decompile.summary.walk.choices import MOST_CHOICES, computed, joined, put, same
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.frame_changes import follow_frame
from bpflens.decompile.summary.walk.joins import UNSAID, added, leaves, met, shared
from bpflens.decompile.summary.walk.keys import compared_text, key_parts, key_phrase
from bpflens.decompile.summary.walk.sources import Definitions, Filled, Frame, Scope, call_base, definitions_of
from bpflens.decompile.summary.words.naming import Namer
from bpflens.decompile.tree import Break, For, ForEver, If, Return, Simple
from bpflens.decompile.unit import Unit
from bpflens.program import Map
from decompile.plain_ir import value

XDP, TRACING = 6, 26
BUILD = BtfBuilder()
INT = BUILD.add_int("int", 4, 1)
PARENT = BUILD.add_struct("task_struct", 8, [("pid", INT, 0), ("tgid", INT, 32)])
BTF = Btf.parse(BUILD.build())
MAPS = {
    "m": Map("m", 1, 8, 4, 16), ".rodata": Map(".rodata", 2, 4, 8, 1, data=b"evil\0rest"),
}  # fmt: skip


def condition(text, kind=Kind.TELLING):
    return Condition(kind, text)


def scope(prog_type=XDP, definitions=(), btf=None):
    known = Definitions()
    known.update(definitions)
    return Scope(Unit("test", {}, MAPS, btf, "GPL"), prog_type, "", known)


# --- choices ---

NUMBERS = st.integers(0, (1 << 64) - 1)
SIMPLE = st.recursive(
    st.builds(Const, NUMBERS),
    lambda inner: st.builds(Binary, st.sampled_from(("+", "-", "*", "&", "|", "^", "<<", ">>")), inner, inner, st.sampled_from((32, 64)))
    | st.builds(Zext, st.sampled_from((8, 32)), inner)
    | st.builds(ir.Sext, st.sampled_from((8, 16, 32)), inner)
    | st.builds(ir.Negate, inner, st.sampled_from((32, 64))),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(SIMPLE)
def test_numbers_are_computed_as_they_are(expr):
    assert computed(expr) == value(expr, {})


def test_what_is_not_computed():
    assert computed(Var(1)) is None
    assert computed(Binary("/", Const(6), Const(2), 64)) is None
    assert computed(put(Binary("+", Var(1), Var(2), 64), 1, 5)) is None
    assert computed(put(Binary("+", Var(1), Const(2), 64), 1, 5)) == 7


def test_values_of_two_ways_that_meet():
    a, b, c = condition("a"), condition("b"), condition("c")
    one, other = {1: ((3, ()),), 2: ((4, (c,)),)}, {1: ((5, ()),), 2: ((4, (c,)),), 3: ((6, ()),)}
    assert joined(one, other, (a,), (b,)) == {1: ((3, (a,)), (5, (b,))), 2: ((4, (c,)),)}
    many = {1: tuple((n + 10, ()) for n in range(MOST_CHOICES))}
    assert joined(many, one) == {}  # too many to say
    assert same({1: Const(1), 2: Const(2)}, {1: Const(1), 2: Const(3)}) == {1: Const(1)}


# --- what holds where ways meet ---


def test_ways_that_meet_keep_what_both_have_and_one_of_the_rests():
    a, b, c = condition("a"), condition("b"), condition("c")
    assert shared((a, b), (a, c)) == (a,)
    assert met((a, b), (a, c)) == (a, Condition(Kind.TELLING, alternatives=((b,), (c,))))
    assert met((a, b), (a,)) == (a,)
    assert met((a, b), (a, condition("?", Kind.UNKNOWN))) == (a, UNSAID)
    bounds = condition("long", Kind.BOUND), condition("there", Kind.PRESENT)
    assert met((a, bounds[0]), (a, bounds[1])) == (a,)


def test_too_much_to_say_is_unsaid():
    many = tuple(condition(str(n)) for n in range(6))
    assert met(many, (condition("x"),)) == (UNSAID,)
    assert met(many[:5], (condition("x"),)) != (UNSAID,)


def test_what_a_way_adds():
    a, b, c = condition("a"), condition("b"), condition("c")
    assert added((a,), (a, b)) == (b,)
    assert added((a, b), (b, c)) == (c,)
    assert added((a, b), (Condition(Kind.TELLING, alternatives=((b,), (c,))),)) == ()


def test_ways_out_of_a_loop():
    assert leaves((If(Var(1), (Return(Const(0)),)),))
    assert not leaves((If(Var(1), (Break(),)), ForEver(())))


# --- the stack ---


def test_the_frame_keeps_what_no_store_touches():
    frame = Frame()
    frame.store(-16, 8, Const(1))
    frame.store(-8, 4, Const(2))
    other = frame.copy()
    frame.store(-12, 8, Const(3))
    assert frame.cells == {(-12, 8): Const(3)}
    other.drop(-8, 1)
    assert other.cells == {(-16, 8): Const(1)}
    frame.store(-16, 4, Const(9))
    other.join(frame)
    assert other.cells == {}


STACK = Place("frame", "", -8)


@pytest.mark.parametrize(
    ("statement", "cells"),
    [
        (Store(4, StackRef(-8, 0), Const(7), STACK), {(-16, 8): Const(1), (-8, 4): Const(7)}),
        (Store(4, Var(1), Const(7), Place("frame")), {}),
        (Store(4, Var(1), Const(7)), {}),
        (Store(4, Var(1), Const(7), Place("packet", "", 0)), {(-16, 8): Const(1)}),
        (ir.Atomic(None, "+", 8, StackRef(-16, 0), Const(1), None, Place("frame", "", -16)), {}),
        (ir.Asm(None, "x", ()), {}),
        (Call(1, "helper", "bpf_map_update_elem", 2, (MapRef("m"), StackRef(-16, 0))), {(-16, 8): Const(1)}),
        (Call(1, "kfunc", "bpf_map_like", 0, (StackRef(-16, 0),)), {}),
        (
            Call(1, "helper", "bpf_get_current_comm", 16, (StackRef(-32, 0), Const(16))),
            {(-16, 8): Const(1), (-32, 16): Filled(Source("buffer", "bpf_get_current_comm"))},
        ),
        (
            Call(1, "helper", "bpf_skb_load_bytes", 26, (Var(0), Const(12), StackRef(-32, 0), Const(2))),
            {(-16, 8): Const(1), (-32, 2): Filled(Source("packet"), 12)},
        ),
    ],
)
def test_what_the_stack_holds_after_a_statement(statement, cells):
    here = scope()
    here.frame.store(-16, 8, Const(1))
    follow_frame(statement, here)
    assert here.frame.cells == cells


def test_kernel_memory_on_the_stack_is_called_after_the_field():
    here = scope(TRACING, {5: Call(5, "helper", "bpf_get_current_task", 35, (), (3,))}, BTF)
    here.name = lambda source, byte, size: source.what
    address = Binary("+", Var(5), ir.CoreRef(0, PARENT, "0:1", 4), 64)
    follow_frame(Call(1, "helper", "bpf_probe_read_kernel", 113, (StackRef(-8, 0), Const(4), address), (7,)), here)
    assert here.frame.cells == {(-8, 4): Filled(Source("kernel", "tgid", "bpf_get_current_task (task_struct)\x007"))}


# --- keys ---


def looked_up(here):
    return Call(1, "helper", "bpf_map_lookup_elem", 1, (MapRef("m"), StackRef(-8, 0)), (9,))


def test_keys_in_words_and_bytes():
    here = scope()
    here.frame.store(-8, 2, Load(2, False, Var(3), Place("packet", "", 12)))
    here.frame.store(-4, 4, Const(7))
    namer = Namer(here.unit, XDP, "")
    assert key_phrase(looked_up(here), here, namer) == "EtherType and 7"
    parts = key_parts(looked_up(here), here)
    assert [(part.at, part.size) for part in parts] == [(0, 2), (4, 4)]
    assert parts[0].bits == read_bits(Source("packet"), 12, 2)


def test_keys_of_which_nothing_is_known():
    here = scope()
    namer = Namer(here.unit, XDP, "")
    assert key_phrase(looked_up(here), here, namer) == "computed key"
    here.frame.store(-8, 8, Binary("*", Var(7), Var(8), 64))
    assert key_phrase(looked_up(here), here, namer) == "computed value"
    elsewhere = Call(1, "helper", "bpf_map_lookup_elem", 1, (MapRef("m"), Var(4)))
    assert key_phrase(elsewhere, here, namer) == "key at a computed place" and key_parts(elsewhere, here) == ()


def test_a_compared_string():
    here = scope()
    compared = Call(1, "helper", "bpf_strncmp", 182, (StackRef(-16, 0), Const(16), ir.DataRef(".rodata", 0)))
    assert compared_text(compared, here) == ""
    here.frame.store(-16, 16, Filled(Source("buffer", "bpf_get_current_comm")))
    assert compared_text(compared, here).format("not ") == 'the process name is not "evil"'


# --- sources ---


def test_variables_that_are_assigned_once():
    once, twice = Assign(1, Const(1)), Assign(2, Const(1))
    step = For(Assign(3, Const(0)), Var(3), Assign(3, Var(1)), (Simple(twice), Simple(twice)))
    found = definitions_of((Simple(once), Simple(Store(4, Var(1), Var(1))), step, Simple(Assign(4, Const(1)))), (4,))
    assert found == {1: once} and found.several == {2, 3, 4}


def test_where_numbers_come_from():
    call = Call(5, "helper", "bpf_get_current_pid_tgid", 14, (), (2, 3))
    here = scope(definitions={5: call, 6: Assign(6, Binary(">>", Var(5), Const(32), 64)), 7: Assign(7, Const(9))})
    upper = here.bits(Var(6))
    assert upper[:32] == read_bits(Source("call", "bpf_get_current_pid_tgid", "2 3"), 4, 4)[:32] and set(upper[32:]) == {0}
    assert here.call_of(Var(5)) is call and here.call_of(Var(7)) is None
    assert here.constant(Var(7)) == 9 and here.constant(Var(5)) is None
    assert here.resolved(Zext(32, Var(7))) == Const(9)
    assert call_base(call) == "2 3"


def test_sums_by_their_terms():
    here = scope(definitions={1: Assign(1, Binary("+", Var(9), Const(14), 64))})
    assert here.linear(Binary("+", Var(1), Const((1 << 64) - 4), 64)) == (10, [Var(9)])


def test_a_header_behind_another_of_any_length():
    start = Load(4, False, Var(0), Place("ctx", "", 0))
    byte = Load(1, False, Var(3), Place("packet", "", 14))
    length = Binary("<<", Binary("&", byte, Const(15), 64), Const(2), 64)
    here = scope(definitions={3: Assign(3, start), 4: Assign(4, Binary("+", Binary("+", Var(3), Const(14), 64), length, 64))})
    port = Load(2, False, Binary("+", Var(4), Const(2), 64), Place("packet"))
    assert here.header_length(length) == 14
    assert here.bits(port)[:16] == read_bits(Source("packet", "", "transport"), 2, 2)[:16]
    other = Load(2, False, Binary("+", Var(4), Var(8), 64), Place("packet"))
    assert here.bits(other) is None


def test_the_packet_ends_where_the_context_says():
    start, end = (Load(4, False, Var(0), Place("ctx", "", at)) for at in (0, 4))
    here = scope()
    assert here.is_packet_start(start) and not here.is_packet_start(end)
    assert here.is_packet_end(Binary("+", end, Const(4), 64)) and not here.is_packet_end(start)


def test_a_value_that_is_kept_stays_what_it_was():
    here = scope()
    here.frame.store(-8, 4, Const(5))
    loaded = Load(4, False, StackRef(-8, 0), STACK)
    kept = here.kept(loaded)
    here.frame.store(-8, 4, Const(6))
    assert here.constant(kept) == 5 and here.constant(loaded) == 6
    assert here.stored(Load(4, False, StackRef(-8, 0), STACK)) == Const(6)


def test_bindings_follow_assignments():
    known = Definitions({1: Assign(1, Const(1))})
    known.several = frozenset({2})
    here = Scope(Unit("test", {}, MAPS, None, "GPL"), XDP, "", known)
    here.bind(2, Assign(2, Const(4)))
    assert here.now(Binary("+", Var(2), Var(1), 64)) == Binary("+", Const(4), Var(1), 64)
    here.bind(2, Call(2, "helper", "f", 1, ()))
    later = here.now(Var(2))
    assert isinstance(later, Var) and later.id < 0 and later == here.now(Var(2))
