"""BPF_PROG_QUERY: the programs of an attach type on a cgroup, namespace, device, map or LIRC device (Linux 4.15)."""

from __future__ import annotations

import ctypes
import struct

from bpflens.errors import errno_text
from bpflens.kernel.sys.bpf import call_number, cmd
from bpflens.kernel.sys.syscalls import libc
from bpflens.lean import NamedTuple

__all__ = ("EFFECTIVE", "Answer", "query")

EFFECTIVE = 1  # BPF_F_QUERY_EFFECTIVE
_LAYOUT = struct.Struct("<IIIIQIIQQQQ")
_COUNT = struct.Struct("<I")


class Answer(NamedTuple):
    """`flags` of the whole hook (cgroup: 1 override, 2 multi), `ids` in the order in which they run, `links` only for tcx and netkit."""

    ids: tuple[int, ...]
    flags: int
    links: tuple[int, ...] = ()


_NONE = Answer((), 0)
_CAPACITY = 64


def query(target: int, attach_type: int, flags: int = 0, links: bool = False) -> Answer:
    """The programs at a hook; OSError where the kernel refuses (PermissionError: CAP_NET_ADMIN; EINVAL: no such hook)."""
    capacity, number = _CAPACITY, call_number()
    attr = ctypes.create_string_buffer(_LAYOUT.size)
    while True:
        _LAYOUT.pack_into(attr, 0, target, attach_type, flags, 0, 0, 0, 0, 0, 0, 0, 0)
        if libc.syscall(number, cmd.PROG_QUERY, attr, _LAYOUT.size) < 0:  # count only: most hooks are empty
            errno = ctypes.get_errno()
            raise OSError(errno, errno_text(errno))
        count = _COUNT.unpack_from(attr, 24)[0]
        if not count:
            return _NONE
        capacity = max(capacity, count + 8)
        ids = (ctypes.c_uint32 * capacity)()
        link_ids = (ctypes.c_uint32 * capacity)() if links else None
        links_at = ctypes.addressof(link_ids) if link_ids is not None else 0
        _LAYOUT.pack_into(attr, 0, target, attach_type, flags, 0, ctypes.addressof(ids), capacity, 0, 0, links_at, 0, 0)
        if libc.syscall(number, cmd.PROG_QUERY, attr, _LAYOUT.size) < 0:
            errno = ctypes.get_errno()
            if errno == 28:  # ENOSPC: more came meanwhile
                capacity *= 2
                continue
            raise OSError(errno, errno_text(errno))
        values = _LAYOUT.unpack_from(attr)
        count = min(values[5], capacity)
        return Answer(tuple(ids[:count]), values[3], tuple(link_ids[:count]) if link_ids is not None else ())
