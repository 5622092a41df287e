"""The kinds of BTF against the kernel's header, and the records against blobs that are built here."""

from __future__ import annotations

import re
from pathlib import Path

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.btf.types import KINDS, MODIFIERS, SIZED, TAILS, VOID, Enumerator, Kind, Member, Param, Variable


def test_kinds_are_those_of_the_header() -> None:
    text = Path("/usr/include/linux/btf.h").read_text()
    theirs = {name: int(value) for name, value in re.findall(r"BTF_KIND_(\w+)\s*=\s*(\d+)", text)}
    assert len(theirs) >= 20
    theirs["VOID"] = theirs.pop("UNKN")
    assert {kind.name: kind.value for kind in Kind} == theirs and [kind.value for kind in KINDS] == list(range(len(KINDS)))


def test_every_kind_but_void_has_a_length() -> None:
    """And is either sized or refers to something, or neither; modifiers are not sized."""
    assert set(TAILS) == set(Kind) - {Kind.VOID}
    assert not MODIFIERS & SIZED and VOID.kind is Kind.VOID and VOID.id == 0


def test_lengths_are_those_of_the_blob() -> None:
    """After the three words of a type come as many as the table says."""
    build = BtfBuilder()
    i32 = build.add_int("int", 4, 1)
    proto = build.add_func_proto(i32, [("a", i32), ("b", i32)])
    made = [
        (Kind.INT, i32, 0), (Kind.PTR, build.add_ptr(i32), 0), (Kind.STRUCT, build.add_struct("s", 8, [("a", i32, 0), ("b", i32, 32)]), 2),
        (Kind.ENUM, build.add_enum("e", [("A", -1), ("B", 2)], signed=True), 2), (Kind.ENUM64, build.add_enum("l", [("C", 1 << 40)], 8), 1),
        (Kind.FWD, build.add_fwd("f"), 0), (Kind.FUNC_PROTO, proto, 2), (Kind.FUNC, build.add_func("g", proto), 0),
        (Kind.FLOAT, build.add_float("double", 8), 0), (Kind.CONST, build.add_modifier(Kind.CONST, i32), 0),
        (Kind.TYPEDEF, build.add_typedef("t", i32), 0),
    ]  # fmt: skip
    array = build.add_array(i32, 3)
    variable = build.add_var("v", i32)
    made += [(Kind.ARRAY, array, 0), (Kind.VAR, variable, 0), (Kind.DATASEC, build.add_datasec(".data", 4, [(variable, 0, 4)]), 1)]
    made += [(Kind.DECL_TAG, build.add_decl_tag("tag", i32), 0), (Kind.TYPE_TAG, build.add_modifier(Kind.TYPE_TAG, i32, "user"), 0)]
    btf = Btf.parse(build.build())
    order = sorted(range(1, len(btf)), key=btf.position)
    ends = [*(btf.position(id) for id in order[1:]), len(btf.sections()[0]) // 4]
    lengths = {id: end - btf.position(id) for id, end in zip(order, ends, strict=True)}
    for kind, id, count in made:
        fixed, each = TAILS[kind]
        assert (btf.kind(id), lengths[id]) == (kind, 3 + fixed + each * count), kind
        assert (btf.type(id).size > 0) is (kind in SIZED) or kind is Kind.DATASEC
    assert btf.members(made[2][1]) == (Member("a", i32, 0, 0), Member("b", i32, 32, 0))
    assert btf.enumerators(made[3][1]) == (Enumerator("A", -1), Enumerator("B", 2)) and btf.params(proto)[0] == Param("a", i32)
    assert btf.enumerators(made[4][1]) == (Enumerator("C", 1 << 40),)
    assert btf.variables(made[13][1]) == (Variable(variable, 0, 4),)
