"""A program of an object file as it is loaded: functions appended, CO-RE applied, maps, kfuncs and ksyms filled in; what libbpf does
between opening and BPF_PROG_LOAD (bpf_object__relocate and what follows, libbpf 1.6).

Map references get the imm 0, which the tag does not cover. A program that needs what is not known here raises InputError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bpflens.btf.btf import Btf
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import BtfExt, CoreRelocation
from bpflens.formats.elf.file import ElfFile
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.relocations.core_relo import CoreResolver, apply
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, words
from bpflens.lean import frozen
from bpflens.program import Function, Program, Relocation

__all__ = ("Linked", "ObjectPrograms", "link")

_TEXT = ".text"


@frozen
class Linked:
    """A linked program: `words` of the code; per instruction where it is from, as (section, slot), for its source line."""

    name: str
    section: str
    words: list[int]
    origins: list[tuple[str, int]]
    functions: tuple[tuple[int, Function], ...]
    maps: dict[int, str]


class ObjectPrograms:
    """The programs of one object, linked on demand. `kernel`: its types; `kfunc_id` and `ksym` look up what the code refers to."""

    def __init__(
        self, data: bytes, where: str, kernel: Btf, kfunc_id: Callable[[str], int | None], ksym: Callable[[str], int | None]
    ) -> None:
        self.where = where
        self.sections: dict[str, Program] = {}
        for program in read_object(data, where):
            self.sections.setdefault(program.section or "", program)
        self.kfunc_id, self.ksym = kfunc_id, ksym
        btf = next((program.btf for program in self.sections.values() if program.btf is not None), None)
        self.btf = btf
        self.resolver = CoreResolver(btf, kernel) if btf is not None else None
        self.core = _core(data, where, btf, self.sections)
        self._relocations = {name: {r.off_insns: r for r in p.relocations if r.kind != "core"} for name, p in self.sections.items()}

    def entries(self) -> Iterator[tuple[Program, Function]]:
        """Every function that libbpf loads as a program: those of named sections."""
        for name, program in self.sections.items():
            if name != _TEXT:
                for function in program.functions or (Function(0, program.name),):
                    yield program, function

    def relocated(self, section: str) -> list[int]:
        """The words of a section with CO-RE applied."""
        program = self.sections[section]
        out = list(words(program.code))
        if self.resolver is not None:
            for relocation in self.core.get(section, ()):
                if 0 <= relocation.off_insns < len(out):
                    apply(out, relocation.off_insns, self.resolver.resolve(relocation))
        return out

    def relocations(self, section: str) -> Mapping[int, Relocation]:
        """The relocations of a section by slot."""
        return self._relocations[section]


def link(programs: ObjectPrograms, section: str, entry: Function) -> Linked:
    """One program with everything that it calls."""
    return _Linker(programs).run(section, entry)


class _Linker:
    """Appends functions in libbpf's order: depth first, each when it is first referred to (bpf_object__reloc_code)."""

    def __init__(self, programs: ObjectPrograms) -> None:
        self.programs = programs
        self.code: dict[str, list[int]] = {}
        self.out: list[int] = []
        self.origins: list[tuple[str, int]] = []
        self.placed: dict[tuple[str, int], int] = {}
        self.functions: list[tuple[int, Function]] = []
        self.maps: dict[int, str] = {}

    def run(self, section: str, entry: Function) -> Linked:
        self.append(section, entry.start)
        return Linked(entry.name, section, self.out, self.origins, tuple(self.functions), self.maps)

    def bounds(self, section: str, slot: int) -> tuple[Function, int]:
        """The function that a slot is in, and its end."""
        program = self.programs.sections.get(section)
        if program is None:
            raise InputError(self.programs.where, f"refers to the section {section}, which has no code")
        functions = sorted(program.functions, key=lambda f: f.start) or [Function(0, program.name)]
        inside = [f for f in functions if f.start <= slot]
        if not inside:
            raise InputError(self.programs.where, f"refers to slot {slot} of {section}, where no function is")
        end = min((f.start for f in functions if f.start > inside[-1].start), default=program.insn_count)
        return inside[-1], end

    def append(self, section: str, start: int) -> int:
        """Append a function and what it calls; where it is placed."""
        function, end = self.bounds(section, start)
        if section not in self.code:
            self.code[section] = self.programs.relocated(section)
        base = len(self.out)
        self.placed[section, function.start] = base
        self.functions.append((base, function))
        self.out += self.code[section][function.start : end]
        self.origins += [(section, slot) for slot in range(function.start, end)]
        relocations = self.programs.relocations(section)
        slot = function.start
        while slot < end:
            at = base + slot - function.start
            insn = Insn(self.out[at])
            relocation = relocations.get(slot)
            if relocation is not None:
                self.relocate(at, insn, relocation)
            elif insn.code == op.CALL_CODE and insn.src == op.PSEUDO_CALL:
                self.refer(at, insn, section, slot + 1 + insn.imm)
            slot += 2 if insn.code == op.LD_IMM64 else 1
        return base

    def refer(self, at: int, insn: Insn, section: str, target: int) -> None:
        """A call or address of a function: relative to the instruction."""
        function, _ = self.bounds(section, target)
        placed = self.placed.get((section, function.start))
        if placed is None:
            placed = self.append(section, function.start)
        distance = placed + target - function.start - at - 1
        source = op.PSEUDO_CALL if insn.code == op.CALL_CODE else op.PSEUDO_FUNC
        self.out[at] = Insn.make(insn.code, insn.dst, source, 0, distance).word
        if insn.code == op.LD_IMM64:
            self.out[at + 1] = 0

    def relocate(self, at: int, insn: Insn, relocation: Relocation) -> None:
        kind = relocation.kind
        if kind in ("call", "func"):
            self.refer(at, insn, relocation.section, relocation.value)
        elif kind == "map":
            self.maps[at] = relocation.symbol
            self.wide(at, insn, op.PSEUDO_MAP_FD)
        elif kind == "data" or (kind == "extern" and relocation.section == ".kconfig"):
            self.maps[at] = relocation.section
            self.wide(at, insn, op.PSEUDO_MAP_VALUE, 0, relocation.value)
        elif kind == "kfunc":
            type_id = self.programs.kfunc_id(relocation.symbol)
            if type_id is None:
                raise InputError(self.programs.where, f"calls the kfunc {relocation.symbol}, which this kernel does not have")
            self.out[at] = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, type_id).word
        elif kind == "ksym":
            type_id = self.programs.ksym(relocation.symbol)
            self.wide(at, insn, op.PSEUDO_BTF_ID if type_id else 0, type_id or 0)
        else:
            raise InputError(self.programs.where, f"has a relocation of a kind that is not known: {relocation.text or kind}")

    def wide(self, at: int, insn: Insn, source: int, low: int = 0, high: int = 0) -> None:
        self.out[at] = Insn.make(op.LD_IMM64, insn.dst, source, 0, low).word
        self.out[at + 1] = (high & 0xFFFFFFFF) << 32


def _core(data: bytes, where: str, btf: Btf | None, sections: Mapping[str, Program]) -> dict[str, list[CoreRelocation]]:
    """CO-RE relocations by section."""
    if btf is None:
        return {}
    elf = ElfFile.parse(data, where)
    section = elf.section(".BTF.ext")
    if section is None or not section.size:
        return {}
    ext = BtfExt.parse(elf.bytes_of(section), btf, where)
    return {name: ext.core(name) for name in sections}
