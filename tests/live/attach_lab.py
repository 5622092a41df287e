"""A place to attach programs in: own network namespaces, cgroup, BPF filesystem; everything is taken away at the end.

    with Lab() as lab:
        found = lab.attach(kind)     # what `ls` has to show, a list of Attached; Lacking where this kernel cannot
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bpflens.errors import KernelError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.names import ATTACH_TYPES, PROG_TYPES
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys import syscalls
from bpflens.kernel.sys.bpf import Buffer, bpf, cmd

PROG = {name: number for number, name in PROG_TYPES.items()}
ATTACH = {name: number for number, name in ATTACH_TYPES.items()}
CLONE_NEWNET = 0x40000000


class Lacking(Exception):
    """This kernel does not have what the kind needs; the text says what."""


class Attached(NamedTuple):
    """A row that `ls` has to show: `object` exactly, program by id or classic bytes; `holder` a pid among the holders.

    `deep`: only --deep shows it (or its program); without, a row with "unknown" may stand in its place.
    `image`: the kernel keeps only the converted form of this many classic instructions.
    """

    kind: str
    object: str
    netns: int | None
    prog_id: int | None = None
    classic: bytes | None = None
    holder: int | None = None
    deep: bool = False
    image: bool = False


def insns(*rows: tuple[int, int, int, int]) -> bytes:
    """struct sock_filter bytes."""
    return b"".join(struct.pack("<HBBI", *row) for row in rows)


def classic(mark: int) -> bytes:
    """A classic filter that is told from others by a constant: ldh [12]; jeq #0x800; jeq #mark ..."""
    return insns((0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (0x06, 0, 0, mark), (0x06, 0, 0, 0))


class Fprog:
    """struct sock_fprog of classic code; keeps the memory alive."""

    def __init__(self, code: bytes) -> None:
        self._code = Buffer(code)
        self.bytes = struct.pack("<HxxxxxxQ", len(code) // 8, self._code.address)


class Lab:
    """Namespaces "a" (with veth devices v0, v1) and "b", a cgroup, a bpffs mount; a stack of things to undo."""

    def __init__(self) -> None:
        self.undo = contextlib.ExitStack()
        self.name = f"bplab{os.getpid()}"
        self.own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.undo.callback(os.close, self.own)
        self._marks = 0x1000
        self.keep: list[object] = []

    def __enter__(self) -> Lab:
        try:
            self.spaces = {letter: self._namespace(letter) for letter in "ab"}
            self.dir = f"/run/{self.name}"
            os.makedirs(self.dir)
            self.undo.callback(os.rmdir, self.dir)
            self.bpffs = f"{self.dir}/bpf"
            os.mkdir(self.bpffs)
            self.undo.callback(os.rmdir, self.bpffs)
            self.run("mount", "-t", "bpf", "bpf", self.bpffs)
            self.undo.callback(self.run, "umount", self.bpffs)
            with self.inside("a"):
                self.run("ip", "link", "set", "lo", "up")
                self.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
                for device in ("v0", "v1"):
                    self.run("ip", "link", "set", device, "up")
                self.run("ip", "addr", "add", "10.77.0.1/24", "dev", "v0")
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    def _namespace(self, letter: str) -> int:
        name = f"{self.name}{letter}"
        self.run("ip", "netns", "add", name)
        self.undo.callback(self.run, "ip", "netns", "del", name)
        return os.stat(f"/run/netns/{name}").st_ino

    def netns_path(self, letter: str) -> str:
        return f"/run/netns/{self.name}{letter}"

    def cgroup(self, name: str) -> str:
        """A new cgroup's path below the cgroup2 mount; `cgroup_mount` is that mount."""
        path = f"/{self.name}{name}"
        os.mkdir(self.cgroup_mount + path)
        self.undo.callback(os.rmdir, self.cgroup_mount + path)
        return path

    @property
    def cgroup_mount(self) -> str:
        from bpflens.kernel.sys.procfs import mounts

        for mount in mounts("self"):
            if mount.type == "cgroup2":
                return mount.point
        raise Lacking("a cgroup2 mount")

    @contextlib.contextmanager
    def inside(self, letter: str) -> Iterator[None]:
        """The calling thread in a namespace of the lab."""
        fd = os.open(self.netns_path(letter), os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(fd, CLONE_NEWNET)
        os.close(fd)
        try:
            yield
        finally:
            syscalls.setns(self.own, CLONE_NEWNET)

    def run(self, *argv: str) -> str:
        """A tool, in the namespace that the thread is in; its output. Lacking where the kernel refuses."""
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Lacking(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def mark(self) -> int:
        """A number that no other program of the lab has."""
        self._marks += 1
        return self._marks

    def classic(self) -> bytes:
        """A classic filter of its own."""
        return classic(self.mark())

    def fprog(self, code: bytes) -> bytes:
        """struct sock_fprog of code that lives as long as the lab."""
        made = Fprog(code)
        self.keep.append(made)
        return made.bytes

    def fd(self, fd: int) -> int:
        """A descriptor that is closed with the lab."""
        self.undo.callback(_close, fd)
        return fd

    def load(self, type: str, attach: str = "", text: str = "", **options: object) -> tuple[int, int]:
        """(descriptor, id) of a program "r0 = mark; exit" or of `text`. Lacking where the kernel refuses it."""
        code = assemble(text or f"r0 = {1 if type.startswith(('cgroup', 'sock_ops', 'sk_')) else 0}\nr1 = {self.mark()}\nexit", "llvm")
        options.setdefault("name", "bl_" + type[:8])
        try:
            fd = load_program(code, PROG[type], expected_attach_type=ATTACH[attach] if attach else 0, **options)  # type: ignore[arg-type]
        except KernelError as error:
            log = getattr(error, "log", "")
            raise Lacking(f"program type {type} {attach}: {error.reason} {log[-200:]}") from None
        self.fd(fd)
        return fd, prog_info_by_fd(fd).id

    def link(self, prog: int, target: int, attach: str | int, flags: int = 0, extra: bytes = b"") -> int:
        """BPF_LINK_CREATE; the link goes with the lab."""
        number = ATTACH[attach] if isinstance(attach, str) else attach
        try:
            return self.fd(bpf(cmd.LINK_CREATE, struct.pack("<IIII", prog, target, number, flags) + extra, "link", "cannot create")[0])
        except KernelError as error:
            raise Lacking(f"link {attach}: {error.reason}") from None

    def prog_attach(self, target: int, prog: int, attach: str, flags: int = 0, space: str | None = None) -> None:
        """BPF_PROG_ATTACH, undone with the lab; `space`: in a network namespace of the lab."""
        number = ATTACH[attach]

        def inside() -> contextlib.AbstractContextManager[None]:
            return self.inside(space) if space else contextlib.nullcontext()

        try:
            with inside():
                bpf(cmd.PROG_ATTACH, struct.pack("<IIII", target, prog, number, flags), "attach", attach)
        except KernelError as error:
            raise Lacking(f"attach {attach}: {error.reason}") from None

        def detach() -> None:
            with contextlib.suppress(KernelError), inside():
                bpf(cmd.PROG_DETACH, struct.pack("<IIII", target, prog, number, 0), "detach", attach)

        self.undo.callback(detach)

    def pin(self, fd: int, name: str, directory: str | None = None) -> str:
        """Pin an object in the lab's bpffs, unpinned at the end."""
        path = f"{directory or self.bpffs}/{name}"
        text = Buffer(path.encode() + b"\0")
        bpf(cmd.OBJ_PIN, struct.pack("<QII", text.address, fd, 0), path, "cannot pin")
        self.undo.callback(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def socket(self, family: int, type: int, protocol: int = 0) -> int:
        """A socket of the namespace that the thread is in."""
        try:
            return self.fd(syscalls.socket(family, type, protocol))
        except OSError as error:
            raise Lacking(f"sockets of family {family}: {error.strerror}") from None

    def child(self, body: Callable[[], None]) -> int:
        """A process that runs `body` and then waits until the lab ends; returns its pid when body is done."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                libc = ctypes.CDLL(None)
                libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
                body()
                os.write(writer, b"y")
                while True:
                    signal.pause()
            except BaseException as error:
                with contextlib.suppress(OSError):
                    os.write(writer, b"n" + repr(error).encode())
                    sys.stderr.flush()
            finally:
                os._exit(1)
        os.close(writer)
        self.undo.callback(_end, pid)
        answer = os.read(reader, 4096)
        os.close(reader)
        if answer[:1] != b"y":
            raise Lacking(f"child process: {answer[1:].decode()}")
        return pid


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _end(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def setsockopt(fd: int, level: int, option: int, value: bytes) -> None:
    """setsockopt(2); Lacking where refused."""
    buffer = Buffer(value)
    if syscalls.libc.setsockopt(fd, level, option, ctypes.c_void_p(buffer.address), len(value)) < 0:
        raise Lacking(f"setsockopt {level}/{option}: {os.strerror(ctypes.get_errno())}")


def ioctl(fd: int, request: int, argument: bytes | int = 0) -> bytes | int:
    """ioctl(2); Lacking where refused."""
    try:
        return fcntl.ioctl(fd, request, argument)
    except OSError as error:
        raise Lacking(f"ioctl {request:#x}: {error.strerror}") from None


def inode(fd: int) -> int:
    """The inode of a socket."""
    return os.fstat(fd).st_ino
