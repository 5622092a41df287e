"""A loaded program as a record of the manifest: its original with the proof, its image, and every load attribute."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SavedProgram, SavedSymbol, SavedTarget
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.kernel.programs.prog_info import LINE_INFO, ProgDump, open_prog, prog_dump
from bpflens.snapshot.taking.holders import Keepers

if TYPE_CHECKING:
    from bpflens.kernel.programs.load_attributes import Attributes
    from bpflens.original.result import Original
    from bpflens.snapshot.taking.btfs import Btfs

__all__ = ("read_program",)


def read_program(
    id: int, writer: ArchiveWriter, btfs: Btfs, keep: Keepers, *, jited: bool = False, reload: bool = True, originals: bool = True
) -> SavedProgram:
    """Program `id` with its code in the archive. NotFound where it is gone, NotPermitted where its instructions may not be read.

    `originals`: also the instructions that were loaded; without them nothing can be restored, but everything else compared.
    """
    from bpflens.kernel.programs.load_attributes import read_attributes

    with open_prog(id) as fd:
        dump = prog_dump(fd, f"id:{id}", jited=jited)
        attributes = read_attributes(id)
        original = _recovered(id, reload) if originals else None
    if attributes is None and original is not None:
        attributes = original.attributes
    saved = _facts(dump, attributes, writer, btfs, keep)
    return saved if original is None else _with_original(saved, original, writer)


def _recovered(id: int, reload: bool) -> Original:
    from bpflens.original.recover import recover

    return recover(id, reload=reload)


def _facts(dump: ProgDump, attributes: Attributes | None, writer: ArchiveWriter, btfs: Btfs, keep: Keepers) -> SavedProgram:
    """What the kernel itself shows."""
    info = dump.info
    where = f"programs/{info.id}"
    return SavedProgram(
        id=info.id,
        name=info.name,
        type=info.type,
        type_name=type_name(PROG_TYPES, info.type),
        tag=info.tag,
        grade="unproven",
        reason="its original was not asked for",
        insns=0,
        xlated=writer.add(f"{where}/xlated.bin", dump.xlated) if dump.xlated else None,
        jited=writer.add(f"{where}/jited.bin", dump.jited) if dump.jited else None,
        license="GPL" if info.gpl_compatible else "Proprietary",
        expected_attach_type=attributes.expected_attach_type if attributes else None,
        flags=attributes.flags if attributes else None,
        ifindex=info.ifindex,
        target=_target(dump, attributes),
        btf=btfs.add(info.btf_id) if info.btf_id else 0,
        maps=dump.map_ids,
        verified_insns=info.verified_insns,
        run_cnt=info.run_cnt,
        run_time_ns=info.run_time_ns,
        load_time=info.load_time,
        uid=info.uid,
        pins=keep.pins.get(("prog", info.id), ()),
        holders=keep.holders.get(("prog", info.id), ()),
    )


def _with_original(saved: SavedProgram, original: Original, writer: ArchiveWriter) -> SavedProgram:
    """With the instructions that were loaded, and what stands in their terms."""
    where = f"programs/{saved.id}"
    references = _references(original)
    code = original.code
    usable = bool(code) and original.grade != "unproven"
    return replace(
        saved,
        full_name=_full_name(original, saved.name, saved.btf),
        tag_algorithm=original.algorithm,
        grade=str(original.grade),
        reason=original.reason,
        insns=len(code) // 8,
        original=writer.add(f"{where}/original.bin", code) if code else None,
        line_info=writer.add(f"{where}/line_info.bin", _lines(original)) if original.line_info else None,
        func_info=tuple(original.func_info),
        bound=tuple(id for id in saved.maps if id not in {map for _, map in references}) if usable else (),
        references=references,
        symbols=_symbols(original),
    )


def _lines(original: Original) -> bytes:
    return b"".join(LINE_INFO.pack(*record) for record in original.line_info)


def _full_name(original: Original, name: str, btf_id: int) -> str:
    """The name of the program's function from BTF: the kernel keeps 15 characters of a program's."""
    if not original.func_info or not btf_id:
        return name
    from bpflens.kernel.btf import btf_by_id

    try:
        full = btf_by_id(btf_id).name(original.func_info[0][1])
    except BpflensError:
        return name
    return full if full.startswith(name) else name


def _references(original: Original) -> tuple[tuple[int, int], ...]:
    """(slot, map id) of every reference to a map, by descriptor or by index."""
    words = original.layout.words if original.layout is not None else []
    found = []
    wide = False
    for slot, word in enumerate(words):
        if wide:
            wide = False
            continue
        if word & 0xFF == op.LD_IMM64:
            wide = True
            if word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX, op.PSEUDO_MAP_IDX_VALUE):
                found.append((slot, word >> 32))
    return tuple(found)


def _symbols(original: Original) -> tuple[SavedSymbol, ...]:
    """The kernel functions and variables that the original refers to by BTF id: ids differ between kernels, names do not."""
    code = original.code
    found = []
    wide = False
    for slot in range(len(code) // 8):
        opcode, registers, off, imm = struct.unpack_from("<BBHI", code, 8 * slot)
        if wide:
            wide = False
            continue
        wide = opcode == op.LD_IMM64
        kfunc = opcode == op.CALL_CODE and registers >> 4 == op.PSEUDO_KFUNC_CALL
        if not kfunc and not (wide and registers >> 4 == op.PSEUDO_BTF_ID):
            continue
        name, module = _name_of(imm, bool(kfunc and off), struct.unpack_from("<I", code, 8 * slot + 12)[0] if wide else 0)
        if name:
            found.append(SavedSymbol(slot, "kfunc" if kfunc else "ksym", name, module))
    return tuple(found)


def _name_of(type_id: int, in_module: bool, module_fd: int) -> tuple[str, str]:
    from bpflens.kernel.btf import btf_by_id, btf_ids, btf_info, vmlinux

    try:
        if not in_module and not module_fd:
            return vmlinux().name(type_id), ""
        for id in btf_ids():
            info = btf_info(id)
            if info.kernel and info.name != "vmlinux":
                btf = btf_by_id(id)
                if btf.first_id <= type_id < len(btf) and btf.name(type_id):
                    return btf.name(type_id), info.name
    except BpflensError:
        pass
    return "", ""


def _target(dump: ProgDump, attributes: Attributes | None) -> SavedTarget | None:
    """What it was verified against, by name."""
    from bpflens.kernel.btf import btf_by_id, btf_info

    type_id = (attributes.attach_btf_id if attributes else 0) or dump.info.attach_btf_id or 0
    if not type_id:
        return None
    program = attributes.target_prog_id if attributes else 0
    obj_id = dump.info.attach_btf_obj_id or 0
    try:
        info = btf_info(obj_id) if obj_id else None
        name = btf_by_id(obj_id).name(type_id) if obj_id else ""
    except KernelError:
        return SavedTarget(f"type {type_id}", "", program or None)
    return SavedTarget(name, info.name if info is not None and info.kernel else "", program or None)
