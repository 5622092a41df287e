"""An original as an object file that libbpf and bpftool load, with its maps, types, source lines and licence."""

from __future__ import annotations

from bpflens.errors import BpflensError, InputError
from bpflens.formats.elf.data_maps import data_section, from_live
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.names import ATTACH_TYPES, PROG_TYPES, type_name
from bpflens.isa.extended.uapi import AttachType
from bpflens.kernel.programs.load_attributes import F_SLEEPABLE, F_XDP_HAS_FRAGS, Attributes
from bpflens.lean import replace
from bpflens.original.result import Original
from bpflens.original.to_program import btf_of, to_program
from bpflens.program import Function, Map, Program, Relocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpflens.btf.btf import Btf

__all__ = ("object_bytes", "section_name", "write_original")

_NEEDS_TARGET = {
    23: "tp_btf/{}", 24: "fentry{s}/{}", 25: "fexit{s}/{}", 26: "fmod_ret{s}/{}", 28: "iter{s}/{}", 27: "lsm{s}/{}", 43: "lsm_cgroup/{}",
}  # fmt: skip
_PREFIXES = {
    AttachType.TRACE_RAW_TP: "btf_trace_", AttachType.TRACE_ITER: "bpf_iter_", AttachType.LSM_MAC: "bpf_lsm_",
    AttachType.LSM_CGROUP: "bpf_lsm_",
}  # fmt: skip
_TRACING, _STRUCT_OPS, _EXT, _LSM = 26, 27, 28, 29
_ARRAY_OF_MAPS, _HASH_OF_MAPS = 12, 13
_KERNEL_FLAGS, _RDONLY_PROG = (14, 25), 1 << 7  # DEVMAP, DEVMAP_HASH


def write_original(original: Original, path: str) -> None:
    """Write the object; InputError where there is nothing to write or the file can't be written."""
    from bpflens.formats.whole_file import write_whole

    write_whole(path, object_bytes(original))


def object_bytes(original: Original) -> bytes:
    """The ELF object."""
    from bpflens.formats.elf.write import write_object
    from bpflens.kernel.btf import vmlinux

    image = original.image
    if not original.code:
        raise InputError(image.where, "there is no reconstruction to write")
    attributes = original.attributes or _attributes(original)
    program = to_program(original)
    if original.layout is not None:
        # references to maps by index in fd_array are written as references to the maps: libbpf has no other
        program = replace(program, code=original.layout.code())
    program = replace(program, functions=_functions(original, program), relocations=_kfuncs(program))
    btf = btf_of(original) or _btf_of_maps(program)
    program = replace(program, maps=tuple(_own_types(m, original, btf) for m in program.maps))
    program = from_live(_as_data(_with_maps(program)), section_name(original, attributes))
    kernel = vmlinux() if any(relocation.kind == "kfunc" for relocation in program.relocations) else None
    types = _unlinked(btf, program) if btf is not None else None
    return write_object([program], program.maps, types, program.license, kernel=kernel)


def _unlinked(btf: Btf, program: Program) -> bytes:
    """The types as a linker wants them: variables without a symbol are static, or libbpf 1.3 and newer look for it (btf_fixup_datasec), and
    the functions that libbpf made of externs when it loaded the program do not hide the externs (find_extern_btf_id).
    """
    from bpflens.btf.btf import Kind
    from bpflens.btf.build import EXTERN, STATIC, BtfBuilder

    data = bytearray(btf.data)
    order: Literal["little", "big"] = "big" if btf.big_endian else "little"
    start = int.from_bytes(data[4:8], order) + int.from_bytes(data[8:12], order)
    for id in btf.ids(Kind.VAR):
        at = start + 4 * (btf.position(id) + 3)
        data[at : at + 4] = STATIC.to_bytes(4, order)
    called = {relocation.symbol for relocation in program.relocations if relocation.kind == "kfunc"}
    hiding = [id for id in btf.ids(Kind.FUNC) if btf.linkage(id) != EXTERN and btf.name(id) in called]
    if not hiding:
        return bytes(data)
    build = BtfBuilder(bytes(data))
    for id in hiding:
        build.rename(id, f"{btf.name(id)}__loaded")
    return build.build()


def section_name(original: Original, attributes: Attributes | None) -> str:
    """The section by which libbpf gives the program its type, expected attach type and flags."""
    from bpflens.formats.elf.sections import SECTIONS

    image = original.image
    attach = attributes.expected_attach_type if attributes else 0
    flags = attributes.flags if attributes else 0
    if image.prog_type in (_TRACING, _LSM) and attach in _NEEDS_TARGET:
        target = _target(original).removeprefix(_PREFIXES.get(attach, ""))
        return _NEEDS_TARGET[attach].format(target, s=".s" if flags & F_SLEEPABLE else "")
    if image.prog_type == _STRUCT_OPS:
        return f"struct_ops/{image.name}"
    if image.prog_type == _EXT:
        return f"freplace/{_target(original)}"
    wanted = {"sleepable"} if flags & F_SLEEPABLE else set()
    wanted |= {"frags"} if flags & F_XDP_HAS_FRAGS else set()
    rows = [row for row in SECTIONS if row.prog_type == image.prog_type and set(row.flags) == wanted]
    for row in rows:
        if (row.attach_type or 0) == attach:
            return row.name.rstrip("+")
    if rows and attach == 0:
        plain = [row for row in rows if row.name in ("xdp", "xdp.frags")]
        return (plain or rows)[0].name.rstrip("+")
    what = f"{type_name(PROG_TYPES, image.prog_type)} programs with attach type {type_name(ATTACH_TYPES, attach)}"
    raise InputError(image.where, f"libbpf has no section name for {what}")


def section_of(original: Original) -> str:
    """`section_name` with what the kernel says of the program; InputError where libbpf has no name for it."""
    return section_name(original, _attributes(original))


def _attributes(original: Original) -> Attributes | None:
    from bpflens.kernel.programs.load_attributes import read_attributes

    return read_attributes(original.image.id) if original.image.id else None


def _target(original: Original) -> str:
    """Name of the function that a tracing program is for."""
    from bpflens.kernel.btf import btf_by_id, vmlinux

    image = original.image
    try:
        btf = btf_by_id(image.attach_btf_obj_id) if image.attach_btf_obj_id else vmlinux()
        return btf.name(image.attach_btf_id)
    except BpflensError as error:
        raise InputError(image.where, f"its attach target has no name: {error}") from None


def _functions(original: Original, program: Program) -> tuple[Function, ...]:
    """All functions: those without BTF get a name."""
    known = {function.start: function for function in program.functions}
    known.setdefault(0, Function(0, program.name or "prog"))
    words = [int.from_bytes(program.code[at : at + 8], "little") for at in range(0, len(program.code), 8)]
    for index, word in enumerate(words):
        source = word >> 12 & 0xF
        is_call = word & 0xFF == op.CALL_CODE and source == op.PSEUDO_CALL
        if is_call or (word & 0xFF == op.LD_IMM64 and source == op.PSEUDO_FUNC):
            start = index + 1 + ((word >> 32 ^ 0x80000000) - 0x80000000)
            known.setdefault(start, Function(start, f"func_{start}"))
    return tuple(known[start] for start in sorted(known))


def _kfuncs(program: Program) -> tuple[Relocation, ...]:
    """Calls of kfuncs of the kernel proper by name, so that the object loads on other kernels too; those of modules stay as they are."""
    from bpflens.kernel.btf import vmlinux

    out = []
    for slot in range(program.insn_count):
        code, registers, off, imm = program.code[8 * slot], program.code[8 * slot + 1], *_fields(program.code, slot)
        if code == op.CALL_CODE and registers >> 4 == op.PSEUDO_KFUNC_CALL and off == 0:
            out.append(Relocation(slot, "kfunc", _name(vmlinux(), imm)))
    return tuple(out)


def _fields(code: bytes, slot: int) -> tuple[int, int]:
    at = 8 * slot
    return int.from_bytes(code[at + 2 : at + 4], "little"), int.from_bytes(code[at + 4 : at + 8], "little")


def _name(btf: Btf, type_id: int) -> str:
    return btf.name(type_id)


def _btf_of_maps(program: Program) -> Btf | None:
    """The types of the maps, for a program that came without its own."""
    from bpflens.kernel.btf import btf_by_id

    ids = [m.fields["btf_id"] for m in program.maps if m.fields.get("btf_id")]
    try:
        return btf_by_id(ids[0]) if ids else None
    except BpflensError:
        return None


def _own_types(m: Map, original: Original, btf: Btf | None) -> Map:
    """A map whose types are not those of the object that is written has no types there."""
    from bpflens.kernel.btf import btf_by_id

    of_map = m.fields.get("btf_id")
    if of_map and (of_map == original.image.btf_id or (btf is not None and btf is btf_by_id(of_map))):
        return m
    return replace(m, key_type_id=0, value_type_id=0)


def _with_maps(program: Program) -> Program:
    """Maps with a name of their own, as they were created."""
    maps: list[Map] = []
    names: set[str] = set()
    for m in program.maps:
        name = m.name or f"map_{m.id}"
        name = f"{name}_{m.id}" if name in names else name
        names.add(name)
        maps.append(_as_created(replace(m, name=name)))
    return replace(program, maps=tuple(maps))


def _as_created(m: Map) -> Map:
    """A map of the kernel with what its maker gave it: data with their contents, which the verifier and the program depend on, maps of maps
    with their inner map, and without the flags that the kernel adds and refuses from users.
    """
    from bpflens.errors import KernelError
    from bpflens.kernel.maps.inner_maps import inner_map
    from bpflens.kernel.maps.map_data import lookup
    from bpflens.kernel.maps.maps import open_map

    if m.data is None and m.type == 2 and m.max_entries == 1 and m.id is not None:
        try:
            with open_map(m.id) as fd:
                m = replace(m, data=lookup(fd, bytes(4)))
        except KernelError:
            pass
    if m.type in (_ARRAY_OF_MAPS, _HASH_OF_MAPS) and m.id is not None and (inner := inner_map(m.id)) is not None:
        m = replace(m, fields={**m.fields, "inner": inner})
    return replace(m, flags=m.flags & ~_RDONLY_PROG) if m.type in _KERNEL_FLAGS else m


def _as_data(program: Program) -> Program:
    """Arrays of one element whose values alone the code refers to, as sections of data: libbpf refers to values of no other maps."""
    by_value: set[int] = set()
    by_map: set[int] = set()
    for at in range(0, len(program.code), 8):
        if program.code[at] == op.LD_IMM64:
            source, id = program.code[at + 1] >> 4, int.from_bytes(program.code[at + 4 : at + 8], "little")
            if source in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE):
                (by_map if source == op.PSEUDO_MAP_FD else by_value).add(id)
    maps = tuple(
        replace(m, name=f"{'.rodata' if m.flags & _RDONLY_PROG else '.data'}.{m.name.replace('.', '_')}")
        if m.id in by_value - by_map and m.type == 2 and m.max_entries == 1 and data_section(m.name) is None
        else m
        for m in program.maps
    )
    return replace(program, maps=maps)
