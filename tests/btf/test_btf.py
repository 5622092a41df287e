"""BTF: what is built is read back; members, paths, search; malformed blobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.btf.btf import Btf, Enumerator, Kind, Member, Param, Variable
from bpflens.btf.build import BtfBuilder
from bpflens.btf.c_text import declaration, definition
from bpflens.btf.fields import field, member_at, member_offset
from bpflens.btf.layout import align
from bpflens.errors import InputError


def small() -> tuple[BtfBuilder, dict[str, int]]:
    """A bit of everything."""
    build = BtfBuilder()
    ids: dict[str, int] = {}
    ids["int"] = build.add_int("int", 4, 1)
    ids["u64"] = build.add_int("unsigned long long", 8)
    ids["char"] = build.add_int("char", 1, 1)
    ids["list"] = build.add_array(ids["char"], 16)
    ids["union"] = build.add_struct("", 8, [("a", ids["int"], 0), ("b", ids["u64"], 0)], union=True)
    ids["inner"] = build.add_struct("inner", 16, [("x", ids["int"], 0), ("", ids["union"], 64)])
    members = [("head", ids["inner"], 0), ("comm", ids["list"], 128), ("f", ids["int"], 256, 3), ("g", ids["int"], 259, 5)]
    ids["outer"] = build.add_struct("outer", 40, members)
    ids["ptr"] = build.add_ptr(ids["outer"])
    ids["typedef"] = build.add_typedef("outer_t", ids["outer"])
    ids["const"] = build.add_modifier(Kind.CONST, ids["typedef"])
    ids["proto"] = build.add_func_proto(ids["int"], [("p", ids["ptr"]), ("n", ids["u64"]), ("", 0)])
    ids["func"] = build.add_func("work", ids["proto"])
    ids["var"] = build.add_var("state", ids["outer"])
    ids["datasec"] = build.add_datasec(".data", 40, [(ids["var"], 0, 40)])
    ids["enum"] = build.add_enum("small", [("A", -1), ("B", 7)], signed=True)
    ids["enum64"] = build.add_enum("big", [("C", 1 << 40), ("D", (1 << 64) - 1)], size=8)
    ids["fwd"] = build.add_fwd("later", union=True)
    ids["float"] = build.add_float("double", 8)
    ids["tag"] = build.add_decl_tag("mark", ids["outer"], 1)
    ids["type_tag"] = build.add_modifier(Kind.TYPE_TAG, ids["int"], "user")
    return build, ids


@pytest.mark.parametrize("big_endian", [False, True])
def test_every_kind_is_read_back(big_endian: bool) -> None:
    """What the builder wrote, in either byte order."""
    build, ids = small()
    blob = build.build()
    btf = Btf.parse(swapped(blob) if big_endian else blob)
    assert btf.big_endian == big_endian
    assert len(btf) == len(build)
    assert [btf.type(id).kind for id in (1, 2, 3)] == [Kind.INT, Kind.INT, Kind.INT]
    assert btf.int_encoding(ids["char"]) == (1, 0, 8)
    assert btf.array(ids["list"])[::2] == (ids["char"], 16)
    assert btf.members(ids["inner"]) == (Member("x", ids["int"], 0, 0), Member("", ids["union"], 64, 0))
    assert btf.members(ids["outer"])[2:] == (Member("f", ids["int"], 256, 3), Member("g", ids["int"], 259, 5))
    assert [btf.member(ids["outer"], index) for index in range(4)] == list(btf.members(ids["outer"]))
    assert btf.params(ids["func"]) == (Param("p", ids["ptr"]), Param("n", ids["u64"]), Param("", 0))
    assert btf.linkage(ids["func"]) == 1
    assert btf.variables(ids["datasec"]) == (Variable(ids["var"], 0, 40),)
    assert btf.enumerators(ids["enum"]) == (Enumerator("A", -1), Enumerator("B", 7))
    assert btf.enumerators(ids["enum64"]) == (Enumerator("C", 1 << 40), Enumerator("D", (1 << 64) - 1))
    assert btf.type(ids["fwd"]).kind_flag
    assert btf.decl_tag(ids["tag"]) == ("mark", ids["outer"], 1)
    assert [btf.size(ids[name]) for name in ("int", "list", "outer", "ptr", "const", "float", "func")] == [4, 16, 40, 8, 40, 8, 0]
    assert [align(btf, ids[name]) for name in ("int", "list", "outer", "ptr", "const")] == [4, 1, 8, 8, 8]


def swapped(blob: bytes) -> bytes:
    """A little-endian blob as big-endian."""
    header = blob[1::-1] + blob[2:4] + words_swapped(blob[4:24])
    strings = int.from_bytes(blob[16:20], "little")
    return header + words_swapped(blob[24 : 24 + strings]) + blob[24 + strings :]


def words_swapped(data: bytes) -> bytes:
    return b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))


def test_paths_and_offsets() -> None:
    """member_offset and member_at are each other's inverse, through anonymous members, arrays and bitfields."""
    build, ids = small()
    btf = Btf.parse(build.build())
    assert member_offset(btf, "outer", "head.b") == 8
    assert member_offset(btf, "outer_t", "comm") == 16
    assert field(btf, ids["const"], "g") == ("g", ids["int"], 259, 5)
    assert member_at(btf, ids["outer"], 8) == "head.a"
    assert member_at(btf, ids["outer"], 8, size=8) == "head.b"
    assert member_at(btf, ids["typedef"], 19) == "comm[3]"
    assert member_at(btf, ids["outer"], 32) == "f"
    assert member_at(btf, ids["outer"], 4) is None  # padding
    assert member_at(btf, ids["outer"], 40) is None
    assert member_at(btf, ids["outer"], 0, size=16) == "head"
    with pytest.raises(InputError, match="outer has no member nothing"):
        member_offset(btf, "outer", "nothing")
    with pytest.raises(InputError, match="has no struct missing"):
        btf.struct("missing")


def test_find() -> None:
    """By name and kind; a name that is the tail of another; a name that is none."""
    build, ids = small()
    tail = build.add_typedef("my_int", ids["int"])
    btf = Btf.parse(build.build())
    assert btf.find("outer", Kind.STRUCT) == ids["outer"]
    assert btf.find("outer", Kind.UNION) is None
    assert btf.find("int") == ids["int"]
    assert btf.find("my_int") == tail
    assert btf.find("my_in") is None
    assert btf.find("") is None
    assert list(btf.ids(Kind.INT))[:3] == [ids["int"], ids["u64"], ids["char"]]


def test_name_that_shares_its_tail() -> None:
    """A writer may put "int" into the end of "my_int"."""
    build = BtfBuilder()
    build.add_typedef("my_int", 0)
    blob = build.build()
    header, types, strings = blob[:24], blob[24:36], blob[36:]
    assert strings == b"\0my_int\0"
    second = (4).to_bytes(4, "little") + types[4:]
    both = header[:12] + (24).to_bytes(4, "little") * 2 + header[20:] + types + second + strings
    assert Btf.parse(both).find("int", Kind.TYPEDEF) == 2


def test_split_btf() -> None:
    """Ids and strings of a module go on where the base's end."""
    build, ids = small()
    base = Btf.parse(build.build())
    module = BtfBuilder(base=base)
    first = module.add_struct("mod_state", 48, [("outer", ids["outer"], 0), ("more", ids["u64"], 320)])
    module.add_func("mod_init", ids["proto"])
    btf = Btf.parse(module.build(), base)
    assert first == btf.first_id == len(base)
    assert btf.find("mod_state") == first
    assert btf.find("outer", Kind.STRUCT) == ids["outer"]
    assert member_at(btf, first, 19 + 0) == "outer.comm[3]"
    assert member_offset(btf, "mod_state", "more") == 40
    assert btf.name(ids["outer"]) == "outer"
    assert declaration(btf, first, "*m") == "struct mod_state *m"
    with pytest.raises(InputError):
        Btf.parse(module.build()).type(len(btf))


def test_extending_keeps_ids() -> None:
    """Types added to a blob come after those it had."""
    build, ids = small()
    more = BtfBuilder(build.build())
    added = more.add_struct("added", 8, [("o", build.add_ptr(ids["outer"]), 0)])
    more.rename(ids["inner"], "renamed")
    btf = Btf.parse(more.build())
    assert added == len(build)
    assert btf.find("outer", Kind.STRUCT) == ids["outer"]
    assert btf.name(ids["inner"]) == "renamed"
    assert btf.members(ids["inner"])[0].name == "x"


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"\x9f\xeb\1\0", "4 bytes are too few"),
        (b"no" * 12, "no BTF magic"),
        (b"\x9f\xeb\2" + bytes(21), "version 2"),
        (b"\x9f\xeb\1\0" + b"\x18\0\0\0" + b"\0\0\0\0\xff\xff\xff\x7f\0\0\0\0\0\0\0\0", "types at 24, 2147483647 bytes, are outside"),
    ],
)
def test_malformed_header(blob: bytes, reason: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(InputError, match=reason):
        Btf.parse(blob)


def test_malformed_types() -> None:
    """A kind that does not exist, a type that goes past the end, ids and strings that lead nowhere."""
    build = BtfBuilder()
    build.add_ptr(77)
    blob = bytearray(build.build())
    btf = Btf.parse(bytes(blob))
    with pytest.raises(InputError, match="type id 77 does not exist"):
        declaration(btf, 1)
    blob[31] = 25
    with pytest.raises(InputError, match="type 1 has the unknown kind 25"):
        Btf.parse(bytes(blob))
    blob[31], blob[28] = Kind.STRUCT, 9
    with pytest.raises(InputError, match="type 1 goes past the end"):
        Btf.parse(bytes(blob))
    blob[31], blob[28], blob[24] = Kind.PTR, 0, 99
    with pytest.raises(InputError, match="string offset 99 is outside"):
        Btf.parse(bytes(blob)).type(1)


def test_cycles_end() -> None:
    """Typedefs of each other, a struct within itself, a pointer to itself, a function that takes itself."""
    build = BtfBuilder()
    build.add_typedef("a", 2)
    build.add_typedef("b", 1)
    build.add_struct("s", 8, [("s", 3, 0)])
    build.add_ptr(4)
    build.add_func_proto(5, [("", 5), ("", 5)])
    anonymous = build.add_struct("", 8, [("", 6, 0), ("", 6, 0)])
    assert anonymous == 6
    btf = Btf.parse(build.build())
    for id in (4, 5, 6):
        with pytest.raises(InputError):
            declaration(btf, id)
    for action in (align, definition):
        with pytest.raises(InputError):
            action(btf, 3)
    with pytest.raises(InputError):
        btf.size(1)
    assert member_at(btf, 3, 0) is None
    with pytest.raises(InputError):
        field(btf, 6, "none.none")


def walk(btf: Btf) -> None:
    """Ask everything that can be asked of every type."""
    for id in range(len(btf)):
        for action in (Btf.type, Btf.size, align, declaration, definition, Btf.members, Btf.params, Btf.enumerators):
            try:
                action(btf, id)
            except InputError:
                pass
        try:
            member_at(btf, id, 9, 4)
            btf.find(btf.name(id))
        except InputError:
            pass


@given(st.data())
def test_damaged_btf_gives_an_error_or_an_answer(data: st.DataObject) -> None:
    """Bytes changed, cut or added: InputError or a result, in bounded time."""
    build, _ = small()
    blob = bytearray(build.build())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(blob) - 1))
        blob[at] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 0x80, 0xFF, *range(len(build))]) | st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(blob)))
    try:
        btf = Btf.parse(bytes(blob[:cut]))
    except InputError:
        return
    walk(btf)


@given(st.binary(max_size=200))
def test_random_types(body: bytes) -> None:
    """A sound header and anything behind it."""
    body = body[: len(body) & ~3]
    header = b"\x9f\xeb\1\0" + b"".join(n.to_bytes(4, "little") for n in (24, 0, len(body), len(body), 1))
    try:
        walk(Btf.parse(header + body + b"\0"))
    except InputError:
        pass
