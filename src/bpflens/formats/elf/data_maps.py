"""A program of the running kernel made ready for `write_object`: relocations in place of map ids."""

from __future__ import annotations

import struct

from bpflens.errors import InputError
from bpflens.formats.elf.maps import is_data_name
from bpflens.isa.extended.opcodes import CALL_CODE, LD_IMM64, PSEUDO_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from bpflens.lean import replace
from bpflens.program import Program, Relocation

__all__ = ("data_section", "from_live")



def from_live(program: Program, section: str | None = None) -> Program:
    """A program of the running kernel with relocations in place of map ids, ready for `write_object`.

    Map loads in the dump of a loaded program have the map's id (kernel/bpf/syscall.c, bpf_insn_prepare_dump): each becomes a relocation to
    the map of that id in `program.maps`; values of global data ("opensnoo.rodata") become data of that section. InputError where a map is
    not among them. Calls of subprograms get their distance back, which the JIT's dump has in `off` (verifier.c, jit_subprogs).
    """
    maps = {map.id: map for map in program.maps}
    code = bytearray(program.code)
    relocations: list[Relocation] = []
    slot = 0
    while slot < program.insn_count:
        at = 8 * slot
        source = code[at + 1] >> 4
        if code[at] == LD_IMM64 and source in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
            id, offset = struct.unpack_from("<I", code, at + 4)[0], struct.unpack_from("<I", code, at + 12)[0]
            if id not in maps:
                raise InputError(program.origin.where, f"the instruction at {slot} refers to map {id}, which is not known")
            name = data_section(maps[id].name)
            if source == PSEUDO_MAP_VALUE:
                relocations.append(Relocation(slot, "data", name or maps[id].name, offset, section=name or maps[id].name))
            else:
                relocations.append(Relocation(slot, "map", name or maps[id].name))
        elif code[at] == CALL_CODE and source == PSEUDO_CALL:
            (distance,) = struct.unpack_from("<h", code, at + 2)
            if distance:
                struct.pack_into("<hi", code, at + 2, 0, distance)
        slot += 2 if code[at] == LD_IMM64 else 1
    relocations += [r for r in program.relocations if r.kind not in ("map", "data")]
    renamed = tuple(replace(map, name=data_section(map.name) or map.name) for map in program.maps)
    relocations.sort(key=lambda r: r.off_insns)
    declared = replace(program.declared, section=section or program.section)
    return replace(program, code=bytes(code), declared=declared, relocations=tuple(relocations), maps=renamed)


def data_section(map_name: str) -> str | None:
    """The section that a map of global data was made from: "opensnoo.rodata" -> ".rodata"; None for other maps.

    The variables of .kconfig are constants once loaded, so they are written as read-only data.
    """
    stem, dot, rest = map_name.partition(".")
    section = dot + rest
    if section == ".kconfig":
        return ".rodata.kconfig"
    return section if dot and stem and is_data_name(section) else None
