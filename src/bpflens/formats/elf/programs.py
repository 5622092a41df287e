"""BPF objects (ELF) -> programs, one per section with instructions, as objdump sees them; or the one section or function asked for.

Objects of clang, gcc-bpf and `bpftool gen object`, in either byte order (the code is normalised to little-endian), and whatever file
has such objects inside: executables with a libbpf skeleton, static libraries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from bpflens.btf.btf import Kind
from bpflens.errors import InputError, NoCode
from bpflens.formats.elf.btf_ext import BtfExt
from bpflens.formats.elf.embedded import find_embedded, machine_of
from bpflens.formats.elf.file import EM_BPF, EM_NONE, EM_SBPF, SHF_EXECINSTR, SHT_PROGBITS, ElfFile, Section, machine_name
from bpflens.formats.elf.object import Object, types_of
from bpflens.formats.elf.parts import select
from bpflens.formats.elf.relocations.relocation_meaning import relocations_of
from bpflens.formats.elf.sections import section_type
from bpflens.lean import replace
from bpflens.program import Declared, Function, Isa, Map, Origin, Program, SourceLine

__all__ = ("little_endian", "read_maps_of", "read_object")


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
    object = Object(elf, *types_of(elf, warnings), warnings)
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


def _programs(data: bytes, where: str) -> list[Program]:
    """The programs of a BPF object, in the order of its sections."""
    elf = ElfFile.parse(data, where)
    code = [s for s in elf.sections if s.type == SHT_PROGBITS and s.flags & SHF_EXECINSTR and s.size]
    if sum(section.size for section in code) > len(data):
        raise InputError(where, "the sections with instructions overlap or go past the end of the file")
    if not code:
        raise NoCode(where, "a BPF object without instructions: no section is executable", f"its maps: bpflens show {where}")
    warnings = list(_of_machine(elf))
    btf, ext = types_of(elf, warnings)
    try:
        programs = _of_sections(Object(elf, btf, ext, warnings), code)
    except InputError as error:
        if btf is None:
            raise
        warnings.append(f".BTF: {error.reason}: types and what rests on them are left out")
        programs = _of_sections(Object(elf, None, None, warnings), code)
    elf.let_go()
    if warnings:
        said = tuple(dict.fromkeys(warnings))
        programs = [replace(program, origin=replace(program.origin, warnings=said)) for program in programs]
    return programs


def _of_sections(object: Object, code: Sequence[Section]) -> list[Program]:
    declared = _declared(object.elf)
    programs, names = [], set()
    for section in code:
        programs.append(_program(object, section, declared, section.name not in names))
        names.add(section.name)
    return programs


def _of_machine(elf: ElfFile) -> Iterator[str]:
    machine = machine_of(elf.data[:20])
    if machine == EM_NONE:
        yield "its ELF header names no machine (0), as LLVM wrote before BPF had a number: read as BPF"
    elif machine == EM_SBPF:
        yield "made for Solana's virtual machine (263), whose instruction set differs: what BPF does not have is shown as unknown"


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


def _program(object: Object, section: Section, declared: Declared, first: bool) -> Program:
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
        lines=_lines(object, ext, section),
        relocations=relocations_of(object, section, code, object.core(section) if ext else []),
        btf=btf,
        declared=replace(
            declared, section=section.name, flags=row.flags if row else (), autoload=not section.name.startswith("?")
        ),
    )


def _lines(object: Object, ext: BtfExt | None, section: Section) -> Sequence[SourceLine]:
    """The source lines of a section: from .BTF.ext, or else from DWARF."""
    lines = ext.lines(section.name) if ext else ()
    return lines if lines or object.dwarf is None else object.dwarf.of_section(section)


def _functions(object: Object, ext: BtfExt | None, section: Section, starts: Mapping[int, str]) -> tuple[Function, ...]:
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
