"""A program ready to be run: its code with every reference to a map by name, and what the kernel wants to know to load it.

    subjects(data, "x.o")  ──►  {"xdp_prog": Subject(words=(...), prog_type=6, map_at={4: "counts"}, maps={"counts": Map(...)})}

Made from an object (functions appended, CO-RE applied), from a `Program` with maps by id, or by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpflens.errors import BpflensError, InputError
from bpflens.isa.extended import opcodes as op
from bpflens.program import Map, Program

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf
    from bpflens.formats.elf.relocations.link import ObjectPrograms

__all__ = ("Subject", "from_program", "malformed", "object_programs", "subject_of", "subjects", "to_program")

SLEEPABLE, XDP_FRAGS = 1 << 4, 1 << 5  # BPF_F_*
_FLAGS = {"sleepable": SLEEPABLE, "frags": XDP_FRAGS}


@dataclass(frozen=True, slots=True)
class Subject:
    """`words`: the code, the low word of a map reference without meaning; `map_at`: slot of such an ld_imm64 -> name in `maps`.

    `maps[...].data`: initial contents of global data. `btf`: the blob that `func_info` (first slot, type id) and the maps' type ids are
    of, b"" for none. `flags`, `expected_attach_type`, `attach_btf_id`: as in BPF_PROG_LOAD.
    """

    words: tuple[int, ...]
    prog_type: int
    maps: Mapping[str, Map] = field(default_factory=dict)
    map_at: Mapping[int, str] = field(default_factory=dict)
    name: str = "program"
    expected_attach_type: int = 0
    attach_btf_id: int = 0
    flags: int = 0
    license: str = "GPL"
    btf: bytes = b""
    func_info: tuple[tuple[int, int], ...] = ()


def subjects(data: bytes, where: str) -> dict[str, Subject]:
    """Every program of an object by the name of its function; those that can't be linked here are left out.

    InputError where the file is no BPF object.
    """
    programs = object_programs(data, where)
    found = {}
    for program, function in programs.entries():
        try:
            found[function.name] = _linked(programs, program, function.start)
        except BpflensError:
            continue
    return found


def subject_of(data: bytes, where: str, function: str) -> Subject:
    """One program of an object; InputError with the reason where there is none of that name or it can't be linked here."""
    programs = object_programs(data, where)
    for program, entry in programs.entries():
        if entry.name == function:
            return _linked(programs, program, entry.start)
    raise InputError(where, f"has no program named {function}")


def object_programs(data: bytes, where: str) -> ObjectPrograms:
    """An object opened for linking against the running kernel's types; against the object's own where the kernel has none to read."""
    from bpflens.formats.elf.programs import read_object
    from bpflens.formats.elf.relocations.link import ObjectPrograms

    kernel = _kernel_types()
    if kernel is None:
        own = next((p.btf for p in read_object(data, where) if p.btf is not None), None)
        if own is None:
            from bpflens.btf.btf import Btf
            from bpflens.btf.build import BtfBuilder

            own = Btf.parse(BtfBuilder().build())
        return ObjectPrograms(data, where, own, lambda _: None, lambda _: None)
    from bpflens.btf.btf import Kind

    return ObjectPrograms(data, where, kernel, lambda n: kernel.find(n, Kind.FUNC), lambda n: kernel.find(n, Kind.VAR))


def from_program(program: Program, map_names: Mapping[int, str] | None = None) -> Subject:
    """A `Program` with unrewritten code (an original, an assembled one): map references hold ids, or `map_names` says slot -> name.

    InputError for an xlated image, a missing type or a reference to a map that `program.maps` does not have.
    """
    from bpflens.isa.extended.insn import words

    if program.xlated or program.type is None:
        why = "is an image that the kernel has rewritten: recover the original first" if program.xlated else "has no program type"
        raise InputError(program.origin.where, why)
    code = tuple(words(program.code))
    maps, names = _named(program.maps)
    map_at = dict(map_names or {})
    for slot in map_slots(code):
        if slot not in map_at:
            name = names.get(code[slot] >> 32)
            if name is None:
                raise InputError(program.origin.where, f"refers at slot {slot} to a map that is not known: {code[slot] >> 32}")
            map_at[slot] = name
    btf = program.btf.data if program.btf is not None else b""
    return Subject(
        words=code,
        prog_type=program.type,
        maps={name: maps[name] for name in maps if name in map_at.values()},
        map_at=map_at,
        name=program.name or "program",
        expected_attach_type=program.expected_attach_type or 0,
        license=program.license or "",
        btf=btf,
        func_info=tuple((f.start, f.type_id) for f in program.functions if f.type_id) if btf else (),
        flags=_flags(program),
    )


def map_slots(code: Sequence[int]) -> Iterator[int]:
    """The slots of ld_imm64 that refer to a map or to a map's value."""
    slot = 0
    while slot < len(code):
        word = code[slot]
        if word & 0xFF == op.LD_IMM64:
            if word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX, op.PSEUDO_MAP_IDX_VALUE):
                yield slot
            slot += 1
        slot += 1


def to_program(subject: Subject) -> Program:
    """The same as a `Program`: map references hold ids, which are numbers of our own where the maps have none."""
    from bpflens.btf.btf import Btf
    from bpflens.program import Declared, Function, Isa, Origin

    ids = {name: map.id if map.id is not None else (1 << 24) + n for n, (name, map) in enumerate(subject.maps.items())}
    words = list(subject.words)
    for slot, name in subject.map_at.items():
        words[slot] = words[slot] & 0xFFFFFFFF | ids[name] << 32
    btf = Btf.parse(subject.btf) if subject.btf else None
    names = {at: btf.name(id) for at, id in subject.func_info} if btf is not None else {}
    return Program(
        isa=Isa.EXTENDED,
        code=b"".join(word.to_bytes(8, "little") for word in words),
        origin=Origin("execute", subject.name),
        name=subject.name,
        type=subject.prog_type,
        expected_attach_type=subject.expected_attach_type,
        maps=tuple(replace(map, name=name, id=ids[name]) for name, map in subject.maps.items()),
        functions=tuple(Function(at, names[at], type_id=id) for at, id in subject.func_info if at in names),
        btf=btf,
        declared=Declared(license=subject.license),
    )


def malformed(subject: Subject) -> str | None:
    """What is wrong with a subject that was put together by hand; None where nothing is."""
    count = len(subject.words)
    for slot, name in subject.map_at.items():
        if not 0 <= slot < count - 1 or subject.words[slot] & 0xFF != op.LD_IMM64:
            return f"slot {slot} should refer to the map {name}, but holds no ld_imm64"
        if name not in subject.maps:
            return f"slot {slot} refers to the map {name}, which is not given"
    if any(not 0 <= at < count for at, _ in subject.func_info):
        return "a function starts outside of the code"
    return None if count else "it has no instructions"


def _named(maps: Sequence[Map]) -> tuple[dict[str, Map], dict[int, str]]:
    """Maps by names that are unique, and the names by id."""
    by_name: dict[str, Map] = {}
    names: dict[int, str] = {}
    for map in maps:
        name = map.name or f"map{map.id}"
        if name in by_name:
            name = f"{name}.{map.id}"
        by_name[name] = map
        if map.id is not None:
            names[map.id] = name
    return by_name, names


def _flags(program: Program) -> int:
    return sum(_FLAGS.get(name, 0) for name in program.declared.flags)


def _linked(programs: ObjectPrograms, program: Program, start: int) -> Subject:
    from bpflens.formats.elf.relocations.link import link

    function = next(f for f in program.functions if f.start == start) if program.functions else None
    from bpflens.program import Function

    linked = link(programs, program.section or "", function or Function(0, program.name))
    declared = {map.name: map for map in program.maps}
    used = {}
    for name in linked.maps.values():
        if name not in declared:
            raise InputError(programs.where, f"uses the section {name}, which is no map")
        map = declared[name]
        used[name] = replace(map, data=_kconfig(map)) if name == ".kconfig" else map
    btf = programs.btf
    return Subject(
        words=tuple(linked.words),
        prog_type=program.type or 0,
        maps=used,
        map_at=linked.maps,
        name=linked.name,
        expected_attach_type=program.expected_attach_type or 0,
        attach_btf_id=_attach_btf_id(program) or 0,
        license=program.license or "",
        btf=btf.data if btf is not None else b"",
        func_info=tuple((base, f.type_id) for base, f in linked.functions if f.type_id),
        flags=_flags(program),
    )


def _kconfig(map: Map) -> bytes:
    """.kconfig as on a kernel of this machine's version with every option set to 1."""
    import os

    data = bytearray(map.value_size)
    release = [int("".join(c for c in part if c.isdigit()) or "0") for part in os.uname().release.split("-")[0].split(".")[:3]]
    version = [*release, 0, 0][:3]
    for offset, (name, size, _) in map.datasec.items():
        value = version[0] << 16 | version[1] << 8 | min(version[2], 255) if name == "LINUX_KERNEL_VERSION" else 1
        data[offset : offset + size] = value.to_bytes(max(size, 8), "little")[:size]
    return bytes(data)


def _attach_btf_id(program: Program) -> int | None:
    """The kernel function, tracepoint or hook that a section names; None where it names none or the kernel has no such thing."""
    from bpflens.btf.btf import Kind

    section = (program.section or "").lstrip("?")
    kind, slash, target = section.partition("/")
    find: dict[str, tuple[str, Kind]] = {
        "tp_btf": ("btf_trace_", Kind.TYPEDEF), "lsm": ("bpf_lsm_", Kind.FUNC), "iter": ("bpf_iter_", Kind.FUNC),
        "fentry": ("", Kind.FUNC), "fexit": ("", Kind.FUNC), "fmod_ret": ("", Kind.FUNC),
    }  # fmt: skip
    row = find.get(kind.split(".")[0])
    kernel = _kernel_types() if row and slash else None
    return kernel.find(row[0] + target, row[1]) if kernel is not None and row else None


def _kernel_types() -> Btf | None:
    from bpflens.kernel.btf import vmlinux

    read: Callable[[], Btf] = vmlinux
    try:
        return read()
    except (BpflensError, OSError):
        return None
