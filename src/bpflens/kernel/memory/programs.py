"""The reader's programs, as assembler text with offsets filled in from BTF.

Iterators walk typed pointers (PTR_TO_BTF_ID), which the verifier allows on a kernel that is locked down for confidentiality too; a bad
pointer reads as zero. READ copies kernel memory into a mapped array by bpf_probe_read_kernel, which such a kernel refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from bpflens.lean import NamedTuple

__all__ = ("FILE", "READ_BYTES", "FileRecord", "files", "pointers", "read_program", "tasks")

READ_BYTES = 32768
_SEQ_WRITE, _SOCK_FROM_FILE, _PROBE_READ_KERNEL = 127, 162, 113
Offset = Callable[[str, str], int]

FILE = struct.Struct("<IIIIQQQQQQIIHHIII")


class FileRecord(NamedTuple):
    """A descriptor. `private` is struct file.private_data; the rest is of the socket, zero for other files.

    `filter` and `reuseport` are struct bpf_prog pointers, `*_id` their ids (0 for classic programs), `netns` the inode.
    """

    pid: int
    tid: int
    fd: int
    family: int
    inode: int
    private: int
    operations: int
    sock: int
    filter: int
    reuseport: int
    filter_id: int
    reuseport_id: int
    type: int
    protocol: int
    netns: int
    filter_insns: int
    reuseport_insns: int


def read_program(map_fd: int, assembled: Callable[[str], bytes]) -> bytes:
    """BPF_PROG_TYPE_SYSCALL: context {u64 address, u64 length}; the bytes end up in the map's value; returns 0 or -EFAULT."""
    head = assembled("r3 = *(u64 *)(r1 + 0)\nr2 = *(u64 *)(r1 + 8)\nr2 &= 32767")
    value = struct.pack("<BBhi", 0x18, 2 << 4 | 1, 0, map_fd) + bytes(8)  # r1 = address of the value (BPF_PSEUDO_MAP_VALUE)
    return head + value + assembled(f"call {_PROBE_READ_KERNEL}\nexit")


def _write(size: int, context: str, offset: Offset) -> str:
    """Hand the record at the stack's top to the reader of the iterator."""
    return f"""
        r1 = *(u64 *)(r6 + {offset(context, "meta")})
        r1 = *(u64 *)(r1 + {offset("bpf_iter_meta", "seq")})
        r2 = r10
        r2 += -{size}
        r3 = {size}
        call {_SEQ_WRITE}
    out:
        r0 = 0
        exit
    """


def files(offset: Offset) -> str:
    """bpf_iter_task_file: a FileRecord for every descriptor of every task."""
    at = dict(zip(FileRecord._fields, (0, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 68, 72, 74, 76, 80, 84), strict=True))
    size = FILE.size
    slot = {name: value - size for name, value in at.items()}
    context = "bpf_iter__task_file"

    def program(pointer: str, insns: str, id: str) -> str:
        return f"""
        *(u64 *)(r10 + {slot[pointer]}) = r1
        r2 = *(u32 *)(r1 + {offset("bpf_prog", "len")})
        *(u32 *)(r10 + {slot[insns]}) = r2
        r1 = *(u64 *)(r1 + {offset("bpf_prog", "aux")})
        r1 = *(u32 *)(r1 + {offset("bpf_prog_aux", "id")})
        *(u32 *)(r10 + {slot[id]}) = r1
        """

    zero = "\n".join(f"*(u64 *)(r10 + {place}) = r1" for place in range(-size, 0, 8))
    return f"""
        r6 = r1
        r7 = *(u64 *)(r6 + {offset(context, "file")})
        if r7 == 0 goto out
        r8 = *(u64 *)(r6 + {offset(context, "task")})
        if r8 == 0 goto out
        r1 = 0
        {zero}
        r1 = *(u32 *)(r8 + {offset("task_struct", "tgid")})
        *(u32 *)(r10 + {slot["pid"]}) = r1
        r1 = *(u32 *)(r8 + {offset("task_struct", "pid")})
        *(u32 *)(r10 + {slot["tid"]}) = r1
        r1 = *(u32 *)(r6 + {offset(context, "fd")})
        *(u32 *)(r10 + {slot["fd"]}) = r1
        r1 = *(u64 *)(r7 + {offset("file", "f_inode")})
        r1 = *(u64 *)(r1 + {offset("inode", "i_ino")})
        *(u64 *)(r10 + {slot["inode"]}) = r1
        r1 = *(u64 *)(r7 + {offset("file", "private_data")})
        *(u64 *)(r10 + {slot["private"]}) = r1
        r1 = *(u64 *)(r7 + {offset("file", "f_op")})
        *(u64 *)(r10 + {slot["operations"]}) = r1
        r1 = r7
        call {_SOCK_FROM_FILE}
        if r0 == 0 goto write
        r1 = *(u16 *)(r0 + {offset("socket", "type")})
        *(u16 *)(r10 + {slot["type"]}) = r1
        r7 = *(u64 *)(r0 + {offset("socket", "sk")})
        *(u64 *)(r10 + {slot["sock"]}) = r7
        if r7 == 0 goto write
        r1 = *(u16 *)(r7 + {offset("sock", "__sk_common.skc_family")})
        *(u32 *)(r10 + {slot["family"]}) = r1
        r1 = *(u16 *)(r7 + {offset("sock", "sk_protocol")})
        *(u16 *)(r10 + {slot["protocol"]}) = r1
        r1 = *(u64 *)(r7 + {offset("sock", "__sk_common.skc_net.net")})
        r1 = *(u32 *)(r1 + {offset("net", "ns.inum")})
        *(u32 *)(r10 + {slot["netns"]}) = r1
        r1 = *(u64 *)(r7 + {offset("sock", "sk_filter")})
        if r1 == 0 goto group
        r1 = *(u64 *)(r1 + {offset("sk_filter", "prog")})
        {program("filter", "filter_insns", "filter_id")}
    group:
        r1 = *(u64 *)(r7 + {offset("sock", "sk_reuseport_cb")})
        if r1 == 0 goto write
        r1 = *(u64 *)(r1 + {offset("sock_reuseport", "prog")})
        if r1 == 0 goto write
        {program("reuseport", "reuseport_insns", "reuseport_id")}
    write:
        {_write(size, context, offset)}
    """


def tasks(offset: Offset) -> str:
    """bpf_iter_task: struct task_struct pointer, tgid, pid, the seccomp filter's pointer of every task (24 bytes)."""
    context = "bpf_iter__task"
    return f"""
        r6 = r1
        r7 = *(u64 *)(r6 + {offset(context, "task")})
        if r7 == 0 goto out
        *(u64 *)(r10 - 24) = r7
        r1 = *(u32 *)(r7 + {offset("task_struct", "tgid")})
        *(u32 *)(r10 - 16) = r1
        r1 = *(u32 *)(r7 + {offset("task_struct", "pid")})
        *(u32 *)(r10 - 12) = r1
        r1 = *(u64 *)(r7 + {offset("task_struct", "seccomp.filter")})
        *(u64 *)(r10 - 8) = r1
        {_write(24, context, offset)}
    """


def pointers(context: str, field: str, offset: Offset) -> str:
    """Any iterator whose context has one pointer: the pointer, 8 bytes each."""
    return f"""
        r6 = r1
        r1 = *(u64 *)(r6 + {offset(context, field)})
        if r1 == 0 goto out
        *(u64 *)(r10 - 8) = r1
        {_write(8, context, offset)}
    """
