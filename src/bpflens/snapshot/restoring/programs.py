"""Programs made again from their originals: references to maps, kernel functions and variables bound to this kernel, then loaded."""

from __future__ import annotations

import errno
import struct

from bpflens.errors import BpflensError, InputError, KernelError
from bpflens.formats.snapshot.manifest import SavedProgram
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.uapi import AttachType, ProgType
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import LINE_INFO
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.maps import module_btf_fd

__all__ = ("bind", "load")

_CODE_LIMIT = 8 << 20


def load(maker: Maker, program: SavedProgram) -> None:
    """BPF_PROG_LOAD with everything that the original was loaded with. KernelError with the verifier's words where it refuses.

    Source lines are left out where the kernel refuses them: they have no effect, and the note says so.
    """
    where = f"program {program.id} {program.name}".rstrip()
    code, fd_array = _bound(maker, program, where)
    btf_fd = maker.types.get(program.btf, 0) if program.btf else 0
    attach_btf_id, attach_fd = _target(maker, program, where)
    lines = _lines(maker, program) if btf_fd else b""
    func_info = [(record[0], record[1]) for record in program.func_info if len(record) == 2] if btf_fd else []
    for line_info in dict.fromkeys((lines, b"")):
        try:
            fd = load_program(
                code, program.type, license=program.license, name=program.name,
                expected_attach_type=program.expected_attach_type or 0, flags=program.flags or 0, btf_fd=btf_fd,
                func_info=func_info, line_info=line_info, attach_btf_id=attach_btf_id, attach_fd=attach_fd, fd_array=fd_array,
            )  # fmt: skip
        except KernelError as error:
            if line_info and error.errno == errno.EINVAL and "line_info" in error.log:
                maker.notes.append(f"{where}: this kernel refuses its source lines; it is loaded without")
                continue
            refused = KernelError(where, error.reason, error.hint, error.errno)
            refused.log = error.log
            raise refused from None
        maker.programs[program.id] = maker.own(fd)
        return


def bind(maker: Maker, program: SavedProgram, map_id: int) -> None:
    """BPF_PROG_BIND_MAP."""
    from bpflens.kernel.attachments.attach import bind_map

    bind_map(maker.programs[program.id], maker.maps[map_id], f"program {program.id} {program.name}")


def _bound(maker: Maker, program: SavedProgram, where: str) -> tuple[bytes, list[int]]:
    """The instructions with descriptors and this kernel's ids, and the descriptors that they refer to by index."""
    if program.original is None:
        raise InputError(where, "has no original")
    code = bytearray(maker.archive.read(program.original, _CODE_LIMIT))
    if len(code) % 8 or not code:
        raise InputError(where, f"its original has {len(code)} bytes, no whole number of instructions")
    by_index: dict[int, int] = {}
    for record in program.references:
        if len(record) != 2 or not 0 <= record[0] < len(code) // 8 - 1 or code[8 * record[0]] != op.LD_IMM64:
            raise InputError(where, "a reference to a map does not stand where the manifest says")
        slot, map_id = record
        if map_id not in maker.maps:
            raise InputError(where, f"it refers to map {map_id}, which the snapshot does not have")
        source = code[8 * slot + 1] >> 4
        if source in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE):
            struct.pack_into("<i", code, 8 * slot + 4, maker.maps[map_id])
        elif source in (op.PSEUDO_MAP_IDX, op.PSEUDO_MAP_IDX_VALUE):
            by_index[struct.unpack_from("<I", code, 8 * slot + 4)[0]] = maker.maps[map_id]
    for symbol in program.symbols:
        if not 0 <= symbol.slot < len(code) // 8:
            raise InputError(where, "a symbol does not stand where the manifest says")
        type_id = _kernel_id(symbol.name, symbol.kind, symbol.module, where)
        struct.pack_into("<i", code, 8 * symbol.slot + 4, type_id)
        if symbol.module:
            fd = module_btf_fd(maker, symbol.module)
            if symbol.kind == "kfunc":
                by_index[struct.unpack_from("<H", code, 8 * symbol.slot + 2)[0]] = fd
            elif 8 * symbol.slot + 16 <= len(code):
                struct.pack_into("<i", code, 8 * symbol.slot + 12, fd)
    if by_index and max(by_index) > 1 << 16:
        raise InputError(where, "refers to a descriptor by an index that none has")
    fd_array = [by_index.get(index, next(iter(by_index.values()))) for index in range(max(by_index) + 1)] if by_index else []
    return bytes(code), fd_array


def _kernel_id(name: str, kind: str, module: str, where: str) -> int:
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import module as module_btf
    from bpflens.kernel.btf import vmlinux

    btf = module_btf(module) if module else vmlinux()
    id = btf.find(name, Kind.FUNC if kind == "kfunc" else Kind.VAR)
    if id is None:
        word = "function" if kind == "kfunc" else "variable"
        raise KernelError(where, f"this kernel has no {word} {name} for programs", errno=errno.EOPNOTSUPP)
    return id


def _lines(maker: Maker, program: SavedProgram) -> bytes:
    if program.line_info is None:
        return b""
    raw = maker.archive.read(program.line_info, _CODE_LIMIT)
    return raw[: len(raw) // LINE_INFO.size * LINE_INFO.size]


def _target(maker: Maker, program: SavedProgram, where: str) -> tuple[int, int]:
    """(attach_btf_id, attach_prog_fd or attach_btf_obj_fd) of what the program is loaded for."""
    from bpflens.btf.btf import Btf, Kind
    from bpflens.kernel.btf import module, vmlinux

    target = program.target
    if target is None:
        return 0, 0
    fd = 0
    if target.program is not None:
        saved = maker.saved_programs.get(target.program)
        if saved is None or target.program not in maker.programs:
            raise KernelError(where, f"the program {target.program} that it was loaded for is not restored")
        fd = maker.programs[target.program]
        member = next((btf.member for btf in maker.manifest.btfs if btf.id == saved.btf), None)
        if member is None:
            raise KernelError(where, "the program that it was loaded for has no types")
        btf = Btf.parse(maker.archive.read(member), where=where)
    elif target.btf in ("vmlinux", ""):
        btf = vmlinux()
    else:
        btf = module(target.btf)
        fd = module_btf_fd(maker, target.btf)
    kind = Kind.FUNC
    if program.type == ProgType.STRUCT_OPS:
        kind = Kind.STRUCT
    elif program.type == ProgType.TRACING and program.expected_attach_type == AttachType.TRACE_RAW_TP:
        kind = Kind.TYPEDEF
    try:
        id = btf.find(target.name, kind)
    except BpflensError as error:
        raise KernelError(where, str(error)) from None
    if id is None:
        raise KernelError(where, f"this kernel has no {target.name}, which it was loaded for", errno=errno.EOPNOTSUPP)
    return id, fd
