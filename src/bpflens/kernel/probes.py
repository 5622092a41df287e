"""Probes of what this kernel's bpf(2) can do. Each asks for the thing itself; nothing compares versions and nothing stays loaded.

True: it is there. False: the kernel does not have it, or refuses it to everybody. None: this process may not ask.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended.uapi import AttachType, MapType, ProgType
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from bpflens.kernel.sys.bpf import bpf_errno, cmd

__all__ = ("COMMANDS", "command", "map_type", "prog_type", "reads_kernel_memory", "tracing")

_EPERM, _EBADF, _EINVAL = 1, 9, 22
_NO_FD = 0xFFFF_FFFF
_NO_ID = 0x7FFF_FFFD  # no object has this id: ENOENT from a kernel that knows the command

COMMANDS: Mapping[str, tuple[int, bytes]] = {
    "list programs": (cmd.PROG_GET_NEXT_ID, struct.pack("=I", _NO_ID)),
    "list links": (cmd.LINK_GET_NEXT_ID, struct.pack("=I", _NO_ID)),
    "list BTF": (cmd.BTF_GET_NEXT_ID, struct.pack("=I", _NO_ID)),
    "object info": (cmd.OBJ_GET_INFO_BY_FD, struct.pack("=I", _NO_FD)),
    "query attachments": (cmd.PROG_QUERY, struct.pack("=I", _NO_FD)),
    "query perf events": (cmd.TASK_FD_QUERY, struct.pack("=II", 0, _NO_FD)),
    "read maps in batches": (cmd.MAP_LOOKUP_BATCH, bytes(36) + struct.pack("=I", _NO_FD)),
    "freeze maps": (cmd.MAP_FREEZE, struct.pack("=I", _NO_FD)),
    "test-run programs": (cmd.PROG_TEST_RUN, struct.pack("=I", _NO_FD)),
    "make links": (cmd.LINK_CREATE, struct.pack("=I", _NO_FD)),
    "iterators": (cmd.ITER_CREATE, struct.pack("=I", _NO_FD)),
    "bind maps": (cmd.PROG_BIND_MAP, struct.pack("=II", _NO_FD, _NO_FD)),
}
"""What a command is for -> (its number, an attribute that a kernel which knows it refuses with another error than EINVAL)."""

# r0 = 0; exit
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
_EXPECTED = {  # types that must be loaded for a hook: type -> expected_attach_type
    ProgType.CGROUP_SOCK_ADDR: AttachType.CGROUP_INET4_BIND, ProgType.CGROUP_SOCKOPT: AttachType.CGROUP_GETSOCKOPT,
    ProgType.SK_LOOKUP: AttachType.SK_LOOKUP, ProgType.NETFILTER: AttachType.NETFILTER,
}  # fmt: skip
_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE
FENTRY, LSM_MAC, ITER, RAW_TP = AttachType.TRACE_FENTRY, AttachType.LSM_MAC, AttachType.TRACE_ITER, AttachType.TRACE_RAW_TP


def command(name: str) -> bool | None:
    """Whether the kernel has a command of `COMMANDS`."""
    number, attr = COMMANDS[name]
    _, errno, _ = bpf_errno(number, attr)
    if errno == _EPERM:
        return None
    return errno != _EINVAL and errno != 38


def prog_type(type: int) -> bool | None:
    """Whether the kernel can load programs of a type: a program that returns 0 is loaded and closed."""
    flags = _SLEEPABLE if type == ProgType.SYSCALL else 0
    targeted = type in (ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM)
    return _loads(type, _RETURN_0, _EXPECTED.get(type, 0), flags, needs_target=targeted)


def tracing(function: str, attach_type: int, type: int = ProgType.TRACING, code: bytes = _RETURN_0) -> bool | None:
    """Whether a program can be loaded for a kernel function ("bpf_iter_task", "bpf_lsm_file_open", "vfs_read")."""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux

    try:
        target = vmlinux().find(function, Kind.FUNC)
    except BpflensError:
        return False
    if not target:
        return False
    return _loads(type, code, attach_type, 0, attach_btf_id=target)


def reads_kernel_memory() -> bool | None:
    """Whether a syscall program may call bpf_probe_read_kernel (not with lockdown=confidentiality)."""
    # r1 = r10; r1 += -8; r2 = 8; r3 = 0; call bpf_probe_read_kernel; r0 = 0; exit
    code = "bfa1000000000000 07010000f8ffffff b702000008000000 b703000000000000 8500000071000000"
    return _loads(ProgType.SYSCALL, bytes.fromhex(code) + _RETURN_0, 0, _SLEEPABLE)


def _loads(type: int, code: bytes, attach_type: int, flags: int, attach_btf_id: int = 0, needs_target: bool = False) -> bool | None:
    try:
        os.close(load_program(code, type, expected_attach_type=attach_type, flags=flags, attach_btf_id=attach_btf_id, name="bpflens_probe"))
    except KernelError as error:
        if needs_target and error.log:
            return True  # the verifier knows the type and asks for what it is to be attached to
        if error.errno == _EPERM and not _may_load():
            return None
        return False
    return True


def _may_load() -> bool:
    """Whether refusals with EPERM mean the thing asked for, and not this process: a socket filter of ours is accepted."""
    try:
        os.close(load_program(_RETURN_0, 1))
    except KernelError:
        return False
    return True


# type -> (key size, value size, max entries, flags); others are 4, 4, 1, 0
_SHAPES = {
    7: (4, 8, 1, 0), 11: (8, 4, 1, 1), 19: (16, 8, 0, 0), 20: (4, 8, 1, 0), 21: (16, 8, 0, 0), 22: (0, 4, 1, 0), 23: (0, 4, 1, 0),
    24: (4, 4, 0, 1), 27: (0, 0, 4096, 0), 28: (4, 4, 0, 1), 29: (4, 4, 0, 1), 30: (0, 4, 1, 0), 31: (0, 0, 4096, 0), 32: (4, 4, 0, 1),
    33: (0, 0, 1, 1 << 10), 34: (4, 16, 1, 0), 35: (4, 4, 1, 1),
}  # fmt: skip
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
# key and value must have BTF types
_TYPED = frozenset({MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE})
# .BTF of `int`: header, INT 4 bytes signed, strings "\0int\0"
_INT_BTF = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 5) + struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32) + b"\0int\0"


def map_type(type: int) -> bool | None:
    """Whether the kernel can create maps of a type: a small one is created and closed. struct_ops is told by its program type."""
    if type == MapType.STRUCT_OPS:
        return prog_type(ProgType.STRUCT_OPS)
    key_size, value_size, entries, flags = _SHAPES.get(type, (4, 4, 1, 0))
    fds: list[int] = []
    try:
        btf_fd = inner = 0
        if type in _TYPED:
            btf_fd = load_btf(_INT_BTF)
            fds.append(btf_fd)
        if type in _OF_MAPS:
            inner = create_map(MapType.ARRAY, 4, 4, 1)
            fds.append(inner)
        typed = 1 if btf_fd else 0
        fds.append(
            create_map(
                type, key_size, value_size, entries, flags=flags, inner_fd=inner, btf_fd=btf_fd, key_type_id=typed, value_type_id=typed
            )
        )
    except KernelError as error:
        return None if error.errno == _EPERM and not _may_load() else False
    finally:
        for fd in fds:
            os.close(fd)
    return True
