"""The seccomp filters of a thread: PTRACE_SECCOMP_GET_FILTER.

ptrace stops the thread for an instant. The tracer is the calling thread: whatever happens, the kernel detaches when that thread ends.
Needs CONFIG_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_PTRACE, and a caller without a seccomp filter of its own
(kernel/seccomp.c, seccomp_get_filter).
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

from bpflens.kernel.sys import procfs, syscalls

__all__ = ("filters_of_thread", "has_no_filter")

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_GET_FILTER, _GET_METADATA = 0x420C, 0x420D
_WALL = 0x40000000
_STOP_SECONDS = 0.5
_MOST_FILTERS = 32768  # the kernel's own limit on a task's filters is far lower (32768 instructions in all)


def filters_of_thread(tid: int) -> list[tuple[bytes, int]]:
    """[(code, flags)] of a thread, oldest filter first. TimeoutError where it does not stop."""
    syscalls.ptrace(_SEIZE, tid)
    stopped = False
    try:
        syscalls.ptrace(_INTERRUPT, tid)
        until = time.monotonic() + _STOP_SECONDS
        while not stopped:
            pid, _ = os.waitpid(tid, _WALL | os.WNOHANG)
            if pid:
                stopped = True
            elif time.monotonic() > until:
                raise TimeoutError(110, "the thread does not stop")
            else:
                time.sleep(0.0005)
        return [_filter(tid, index, count) for index, count in _counts(tid)]
    finally:
        if stopped:
            try:
                syscalls.ptrace(_DETACH, tid)
            except OSError:
                pass


def has_no_filter(pid: int) -> bool:
    """Whether the status of each thread of a process says that it has no filter, without any privilege; False also where it is not known.

    Mode 0 is none and 1 is strict mode, which has no filter (fs/proc/array.c, task_seccomp(); the number of filters since Linux 5.9).
    """
    threads = procfs.thread_ids(pid)
    try:
        states = [procfs.read(f"/proc/{pid}/task/{tid}/status") for tid in threads]
    except OSError:
        return False
    modes = {procfs.status_field(status, b"Seccomp") for status in states}
    counts = {procfs.status_field(status, b"Seccomp_filters") for status in states}
    return bool(threads) and modes <= {b"0", b"1"} and counts <= {b"0", None}


def _counts(tid: int) -> Iterator[tuple[int, int]]:
    for index in range(_MOST_FILTERS):
        try:
            yield index, syscalls.ptrace(_GET_FILTER, tid, index)
        except FileNotFoundError:
            return


def _filter(tid: int, index: int, count: int) -> tuple[bytes, int]:
    buffer = ctypes.create_string_buffer(max(8 * count, 1))
    syscalls.ptrace(_GET_FILTER, tid, index, ctypes.addressof(buffer))
    metadata = ctypes.create_string_buffer(index.to_bytes(8, "little") + bytes(8), 16)
    try:
        syscalls.ptrace(_GET_METADATA, tid, 16, ctypes.addressof(metadata))
    except OSError:
        pass  # before Linux 4.16
    return buffer.raw[: 8 * count], int.from_bytes(metadata.raw[8:16], "little")
