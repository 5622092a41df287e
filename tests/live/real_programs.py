"""Real programs to test with: what a tool of libbpf-tools or xdp-tools loads, caught while it loads it.

Most tools load their programs and then fail to attach them on a kernel without kprobes or tracefs, so waiting until they run would miss
those. The tool is traced instead: when its bpf(BPF_PROG_LOAD) returns, the descriptor is copied out of it (pidfd_getfd), and its program
lives as long as the copy. The tool is stopped at the end and nothing stays loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import time
from collections.abc import Iterator, Sequence

from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys.bpf import cmd
from bpflens.kernel.sys.syscalls import libc, pidfd_getfd, pidfd_open, ptrace, unshare

_TRACEME, _CONT, _GETREGS, _SYSCALL, _SETOPTIONS = 0, 7, 12, 24, 0x4200
_TRACESYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACECLONE, _EXITKILL = 1, 2, 4, 8, 0x100000
_NEWNS, _NEWNET, _MS_REC, _MS_PRIVATE = 0x20000, 0x40000000, 1 << 14, 1 << 18
_NR_BPF = 321  # x86-64, like the registers below
_RAX, _RDI, _ORIG_RAX = 10, 14, 15  # struct user_regs_struct, in words


@contextlib.contextmanager
def loaded_by(argv: Sequence[str], seconds: float = 10.0) -> Iterator[list[int]]:
    """Descriptors of the programs that a command loads before it ends, or within `seconds`; closed at the end, the command killed."""
    fds: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        _run_traced(argv)
    try:
        _trace(pid, fds, time.monotonic() + seconds)
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    """mount(2)."""
    if libc.mount(source, target, kind, flags, None) < 0:
        raise OSError(ctypes.get_errno(), f"cannot mount on {target.decode()}")


def _run_traced(argv: Sequence[str]) -> None:
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        unshare(_NEWNS | _NEWNET)  # libxdp mounts a BPF filesystem, pins there and attaches to devices: all that goes with the process
        mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)
        mount(b"bpf", b"/sys/fs/bpf", b"bpf", 0)
        ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(argv[0], list(argv))
    finally:
        os._exit(127)


def own(fd: int) -> bool:
    """A program of the tool: libbpf's probes of the kernel have no name, or one of libbpf's."""
    name = prog_info_by_fd(fd).name
    return bool(name) and not name.startswith("libbpf_")


def _trace(pid: int, fds: list[int], deadline: float) -> None:
    """Follow the process and its threads until it ends, the last load of its own is 0.5 s old, or the time is over; then kill it."""
    os.waitpid(pid, 0)
    ptrace(_SETOPTIONS, pid, 0, _TRACESYSGOOD | _TRACEFORK | _TRACEVFORK | _TRACECLONE | _EXITKILL)
    ptrace(_SYSCALL, pid)
    alive, entering, quiet_since = {pid}, set(), None
    regs = ctypes.create_string_buffer(27 * 8)
    while alive and time.monotonic() < deadline:
        tid, status = os.waitpid(-1, os.WNOHANG | 0x40000000)
        if tid == 0:
            if quiet_since is not None and time.monotonic() - quiet_since > 0.5:
                break
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            continue
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            alive.discard(tid)
            continue
        alive.add(tid)
        stop, deliver = os.WSTOPSIG(status), 0
        if stop == signal.SIGTRAP | 0x80:
            if tid in entering:
                entering.discard(tid)
                ptrace(_GETREGS, tid, 0, ctypes.addressof(regs))
                words = struct.unpack("27q", regs.raw)
                if words[_ORIG_RAX] == _NR_BPF and words[_RDI] == cmd.PROG_LOAD and words[_RAX] >= 0:
                    pidfd = pidfd_open(pid)
                    fds.append(pidfd_getfd(pidfd, words[_RAX]))
                    os.close(pidfd)
                    if own(fds[-1]):  # after libbpf's probes it reads types, which takes as long as the machine needs
                        quiet_since = time.monotonic()
            else:
                entering.add(tid)
        elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
            deliver = stop
        with contextlib.suppress(OSError):
            ptrace(_SYSCALL, tid, 0, deliver)
    for tid in alive:
        with contextlib.suppress(OSError):
            os.kill(tid, signal.SIGKILL)
    while alive:
        try:
            tid, status = os.waitpid(-1, 0x40000000)
        except ChildProcessError:
            break
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            alive.discard(tid)
        else:
            with contextlib.suppress(OSError):
                ptrace(_CONT, tid, 0, signal.SIGKILL)
