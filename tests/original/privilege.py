"""A child process without some capabilities that loads a program and holds it, or runs a function."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bpflens.kernel.sys.syscalls import libc

CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 12, 21, 34, 38, 39
_VERSION_3 = 0x20080522


def drop_all_but(*kept: int) -> None:
    """Give up every capability of this process but some, for good."""
    mask = sum(1 << capability for capability in kept)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    if libc.capset(header, data) < 0:
        raise OSError(ctypes.get_errno(), "capset")


@contextmanager
def held_by_child(load: Callable[[], int], kept: tuple[int, ...]) -> Iterator[int]:
    """The id of the program that `load` loads in a child with only the capabilities `kept`; the child holds it."""
    from bpflens.kernel.programs.prog_info import prog_info_by_fd

    reading, writing = os.pipe()
    waiting, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done)
        try:
            drop_all_but(*kept)
            fd = load()
            os.write(writing, struct.pack("=I", prog_info_by_fd(fd).id))
            os.read(waiting, 1)
        finally:
            os._exit(0)
    os.close(writing)
    os.close(waiting)
    try:
        got = os.read(reading, 4)
        assert len(got) == 4, "the child could not load the program"
        yield struct.unpack("=I", got)[0]
    finally:
        os.close(reading)
        os.close(done)
        os.waitpid(pid, 0)
