"""Writing objects: what is written reads back the same; programs of the kernel get relocations; errors name what is missing."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import BtfBuilder
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import CORE_KINDS, CoreRelocation
from bpflens.formats.elf.data_maps import data_section, from_live
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.write import write_object
from bpflens.program import Declared, Function, Isa, Map, Origin, Program, Relocation, SourceLine

EXIT = bytes.fromhex("9500000000000000")


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One slot."""
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def load(src: int, imm: int, high: int = 0) -> bytes:
    """ld_imm64 of a kind."""
    return insn(0x18, 1, src, imm=imm) + insn(0, imm=high)


def program(code: bytes, **fields: object) -> Program:
    base = Program(Isa.EXTENDED, code, Origin("test", "test"), name="main", declared=Declared(section="socket"))
    return replace(base, **fields)  # type: ignore[arg-type]


def read(blob: bytes, section: str) -> Program:
    return read_object(blob, "x.o", section)[0]


def test_called_functions_move_to_text() -> None:
    """Calls and function addresses by distance become relocations; functions that nothing calls stay."""
    code = insn(0x85, src=1, imm=4) + load(4, 3) + EXIT + EXIT + insn(0xB7, imm=1) + EXIT
    functions = (Function(0, "main"), Function(4, "other"), Function(5, "called"))
    blob = write_object([program(code, functions=functions)])
    socket, text = read(blob, "socket"), read(blob, ".text")
    assert [(f.start, f.name) for f in socket.functions] == [(0, "main"), (4, "other")]
    assert [(f.start, f.name) for f in text.functions] == [(0, "called")]
    assert [(r.off_insns, r.kind, r.symbol, r.value) for r in socket.relocations] == [(0, "call", "called", 0), (1, "func", "called", 0)]
    assert text.code == insn(0xB7, imm=1) + EXIT


def test_two_programs_share_a_subprogram() -> None:
    """The same function twice is written once; another of the same name gets another name."""
    code = insn(0x85, src=1, imm=1) + EXIT + insn(0xB7, imm=1) + EXIT
    other = insn(0x85, src=1, imm=1) + EXIT + insn(0xB7, imm=2) + EXIT
    functions = (Function(0, "main"), Function(2, "sub"))
    programs = [
        program(body, name=name, declared=Declared(section=name), functions=(Function(0, name), *functions[1:]))
        for name, body in (("a", code), ("b", code), ("c", other))
    ]
    blob = write_object(programs)
    assert [f.name for f in read(blob, ".text").functions] == ["sub", "sub_2"]
    assert [read(blob, name).relocations[0].symbol for name in "abc"] == ["sub", "sub", "sub_2"]


@pytest.mark.parametrize("legacy", [False, True])
def test_maps(legacy: bool) -> None:
    """`.maps` with BTF of its own, or struct bpf_map_def."""
    maps = (Map("one", 1, 4, 8, 16, 1), Map("two", 2, 4, 100, 1))
    code = load(0, 0) + load(0, 0) + EXIT
    relocations = (Relocation(0, "map", "two"), Relocation(2, "map", "one"))
    blob = write_object([program(code, relocations=relocations)], maps, legacy_maps=legacy)
    again = read(blob, "socket")
    assert again.maps == maps
    assert [(r.off_insns, r.kind, r.symbol) for r in again.relocations] == [(0, "map", "two"), (2, "map", "one")]
    assert again.license == "GPL"


def test_maps_with_types_inner_maps_and_pinning() -> None:
    """Types by the ids of the given BTF; a map of maps with one at its second place."""
    build = BtfBuilder()
    u32 = build.add_int("unsigned int", 4)
    value = build.add_struct("value", 8, [("a", u32, 0), ("b", u32, 32)])
    inner = Map("outer.inner", 2, 4, 8, 3, key="unsigned int", value="struct value", key_type_id=u32, value_type_id=value)
    one = replace(inner, name="one", fields={"pinning": "by name"})
    outer = Map("outer", 12, 4, 4, 2, key="unsigned int", key_type_id=u32, fields={"inner": inner, "values": {1: "one"}})
    blob = write_object([program(EXIT)], (one, outer), build.build())
    assert read(blob, "socket").maps == (one, outer)


def test_global_data() -> None:
    """Sections of data with their variables and what is in them; .bss takes no room in the file."""
    maps = (
        Map(".rodata", 2, 4, 6, 1, 0x480, data=b"hello\0", datasec={0: ("text", 6, "")}),
        Map(".bss", 2, 4, 4096, 1, 0x400, data=bytes(4096), datasec={8: ("count", 8, "")}),
    )
    relocations = (Relocation(0, "data", "text", 2, section=".rodata"), Relocation(2, "data", "count", 8, section=".bss"))
    blob = write_object([program(load(0, 0) * 2 + EXIT, relocations=relocations)], maps)
    assert len(blob) < 4096
    again = read(blob, "socket")
    assert again.maps == maps
    assert [(r.kind, r.symbol, r.value, r.text) for r in again.relocations] == [
        ("data", "text", 2, ".rodata: text+2"), ("data", "count", 8, ".bss: count"),
    ]  # fmt: skip


def test_function_and_line_information() -> None:
    """.BTF.ext of main and of what it calls."""
    build = BtfBuilder()
    proto = build.add_func_proto(build.add_int("int", 4, 1), [("ctx", build.add_ptr(0))])
    main, sub = build.add_func("main", proto), build.add_func("sub", proto, 0)
    code = insn(0x85, src=1, imm=1) + EXIT + insn(0xB7, imm=1) + EXIT
    lines = (SourceLine(0, "a.c", 3, 5, "return sub();"), SourceLine(2, "a.c", 9, 1, "return 1;"))
    functions = (Function(0, "main", None, main), Function(2, "sub", None, sub))
    blob = write_object([program(code, functions=functions, lines=lines)], btf=build.build())
    socket, text = read(blob, "socket"), read(blob, ".text")
    assert socket.functions == (Function(0, "main", "int main(void *ctx)", main),)
    assert text.functions == (Function(0, "sub", "int sub(void *ctx)", sub),)
    assert tuple(socket.lines) == lines[:1]
    assert tuple(text.lines) == (replace(lines[1], off_insns=0),)


def test_every_kind_of_core_relocation() -> None:
    """All thirteen in words, clang 14 cannot make the last; an unknown one is called so."""
    build = BtfBuilder()
    number = build.add_int("int", 4, 1)
    struct_id = build.add_struct("task", 24, [("pid", number, 0), ("list", build.add_array(number, 5), 32)])
    enum = build.add_enum("state", [("IDLE", 0), ("BUSY", 4)])
    core = []
    for kind in range(14):
        type_id, access = (enum, "1") if kind in (10, 11) else (struct_id, "0:1:3" if kind < 6 else "0")
        core.append(CoreRelocation(kind, type_id, access, kind))
    core.append(CoreRelocation(14, struct_id, "2:0", 0))
    texts = [r.text for r in read(write_object([program(EXIT * 20)], btf=build.build(), core={"socket": core}), "socket").relocations]
    assert texts[:6] == [f"CO-RE {kind} of struct task {{ .list[3] }}" for kind in CORE_KINDS[:6]]
    assert texts[6:10] == [f"CO-RE {kind} of struct task" for kind in CORE_KINDS[6:10]]
    assert texts[10:12] == [f"CO-RE {kind} of enum state {{ BUSY = 4 }}" for kind in CORE_KINDS[10:12]]
    assert texts[12] == "CO-RE type match of struct task"
    assert texts[13] == f"CO-RE unknown kind 13 of type {struct_id}, access '0'"
    assert texts[14] == "CO-RE field byte offset of struct task { [2].pid }"


def test_kfuncs() -> None:
    """A kfunc becomes an extern function with the kernel's prototype."""
    build = BtfBuilder()
    task = build.add_ptr(build.add_struct("task_struct", 9000, [("pid", build.add_int("int", 4, 1), 0)]))
    build.add_func("bpf_task_acquire", build.add_func_proto(task, [("p", task)]))
    kernel = Btf.parse(build.build())
    called = program(insn(0x85, src=2, imm=77) + EXIT, relocations=(Relocation(0, "kfunc", "bpf_task_acquire"),))
    again = read(write_object([called], kernel=kernel), "socket")
    (relocation,) = again.relocations
    assert (relocation.kind, relocation.text) == ("kfunc", "kfunc struct task_struct *bpf_task_acquire(struct task_struct *p)")
    assert again.btf is not None
    assert again.btf.find(".ksyms", Kind.DATASEC)
    with pytest.raises(InputError, match=r"bpf_task_acquire: .* needs the kernel's BTF"):
        write_object([called])


def test_from_live() -> None:
    """Map ids become relocations, the names of data maps sections."""
    maps = (Map("hash", 1, 4, 8, 16, id=7), Map("prog.rodata", 2, 4, 8, 1, 0x480, id=9), Map("prog.kconfig", 2, 4, 8, 1, 0x480, id=10))
    code = load(1, 7) + load(2, 9, 4) + load(2, 10, 0) + load(0, 5, 6) + EXIT
    ready = from_live(program(code, maps=maps, declared=Declared()), "xdp")
    assert ready.section == "xdp"
    assert [m.name for m in ready.maps] == ["hash", ".rodata", ".rodata.kconfig"]
    assert [(r.off_insns, r.kind, r.section, r.value) for r in ready.relocations] == [
        (0, "map", "", 0), (2, "data", ".rodata", 4), (4, "data", ".rodata.kconfig", 0),
    ]  # fmt: skip
    with pytest.raises(InputError, match="the instruction at 0 refers to map 8, which is not known"):
        from_live(program(load(1, 8) + EXIT, maps=maps))


@pytest.mark.parametrize(
    ("name", "section"),
    [("a.rodata", ".rodata"), ("a.bss", ".bss"), ("a.data.custom", ".data.custom"), ("plain", None), (".maps", None)],
)
def test_data_section(name: str, section: str | None) -> None:
    """libbpf names the maps of data after the object and the section."""
    assert data_section(name) == section


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"declared": Declared()}, "has no section name"),
        ({"code": insn(0x85, src=1, imm=7) + EXIT}, "refers to slot 8, where no function starts"),
        ({"code": load(0, 0) + EXIT, "relocations": (Relocation(0, "map", "nowhere"),)}, "refers to map nowhere, which is not among"),
        ({"relocations": (Relocation(0, "call", "nothing"),)}, "refers to the function nothing, which is not among the programs"),
    ],
)
def test_what_cannot_be_written(changed: dict[str, object], reason: str) -> None:
    """The error names the program and what is missing."""
    with pytest.raises(InputError, match=reason):
        write_object([replace(program(EXIT), **changed)])  # type: ignore[arg-type]


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=40), st.integers(0, 3))
def test_any_code_survives(words: list[int], maps: int) -> None:
    """Code without references comes back bit for bit, whatever it is."""
    words = [word & ~0xFF | 0xB7 if word & 0xFF in (0x85, 0x18) else word for word in words]
    code = b"".join(word.to_bytes(8, "little") for word in words)
    defined = tuple(Map(f"m{n}", n + 1, 4, 4, 8) for n in range(maps))
    again = read(write_object([program(code)], defined), "socket")
    assert (again.code, again.maps, again.relocations) == (code, defined, ())
