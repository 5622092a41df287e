"""Programs and maps -> a BPF object (ELF) that libbpf, bpftool, iproute2 and this package read: the reverse of elf.py.

    blob = write_object([program], program.maps, btf=None, license="GPL")

A program is written as compilers write it: its first function in its own section ("xdp"), the functions that it calls in `.text` with
relocations in place of relative calls, because libbpf takes every function of a named section for a program to load. References to
maps, data, kfuncs and functions are the program's `relocations`; a program of the running kernel gets them from elf_live.from_live.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import BtfBuilder
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import CoreRelocation
from bpflens.formats.elf.emit import OutSection, OutSymbol, emit
from bpflens.formats.elf.file import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_SECTION,
)
from bpflens.formats.elf.maps import is_data_name
from bpflens.isa.extended.opcodes import CALL_CODE, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import frozen, replace
from bpflens.program import Function, Map, Program, Relocation, SourceLine

__all__ = ("write_object",)

R_BPF_64_64, R_BPF_64_32 = 1, 10
TEXT = ".text"


@frozen
class _Piece:
    """One function: where it came from and where it goes."""

    program: Program
    function: Function
    start: int
    end: int
    section: str
    name: str


def write_object(
    programs: Sequence[Program],
    maps: Sequence[Map] = (),
    btf: bytes | None = None,
    license: str | None = "GPL",
    *,
    kernel: Btf | None = None,
    core: Mapping[str, Sequence[CoreRelocation]] | None = None,
    legacy_maps: bool = False,
) -> bytes:
    """An ELF object, little-endian.

    Each program needs `section`, `code`, `name` and, for what its code refers to, `relocations`; several programs may share a section.
    Where its `functions` have BTF type ids (of `btf`), func_info and line info are written. Maps get their definitions in `.maps` from
    BTF that is added to `btf` (its ids stay), or as struct bpf_map_def with `legacy_maps`; maps named like a data section (".rodata")
    become that section. Without `btf` type ids are not looked at. `kernel` (vmlinux) is where the prototypes of kfuncs are from.
    `core` has CO-RE relocations by section. InputError where something refers to what is not there.
    """
    return _Writer(programs, maps, btf, license, kernel, core or {}, legacy_maps).write()


class _Writer:
    """The object being written."""

    def __init__(
        self,
        programs: Sequence[Program],
        maps: Sequence[Map],
        btf: bytes | None,
        license: str | None,
        kernel: Btf | None,
        core: Mapping[str, Sequence[CoreRelocation]],
        legacy_maps: bool,
    ) -> None:
        self.programs, self.license, self.kernel, self.core = programs, license, kernel, core
        self.maps = [map for map in maps if map.name != ".kconfig"]  # that one is in BTF only
        if not btf:  # then there is nothing that type ids are of
            self.maps = [replace(map, key_type_id=0, value_type_id=0) for map in self.maps]
        for map in self.maps:
            if map.type == MapType.STRUCT_OPS:
                raise InputError(map.name, "struct_ops maps cannot be written to an object")
        self.legacy_maps = legacy_maps
        self.given = Btf.parse(btf) if btf else None
        self.build: BtfBuilder | None = BtfBuilder(btf) if btf else None
        self.sections: dict[str, OutSection] = {}
        self.symbols: dict[str, OutSymbol] = {}
        self.pieces: list[_Piece] = []
        self.taken: dict[str, _Piece] = {}
        self.shared: dict[tuple[int, int], _Piece] = {}
        self.relocations: dict[int, dict[int, Relocation]] = {}
        self.kfuncs: dict[str, None] = {}

    def section(self, name: str, type: int, flags: int) -> OutSection:
        """The section of that name, made when it is first asked for."""
        return self.sections.setdefault(name, OutSection(name, type, flags))

    def define(self, symbol: OutSymbol) -> None:
        if symbol.name in self.symbols:
            raise InputError(symbol.name, "is defined twice in the object to be written")
        self.symbols[symbol.name] = symbol

    def write(self) -> bytes:
        for program in self.programs:
            self.split(program)
        self.pieces.sort(key=lambda piece: piece.section == TEXT)  # stable: .text last, where its functions were found
        for map in self.maps:
            if is_data_name(map.name):
                self.data(map)
        if any(not is_data_name(map.name) for map in self.maps):
            (self.write_legacy_maps if self.legacy_maps else self.write_maps)()
        starts = self.place()
        for piece in self.pieces:
            self.relocate(piece, starts)
        if self.kfuncs:
            self.write_ksyms()
        if self.license is not None:
            self.section("license", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE).data += self.license.encode() + b"\0"
        if self.build:
            ext = self.ext(starts, self.build)
            self.section(".BTF", SHT_PROGBITS, 0).data += self.build.build()
            if ext:
                self.section(".BTF.ext", SHT_PROGBITS, 0).data += ext
        return emit(list(self.sections.values()), list(self.symbols.values()))

    # --- code ---

    def split(self, program: Program) -> None:
        """Note the functions of a program as pieces: those that the program itself calls go to `.text`, the others to its section."""
        if not program.section:
            raise InputError(program.origin.where, "has no section name to be written under")
        functions = sorted(program.functions, key=lambda f: f.start)
        if not functions or functions[0].start:
            functions.insert(0, Function(0, program.name or "prog"))
        called = _called(program)
        for index, function in enumerate(functions):
            end = functions[index + 1].start if index + 1 < len(functions) else program.insn_count
            section = TEXT if function.start in called else program.section
            name = function.name
            if name in self.taken:
                if index and _same(self.taken[name], program, function, end):  # a subprogram that two programs share
                    self.shared[id(program), function.start] = self.taken[name]
                    continue
                name = next(f"{name}_{n}" for n in range(2, 1 << 20) if f"{name}_{n}" not in self.taken)
            piece = self.taken[name] = _Piece(program, function, function.start, end, section, name)
            self.pieces.append(piece)

    def place(self) -> dict[tuple[int, int], tuple[str, int]]:
        """Put the pieces into their sections; (id of program, old start slot) -> (section, new start slot)."""
        starts: dict[tuple[int, int], tuple[str, int]] = {}
        for piece in self.pieces:
            out = self.section(piece.section, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR)
            at = len(out.data)
            out.data += piece.program.code[8 * piece.start : 8 * piece.end]
            starts[id(piece.program), piece.start] = (piece.section, at // 8)
            bind = STB_LOCAL if piece.section == TEXT and self.linkage(piece) == 0 else STB_GLOBAL
            self.define(OutSymbol(piece.name, STT_FUNC, bind, out, at, 8 * (piece.end - piece.start)))
        for place, piece in self.shared.items():
            starts[place] = starts[id(piece.program), piece.start]
        return starts

    def linkage(self, piece: _Piece) -> int:
        """0 static, 1 global: as BTF says, static without it."""
        type_id = piece.function.type_id
        return self.given.linkage(type_id) if self.given and type_id and self.given.kind(type_id) is Kind.FUNC else 0

    def relocate(self, piece: _Piece, starts: Mapping[tuple[int, int], tuple[str, int]]) -> None:
        """Turn the references of a piece into ELF relocations, with what they add in the instruction, as SHT_REL wants it."""
        section, at = starts[id(piece.program), piece.start]
        out = self.sections[section]
        known = self.relocations.get(id(piece.program))
        if known is None:
            known = self.relocations[id(piece.program)] = {r.off_insns: r for r in piece.program.relocations if r.kind != "core"}
        slot = piece.start
        while slot < piece.end:
            here = 8 * (at + slot - piece.start)
            opcode, source = out.data[here], out.data[here + 1] >> 4
            relocation = known.get(slot)
            if relocation is not None:
                self.write_relocation(out, here, relocation, piece)
            elif (opcode == CALL_CODE and source == PSEUDO_CALL) or (opcode == LD_IMM64 and source == PSEUDO_FUNC):
                (relative,) = struct.unpack_from("<i", out.data, here + 4)
                self.write_call(out, here, slot + 1 + relative, piece, starts)
            slot += 2 if opcode == LD_IMM64 else 1

    def write_call(
        self, out: OutSection, here: int, target: int, piece: _Piece, starts: Mapping[tuple[int, int], tuple[str, int]]
    ) -> None:
        """A call or function address within the program, by slot; against the section, because libbpf wants it so for static functions."""
        found = starts.get((id(piece.program), target))
        if found is None:
            reason = f"the instruction at {here // 8} of {piece.section} refers to slot {target}, where no function starts"
            raise InputError(piece.program.origin.where, reason)
        section, slot = found
        if out.data[here] == LD_IMM64:
            out.data[here + 12 : here + 16] = bytes(4)
        if out.data[here] == CALL_CODE:
            self.against_section(out, here, section, slot - 1, R_BPF_64_32)
        else:
            self.against_section(out, here, section, 8 * slot, R_BPF_64_64)

    def against_section(self, out: OutSection, here: int, section: str, addend: int, type: int) -> None:
        symbol = OutSymbol("", STT_SECTION, STB_LOCAL, self.sections[section])
        self.symbols.setdefault(symbol.key, symbol)
        struct.pack_into("<i", out.data, here + 4, addend)
        out.relocations.append((here, symbol.key, type))

    def write_relocation(self, out: OutSection, here: int, relocation: Relocation, piece: _Piece) -> None:
        kind, symbol = relocation.kind, relocation.symbol
        opcode = out.data[here]
        if opcode == LD_IMM64:
            out.data[here + 1] &= 0x0F
            out.data[here + 12 : here + 16] = bytes(4)
        if kind == "data" and relocation.section in self.sections:
            self.against_section(out, here, relocation.section, relocation.value, R_BPF_64_64)
            return
        if kind in ("call", "func"):
            target = self.symbols.get(symbol)
            if target is None or target.section is None:
                raise InputError(piece.program.origin.where, f"refers to the function {symbol}, which is not among the programs")
            self.against_section(
                out, here, target.section.name, target.value // 8 - 1 if kind == "call" else target.value,
                R_BPF_64_32 if kind == "call" else R_BPF_64_64,
            )  # fmt: skip
            return
        addend = 0
        if kind in ("kfunc", "ksym") or (kind == "extern" and relocation.section == ".kconfig"):
            # weak where the code can do without: a Relocation does not say, and a strong one that is missing stops the load
            bind = STB_GLOBAL if opcode == CALL_CODE else STB_WEAK
            self.symbols.setdefault(symbol, OutSymbol(symbol, STT_NOTYPE, bind, None))
            if opcode == CALL_CODE:
                self.kfuncs[symbol] = None
                addend = -1
                out.data[here + 1] = out.data[here + 1] & 0x0F | PSEUDO_CALL << 4  # libbpf makes it a kfunc call
                out.data[here + 2 : here + 4] = bytes(2)
        elif symbol not in self.symbols:
            raise InputError(piece.program.origin.where, f"refers to {kind} {symbol}, which is not among the maps")
        struct.pack_into("<i", out.data, here + 4, addend)
        out.relocations.append((here, symbol, R_BPF_64_32 if opcode == CALL_CODE else R_BPF_64_64))

    # --- maps and data ---

    def data(self, map: Map) -> None:
        """A section of global variables, with their symbols."""
        zero = map.name == ".bss" or map.name.startswith(".bss.")
        out = self.section(map.name, SHT_NOBITS if zero else SHT_PROGBITS, SHF_ALLOC | (0 if map.name.startswith(".rodata") else SHF_WRITE))
        out.size = map.value_size
        if not zero:
            out.data += (map.data or b"").ljust(map.value_size, b"\0")[: map.value_size]
        for offset, (name, size, _) in map.datasec.items():
            if name and name not in self.symbols:
                self.define(OutSymbol(name, STT_OBJECT, STB_GLOBAL, out, offset, size))

    def write_legacy_maps(self) -> None:
        """`maps`: struct bpf_map_def, which libbpf reads before 1.0 and iproute2 still does."""
        out = self.section("maps", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE)
        for map in self.maps:
            if not is_data_name(map.name):
                self.define(OutSymbol(map.name, STT_OBJECT, STB_GLOBAL, out, len(out.data), 20))
                out.data += struct.pack("<5I", map.type, map.key_size, map.value_size, map.max_entries, map.flags)

    def write_maps(self) -> None:
        """`.maps`: nothing but zeros and symbols; what they are is in BTF."""
        from bpflens.formats.elf.write_btf import MapTypes

        self.build = self.build or BtfBuilder()
        types = MapTypes(self.build)
        out = self.section(".maps", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE)
        for map in self.maps:
            if not is_data_name(map.name):
                size = types.add(map)
                self.define(OutSymbol(map.name, STT_OBJECT, STB_GLOBAL, out, len(out.data), size))
                for offset, symbol in types.initial(map):
                    out.relocations.append((len(out.data) + offset, symbol, 2))  # R_BPF_64_ABS64
                out.data += bytes(size)
        types.finish(len(out.data))

    def write_ksyms(self) -> None:
        """Kfuncs: extern functions in BTF, in a section .ksyms that only BTF has."""
        from bpflens.formats.elf.write_btf import add_ksyms

        self.build = self.build or BtfBuilder()
        add_ksyms(self.build, list(self.kfuncs), self.kernel)

    # --- .BTF.ext ---

    def ext(self, starts: Mapping[tuple[int, int], tuple[str, int]], build: BtfBuilder) -> bytes:
        """func_info, line_info and CO-RE relocations; empty where no program has any."""
        funcs: dict[str, list[tuple[int, ...]]] = {}
        lines: dict[str, list[tuple[int, ...]]] = {}
        without = {id(piece.program) for piece in self.pieces if not (self.given and piece.function.type_id)}
        by_program: dict[int, list[_Piece]] = {}
        for piece in self.pieces:
            if id(piece.program) not in without:  # the kernel wants all functions of a program or none
                section, at = starts[id(piece.program), piece.start]
                funcs.setdefault(section, []).append((8 * at, piece.function.type_id))
                by_program.setdefault(id(piece.program), []).append(piece)
        for pieces in by_program.values():
            pieces.sort(key=lambda piece: piece.start)
            first_slots = [piece.start for piece in pieces]
            for line in pieces[0].program.lines:
                index = bisect_right(first_slots, line.off_insns) - 1
                if index >= 0 and line.off_insns < pieces[index].end:
                    section, at = starts[id(pieces[index].program), pieces[index].start]
                    lines.setdefault(section, []).append(_line(build, line, 8 * (at + line.off_insns - pieces[index].start)))
        core: dict[str, list[tuple[int, ...]]] = {}
        for section, relocations in self.core.items():
            core[section] = [(8 * r.off_insns, r.type_id, build.string(r.access), r.kind) for r in relocations]
        parts = [_records(build, records, width) for records, width in ((funcs, 2), (lines, 4), (core, 4))]
        if not any(parts):
            return b""
        spans, at = [], 0
        for part in parts:
            spans += [at, len(part)]
            at += len(part)
        return struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, *spans) + b"".join(parts)


def _called(program: Program) -> set[int]:
    """The slots that a program calls, or takes the address of, by distance and not by a relocation."""
    code, found = program.code, set()
    relocated = {r.off_insns for r in program.relocations if r.kind != "core"}
    slot = 0
    while slot < program.insn_count:
        opcode, source = code[8 * slot], code[8 * slot + 1] >> 4
        if slot not in relocated and (opcode, source) in ((CALL_CODE, PSEUDO_CALL), (LD_IMM64, PSEUDO_FUNC)):
            found.add(slot + 1 + int.from_bytes(code[8 * slot + 4 : 8 * slot + 8], "little", signed=True))
        slot += 2 if opcode == LD_IMM64 else 1
    return found - {0}


def _same(piece: _Piece, program: Program, function: Function, end: int) -> bool:
    """Whether a function of a program is what a piece already has: same code, no relocations that could differ."""
    start, length = function.start, end - function.start
    mine = [replace(r, off_insns=r.off_insns - start) for r in program.relocations if start <= r.off_insns < end]
    theirs = [replace(r, off_insns=r.off_insns - piece.start) for r in piece.program.relocations if piece.start <= r.off_insns < piece.end]
    code = program.code[8 * start : 8 * end]
    if length != piece.end - piece.start or mine != theirs or code != piece.program.code[8 * piece.start : 8 * piece.end]:
        return False
    return not any(code[at] == CALL_CODE and code[at + 1] >> 4 == PSEUDO_CALL for at in range(0, len(code), 8))


def _line(build: BtfBuilder, line: SourceLine, byte_off: int) -> tuple[int, ...]:
    return byte_off, build.string(line.file), build.string(line.text), line.line << 10 & 0xFFFFFFFF | line.col & 0x3FF


def _records(build: BtfBuilder, records: Mapping[str, Sequence[tuple[int, ...]]], width: int) -> bytes:
    """One part of .BTF.ext: record size, then per section name, count, records."""
    if not any(records.values()):
        return b""
    parts = [struct.pack("<I", 4 * width)]
    for section, rows in records.items():
        parts.append(struct.pack("<II", build.string(section), len(rows)))
        parts += [struct.pack(f"<{width}I", *row) for row in sorted(rows)]
    return b"".join(parts)


