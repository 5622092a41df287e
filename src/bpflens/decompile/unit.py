"""What is decompiled together: the functions of an object file or of a loaded program, with what their slots refer to.

    x.o  (sections xdp, .text; maps)   ──►   Unit(functions: xdp_main (entry), helper (static); maps; BTF)

Slots keep the numbers that `dis` prints: they count from the start of the section (of the program, for a live one).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bpflens.analysis.cfg import reference
from bpflens.btf.btf import Btf
from bpflens.errors import InputError
from bpflens.formats.elf.dwarf.variables import LocalVariable, local_variables
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, decode
from bpflens.program import Function, Isa, Map, Program, Relocation

__all__ = ("Code", "Reference", "Unit", "identifier", "kernel_types", "make_unit")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a slot refers to: `kind` is map, data, call, func, kfunc, ksym or core; `offset` in bytes into a data section."""

    kind: str
    name: str
    offset: int = 0
    core: tuple[int, int, str] | None = None  # kind of the relocation, type id, access string


@dataclass(frozen=True, slots=True)
class Code:
    """A function as it is found: slots `start` to `end` of its program. `role`: entry, static, global or callback."""

    name: str
    program: Program
    start: int
    end: int
    insns: Sequence[Insn]
    references: Mapping[int, Reference]
    role: str
    type_id: int = 0
    original_name: str = ""
    locals: Sequence[LocalVariable] = ()

    @property
    def section(self) -> str:
        """The section to declare an entry in."""
        return self.program.section or ""

    @property
    def prog_type(self) -> int:
        """enum bpf_prog_type, 0 where it is not known."""
        return self.program.type or 0


@dataclass(slots=True)
class Unit:
    """Functions in the order in which they are printed (callees first), by name; `maps` and data sections by name as in the C file."""

    where: str
    codes: dict[str, Code]
    maps: dict[str, Map]
    btf: Btf | None
    license: str
    big_endian: bool = False
    notes: list[str] = field(default_factory=list)

    def callees(self, code: Code) -> list[str]:
        """The functions that a function calls or takes the address of, in order."""
        return [r.name for r in code.references.values() if r.kind in ("call", "func")]


_MAX_UNKNOWN = 1 << 20
_WORD = re.compile(r"[^A-Za-z0-9_]")
_KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|restrict|return|short|"
    "signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|asm|typeof|main"
).fullmatch


def identifier(name: str) -> str:
    """A C identifier made of a name of an object file."""
    word = _WORD.sub("_", name)
    if not word or word[0].isdigit() or _KEYWORDS(word):
        word = "_" + word
    return word


class _Names:
    """Identifiers that are used once each."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, wanted: str) -> str:
        name, number = identifier(wanted), 2
        stem = name
        while name in self.taken:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        return name


def make_unit(programs: Sequence[Program], where: str) -> Unit:
    """The unit of the programs of one target; InputError where there is nothing extended among them."""
    extended = [_related(p) for p in programs if p.isa is Isa.EXTENDED and p.code]
    if not extended:
        raise InputError(where, "nothing here is extended BPF code", 'classic filters are read by "bpflens explain" and "bpflens dis"')
    extended = [_with_section(p, number) for number, p in enumerate(extended)]
    names = _Names()
    maps: dict[str, Map] = {}
    for program in extended:
        for m in program.maps:
            if m.name not in maps:
                maps[m.name] = m
                if m.name[:1] != ".":
                    names.take(m.name)
    found: dict[tuple[str, int], Code] = {}
    for program in extended:
        for function, end in _functions(program):
            name = names.take(function.name or program.name or f"function_{function.start}")
            role = "entry" if _is_entry(program, function) else "static"
            found[program.section or "", function.start] = Code(
                name, program, function.start, end, (), {}, role, function.type_id, function.name or name
            )
    sections = {p.section or "": p for p in extended}
    codes: list[Code] = []
    variables: dict[str, list[LocalVariable]] = {}
    callbacks: set[str] = set()
    for code in found.values():
        insns = decode(code.program.code[8 * code.start : 8 * code.end])
        references = _references(code, insns, sections, found)
        callbacks |= {r.name for r in references.values() if r.kind == "func"}
        codes.append(replace(code, insns=insns, references=references, locals=_within(code, variables)))
    codes = [replace(c, role=_role(c, callbacks)) for c in codes]
    first = extended[0]
    btf = next((p.btf for p in extended if p.btf is not None), None)
    unit = Unit(where, {}, maps, btf, _license(extended), first.declared.byte_order == "big")
    by_name = {c.name: c for c in codes}
    unit.codes = {name: by_name[name] for name in _callees_first(by_name, unit)}
    return unit


def _with_section(program: Program, number: int) -> Program:
    """A program that was in no section of an object, in one of its own: functions are told apart by their sections."""
    return program if program.section else replace(program, declared=replace(program.declared, section=f"#{number}"))


def _within(code: Code, known: dict[str, list[LocalVariable]]) -> tuple[LocalVariable, ...]:
    """The local variables of a function, as DWARF has them; `known`: those of the sections that were read already."""
    program = code.program
    section = program.section or ""
    if program.origin.source != "elf":
        return ()
    if section not in known:
        path = program.origin.where.rpartition("#")[0]
        try:
            data = Path(path).read_bytes() if os.path.isfile(path) else b""
        except OSError:
            data = b""
        known[section] = local_variables(data, path, section, program.code) if data else []
    return tuple(v for v in known[section] if code.start <= v.start < code.end)


def _license(programs: Sequence[Program]) -> str:
    return next((p.license for p in programs if p.license), "GPL")


def _role(code: Code, callbacks: set[str]) -> str:
    if code.role == "entry":
        return "entry"
    if code.name in callbacks:
        return "callback"
    btf = code.program.btf
    return "global" if btf is not None and code.type_id and btf.linkage(code.type_id) == 1 else "static"


def _is_entry(program: Program, function: Function) -> bool:
    if program.origin.source == "elf":
        return program.section != ".text"
    return function.start == 0


def _functions(program: Program) -> Iterator[tuple[Function, int]]:
    """Each function of a program and its end; what calls name is a function, too."""
    size = program.insn_count
    known = {f.start: f for f in program.functions if 0 <= f.start < size}
    known.setdefault(0, Function(0, program.name or program.section or "program"))
    related = {r.off_insns for r in program.relocations if r.kind in ("call", "func", "kfunc", "extern")}
    for slot, insn in enumerate(decode(program.code)):
        target = reference(insn, slot, program.xlated)
        if target is not None and 0 <= target < size and target not in known and slot not in related:
            known[target] = Function(target, f"subprogram_{target}")
    starts = sorted(known)
    for index, start in enumerate(starts):
        yield known[start], starts[index + 1] if index + 1 < len(starts) else size


def _related(program: Program) -> Program:
    """A program with relocations in place of map ids, where it came from the kernel."""
    if program.origin.source == "elf":
        return program
    from bpflens.formats.elf.data_maps import data_section, from_live

    if any(r.kind in ("map", "data") for r in program.relocations):  # a snapshot, or an original that was recovered
        names = {m.name: data_section(m.name) or m.name for m in program.maps}
        changed = [
            replace(r, symbol=names.get(r.symbol, r.symbol), section=names.get(r.section, r.section)) for r in program.relocations
        ]
        return replace(program, relocations=changed, maps=tuple(replace(m, name=names[m.name]) for m in program.maps))
    known = {m.id for m in program.maps}
    code = program.code
    related = {relocation.off_insns for relocation in program.relocations}
    if related and all(slot in related for slot, insn in enumerate(decode(code)) if insn.code == op.LD_IMM64 and insn.src in (1, 2)):
        return program  # of a snapshot, which has them as an object file has
    if any(insn.code == op.LD_IMM64 and insn.src in (1, 2) and insn.imm & 0xFFFFFFFF not in known for insn in decode(code)):
        program = replace(program, maps=(*program.maps, *_unknown_maps(code, known)))
    return replace(from_live(program), xlated=False)  # calls of functions have their distance where code as loaded has it


def _unknown_maps(code: bytes, known: Collection[int | None]) -> list[Map]:
    """The maps that the code names and nobody knows; what is addressed within their values is global data, whose content is not known."""
    found: dict[int, int] = {}  # id -> bytes of global data
    insns = decode(code)
    for slot, insn in enumerate(insns):
        if insn.code == op.LD_IMM64 and insn.src in (1, 2) and insn.imm & 0xFFFFFFFF not in known:
            inside = (insns[slot + 1].imm & 0xFFFFFFFF) // 8 * 8 + 8 if insn.src == op.PSEUDO_MAP_VALUE and slot + 1 < len(insns) else 0
            found[insn.imm & 0xFFFFFFFF] = max(found.get(insn.imm & 0xFFFFFFFF, 0), min(inside, _MAX_UNKNOWN))
    out = []
    for id, size in sorted(found.items()):
        name = f"map_{id}.data.map_{id}" if size else f"map_{id}"
        out.append(Map(name, 2 if size else 0, 0, size, 0, id=id, data=bytes(size) if size else None, fields={"unknown": "not known here"}))
    return out


def _references(
    code: Code, insns: Sequence[Insn], sections: Mapping[str, Program], found: Mapping[tuple[str, int], Code]
) -> dict[int, Reference]:
    """What the slots of a function refer to, by slot of the program."""
    program = code.program
    out: dict[int, Reference] = {}
    for relocation in program.relocations:
        slot = relocation.off_insns
        if code.start <= slot < code.end:
            made = _reference(relocation, found)
            if made is not None and (slot not in out or made.kind != "core"):
                out[slot] = made
    for at, insn in enumerate(insns):
        slot = code.start + at
        if slot in out:
            continue
        target = reference(insn, slot, program.xlated)
        if target is not None:
            callee = found.get((program.section or "", target))
            if callee is not None:
                out[slot] = Reference("func" if insn.code == op.LD_IMM64 else "call", callee.name)
        elif insn.code == op.CALL_CODE and insn.src == op.PSEUDO_KFUNC_CALL:
            out[slot] = Reference("kfunc", program.symbols.get(slot, "") or _kernel_name(insn.imm))
        elif insn.code == op.LD_IMM64 and insn.src == op.PSEUDO_BTF_ID:
            out[slot] = Reference("ksym", program.symbols.get(slot, "") or _kernel_name(insn.imm))
    return out


def kernel_types() -> Btf | None:
    """The running kernel's BTF; None where it cannot be read."""
    from bpflens.errors import BpflensError
    from bpflens.kernel.btf import vmlinux

    try:
        return vmlinux()
    except BpflensError:
        return None


def _kernel_name(type_id: int) -> str:
    """The name of a function or variable of the running kernel by its BTF id, "" where it is not known."""
    from bpflens.errors import BpflensError

    types = kernel_types()
    try:
        return types.name(type_id) if types is not None else ""
    except BpflensError:
        return ""


def _reference(relocation: Relocation, found: Mapping[tuple[str, int], Code]) -> Reference | None:
    kind = relocation.kind
    if kind == "core":
        type_id, _, access = relocation.section.partition(" ")
        return Reference("core", relocation.symbol, 0, (relocation.value, int(type_id or 0), access))
    if kind in ("call", "func"):
        callee = found.get((relocation.section, relocation.value))
        return Reference(kind, callee.name) if callee is not None else Reference("unknown", relocation.symbol)
    if kind == "data":
        return Reference("data", relocation.section, relocation.value)
    if kind == "extern" and relocation.section == ".kconfig":
        return Reference("kconfig", relocation.symbol)
    if kind in ("map", "kfunc", "ksym"):
        return Reference(kind, relocation.symbol)
    return Reference("unknown", relocation.symbol)


def _callees_first(codes: Mapping[str, Code], unit: Unit) -> list[str]:
    """Names so that every function comes after those that it calls, else in the order of the object."""
    done: dict[str, None] = {}
    for root in codes:
        pending = [(root, iter(unit.callees(codes[root])))]
        doing = {root}
        if root in done:
            continue
        while pending:
            name, rest = pending[-1]
            following = next((n for n in rest if n in codes and n not in done and n not in doing), None)
            if following is None:
                done[name] = None
                pending.pop()
            else:
                doing.add(following)
                pending.append((following, iter(unit.callees(codes[following]))))
    return list(done)
