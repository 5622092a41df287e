"""Every system call of a function, of whatever kind, fails once or is the last one: a tracer skips it, or kills the process there.

    run_with_fault(function)                     Outcome(code=0, calls=("bpf", "openat", ...))      nothing is done to it
    run_with_fault(function, 17, errno=28)       the 17th call is not made and returns ENOSPC
    run_with_fault(function, 17, kill=True)      SIGKILL at the 17th call

The function runs in a child that is forked from this process. kernel/sys/faults.py is cheaper but knows only calls of the package's
own wrappers. x86-64. Calls that a program cannot answer for are left alone: memory, threads, signals, its own numbers, the end. Threads of
the function are followed.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple

from bpflens.errors import BpflensError
from bpflens.kernel.sys.syscalls import libc, ptrace

REFUSED, TRACEBACK = 7, 9
_TRACEME, _GETREGS, _SETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 13, 24, 0x4200
_TRACESYSGOOD, _TRACECLONE, _EXITKILL, _WALL = 1, 8, 0x100000, 0x40000000
_RAX, _ORIG_RAX = 10, 15  # struct user_regs_struct, in words
_SPARED = frozenset({
    9, 10, 11, 12, 25, 28,  # mmap, mprotect, munmap, brk, mremap, madvise
    13, 14, 15, 131,  # rt_sigaction, rt_sigprocmask, rt_sigreturn, sigaltstack
    60, 61, 157, 202, 218, 231, 273, 334, 435,  # exit, wait4, prctl, futex, set_tid_address, exit_group, set_robust_list, rseq, clone3
    39, 102, 107, 110, 186, 318,  # getpid, getuid, geteuid, getppid, gettid, getrandom
})  # fmt: skip
_CLOSE, _MARK = 3, 110
NAMES = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 8: "lseek", 16: "ioctl", 17: "pread64", 18: "pwrite64",
    20: "writev", 41: "socket", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 49: "bind", 54: "setsockopt", 55: "getsockopt",
    63: "uname", 72: "fcntl", 73: "flock", 74: "fsync", 77: "ftruncate", 78: "getdents", 79: "getcwd", 82: "rename", 83: "mkdir",
    84: "rmdir", 86: "link", 87: "unlink", 89: "readlink", 90: "chmod", 91: "fchmod", 160: "setrlimit", 217: "getdents64", 257: "openat",
    262: "newfstatat", 265: "linkat", 272: "unshare", 302: "prlimit64", 308: "setns", 321: "bpf", 332: "statx", 434: "pidfd_open",
    438: "pidfd_getfd",
}  # fmt: skip


codecs.lookup("cp437")  # zipfile asks for it: it is there before anything fails


class Outcome(NamedTuple):
    """`code`: 0 done, REFUSED with an error of ours or of the system, TRACEBACK for any other, -N killed. `calls`: up to the end."""

    code: int
    calls: tuple[str, ...]


def run_with_fault(
    function: Callable[[], object], number: int = 0, errno: int = 12, kill: bool = False, begin: type | None = None
) -> Outcome:
    """Run in a child; `number` counts its calls from 1 on, 0: none. `begin`: count (and trace, which is slow) from the first object of this
    class on.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(function, begin)
    return _trace(pid, number, errno, kill)


def _child(function: Callable[[], object], begin: type | None) -> None:
    code = TRACEBACK
    try:
        if begin is None:
            _be_traced()
        else:
            _at_first(begin)
        function()
        code = 0
    except (BpflensError, OSError, ImportError):  # ImportError: the interpreter could not read a module of its own
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        libc.getppid()
        os._exit(code)


def _be_traced() -> None:
    ptrace(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    libc.getppid()  # from here on


def _at_first(begin: type) -> None:
    made = begin.__init__
    seen: list[bool] = []

    def first(self: object, *arguments: object, **more: object) -> None:
        if not seen:
            seen.append(True)
            _be_traced()
        made(self, *arguments, **more)  # type: ignore[misc]

    begin.__init__ = first  # type: ignore[misc]


def _trace(pid: int, number: int, errno: int, kill: bool) -> Outcome:
    os.waitpid(pid, 0)
    ptrace(_SETOPTIONS, pid, 0, _TRACESYSGOOD | _TRACECLONE | _EXITKILL)
    regs = ctypes.create_string_buffer(27 * 8)
    address = ctypes.addressof(regs)
    calls: list[str] = []
    counting, inside, failing = False, set[int](), 0
    ptrace(_SYSCALL, pid)
    while True:
        tid, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if tid == pid:
                return Outcome(os.waitstatus_to_exitcode(status), tuple(calls))
            continue
        stop, deliver = os.WSTOPSIG(status), 0
        if stop != signal.SIGTRAP | 0x80:
            deliver = stop if stop not in (signal.SIGTRAP, signal.SIGSTOP) else 0
        elif tid not in inside:
            inside.add(tid)
            ptrace(_GETREGS, tid, 0, address)
            (call,) = struct.unpack_from("=Q", regs, 8 * _ORIG_RAX)
            if call == _MARK:
                counting = not counting
            elif counting and call not in _SPARED:
                calls.append(NAMES.get(call, str(call)))
                if len(calls) == number:
                    if kill:
                        os.kill(pid, signal.SIGKILL)
                        continue
                    failing = tid
                    if call != _CLOSE:  # a close that fails closes nevertheless
                        struct.pack_into("=q", regs, 8 * _ORIG_RAX, -1)
                        ptrace(_SETREGS, tid, 0, address)
        else:
            inside.discard(tid)
            if failing == tid:
                failing = 0
                ptrace(_GETREGS, tid, 0, address)
                struct.pack_into("=q", regs, 8 * _RAX, -errno)
                ptrace(_SETREGS, tid, 0, address)
        with contextlib.suppress(OSError):  # killed meanwhile
            ptrace(_SYSCALL, tid, 0, deliver)
