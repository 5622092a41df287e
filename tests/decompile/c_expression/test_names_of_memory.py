"""Accesses by the names of members, globals, kernel structures; only where the access is exactly that."""

from __future__ import annotations

import pytest

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile import ir
from bpflens.decompile.c_expression.core import core_address, core_path, core_text, members_named, type_of
from bpflens.decompile.c_expression.places import Named, named_place, struct_member
from bpflens.decompile.c_expression.types import POINTER, PRIMARY, S32, U8, U64, CText, CType
from bpflens.decompile.c_expression.unit_scope import UnitScope, context_field, context_type
from bpflens.decompile.function import StackObject
from bpflens.decompile.ir import Binary, Const, DataRef, StackRef, Var
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.unit import Unit
from bpflens.program import Map

BUILD = BtfBuilder()
INT, U8_ID, U64_ID = BUILD.add_int("int", 4, 1), BUILD.add_int("unsigned char", 1), BUILD.add_int("unsigned long", 8)
COLOUR = BUILD.add_enum("colour", [("RED", 1), ("BLUE", 5)])
INNER = BUILD.add_struct("inner", 8, [("x", INT, 0), ("y", INT, 32)])
PTR = BUILD.add_ptr(INNER)
OUTER = BUILD.add_struct("outer", 32, [("n", U64_ID, 0), ("p", PTR, 64), ("in", INNER, 128), ("c", COLOUR, 192), ("b", INT, 224)])
BITS = BUILD.add_struct("bits", 4, [("low", INT, 0, 3), ("high", INT, 3, 29)])
LIST = BUILD.add_struct("list", 16, [("items", BUILD.add_array(INT, 4), 0)])
NAMELESS = BUILD.add_struct("", 4, [("q", INT, 0)])
MD = BUILD.add_struct("xdp_md", 8, [("data", INT, 0), ("data_end", INT, 32)])
COUNT, TOTAL = BUILD.add_var("count", INT), BUILD.add_var("both", INNER)
BSS = BUILD.add_datasec(".bss", 24, [(COUNT, 0, 4), (TOTAL, 8, 8)])
BTF = Btf.parse(BUILD.build())
MAPS = {
    ".bss": Map(".bss", 2, 4, 24, 1, value_type_id=BSS, data=bytes(24), datasec={0: ("count", 4, "int"), 8: ("both", 8, "struct inner")}),
    ".rodata": Map(".rodata", 2, 4, 16, 1, data=b"hi \"you\"\n\0\1\0\0\0\0\0", datasec={}),
    ".rodata.str1.1": Map(".rodata.str1.1", 2, 4, 6, 1, data=b"hello\0"),
    "my-map": Map("my-map", 1, 4, 4, 4),
}  # fmt: skip


def scope(btf=BTF, maps=MAPS):
    return UnitScope.of(Unit("test", {}, dict(maps), btf, "GPL"))


@pytest.mark.parametrize(
    ("offset", "size", "found"),
    [
        (0, 8, ("n", False, False)),
        (8, 8, ("p", False, True)),
        (8, 4, None),
        (16, 4, ("in.x", True, False)),
        (20, 4, ("in.y", True, False)),
        (16, 8, None),
        (18, 2, None),
        (24, 4, ("c", False, False)),
        (32, 4, None),
    ],
)
def test_members_are_named_where_offset_and_size_are_theirs(offset, size, found):
    assert struct_member(BTF, OUTER, offset, size) == found


def test_bit_fields_have_no_place_and_a_number_is_itself():
    assert struct_member(BTF, BITS, 0, 4) is None
    assert struct_member(BTF, INT, 0, 4) == ("", True, False)
    assert struct_member(BTF, INT, 4, 4) is None


OBJECTS = {
    -16: StackObject(-16, 16, "stack_16", members=((0, 8, "at_0"), (8, 4, "at_8"))),
    -24: StackObject(-24, 8, "stack_24", INNER),
    -32: StackObject(-32, 8, "stack_32", members=((0, 8, ""),)),
}


def place(address, size):
    return named_place(scope(), address, size, OBJECTS, {1: OUTER, 2: INT}, {1: "v1", 2: "v2"})


@pytest.mark.parametrize(
    ("address", "size", "named"),
    [
        (Binary("+", Var(1), Const(20), 64), 4, Named("v1->in.y", True)),
        (Var(1), 8, Named("v1->n")),
        (Binary("+", Var(1), Const(8), 64), 8, Named("v1->p", False, True)),
        (Var(2), 4, Named("*v2", True)),
        (Var(3), 4, None),
        (Binary("+", Var(1), Const((1 << 64) - 4), 64), 4, None),
        (Binary("+", Var(1), Var(2), 64), 4, None),
        (StackRef(-16, 8), 4, Named("stack_16.at_8")),
        (StackRef(-16, 8), 8, None),
        (StackRef(-24, 4), 4, Named("stack_24.y", True)),
        (StackRef(-32, 0), 8, Named("stack_32")),
        (DataRef(".bss", 0), 4, Named("count", True)),
        (DataRef(".bss", 12), 4, Named("both.y", True)),
        (DataRef(".bss", 8), 8, None),
        (DataRef(".rodata", 0), 4, None),
        (Binary("+", Var(1), ir.CoreRef(0, OUTER, "0:2:1", 20), 64), 4, Named("v1->in.y", True, False, True)),
        (Binary("+", Var(1), ir.CoreRef(0, INNER, "0:1", 4), 64), 4, Named("((struct inner *)v1)->y", True, False, True)),
    ],
)
def test_places(address, size, named):
    assert place(address, size) == named


def test_the_addresses_of_global_data():
    used = scope()
    assert used.data(".bss", 0).text == "&count"
    assert used.data(".bss", 9) == CText("(void *)&both + 1", 12, POINTER)
    assert used.data(".rodata", 0).text == "(void *)&section_rodata"
    assert used.data(".nowhere", 4).text == "(void *)section_nowhere + 4"
    assert used.data(".rodata.str1.1", 1).text == '"ello"'
    assert list(used.used_sections) == [".bss", ".rodata", ".nowhere"]


def test_gaps_between_variables_matter_where_they_hold_something():
    gap = {**MAPS, ".bss": Map(".bss", 2, 4, 24, 1, data=bytes(5) + b"\1" + bytes(18), datasec={0: ("a", 4, ""), 8: ("b", 8, "")})}
    assert {start: (g.name, g.size) for start, g in scope(maps=gap).globals[".bss"].items()} == {
        0: ("a", 4), 4: ("section_bss_4", 4), 8: ("b", 8), 16: ("section_bss_16", 8),
    }  # fmt: skip
    assert [g.offset for g in scope().globals[".bss"].values()] == [0, 8, 16]


def test_strings_of_read_only_data():
    used = scope()
    assert used.string(".rodata", 0) == r'"hi \"you\"\n"'
    assert used.string(".rodata", 0, 10) == r'"hi \"you\"\n"'
    assert used.string(".rodata", 0, 9) is None
    assert used.string(".rodata", 10) is None
    assert used.string(".nowhere", 0) is None


def test_names_are_identifiers_that_are_free():
    maps = {"my-map": MAPS["my-map"], "my_map": Map("my_map", 1, 4, 4, 4)}
    used = scope(maps=maps)
    assert [used.map(name).text for name in maps] == ["&my_map", "&my_map_2"]
    assert list(used.used_maps) == ["my-map", "my_map"]


def test_fields_of_the_context_by_the_objects_own_types_first():
    unit = scope().unit
    assert context_type(unit, "xdp_md") == MD and context_type(unit, "__sk_buff") == 0
    assert context_field(unit, "xdp_md", 4, 4) == ("data_end", True)
    assert context_field(unit, "xdp_md", 8, 4) is None
    assert context_field(unit, "__sk_buff", 16, 4) == ("protocol", False)
    assert context_field(unit, "__sk_buff", 16, 2) is None


# --- CO-RE ---


@pytest.mark.parametrize(
    ("kind", "type_id", "access", "text"),
    [
        (0, OUTER, "0:2:1", "__builtin_preserve_field_info(((struct outer *)0)->in.y, 0)"),
        (2, LIST, "0:0:3", "__builtin_preserve_field_info(((struct list *)0)->items[3], 2)"),
        (6, OUTER, "0", "__builtin_btf_type_id(*(struct outer *)0, 0)"),
        (8, OUTER, "0", "__builtin_preserve_type_info(*(struct outer *)0, 0)"),
        (9, OUTER, "0", "__builtin_preserve_type_info(*(struct outer *)0, 1)"),
        (11, COLOUR, "1", "__builtin_preserve_enum_value(*(enum colour *)BLUE, 1)"),
    ],
)
def test_relocations_are_made_again(kind, type_id, access, text):
    assert core_text(scope(), ir.CoreRef(kind, type_id, access, 7)).text == text


@pytest.mark.parametrize(("kind", "type_id", "access"), [(11, COLOUR, "2"), (0, NAMELESS, "0:0"), (0, OUTER, "1:0"), (0, OUTER, "0:9")])
def test_relocations_that_c_cannot_say(kind, type_id, access):
    with pytest.raises(Unsayable):
        core_text(scope(), ir.CoreRef(kind, type_id, access, 7))


def test_the_address_of_a_relocated_field():
    used = scope()
    field = ir.CoreRef(0, OUTER, "0:2:1", 20)
    assert core_address(used, field, CText("v1", PRIMARY, CType(64, False, "struct outer *"))).text == "CORE(&v1->in.y)"
    assert core_address(used, field, CText("v1", PRIMARY, U64)).text == "CORE(&((struct outer *)v1)->in.y)"
    assert core_address(used, ir.CoreRef(2, OUTER, "0:2:1", 1), CText("v1", PRIMARY, U64)) is None
    assert core_address(used, ir.CoreRef(0, BITS, "0:1", 0), CText("v1", PRIMARY, U64)) is None
    assert used.core_paths == {(OUTER, "0:2:1"): None} and "CORE" in used.used_macros


def test_paths_of_relocations():
    assert core_path(BTF, ir.CoreRef(0, OUTER, "0:2:1", 20)) == ("in.y", INT)
    assert core_path(BTF, ir.CoreRef(0, LIST, "0:0:3", 12)) == ("items[3]", INT)
    assert core_path(BTF, ir.CoreRef(0, OUTER, "0:x", 0)) is None
    assert members_named(BTF, [(OUTER, "0:2:1"), (LIST, "0:0:1"), (OUTER, "0")]) == {OUTER: {2: None}, INNER: {1: None}, LIST: {0: None}}


def test_types_of_parameters_and_results():
    assert [type_of(BTF, id) for id in (0, INT, U8_ID, U64_ID, PTR, COLOUR, OUTER)] == [None, S32, U8, U64, POINTER, CType(32), U64]
