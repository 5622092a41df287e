"""The heads of all loaded programs, links and maps: three cheap system calls for each object, one shared attribute.

A machine may have thousands of them, so nothing but the fixed part of the info is read here. An object that vanishes between the
call that names it and the one that opens it is skipped.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from bpflens.attachment import ProgInfo
from bpflens.errors import KernelError, errno_text
from bpflens.kernel.programs.prog_info import INFO_BYTES, parse_prog_info
from bpflens.kernel.sys.bpf import Buffer, call_number, cmd, fd_by_id, info_by_fd
from bpflens.kernel.sys.syscalls import libc
from bpflens.lean import NamedTuple

__all__ = ("LinkHead", "MapHead", "link_heads", "map_heads", "prog_heads", "prog_map_ids")

_ENOENT = 2
_LINK_BYTES, _MAP_BYTES = 64, 80
_MAP = struct.Struct("<IIIIII16sI")


class LinkHead(NamedTuple):
    """struct bpf_link_info: `rest` is the union after id, prog_id (from byte 16)."""

    id: int
    type: int
    prog_id: int
    rest: bytes


class MapHead(NamedTuple):
    """The fixed part of struct bpf_map_info."""

    id: int
    type: int
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int
    name: str
    vmlinux_value_type_id: int


def prog_heads() -> dict[int, ProgInfo]:
    """Every loaded program by id. PermissionError without CAP_SYS_ADMIN."""
    infos = (parse_prog_info(info, length) for info, length in _sweep(cmd.PROG_GET_NEXT_ID, cmd.PROG_GET_FD_BY_ID, INFO_BYTES))
    return {info.id: info for info in infos}


def link_heads() -> dict[int, LinkHead]:
    """Every link by id. PermissionError without CAP_SYS_ADMIN."""
    found = {}
    for info, _ in _sweep(cmd.LINK_GET_NEXT_ID, cmd.LINK_GET_FD_BY_ID, _LINK_BYTES):
        type, id, prog_id = struct.unpack_from("<III", info)
        found[id] = LinkHead(id, type, prog_id, info[16:])
    return found


def map_heads() -> dict[int, MapHead]:
    """Every map by id. PermissionError without CAP_SYS_ADMIN."""
    found = {}
    for info, _ in _sweep(cmd.MAP_GET_NEXT_ID, cmd.MAP_GET_FD_BY_ID, _MAP_BYTES):
        type, id, key, value, entries, flags, name, _ = _MAP.unpack_from(info)
        value_type = int.from_bytes(info[44:48], "little")
        found[id] = MapHead(id, type, key, value, entries, flags, name.rstrip(b"\0").decode(errors="replace"), value_type)
    return found


def prog_map_ids(id: int) -> tuple[int, ...]:
    """The maps of a program, in order of first use; () where it has gone or may not be read."""
    where = f"id:{id}"
    try:
        fd = fd_by_id(cmd.PROG_GET_FD_BY_ID, id, where)
    except KernelError:
        return ()
    try:
        info = Buffer(64)
        info_by_fd(fd, info, where)
        count = struct.unpack_from("<I", info.bytes, 52)[0]
        if not count:
            return ()
        ids = Buffer(4 * count)
        raw = bytearray(64)
        struct.pack_into("<IQ", raw, 52, count, ids.address)
        info_by_fd(fd, Buffer(bytes(raw)), where)
        return tuple(value for value in struct.unpack(f"<{count}I", ids.bytes) if value)
    except KernelError:
        return ()
    finally:
        os.close(fd)


def _sweep(next_command: int, open_command: int, size: int) -> Iterator[tuple[bytes, int]]:
    """(info, number of its bytes that the kernel filled in) of each object."""
    number = call_number()
    syscall = libc.syscall
    attr = ctypes.create_string_buffer(16)
    info = ctypes.create_string_buffer(size)
    info_address = ctypes.addressof(info)
    close = os.close
    pack_next, pack_info = struct.Struct("<IIII").pack_into, struct.Struct("<IIQ").pack_into
    unpack_id = struct.Struct("<I").unpack_from
    id = 0
    while True:
        pack_next(attr, 0, id, 0, 0, 0)
        if syscall(number, next_command, attr, 12) < 0:
            errno = ctypes.get_errno()
            if errno == _ENOENT:
                return
            raise OSError(errno, errno_text(errno))
        id = unpack_id(attr, 4)[0]
        pack_next(attr, 0, id, 0, 0, 0)
        fd = syscall(number, open_command, attr, 12)
        if fd < 0:
            if ctypes.get_errno() == _ENOENT:
                continue
            errno = ctypes.get_errno()
            raise OSError(errno, errno_text(errno))
        try:
            ctypes.memset(info_address, 0, size)
            pack_info(attr, 0, fd, size, info_address)
            if syscall(number, cmd.OBJ_GET_INFO_BY_FD, attr, 16) < 0:
                continue
            raw, length = info.raw, unpack_id(attr, 4)[0]
        finally:
            close(fd)
        yield raw, length
