"""Which variables are pointers and what they point to; what the objects of the frame are."""

from __future__ import annotations

import pytest

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile import ir
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.ir import Assign, Atomic, Binary, Block, Call, Const, Load, MapRef, Place, StackRef, Store, Var
from bpflens.decompile.lift.webs import Webs
from bpflens.decompile.types.frame_types import type_objects
from bpflens.decompile.types.pointees import find_pointees
from bpflens.decompile.types.pointers import find_pointers, is_packet_load
from bpflens.program import Map

ZERO = Const(0)


def function(*statements, objects=(), result=ZERO):
    block = Block(0, 0)
    block.statements, block.result = list(statements), result
    return Function("f", {0: block}, 0, 1, {o.start: o for o in objects})


def webs_of(made):
    webs = Webs(20, {0: 1}, set(), {1: 0})
    for statement in made.blocks[0].statements:
        if not isinstance(statement, Store) and statement.var is not None:
            webs.definitions[statement.var] = webs.definitions.get(statement.var, 0) + 1
    return webs


DATA = Load(4, False, Var(0), Place("ctx", "", 0))
LENGTH = Load(4, False, Var(0), Place("ctx", "", 12))


def pointers(*statements, entry=True):
    made = function(*statements)
    return find_pointers(made, webs_of(made), "xdp_md", entry, lambda call: call.number == 1)


def test_the_start_of_the_packet_is_read_from_the_context():
    assert is_packet_load(DATA, "xdp_md")
    assert not is_packet_load(LENGTH, "xdp_md")
    assert not is_packet_load(Load(4, False, Var(0)), "xdp_md")


def test_pointers_by_their_definitions():
    found = pointers(
        Assign(1, DATA),
        Assign(2, Binary("+", Var(1), Const(14), 64)),
        Assign(3, Binary("-", Var(2), Var(1), 64)),
        Assign(4, Binary("+", Var(1), Var(2), 64)),
        Assign(5, Binary("+", Var(1), Const(4), 32)),
        Call(6, "helper", "bpf_map_lookup_elem", 1, ()),
        Call(7, "helper", "bpf_ktime_get_ns", 5, ()),
        Assign(8, ir.FrameRef(-8)),
        Assign(9, Const(0)),
    )
    assert found == {0, 1, 2, 6, 8}


def test_all_definitions_must_be_pointers_or_zero():
    assert pointers(Assign(1, DATA), Assign(1, Const(0))) == {0, 1}
    assert pointers(Assign(1, DATA), Assign(1, Const(7))) == {0}
    assert pointers(Assign(1, DATA), Assign(1, Binary("+", Var(1), Const(4), 64))) == {0, 1}
    assert pointers(Assign(1, Binary("+", Var(1), Const(4), 64)), entry=False) == set()


# --- what they point to ---


BUILD = BtfBuilder()
U32, U64 = BUILD.add_int("unsigned int", 4), BUILD.add_int("unsigned long", 8)
KEY = BUILD.add_struct("key", 8, [("a", U32, 0), ("b", U32, 32)])
VALUE = BUILD.add_struct("value", 16, [("n", U64, 0), ("m", U64, 64)])
BTF = Btf.parse(BUILD.build())
MAPS = {"m": Map("m", 1, 8, 16, 4, key_type_id=KEY, value_type_id=VALUE)}
OUTER = {"m": Map("m", 12, 4, 4, 4, value_type_id=U32, fields={"inner": MAPS["m"]})}
LOOKUP = Call(1, "helper", "bpf_map_lookup_elem", 1, (MapRef("m"), Var(0)))


def pointees(*statements, maps=MAPS, arguments=None):
    made = function(*statements)
    return find_pointees(made, webs_of(made), maps, BTF, arguments or {})


def test_a_lookup_gives_a_value_of_the_map():
    assert pointees(LOOKUP, Assign(2, Var(1)), Assign(1, Const(0))) == {1: VALUE, 2: VALUE}
    assert pointees(LOOKUP, maps=OUTER) == {}
    assert pointees(LOOKUP, maps={}) == {}


def test_definitions_that_disagree_point_to_nothing():
    assert pointees(LOOKUP, Assign(1, Binary("+", Var(1), Const(8), 64))) == {}


def test_relocated_accesses_say_the_root():
    access = Load(4, False, Binary("+", Var(3), ir.CoreRef(0, KEY, "0:1", 4), 64))
    other = Load(4, False, Binary("+", Var(3), ir.CoreRef(0, VALUE, "0:1", 8), 64))
    exists = Binary("+", Var(4), ir.CoreRef(2, KEY, "0:1", 1), 64)
    assert pointees(Assign(3, Var(9)), Assign(5, access)) == {3: KEY}
    assert pointees(Assign(3, Var(9)), Assign(5, access), Assign(6, other)) == {}
    assert pointees(Assign(5, exists)) == {}


def test_arguments_have_the_types_of_the_prototype():
    assert pointees(arguments={1: KEY}) == {0: KEY}
    assert pointees(Assign(0, Const(0)), arguments={1: KEY}) == {}


# --- objects of the frame ---


def typed(size, *statements, maps=MAPS, btf=BTF):
    made = function(*statements, objects=(StackObject(-size, size, "stack"),))
    type_objects(made, maps, btf)
    return made.objects[-size]


def test_a_key_and_a_value_have_the_types_of_the_map():
    key = Call(None, "helper", "bpf_map_delete_elem", 3, (MapRef("m"), StackRef(-8, 0)))
    value = Call(None, "helper", "bpf_map_update_elem", 2, (MapRef("m"), Var(0), StackRef(-16, 0)))
    assert typed(8, key).type_id == KEY
    assert typed(16, value).type_id == VALUE
    assert typed(16, Call(None, "helper", "bpf_map_delete_elem", 3, (MapRef("m"), StackRef(-16, 0)))).type_id == 0
    assert typed(8, key, btf=None).type_id == typed(8, key, maps={}).type_id == 0


def test_members_are_what_is_accessed():
    first = Store(8, StackRef(-16, 0), Var(0))
    second = Assign(1, Load(4, False, StackRef(-16, 8)))
    assert typed(16, first, second).members == ((0, 8, "at_0"), (8, 4, "at_8"))
    assert typed(8, Atomic(None, "+", 8, StackRef(-8, 0), Const(1))).members == ((0, 8, ""),)
    assert typed(8).members == ()


@pytest.mark.parametrize(
    "statement",
    [Store(4, StackRef(-8, 2), Var(0)), Store(8, StackRef(-8, 4), Var(0)), Store(4, StackRef(-8, -4), Var(0))],
)
def test_what_is_crooked_or_reaches_over_stays_bytes(statement):
    assert typed(8, statement).members == ()


def test_the_width_that_is_used_most_is_the_member():
    twice = [Assign(n, Load(4, False, StackRef(-8, 0))) for n in (1, 2)]
    assert typed(8, Store(8, StackRef(-8, 0), Var(0)), *twice).members == ((0, 4, "at_0"),)
    zeroed = Store(8, StackRef(-8, 0), Const(0))
    assert typed(8, zeroed, twice[0]).members == ((0, 4, "at_0"),)
