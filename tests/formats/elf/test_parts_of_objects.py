"""The pieces of objects one by one: the container, maps, what sections share, types of maps that are written, sequences on demand."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import EXTERN, BtfBuilder
from bpflens.btf.c_text import Steps
from bpflens.errors import InputError
from bpflens.formats.elf.emit import OutSection, OutSymbol, emit
from bpflens.formats.elf.file import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_OBJECT,
    STT_SECTION,
    ElfFile,
    Reloc,
    Section,
)
from bpflens.formats.elf.maps import c_type, is_data, is_data_name, is_map_section, read_maps
from bpflens.formats.elf.object import Object, types_of
from bpflens.formats.elf.on_demand import OnDemand
from bpflens.formats.elf.write_btf import MapTypes, add_ksyms
from bpflens.program import Map

# --- emit ---


def data(name: str, content: bytes = b"", size: int = 0) -> OutSection:
    return OutSection(name, SHT_NOBITS if size else SHT_PROGBITS, SHF_ALLOC, bytearray(content), size)


names = st.text("abc.", min_size=1, max_size=5)


@given(st.dictionaries(names, st.binary(max_size=20), max_size=4), st.data())
def test_what_is_written_is_read(contents: dict[str, bytes], more: st.DataObject) -> None:
    """Contents, symbols and relocations of any sections; local symbols stand first, as ELF wants it."""
    sections = [data(name, content) for name, content in contents.items()]
    symbols = [
        OutSymbol(f"s{index}", STT_OBJECT, more.draw(st.sampled_from([STB_LOCAL, STB_GLOBAL, STB_WEAK])), section, index, 3)
        for index, section in enumerate(sections)
    ]
    for section in sections:
        section.relocations = [(8, f"s{more.draw(st.integers(0, len(symbols) - 1))}", 10), (0, "s0", 1)]
    wanted = {s.name: (s.type, s.bind, s.section.name if s.section else "", s.value, s.size) for s in symbols}
    elf = ElfFile.parse(emit(sections, symbols), "x")
    assert {section.name: elf.bytes_of(section) for section in elf.sections[1 : 1 + len(sections)]} == contents
    read = [symbol for symbol in elf.symbols if symbol.name]
    assert {s.name: (s.type, s.bind, elf.sections[s.section].name, s.value, s.size) for s in read} == wanted
    assert [s.bind != STB_LOCAL for s in read] == sorted(s.bind != STB_LOCAL for s in read)
    for section in sections:
        found = elf.sections[section.index]
        assert [(r.offset, elf.symbol(r.symbol).name, r.type) for r in elf.relocations(found)] == sorted(section.relocations)


def test_sections_without_bytes_and_section_symbols() -> None:
    bss = data(".bss", size=100)
    text = data("xdp", bytes(8))
    text.relocations = [(0, "\0.bss", 1)]
    elf = ElfFile.parse(emit([bss, text], [OutSymbol("", STT_SECTION, STB_LOCAL, bss)]), "x")
    assert (elf.sections[1].size, elf.bytes_of(elf.sections[1])) == (100, b"")
    assert list(elf.relocations(elf.sections[2])) == [Reloc(0, 1, 1, 0)] and elf.name_of(elf.symbol(1)) == ".bss"


# --- maps ---


@pytest.mark.parametrize(
    ("name", "is_map", "is_variables"),
    [(".maps", True, False), ("maps", True, False), ("maps/x", True, False), ("mapsx", False, False), (".data", False, True),
     (".rodata.str1.1", False, True), (".bss", False, True), (".database", False, False), ("xdp", False, False)],
)  # fmt: skip
def test_names_of_sections(name: str, is_map: bool, is_variables: bool) -> None:
    assert (is_map_section(name), is_data_name(name)) == (is_map, is_variables)
    assert is_data(Section(1, name, SHT_PROGBITS, 0, 0, 0, 0, 0, 0)) is is_variables
    assert not is_data(Section(1, name, 2, 0, 0, 0, 0, 0, 0))


def maps_of(sections: list[OutSection], symbols: list[OutSymbol], build: BtfBuilder | None = None) -> list[Map]:
    elf = ElfFile.parse(emit(sections, symbols), "x.o")
    return [place.map for place in read_maps(elf, Btf.parse(build.build()) if build else None, Steps(1000))]


def test_maps_of_old_objects() -> None:
    """struct bpf_map_def, struct bpf_elf_map of iproute2, and one with a word that nobody knows; the last one is cut."""
    words = [(1, 4, 8, 16, 0), (2, 4, 8, 1, 0, 5, 2, 0, 0), (3, 4, 4, 4, 1, 9)]
    content = b"".join(struct.pack(f"<{len(row)}I", *row) for row in words)
    section = data("maps", content)
    symbols = [OutSymbol(name, STT_OBJECT, STB_GLOBAL, section, at, 20) for name, at in (("a", 0), ("b", 20), ("c", 56))]
    assert maps_of([section], symbols) == [
        Map("a", 1, 4, 8, 16, 0), Map("b", 2, 4, 8, 1, 0, fields={"id": 5, "pinning": 2}), Map("c", 3, 4, 4, 4, 1, fields={"word 5": 9}),
    ]  # fmt: skip
    with pytest.raises(InputError, match="the map at byte 72 has 8 of at least 20 bytes"):
        maps_of([section], [*symbols[:2], OutSymbol("d", STT_OBJECT, STB_GLOBAL, section, 72, 20)])


def test_maps_of_variables() -> None:
    """.bss is zeros; names and sizes are the symbols' where there are no types, .rodata is read only."""
    sections = [data(".bss", size=8), data(".rodata", b"abcd")]
    symbols = [OutSymbol("zero", STT_OBJECT, STB_GLOBAL, sections[0], 4, 4), OutSymbol("text", STT_OBJECT, STB_GLOBAL, sections[1], 0, 4)]
    bss, rodata = maps_of(sections, symbols)
    assert (bss.data, bss.flags, dict(bss.datasec)) == (bytes(8), 1 << 10, {4: ("zero", 4, "")})
    assert (rodata.data, rodata.flags, dict(rodata.datasec)) == (b"abcd", 1 << 10 | 1 << 7, {0: ("text", 4, "")})
    build = BtfBuilder()
    u32 = build.add_int("u32", 4)
    build.add_datasec(".bss", 8, [(build.add_var("first", u32), 0, 4), (build.add_var("zero", build.add_array(u32, 1)), 4, 4)])
    assert dict(maps_of(sections, symbols, build)[0].datasec) == {0: ("first", 4, "u32"), 4: ("zero", 4, "u32[1]")}


def test_the_kernels_configuration() -> None:
    """Laid out by falling alignment, rising size, name (libbpf.c, cmp_externs)."""
    build = BtfBuilder()
    u64, u32, bool = build.add_int("u64", 8), build.add_int("int", 4, 1), build.add_int("_Bool", 1, 4)
    variables = [("CONFIG_B", bool), ("VERSION", u32), ("CONFIG_HZ", u64), ("CONFIG_A", bool)]
    build.add_datasec(".kconfig", 0, [(build.add_var(name, type, EXTERN), 0, 0) for name, type in variables])
    (kconfig,) = maps_of([data("xdp", bytes(8))], [], build)
    assert dict(kconfig.datasec) == {
        0: ("CONFIG_HZ", 8, "u64"), 8: ("VERSION", 4, "int"), 12: ("CONFIG_A", 1, "_Bool"), 13: ("CONFIG_B", 1, "_Bool"),
    }  # fmt: skip
    assert (kconfig.name, kconfig.value_size) == (".kconfig", 14)


def wrong_definitions(build: BtfBuilder) -> list[tuple[str, int]]:
    u32 = build.add_int("u32", 4)
    return [
        ("is not defined by a struct", u32),
        ("should be a pointer, but is INT", build.add_struct("", 8, [("key", u32, 0)])),
        ("should be a pointer to an array, but is INT", build.add_struct("", 8, [("type", build.add_ptr(u32), 0)])),
        ("has 65 members", build.add_struct("", 520, [(f"m{n}", u32, 64 * n) for n in range(65)])),
    ]


@pytest.mark.parametrize("number", range(4))
def test_definitions_that_are_none(number: int) -> None:
    """An error, or a line of warning and the other maps."""
    build = BtfBuilder()
    said, definition = wrong_definitions(build)[number]
    build.add_datasec(".maps", 8, [(build.add_var("m", definition), 0, 8)])
    sections = [data(".maps", bytes(8)), data(".bss", size=4)]
    with pytest.raises(InputError, match=said):
        maps_of(sections, [], build)
    elf, warnings = ElfFile.parse(emit(sections, []), "x.o"), []
    assert [place.map.name for place in read_maps(elf, Btf.parse(build.build()), Steps(1000), warnings)] == [".bss"]
    assert len(warnings) == 1 and said in warnings[0] and warnings[0].endswith(": it is left out")


# --- write_btf, read back by maps ---


@pytest.mark.parametrize(
    "make",
    [
        lambda types: Map("m", 1, 4, 8, 16, 1),
        lambda types: Map("m", 2, 4, 4, 1, key="u32", value="u32", key_type_id=types[0], value_type_id=types[0]),
        lambda types: Map("m", 27, 0, 0, 4096),
        lambda types: Map("m", 13, 4, 4, 3, fields={"inner": Map("m.inner", 1, 4, 8, 16)}),
        lambda types: Map("m", 1, 4, 8, 1, fields={"pinning": "by name"}),
        lambda types: Map("m", 30, 0, 4, 8, fields={"map_extra": 3}),
    ],
)
def test_definitions_of_maps_come_back(make: Callable[[list[int]], Map]) -> None:
    build = BtfBuilder()
    map = make([build.add_int("u32", 4)])
    types = MapTypes(build)
    section = data(".maps", bytes(types.add(map)))
    types.finish(len(section.data))
    (again,) = maps_of([section], [], build)
    assert again == map


def test_initial_values_of_maps() -> None:
    """Behind the members of the definition, eight bytes each; the variable is as long as the last of them."""
    types = MapTypes(BtfBuilder())
    map = Map("jumps", 3, 4, 4, 8, fields={"values": {0: "a", 5: "b"}})
    assert types.add(map) == 8 * 4 + 8 * 6
    assert list(types.initial(map)) == [(32, "a"), (72, "b")]
    assert list(types.initial(Map("m", 1, 4, 4, 8))) == []
    with pytest.raises(InputError, match="max_entries 4294967296 is more than a map's definition can hold"):
        types.add(Map("m", 1, 4, 4, 1 << 32))


def test_functions_of_the_kernel() -> None:
    """With the kernel's prototypes, once; a list that was there is renamed, for libbpf takes the first."""
    kernel = BtfBuilder()
    kernel.add_func("bpf_f", kernel.add_func_proto(0, [("x", kernel.add_int("int", 4, 1))]))
    types = Btf.parse(kernel.build())
    build = BtfBuilder()
    add_ksyms(build, ["bpf_f"], types)
    once = build.build()
    add_ksyms(build, ["bpf_f"], types)
    assert build.build() == once
    btf = Btf.parse(once)
    (section,) = btf.ids(Kind.DATASEC)
    assert [c_type(btf, variable.type_id, Steps(100)) for variable in btf.variables(section)] == ["void bpf_f(int x)"]
    for known in (None, types):
        with pytest.raises(InputError, match="bpf_g: the kernel function's prototype is not known"):
            add_ksyms(build, ["bpf_g"], known)


# --- object ---


def test_functions_of_a_section() -> None:
    """Of two names for a slot the global one stays, a weak one last; a name within an instruction is told of."""
    text = OutSection("xdp", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, bytearray(32))
    symbols = [
        OutSymbol("global", STT_FUNC, STB_GLOBAL, text), OutSymbol("local", STT_FUNC, STB_LOCAL, text),
        OutSymbol("weak", STT_FUNC, STB_WEAK, text), OutSymbol("second", STT_FUNC, STB_WEAK, text, 16),
        OutSymbol("odd", STT_FUNC, STB_GLOBAL, text, 12), OutSymbol("beyond", STT_FUNC, STB_GLOBAL, text, 32),
    ]  # fmt: skip
    warnings: list[str] = []
    elf = ElfFile.parse(emit([text], symbols), "x.o")
    object = Object(elf, None, None, warnings)
    found = object.functions(elf.sections[1])
    assert found == {0: "global", 2: "second"}
    assert warnings == ["symbol odd starts within an instruction of section 'xdp': it is left out"]
    assert object.functions(elf.sections[1]) is found and len(warnings) == 1


def test_types_that_are_damaged() -> None:
    """Left out, with what rests on them."""
    blob = emit([data(".BTF", b"\0" * 30)], [])
    warnings: list[str] = []
    assert types_of(ElfFile.parse(blob, "x.o"), warnings) == (None, None)
    assert len(warnings) == 1 and warnings[0].startswith(".BTF: ") and warnings[0].endswith("what rests on them are left out")
    build = BtfBuilder()
    build.add_int("int", 4)
    btf, ext = types_of(ElfFile.parse(emit([data(".BTF", build.build()), data(".BTF.ext", b"x")], []), "x.o"), warnings)
    assert btf is not None and ext is None
    assert warnings[1].endswith("source lines, prototypes and CO-RE relocations are left out")


# --- on_demand ---


class Squares(OnDemand[int]):
    def __init__(self, count: int) -> None:
        self.count, self.made = count, 0

    def __len__(self) -> int:
        return self.count

    def item(self, index: int) -> int:
        assert 0 <= index < self.count
        self.made += 1
        return index * index


@given(st.integers(0, 6), st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([None, 1, 2, -1, -3]))
def test_sequences_on_demand(count: int, start: int, stop: int, step: int | None) -> None:
    """As the tuple of the same items, whose items are made one by one."""
    items, squares = tuple(n * n for n in range(count)), Squares(count)
    assert squares[start:stop:step] == items[start:stop:step]
    assert (squares, list(squares), list(reversed(squares)), repr(squares)) == (items, list(items), list(reversed(items)), repr(items))
    squares.made = 0
    if -count <= start < count:
        assert squares[start] == items[start] and squares.made == 1
    else:
        with pytest.raises(IndexError):
            squares[start]
