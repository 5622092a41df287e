"""Relocations of code: kept as columns, told in words, targets of gotox, programs linked as libbpf links them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.btf.btf import Btf
from bpflens.btf.build import EXTERN, BtfBuilder
from bpflens.errors import InputError
from bpflens.formats.elf.emit import OutSection, OutSymbol, emit
from bpflens.formats.elf.file import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHT_PROGBITS,
    STB_GLOBAL,
    STB_LOCAL,
    STT_FUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_SECTION,
    ElfFile,
)
from bpflens.formats.elf.object import Object, types_of
from bpflens.formats.elf.relocations.jump_tables import gotox_targets
from bpflens.formats.elf.relocations.link import ObjectPrograms, link
from bpflens.formats.elf.relocations.relocation_meaning import relocations_of
from bpflens.formats.elf.relocations.relocations import Meaning, RelocationTable
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import Insn
from bpflens.program import Relocation

# --- relocations ---


def meaning(number: int, text: bool) -> Meaning:
    return "data", f"symbol {number}", number, "words" if text else "", ".bss"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=12), st.lists(st.integers(0, 50), max_size=3))
def test_a_table_is_its_rows_by_slot(rows: list[tuple[int, int]], core: list[int]) -> None:
    """Whatever their order was, and with those of CO-RE among them; the linker's are told apart."""
    more = [Relocation(slot, "core", "type", 1, "core", "17 0") for slot in core]
    table = RelocationTable([slot for slot, _ in rows], [which for _, which in rows], meaning, more)
    expected = [Relocation(slot, *meaning(which, True)) for slot, which in rows] + more
    assert sorted(table, key=repr) == sorted(expected, key=repr)
    assert [r.off_insns for r in table] == sorted(r.off_insns for r in expected) and len(table) == len(expected)
    assert list(table.of_the_linker) == sorted(slot for slot, _ in rows)


def test_a_table_is_a_sequence() -> None:
    table = RelocationTable([1, 2, 3], [0, 1, 0], meaning)
    rows = [Relocation(slot, *meaning(which, True)) for slot, which in ((1, 0), (2, 1), (3, 0))]
    assert (table, table[1:], table[-1], repr(table)) == (rows, tuple(rows[1:]), rows[2], repr(tuple(rows)))
    assert table.meaning(1)[3] == "" and table.whole(1)[3] == "words"
    for index in (3, -4):
        with pytest.raises(IndexError):
            table[index]


# --- objects that are made here ---

CALL = Insn.make(0x85, src=1, imm=-1).word.to_bytes(8, "little")
LOAD = assemble("r1 = 0 ll")
EXIT = assemble("exit")


def code(name: str, data: bytes, relocations: Sequence[tuple[int, str, int]] = ()) -> OutSection:
    return OutSection(name, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, bytearray(data), relocations=list(relocations))


def function(name: str, section: OutSection, slot: int = 0) -> OutSymbol:
    return OutSymbol(name, STT_FUNC, STB_GLOBAL, section, 8 * slot)


def extern_types(*names: str) -> bytes:
    build = BtfBuilder()
    proto = build.add_func_proto(build.add_int("int", 4, 1), [])
    build.add_datasec(".ksyms", 0, [(build.add_func(name, proto, EXTERN), 0, 0) for name in names])
    return build.build()


def sample() -> bytes:
    """A program that calls, takes addresses, reads a variable and names what the object does not define."""
    text = code(".text", EXIT + assemble("r0 = 1") + EXIT)
    bss = OutSection(".data", SHT_PROGBITS, SHF_ALLOC | 1, bytearray(16))
    legacy = OutSection("maps", SHT_PROGBITS, SHF_ALLOC | 1, bytearray(struct.pack("<5I", 1, 4, 8, 16, 0)))
    types = OutSection(".BTF", SHT_PROGBITS, 0, bytearray(extern_types("bpf_kfunc")))
    body = CALL * 3 + LOAD * 4 + EXIT
    xdp = code("xdp", body, [
        (0, "sub", 10), (8, "bpf_kfunc", 10), (16, "nobody", 10), (24, "m", 1), (40, "counter", 1), (56, "sub", 1), (72, "nobody", 1),
    ])  # fmt: skip
    return emit([text, bss, legacy, types, xdp], [
        OutSymbol("", STT_SECTION, STB_LOCAL, text), function("main", text), function("sub", text, 1), function("prog", xdp),
        OutSymbol("counter", STT_OBJECT, STB_GLOBAL, bss, 8, 4), OutSymbol("m", STT_OBJECT, STB_GLOBAL, legacy, 0, 20),
        OutSymbol("bpf_kfunc", STT_NOTYPE, STB_GLOBAL, None), OutSymbol("nobody", STT_NOTYPE, STB_GLOBAL, None),
    ])  # fmt: skip


def opened(blob: bytes) -> Object:
    elf = ElfFile.parse(blob, "x.o")
    warnings: list[str] = []
    return Object(elf, *types_of(elf, warnings), warnings)


def told(object: Object, section: str) -> Sequence[Relocation]:
    found = object.elf.section(section)
    assert found is not None
    return relocations_of(object, found, object.elf.bytes_of(found), [])


def test_relocations_in_words() -> None:
    """The instruction decides: a call of a function, of the kernel's, of nobody's; a map, a variable, a function's address."""
    assert [(r.off_insns, r.kind, r.symbol, r.value, r.text, r.section) for r in told(opened(sample()), "xdp")] == [
        (0, "call", "sub", 1, "call sub in .text", ".text"),
        (1, "kfunc", "bpf_kfunc", 0, "kfunc int bpf_kfunc(void)", ""),
        (2, "extern", "nobody", 0, "function nobody, which the object does not define", ""),
        (3, "map", "m", 0, "map m", "maps"),
        (5, "data", "counter", 8, ".data: counter", ".data"),
        (7, "func", "sub", 1, "address of sub in .text", ".text"),
        (9, "extern", "nobody", 0, "symbol nobody, which the object does not define", ""),
    ]  # fmt: skip


def test_relocations_at_no_instruction() -> None:
    """Left out, and told of; the others stay."""
    text = code("xdp", EXIT * 2, [(0, "prog", 1), (4, "prog", 1), (16, "prog", 1)])
    object = opened(emit([text], [function("prog", text)]))
    assert [r.off_insns for r in told(object, "xdp")] == [0]
    assert object.warnings == [f"section 'xdp': a relocation at byte {at}, where no instruction starts: it is left out" for at in (4, 16)]


# --- jump tables ---


@pytest.mark.parametrize(
    ("words", "said"),
    [((24, 32, 24), "to 3, 4 by JT"), ((24, 33), None), ((24, 8000), None), ((), None)],
)
@pytest.mark.parametrize("between", ["r2 += 1", "goto pc+0"])
def test_targets_of_gotox(words: tuple[int, ...], said: str | None, between: str) -> None:
    """Each slot once, in the table's order; nothing where the table is damaged, or where a jump stands between."""
    tables = OutSection(".jumptables", SHT_PROGBITS, 0, bytearray(b"".join(word.to_bytes(8, "little") for word in words)))
    gotox = Insn.make(0x0D, 2).word.to_bytes(8, "little")
    body = LOAD + assemble(between) + gotox + EXIT * 3
    xdp = code("xdp", body, [(0, "JT", 1)])
    elf = ElfFile.parse(emit([tables, xdp], [OutSymbol("JT", STT_OBJECT, STB_GLOBAL, tables, 0, 8 * len(words)), function("f", xdp)]), "x")
    section = elf.section("xdp")
    assert section is not None
    found = list(gotox_targets(elf, section, body))
    assert [(r.off_insns, r.text) for r in found] == ([(3, said)] if said and between == "r2 += 1" else [])


# --- link ---


def programs(blob: bytes) -> ObjectPrograms:
    kernel = Btf.parse(BtfBuilder().build())
    return ObjectPrograms(blob, "x.o", kernel, {"bpf_kfunc": 77}.get, {}.get)


def linked_words(blob: bytes, section: str = "xdp") -> list[Insn]:
    them = programs(blob)
    (entry,) = [function for program, function in them.entries() if program.section == section]
    return [Insn(word) for word in link(them, section, entry).words]


def test_linking_appends_what_is_called() -> None:
    """Depth first, each function once; a function that calls itself, and one of two that call a third."""
    text = code(".text", CALL + EXIT + CALL + EXIT, [(0, "two", 10), (16, "two", 10)])
    xdp = code("xdp", CALL + LOAD + EXIT, [(0, "one", 10), (8, "two", 1)])
    blob = emit([text, xdp], [function("one", text), function("two", text, 2), function("prog", xdp)])
    call = 0x85
    assert linked_words(blob) == [
        Insn.make(call, src=1, imm=3), Insn.make(0x18, 1, 4, imm=4), Insn(0), Insn(int.from_bytes(EXIT, "little")),
        Insn.make(call, src=1, imm=1), Insn(int.from_bytes(EXIT, "little")),
        Insn.make(call, src=1, imm=-1), Insn(int.from_bytes(EXIT, "little")),
    ]  # fmt: skip
    them = programs(blob)
    done = link(them, "xdp", next(them.entries())[1])
    assert [(at, function.name) for at, function in done.functions] == [(0, "prog"), (4, "one"), (6, "two")]
    assert done.origins == [("xdp", 0), ("xdp", 1), ("xdp", 2), ("xdp", 3), (".text", 0), (".text", 1), (".text", 2), (".text", 3)]


def test_linking_fills_in_what_the_kernel_has() -> None:
    xdp = code("xdp", CALL + LOAD + LOAD + EXIT, [(0, "bpf_kfunc", 10), (8, "m", 1), (24, "counter", 1)])
    legacy = OutSection("maps", SHT_PROGBITS, SHF_ALLOC | 1, bytearray(struct.pack("<5I", 1, 4, 8, 16, 0)))
    data = OutSection(".data", SHT_PROGBITS, SHF_ALLOC | 1, bytearray(16))
    types = OutSection(".BTF", SHT_PROGBITS, 0, bytearray(extern_types("bpf_kfunc", "bpf_gone")))
    symbols = [
        function("prog", xdp), OutSymbol("m", STT_OBJECT, STB_GLOBAL, legacy, 0, 20),
        OutSymbol("counter", STT_OBJECT, STB_GLOBAL, data, 8, 4),
        OutSymbol("bpf_kfunc", STT_NOTYPE, STB_GLOBAL, None), OutSymbol("bpf_gone", STT_NOTYPE, STB_GLOBAL, None),
    ]  # fmt: skip
    blob = emit([legacy, data, types, xdp], symbols)
    assert linked_words(blob)[:5] == [
        Insn.make(0x85, src=2, imm=77), Insn.make(0x18, 1, 1), Insn(0), Insn.make(0x18, 1, 2), Insn.make(0, imm=8),
    ]  # fmt: skip
    xdp.relocations[0] = (0, "bpf_gone", 10)
    with pytest.raises(InputError, match="calls the kfunc bpf_gone, which this kernel does not have"):
        linked_words(emit([legacy, data, types, xdp], symbols))


def test_linking_what_is_not_there() -> None:
    xdp = code("xdp", CALL + EXIT, [(0, "nobody", 10)])
    with pytest.raises(InputError, match="has a relocation of a kind that is not known: function nobody"):
        linked_words(emit([xdp], [function("prog", xdp), OutSymbol("nobody", STT_NOTYPE, STB_GLOBAL, None)]))
