"""Test runs: a loaded program run again and again on packets and contexts (BPF_PROG_TEST_RUN), fast and always on the same CPU.

What a program type takes differs (net/bpf/test_run.c, v6.18): types with a packet take data and a context and give both back; SYSCALL
takes a context, which it changes in place; RAW_TRACEPOINT takes a context of up to 12 words and gives nothing but the return value.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.sys.bpf import bpf_errno, cmd
from bpflens.kernel.sys.syscalls import libc
from bpflens.lean import NamedTuple

__all__ = ("PACKET_TYPES", "RAW_TP", "RUNNABLE", "SYSCALL", "Ran", "TestRun", "one_cpu")

RAW_TP, SYSCALL = 17, 31
PACKET_TYPES = frozenset((
    ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP, ProgType.CGROUP_SKB, ProgType.LWT_IN, ProgType.LWT_OUT,
    ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL, ProgType.FLOW_DISSECTOR, ProgType.NETFILTER,
))  # fmt: skip
"""Types that run on a packet: skb types (bpf_prog_test_run_skb), XDP, flow dissector, netfilter."""
CONTEXT_ONLY = frozenset({RAW_TP, 24, SYSCALL, 30})
RUNNABLE = PACKET_TYPES | CONTEXT_ONLY
"""Types with a test run. Tracing programs and struct_ops have one for the kernel's own test functions only."""

_DATA_ROOM = 1 << 16
_CTX_ROOM = 1 << 16
_ATTR = struct.Struct("=IIIIQQIIIIQQIII")


class Ran(NamedTuple):
    """`errno` 0 and the return value (32 bits, unsigned), packet and context after the run; or the errno of a run that was refused."""

    errno: int
    retval: int = 0
    data: bytes = b""
    ctx: bytes = b""


class TestRun:
    """Runs of one program. The buffers are kept between runs; the descriptor belongs to the caller."""

    __test__ = False

    def __init__(self, fd: int, prog_type: int) -> None:
        self._fd, self._type = fd, prog_type
        self._in = ctypes.create_string_buffer(_DATA_ROOM)
        self._out = ctypes.create_string_buffer(_DATA_ROOM)
        self._ctx = ctypes.create_string_buffer(_CTX_ROOM)
        self._ctx_out = ctypes.create_string_buffer(1024)
        self._packet = prog_type in PACKET_TYPES
        self._in_at, self._out_at = ctypes.addressof(self._in), ctypes.addressof(self._out)
        self._ctx_at, self._ctx_out_at = ctypes.addressof(self._ctx), ctypes.addressof(self._ctx_out)

    def run(self, data: bytes, ctx: bytes = b"") -> Ran:
        """One run. Never raises for what the kernel refuses."""
        size = len(ctx)
        if size:
            ctypes.memmove(self._ctx_at, ctx, size)
        if self._packet:
            ctypes.memmove(self._in_at, data, len(data))
            attr = _ATTR.pack(
                self._fd, 0, len(data), _DATA_ROOM, self._in_at, self._out_at, 1, 0,
                size, 1024 if size else 0, self._ctx_at if size else 0, self._ctx_out_at if size else 0, 0, 0, 0,
            )  # fmt: skip
        else:
            attr = _ATTR.pack(self._fd, 0, 0, 0, 0, 0, 0, 0, size, 0, self._ctx_at if size else 0, 0, 0, 0, 0)
        result, errno, after = bpf_errno(cmd.PROG_TEST_RUN, attr)
        if result < 0:
            return Ran(errno)
        retval, _, got = struct.unpack_from("=III", after, 4)
        out = ctypes.string_at(self._out_at, got) if self._packet else b""
        if self._packet:
            ctx_after = ctypes.string_at(self._ctx_out_at, min(struct.unpack_from("=I", after, 44)[0], 1024)) if size else b""
        else:
            ctx_after = ctypes.string_at(self._ctx_at, size) if self._type == SYSCALL and size else b""
        return Ran(0, retval, out, ctx_after)


@contextlib.contextmanager
def one_cpu() -> Iterator[int]:
    """This thread on one CPU for the length of a with statement, so that runs see the same part of per-cpu maps; the CPU's number."""
    before = os.sched_getaffinity(0)
    cpu: int = libc.sched_getcpu()  # where it runs already: moving would wait for the other CPU
    if cpu not in before:
        cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)
