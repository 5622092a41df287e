"""Programs of a snapshot as `Program` values, without any kernel: what every reading verb takes.

    x.bpfsnap           all programs, as they were loaded       x.bpfsnap#12            the program whose id was 12
    x.bpfsnap#xdp_main  those of this name                      x.bpfsnap#map:counters  those that use this map (name or id)
    x.bpfsnap#12/xlated the image instead, as the kernel rewrote it

Ids of programs and maps are those of the machine that was saved: they stand in names and texts, never in `Program.id` or `Map.id`, which
mean objects of this machine. Map references are relocations, as in an object file.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from bpflens.errors import BpflensError, InputError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedAttachment, SavedHolder, SavedMap, SavedProgram
from bpflens.isa.extended.opcodes import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_IDX_VALUE, PSEUDO_MAP_VALUE
from bpflens.program import Attachment, Declared, Function, Holder, Isa, Map, MapFields, Origin, Program, Relocation, SourceLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpflens.btf.btf import Btf

__all__ = ("maps_of", "read_snapshot", "saved_map", "select_maps", "types_of")

_VALUES = (PSEUDO_MAP_VALUE, PSEUDO_MAP_IDX_VALUE)
_CODE_LIMIT, _BTF_LIMIT, _DATA_LIMIT = 8 << 20, 64 << 20, 64 << 20
_LINE = struct.Struct("=IIII")


def read_snapshot(path: str, part: str = "") -> list[Program]:
    """The programs that `part` names, at least one; InputError where there is none, or where the file is damaged."""
    with Archive(path) as archive:
        name, _, form = part.rpartition("/") if part.endswith(("/xlated", "/original")) else (part, "", "")
        wanted = _select(archive, name)
        return [_program(archive, program, xlated=form == "xlated") for program in wanted] + (
            _classic(archive) if not part else []
        )  # fmt: skip


def _select(archive: Archive, part: str) -> list[SavedProgram]:
    programs = archive.manifest.programs
    if not part:
        if not programs and not any(item.classic for item in archive.manifest.attachments):
            raise InputError(archive.path, "has no programs", "its maps: bpflens export")
        return list(programs)
    if part.startswith("map:"):
        ids = {map.id for map in select_maps(archive, part[4:])}
        found = [program for program in programs if ids & {*program.maps, *(id for _, id in program.references)}]
        if not found:
            raise InputError(f"{archive.path}#{part}", "no program of the snapshot uses this map", "its contents: bpflens export")
        return found
    found = [program for program in programs if part in (str(program.id), f"id:{program.id}")]
    found = found or [program for program in programs if part in (program.name, program.full_name, f"name:{part}", program.tag)]
    if not found:
        names = ", ".join(f"{program.id} {program.name}".rstrip() for program in programs[:12])
        raise InputError(f"{archive.path}#{part}", f"no such program; the snapshot has {names or 'none'}")
    return found


def select_maps(archive: Archive, name: str) -> list[SavedMap]:
    """The maps of this id or name; InputError where there is none."""
    maps = archive.manifest.maps
    found = [map for map in maps if name == str(map.id)] or [map for map in maps if map.name == name[:15]]
    if not found:
        names = ", ".join(f"{map.id} {map.name}".rstrip() for map in maps[:12])
        raise InputError(f"{archive.path}#map:{name}", f"no such map; the snapshot has {names or 'none'}")
    return found


def types_of(archive: Archive, btf_id: int) -> Btf | None:
    """Saved type information; None where there is none, or where it is damaged."""
    from bpflens.btf.btf import Btf

    member = next((btf.member for btf in archive.manifest.btfs if btf.id == btf_id), None) if btf_id else None
    if member is None:
        return None
    return Btf.parse(archive.read(member, _BTF_LIMIT), where=f"{archive.path}: {member}")


def saved_map(archive: Archive, map: SavedMap, btf: Btf | None) -> Map:
    """The map as a value. Global data has its contents; other maps' are read by `bpflens export`."""
    key = value = None
    datasec: dict[int, tuple[str, int, str]] = {}
    if btf is not None:
        from bpflens.btf.btf import Kind
        from bpflens.btf.c_text import declaration

        try:
            if map.key_type_id:
                key = " ".join(declaration(btf, map.key_type_id).split())
            if map.value_type_id and btf.kind(map.value_type_id) is Kind.DATASEC:
                for variable in btf.variables(map.value_type_id):
                    text = " ".join(declaration(btf, btf.type(variable.type_id).ref).split())
                    datasec[variable.byte_off] = (btf.name(variable.type_id), variable.size, text)
            elif map.value_type_id:
                value = " ".join(declaration(btf, map.value_type_id).split())
        except BpflensError:
            pass
    data = None
    if map.data is not None and map.type == 2 and map.max_entries == 1 and map.data.layout == "values":
        data = archive.read(map.data.member, _DATA_LIMIT)[: map.value_size]
    fields: MapFields = {"map_extra": map.map_extra, "frozen": map.frozen, "saved_id": map.id}
    if map.pins:
        fields["pins"] = [pin.path for pin in map.pins]
    return Map(
        name=map.name or f"map_{map.id}", type=map.type, key_size=map.key_size, value_size=map.value_size, max_entries=map.max_entries,
        flags=map.flags, key=key, value=value, key_type_id=map.key_type_id, value_type_id=map.value_type_id, data=data, datasec=datasec,
        fields=fields,
    )  # fmt: skip


def maps_of(archive: Archive, program: SavedProgram, btf: Btf | None) -> dict[int, Map]:
    """Saved id -> map, names made distinct, for the maps of a program."""
    found: dict[int, Map] = {}
    names: set[str] = set()
    by_id = {map.id: map for map in archive.manifest.maps}
    for id in dict.fromkeys((*program.maps, *(id for _, id in program.references))):
        if id not in by_id:
            continue
        map = by_id[id]
        types = btf if map.btf == program.btf else types_of(archive, map.btf)
        made = saved_map(archive, map, types)
        if made.name in names:
            made = replace(made, name=f"{made.name}_{id}")
        names.add(made.name)
        found[id] = made
    return found


def _program(archive: Archive, saved: SavedProgram, xlated: bool) -> Program:
    where = f"{archive.path}#{saved.id}"
    member = saved.xlated if xlated or saved.original is None else saved.original
    is_image = member == saved.xlated
    if member is None:
        raise InputError(where, "its instructions were not saved")
    code = archive.read(member, _CODE_LIMIT)
    code = code[: len(code) // 8 * 8]
    btf = types_of(archive, saved.btf)
    maps = maps_of(archive, saved, btf)
    references = list(_image_references(code)) if is_image else [(item[0], item[1]) for item in saved.references if len(item) == 2]
    names = {symbol.slot: symbol.name for symbol in saved.symbols} if not is_image else {}
    note = "the image that the kernel's verifier made" if is_image else f"{saved.grade}: {saved.reason}"
    return Program(
        isa=Isa.EXTENDED,
        code=code,
        origin=Origin("snapshot", where, note=note, arch=archive.manifest.kernel.machine),
        name=saved.full_name or saved.name,
        type=saved.type,
        expected_attach_type=saved.expected_attach_type or None,
        xlated=is_image,
        tag=saved.tag,
        maps=tuple(maps.values()),
        functions=_functions(saved, btf) if not is_image else (Function(0, saved.full_name or saved.name),),
        lines=_lines(archive, saved, btf) if not is_image else (),
        relocations=tuple(_relocations(code, references, maps)),
        symbols=names,
        btf=btf,
        declared=Declared(license=saved.license),
        attachments=tuple(_attachment(item) for item in archive.manifest.attachments if item.program == saved.id),
        holders=tuple(_holder(holder) for holder in saved.holders),
    )


def _image_references(code: bytes) -> list[tuple[int, int]]:
    found = []
    slot = 0
    while slot < len(code) // 8:
        wide = code[8 * slot] == LD_IMM64
        if wide and code[8 * slot + 1] >> 4 in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
            found.append((slot, struct.unpack_from("<I", code, 8 * slot + 4)[0]))
        slot += 2 if wide else 1
    return found


def _relocations(code: bytes, references: Sequence[tuple[int, int]], maps: dict[int, Map]) -> list[Relocation]:
    found = []
    for slot, id in references:
        map = maps.get(id)
        if map is None or not 0 <= slot < len(code) // 8 - 1:
            continue
        if code[8 * slot + 1] >> 4 in _VALUES:
            offset = struct.unpack_from("<I", code, 8 * slot + 12)[0]
            found.append(Relocation(slot, "data", map.name, offset, section=map.name))
        else:
            found.append(Relocation(slot, "map", map.name))
    return sorted(found, key=lambda relocation: relocation.off_insns)


def _functions(saved: SavedProgram, btf: Btf | None) -> tuple[Function, ...]:
    if btf is None:
        return (Function(0, saved.name),) if saved.name else ()
    from bpflens.btf.c_text import declaration

    found = []
    for record in saved.func_info:
        if len(record) != 2:
            continue
        try:
            found.append(Function(record[0], btf.name(record[1]), declaration(btf, record[1]), record[1]))
        except BpflensError:
            continue
    return tuple(found)


def _lines(archive: Archive, saved: SavedProgram, btf: Btf | None) -> tuple[SourceLine, ...]:
    if btf is None or saved.line_info is None:
        return ()
    raw = archive.read(saved.line_info, _CODE_LIMIT)
    try:
        return tuple(
            SourceLine(at, btf.string(file), line_col >> 10, line_col & 0x3FF, btf.string(text))
            for at, file, text, line_col in _LINE.iter_unpack(raw[: len(raw) // _LINE.size * _LINE.size])
        )
    except BpflensError:
        return ()


def _attachment(saved: SavedAttachment) -> Attachment:
    holders = tuple(_holder(item) for item in saved.holders)
    return Attachment(saved.kind, saved.object, saved.netns, saved.netns_name, holders, saved.details)


def _holder(saved: SavedHolder) -> Holder:
    return Holder(saved.pid, saved.comm, saved.fd)


def _classic(archive: Archive) -> list[Program]:
    """Classic filters that were saved with their sockets, processes and classifiers."""
    found = []
    for item in archive.manifest.attachments:
        if item.classic is None:
            continue
        code = archive.read(item.classic, 1 << 20)
        details = item.details
        given = tuple(str(word) for word in details.get("given", ()) or ())
        linktype = details.get("linktype")
        origin = Origin(
            item.kind, f"{archive.path}#{item.object}", linktype=linktype if isinstance(linktype, str) else None, given=given,
            note=str(details["starts_at"]) if "starts_at" in details else None, arch=details.get("arch"),
        )  # fmt: skip
        found.append(Program(Isa.CLASSIC, code[: len(code) // 8 * 8], origin, attachments=(_attachment(item),)))
    return found
