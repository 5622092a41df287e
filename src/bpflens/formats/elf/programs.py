"""BPF objects (ELF) -> programs, one per section with instructions, as objdump sees them; or the one section or function asked for.

Objects of clang, gcc-bpf and `bpftool gen object`, in either byte order (the code is normalised to little-endian), and whatever file
has such objects inside: executables with a libbpf skeleton, static libraries.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import count

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import Steps, declaration
from bpflens.errors import InputError, NoCode
from bpflens.formats.elf.btf_ext import BtfExt, CoreRelocation, core_text
from bpflens.formats.elf.embedded import find_embedded, machine_of
from bpflens.formats.elf.file import (
    EM_BPF,
    EM_NONE,
    EM_SBPF,
    SHF_EXECINSTR,
    SHT_PROGBITS,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_NOTYPE,
    STT_SECTION,
    ElfFile,
    Reloc,
    Section,
    Symbol,
    machine_name,
)
from bpflens.formats.elf.linked_btf import linked_btf
from bpflens.formats.elf.maps import c_type, is_data, read_maps
from bpflens.formats.elf.parts import MAX_SHOWN, select, some
from bpflens.formats.elf.relocations import Meaning, RelocationTable
from bpflens.formats.elf.sections import section_type
from bpflens.isa.extended.insn import words_of
from bpflens.program import Declared, Function, Isa, Map, Origin, Program, Relocation

__all__ = ("little_endian", "read_maps_of", "read_object")

LD_IMM64, CALL = 0x18, 0x85
MAX_STEPS = 20_000  # spent on C declarations of one object, and some for each of its types; the largest of libbpf-tools takes 262
STEPS_PER_TYPE = 8
_NAME = "\1"  # stands for the name in a declaration


def read_object(data: bytes, where: str, part: str = "") -> list[Program]:
    """The programs of a BPF object, or of the objects inside another file; `part` names a section or a function.

    InputError where the file is malformed, has no programs, or has no such part.
    """
    programs = _programs(data, where) if _is_object(data) else _embedded_programs(data, where)
    return select(programs, part, where) if part else programs


def read_maps_of(data: bytes, where: str) -> tuple[tuple[Map, ...], tuple[str, ...]]:
    """(maps, warnings) of a BPF object, whether or not it has code; InputError where it is none."""
    elf = ElfFile.parse(data, where)
    warnings: list[str] = []
    object = _Object(elf, *_types(elf, warnings), warnings)
    return object.maps, tuple(warnings)


def _is_object(data: bytes) -> bool:
    """A BPF object itself: for BPF, or relocatable with its machine left at 0, as LLVM did before BPF had a number."""
    if data[:4] != b"\x7fELF" or len(data) < 20:
        return False
    relocatable = data[16:18] in (b"\1\0", b"\0\1")
    return machine_of(data) in (EM_BPF, EM_SBPF) or (machine_of(data) == EM_NONE and relocatable)


def _embedded_programs(data: bytes, where: str) -> list[Program]:
    programs: list[Program] = []
    refused: InputError | None = None
    for offset, inner in find_embedded(data):
        try:
            programs += _programs(inner, f"{where}@{offset:#x}")
        except InputError as error:
            refused = refused or error
    if refused:
        if not programs:
            raise refused
        note = f"an object inside could not be read: {refused}"
        programs = [replace(program, origin=replace(program.origin, note=note)) for program in programs]
    if not programs:
        what = "not an ELF file"
        if data[:4] == b"\x7fELF":
            what = f"an ELF file for {machine_name(machine_of(data))}" if len(data) >= 20 else f"an ELF file of only {len(data)} bytes"
        raise InputError(where, f"{what}, and no BPF object is inside")
    return programs


# --- one object ---


class _Object:
    """What the sections of an object share while its programs are made."""

    def __init__(self, elf: ElfFile, btf: Btf | None, ext: BtfExt | None, warnings: list[str]) -> None:
        self.elf, self.btf, self.ext, self.warnings = elf, btf, ext, warnings
        self.steps = Steps(MAX_STEPS + STEPS_PER_TYPE * (len(btf) if btf else 0))
        places = read_maps(elf, btf, self.steps, warnings)
        self.maps = tuple(place.map for place in places)
        self.map_at = {(place.section, place.byte_off): place.map for place in places}
        self.data_map = {place.section: place.map for place in places if place.section >= 0 and is_data(elf.sections[place.section])}
        self.kconfig = {v[0]: offset for place in places if place.section == -1 for offset, v in place.map.datasec.items()}
        self._starts: dict[int, dict[int, str]] = {}
        self._prototypes: dict[int, str] = {}
        self._core: dict[tuple[int, str, int], str] = {}
        self.data_sections = {s.index: s.name for s in elf.sections if is_data(s) and not s.flags & SHF_EXECINSTR}

    @cached_property
    def offsets(self) -> dict[str, list[int]]:
        """Where the variables of each section of global data start."""
        return {map.name: list(map.datasec) for map in self.data_map.values()}

    @cached_property
    def declared(self) -> dict[str, int]:
        """Functions and variables of BTF by name."""
        btf = self.btf
        return {btf.name(id): id for kind in (Kind.VAR, Kind.FUNC) for id in btf.ids(kind)} if btf else {}

    @cached_property
    def kernel_symbols(self) -> set[str]:
        """What the object declares in `.ksyms`, to be found in the kernel."""
        btf = self.btf
        if btf is None:
            return set()
        sections = [id for id in btf.ids(Kind.DATASEC) if btf.name(id) == ".ksyms"]
        return {btf.name(variable.type_id) for id in sections for variable in btf.variables(id)}

    def prototype(self, btf: Btf, id: int) -> str:
        """A function in C, on one line; many have the same type."""
        name, ref = btf.name_and_ref(id)
        known = self._prototypes.get(ref)
        if known is None:
            known = self._prototypes[ref] = " ".join(declaration(btf, ref, _NAME, steps=self.steps).split())
        return known.replace(_NAME, name)

    def functions(self, section: Section) -> dict[int, str]:
        """slot -> name of each function of a section."""
        found = self._starts.get(section.index)
        if found is None:
            symbols = [s for s in self.elf.symbols_in(section.index) if s.name and s.value < section.size]
            named = [s for s in symbols if s.type == STT_FUNC] or [s for s in symbols if s.type == STT_NOTYPE and s.bind != STB_LOCAL]
            named.sort(key=lambda s: (s.value, s.bind != STB_WEAK, s.bind))  # of two names for a slot the global one stays, a weak one last
            found = self._starts[section.index] = {s.value // 8: s.name for s in named if not s.value % 8}
            odd = [s.name for s in named if s.value % 8]
            if odd:
                self.warnings.append(f"symbol {some(odd)} starts within an instruction of section {section.name!r}: it is left out")
        return found

    def core(self, section: Section) -> list[Relocation]:
        """The CO-RE relocations of a section."""
        btf, known, found = self.btf, self._core, []
        for off_insns, type_id, access, kind in self.ext.core(section.name) if self.ext and btf else ():
            text = known.get((type_id, access, kind))
            if text is None:
                assert btf is not None
                text = known[type_id, access, kind] = core_text(btf, CoreRelocation(off_insns, type_id, access, kind), self.steps)
            found.append(Relocation(off_insns, "core", self.btf.name(type_id) if self.btf else "", kind, text, f"{type_id} {access}"))
        return found


def _programs(data: bytes, where: str) -> list[Program]:
    """The programs of a BPF object, in the order of its sections."""
    elf = ElfFile.parse(data, where)
    code = [s for s in elf.sections if s.type == SHT_PROGBITS and s.flags & SHF_EXECINSTR and s.size]
    if sum(section.size for section in code) > len(data):
        raise InputError(where, "the sections with instructions overlap or go past the end of the file")
    if not code:
        raise NoCode(where, "a BPF object without instructions: no section is executable", f"its maps: bpflens show {where}")
    warnings = list(_of_machine(elf))
    object = _Object(elf, *_types(elf, warnings), warnings)
    declared = _declared(elf)
    programs, names = [], set()
    for section in code:
        programs.append(_program(object, section, declared, section.name not in names))
        names.add(section.name)
    elf.let_go()
    if warnings:
        said = tuple(dict.fromkeys(warnings))
        programs = [replace(program, origin=replace(program.origin, warnings=said)) for program in programs]
    return programs


def _of_machine(elf: ElfFile) -> Iterator[str]:
    machine = machine_of(elf.data[:20])
    if machine == EM_NONE:
        yield "its ELF header names no machine (0), as LLVM wrote before BPF had a number: read as BPF"
    elif machine == EM_SBPF:
        yield "made for Solana's virtual machine (263), whose instruction set differs: what BPF does not have is shown as unknown"


def _types(elf: ElfFile, warnings: list[str]) -> tuple[Btf | None, BtfExt | None]:
    """.BTF and .BTF.ext, with the symbol table looked at first; what is damaged is left out, with a warning."""
    sections = {name: section for name in (".BTF", ".BTF.ext") if (section := elf.section(name)) and section.size}
    btf = ext = None
    try:
        elf.symbol_count  # noqa: B018 (read and checked now)
    except InputError as error:
        warnings.append(f"{error.reason}: the symbols are left out")
        elf.without_symbols()
    try:
        if ".BTF" in sections:
            btf = linked_btf(elf, sections[".BTF"], ".BTF")
    except InputError as error:
        warnings.append(f".BTF: {error.reason}: types and what rests on them are left out")
    try:
        if btf and ".BTF.ext" in sections:
            ext = BtfExt.parse(elf.bytes_of(sections[".BTF.ext"]), btf, ".BTF.ext")
    except InputError as error:
        reason = error.reason.removeprefix(".BTF.ext: ")
        warnings.append(f".BTF.ext: {reason}: source lines, prototypes and CO-RE relocations are left out")
    return btf, ext


def _license(elf: ElfFile) -> str | None:
    section = elf.section("license")
    return elf.bytes_of(section).split(b"\0")[0].decode("utf-8", "backslashreplace") if section else None


def _declared(elf: ElfFile) -> Declared:
    """What the whole object declares."""
    number = None
    version = elf.section("version")
    if version and len(data := elf.bytes_of(version)) >= 4:  # a section without bytes (SHT_NOBITS) may claim a size
        number = struct.unpack_from(elf.order + "I", data)[0]
    return Declared(license=_license(elf), byte_order="big" if elf.big_endian else "little", version=number)


def _program(object: _Object, section: Section, declared: Declared, first: bool) -> Program:
    """The program of a section; .BTF.ext knows sections by name, so only the `first` of a name has anything there."""
    elf, btf, ext = object.elf, object.btf, object.ext if first else None
    raw = elf.bytes_of(section)
    code = little_endian(raw) if elf.big_endian else raw
    starts = object.functions(section)
    row = section_type(section.name)
    return Program(
        isa=Isa.EXTENDED,
        code=code,
        origin=Origin("elf", f"{elf.where}#{section.name}"),
        name=next(iter(starts.values()), ""),
        type=row.prog_type if row else None,
        expected_attach_type=row.attach_type if row else None,
        maps=object.maps,
        functions=_functions(object, ext, section, starts),
        lines=ext.lines(section.name) if ext else (),
        relocations=_relocations(object, section, code, object.core(section) if ext else []),
        btf=btf,
        declared=replace(
            declared, section=section.name, flags=row.flags if row else (), autoload=not section.name.startswith("?")
        ),
    )


def _functions(object: _Object, ext: BtfExt | None, section: Section, starts: Mapping[int, str]) -> tuple[Function, ...]:
    """The functions of a section: names from the symbols, prototypes from func_info, or by name from BTF."""
    btf = object.btf
    type_ids = {f.off_insns: f.type_id for f in ext.functions(section.name)} if ext else {}
    functions = []
    for start, name in starts.items():
        type_id = type_ids.get(start) or object.declared.get(name, 0)
        if not btf or btf.kind(type_id) is not Kind.FUNC:
            type_id = 0
        proto = object.prototype(btf, type_id) if btf and type_id else None
        functions.append(Function(start, name, proto, type_id))
    return tuple(functions)


def little_endian(code: bytes) -> bytes:
    """Big-endian struct bpf_insn as little-endian: 16- and 32-bit fields swapped, and the two register nibbles."""
    code = code[: len(code) & ~7]
    out = bytearray(len(code))
    for to, source in ((0, 0), (2, 3), (3, 2), (4, 7), (5, 6), (6, 5), (7, 4)):
        out[to::8] = code[source::8]
    out[1::8] = code[1::8].translate(bytes(byte >> 4 | (byte & 0xF) << 4 for byte in range(256)))
    return bytes(out)


# --- relocations ---


def _relocations(object: _Object, section: Section, code: bytes, core: list[Relocation]) -> Sequence[Relocation]:
    """What the ELF relocations of the code mean; the instruction decides, as in libbpf, because relocation types changed over time."""
    elf = object.elf
    offsets, infos, addends = elf.relocation_columns(section)
    if not offsets:
        return tuple(core)
    slots = [at >> 3 for at in offsets]
    last = max(offsets)
    if 8 * sum(slots) != sum(offsets) or last + 8 > len(code) or max(infos) >> 32 >= elf.symbol_count:
        offsets, infos, addends = _sound(object, section, len(code), offsets, infos, addends)
        slots = [at >> 3 for at in offsets]
    words = list(map(words_of(code).__getitem__, slots))
    known: dict[tuple[int, int, int], int] = defaultdict(count().__next__)
    which = list(map(known.__getitem__, zip(infos, words, addends, strict=True)))
    keys = list(known)
    data_sections, section_of, values = object.data_sections, elf.section_of_symbol, elf.symbol_values

    def meaning(number: int, text: bool) -> Meaning:
        info, word, addend = keys[number]
        if not text and word & 0xFF == LD_IMM64 and (name := data_sections.get(section_of(info >> 32))):
            return "data", "", values[info >> 32] + (addend or (word >> 32 ^ 1 << 31) - (1 << 31)), "", name
        return _meaning(object, word & 0xFF, (word >> 32 ^ 1 << 31) - (1 << 31), Reloc(0, info >> 32, info & 0xFFFFFFFF, addend), text)

    return RelocationTable(slots, which, meaning, core)


def _sound(
    object: _Object, section: Section, size: int, offsets: array[int], infos: array[int], addends: array[int]
) -> tuple[array[int], array[int], array[int]]:
    """The relocations that stand at an instruction and name a symbol; the others are told of."""
    kept: list[tuple[int, int, int]] = []
    for offset, info, addend in zip(offsets, infos, addends, strict=True):
        wrong = None
        if offset & 7 or offset + 8 > size:
            wrong = f"a relocation at byte {offset}, where no instruction starts"
        elif info >> 32 >= object.elf.symbol_count:
            wrong = f"a relocation at slot {offset >> 3} refers to symbol {info >> 32}, but there are {object.elf.symbol_count}"
        if wrong is None:
            kept.append((offset, info, addend))
        elif len(object.warnings) < MAX_SHOWN:
            object.warnings.append(f"section {section.name!r}: {wrong}: it is left out")
    columns = list(zip(*kept, strict=True)) or [(), (), ()]
    return array("Q", columns[0]), array("Q", columns[1]), array("q", columns[2])


def _meaning(object: _Object, opcode: int, imm: int, reloc: Reloc, text: bool) -> Meaning:
    """(kind, symbol, value, text, section) of a `Relocation`; "data" has its text only where `text` says so."""
    elf = object.elf
    symbol = elf.symbol(reloc.symbol)
    name = elf.name_of(symbol)
    addend = reloc.addend or imm
    if opcode not in (LD_IMM64, CALL):
        return "extern", name, reloc.addend, f"relocation of type {reloc.type} against {name or 'nothing'}", ""
    if not 0 < symbol.section < len(elf.sections):
        return _external(object, opcode, name)
    target = elf.sections[symbol.section]
    if target.flags & SHF_EXECINSTR:
        in_slots = reloc.addend // 8 if reloc.addend else addend + 1 if opcode == CALL else addend // 8
        own = name if symbol.type != STT_SECTION and not in_slots else ""
        return _subprogram(object, opcode, target, symbol.value // 8 + in_slots, own)
    map = object.map_at.get((symbol.section, symbol.value + (addend if symbol.type == STT_SECTION else 0)))
    if map and not is_data(target):
        own = name if symbol.type != STT_SECTION and name and name != map.name else ""
        return "map", map.name, 0, f"map {own or map.name}", target.name
    if not text:
        return "data", name, symbol.value + addend, "", target.name
    return _data(object, target, symbol, symbol.value + addend)


def _external(object: _Object, opcode: int, name: str) -> tuple[str, str, int, str, str]:
    """A symbol that the object does not define."""
    if name in object.kconfig:
        return "extern", name, object.kconfig[name], f"kconfig {name}", ".kconfig"
    declared = object.declared.get(name)
    c = c_type(object.btf, declared, object.steps) if object.btf and declared else name
    if name not in object.kernel_symbols:  # a declaration in .ksyms is what makes libbpf look in the kernel
        what = "function" if opcode == CALL else "symbol"
        return "extern", name, 0, f"{what} {c}, which the object does not define", ""
    if opcode == CALL:
        return "kfunc", name, 0, f"kfunc {c}", ""
    return "ksym", name, 0, f"ksym {c}", ""


def _subprogram(object: _Object, opcode: int, target: Section, to: int, own: str) -> tuple[str, str, int, str, str]:
    """`own` is the name by which the relocation means the function, which may be an alias."""
    name = own or object.functions(target).get(to)
    shown = name or f"{target.name}+{to}"
    if opcode == CALL:
        return "call", shown, to, f"call {shown} in {target.name}", target.name
    return "func", shown, to, f"address of {shown} in {target.name}", target.name


def _data(object: _Object, target: Section, symbol: Symbol, byte_off: int) -> tuple[str, str, int, str, str]:
    """A global variable: its name and the offset in it."""
    map = object.data_map.get(target.index)
    name, rest = object.elf.name_of(symbol), byte_off - symbol.value
    if map and map.datasec:
        offsets = object.offsets[map.name]
        index = bisect_right(offsets, byte_off) - 1
        if index >= 0:
            known, size, _ = map.datasec[offsets[index]]
            if byte_off < offsets[index] + max(size, 1):
                name, rest = known, byte_off - offsets[index]
    place = f"{name}+{rest}" if rest else name
    return "data", name, byte_off, f"{target.name}: {place}" if place != target.name else place, target.name


# --- one part ---
