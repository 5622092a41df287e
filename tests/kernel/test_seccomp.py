"""Seccomp filters read off a thread that has put them on itself."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
from collections.abc import Iterator

import pytest

import needs
from bpflens.kernel.features import findings
from bpflens.kernel.seccomp import filters_of_thread, has_no_filter

pytestmark = pytest.mark.live
ALLOW, LOG_FLAG = 0x7FFF0000, 2


def code_of(mark: int) -> bytes:
    """ld [0]; jeq #mark ...: allows everything."""
    return struct.pack("<HBBI", 0x20, 0, 0, 0) + struct.pack("<HBBI", 0x15, 0, 0, mark) + struct.pack("<HBBI", 6, 0, 0, ALLOW)


@pytest.fixture
def filtered() -> Iterator[int]:
    """A process with two filters, of which the younger one logs."""
    possible = {finding.name: finding for finding in findings() if finding.group == "kernel"}["seccomp filters by ptrace"]
    needs.kernel_feature(bool(possible.present), f"seccomp filters by ptrace: {possible.detail}")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None)
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
        libc.prctl(38, 1, 0, 0, 0)
        for mark, flags in ((111, 0), (222, LOG_FLAG)):
            code = ctypes.create_string_buffer(code_of(mark))
            libc.syscall(317, 1, flags, struct.pack("<HxxxxxxQ", 3, ctypes.addressof(code)))
        os.write(writer, b"y")
        signal.pause()
    try:
        os.read(reader, 1)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


def test_oldest_first(filtered: int) -> None:
    """Code and flags; the process goes on afterwards."""
    assert filters_of_thread(filtered) == [(code_of(111), 0), (code_of(222), LOG_FLAG)]
    assert not has_no_filter(filtered)
    with open(f"/proc/{filtered}/status") as stream:
        state = next(line.split()[1] for line in stream if line.startswith("State:"))
    assert state not in "tT", "it goes on waiting for a signal, and is not stopped"


def test_without_filters() -> None:
    """Of a thread that is there, and of one that has gone."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert has_no_filter(os.getpid())
    finally:
        stop.set()
        thread.join()
    assert not has_no_filter(1 << 22), "nothing is known of it"
    with pytest.raises(ProcessLookupError):
        filters_of_thread(1 << 22)
