"""perf_event_open(2) for programs: tracepoints, kprobes, uprobes; a program is attached to the descriptor by a perf_event link (v5.15).

BPF_TASK_FD_QUERY (Linux 4.18) tells which program another process attached to one. It answers for tracepoints, kprobes and uprobes, not for
hardware and software events, nor for a descriptor whose holder is in a foreign pid namespace.
"""

from __future__ import annotations

import ctypes
import os
import struct

from bpflens.errors import KernelError, NotSupported, errno_text
from bpflens.kernel.sys.bpf import Buffer, bpf_errno, cmd
from bpflens.kernel.sys.syscalls import libc
from bpflens.lean import NamedTuple

__all__ = ("FdProgram", "open_probe", "open_tracepoint", "program_of_fd")

_NR = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "s390x": 331, "ppc64le": 319}
_SIZE = 112
_TRACEPOINT, _CLOEXEC = 2, 8
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_NAME_BYTES = 4096


class FdProgram(NamedTuple):
    """A program on a perf descriptor: 0 for none; `type` is enum bpf_task_fd_type, `name` a tracepoint, function or file."""

    prog_id: int
    type: int
    offset: int
    address: int
    name: str


def program_of_fd(pid: int, fd: int) -> FdProgram:
    """The program on descriptor `fd` of process `pid`; OSError where the kernel does not tell."""
    text = Buffer(_NAME_BYTES)
    result, errno, after = bpf_errno(cmd.TASK_FD_QUERY, struct.pack("=IIIIQIIQQ", pid, fd, 0, text.size, text.address, 0, 0, 0, 0))
    if result < 0:
        raise OSError(errno, errno_text(errno))
    prog_id, type, offset, address = struct.unpack_from("=IIQQ", after, 24)
    return FdProgram(prog_id, type, offset, address, text.bytes.split(b"\0", 1)[0].decode(errors="replace"))


def open_tracepoint(name: str) -> int:
    """A descriptor of a tracepoint "GROUP:NAME", or of a NAME that is in one group only."""
    for root in _TRACEFS:
        events = f"{root}/events"
        if not os.path.isdir(events):
            continue
        group, colon, event = name.partition(":")
        groups = [group] if colon else sorted(os.listdir(events))
        for candidate in groups:
            path = f"{events}/{candidate}/{event if colon else name}/id"
            if os.path.exists(path):
                with open(path, encoding="ascii") as stream:
                    return _open(_TRACEPOINT, int(stream.read()), b"", name)
    raise NotSupported(f"tracepoint {name}", "this kernel does not have it, or tracefs is not mounted")


def open_probe(kind: str, name: str, offset: int) -> int:
    """A descriptor of a "kprobe", "kretprobe", "uprobe" or "uretprobe": at a function, or in a file."""
    pmu = "kprobe" if kind.startswith("k") else "uprobe"
    base = f"/sys/bus/event_source/devices/{pmu}"
    try:
        with open(f"{base}/type", encoding="ascii") as stream:
            type = int(stream.read())
    except OSError:
        raise NotSupported(f"{kind} {name}", f"this kernel has no {pmu}s as perf events") from None
    config = 1 if "ret" in kind else 0
    text = Buffer(os.fsencode(name) + b"\0")
    return _open(type, config, struct.pack("=QQ", text.address, offset), f"{kind} {name}")


def _open(type: int, config: int, probe: bytes, where: str) -> int:
    # struct perf_event_attr: type, size, config, sample_period, ..., config1 (byte 56), config2 (byte 64)
    attr = bytearray(_SIZE)
    struct.pack_into("=IIQ", attr, 0, type, _SIZE, config)
    attr[56 : 56 + len(probe)] = probe
    buffer = Buffer(bytes(attr))
    number = _NR.get(os.uname().machine)
    if number is None:
        raise NotSupported(where, "perf_event_open has no known number on this machine")
    fd: int = libc.syscall(number, ctypes.c_void_p(buffer.address), -1, 0, -1, _CLOEXEC)
    if fd < 0:
        raise KernelError.from_errno(where, "cannot open the event", ctypes.get_errno())
    return fd
