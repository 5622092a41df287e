"""Reading kernel memory and kernel lists with BPF programs that exist only as long as the reader is open.

    reader = Reader(); reader.open_memory()
    reader.u64(address)                 # BPF_PROG_TYPE_SYSCALL (Linux 5.14) with bpf_probe_read_kernel, 5 µs
    reader.files()                      # BPF iterator over every descriptor of every task, 3 ms for hundreds
    reader.offset("sock", "sk_filter")  # from BTF

OSError with EFAULT for an address that cannot be read. Lists are walked without locks: every walk is bounded, any pointer may be stale.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from functools import cached_property

from bpflens.errors import KernelError
from bpflens.isa.extended.uapi import AttachType, MapType, ProgType
from bpflens.kernel.memory import programs
from bpflens.kernel.memory.layout import Layout
from bpflens.kernel.memory.programs import FileRecord
from bpflens.kernel.sys.bpf import bpf, call_number, cmd
from bpflens.kernel.sys.syscalls import libc

__all__ = ("NAME", "Reader")

NAME = "bpflens"
_SLEEPABLE, _MMAPABLE = 1 << 4, 1 << 10  # BPF_F_SLEEPABLE, BPF_F_MMAPABLE
_TEST = struct.Struct("<IIIIQQIIIIQQIII")
_EFAULT = 14


class Reader:
    """See the module. `own_programs` are the ids of the programs it has loaded, to be left out of every list."""

    def __init__(self) -> None:
        self.layout = Layout()
        self.own_programs: set[int] = set()
        self.can_read_memory = self.memory_read = False
        self._fds: list[int] = []
        self._links: dict[tuple[str, str], int] = {}
        self.map_fd = self.prog_fd = -1
        self._value: mmap.mmap | None = None
        self._tasks_by_tid: dict[int, int] = {}

    def close(self) -> None:
        """Unload the programs."""
        self.can_read_memory = False
        self.layout.save()
        if self._value is not None:
            self._value.close()
            self._value = None
        while self._fds:
            os.close(self._fds.pop())

    # --- layout ---

    def offset(self, struct_name: str, path: str, module: str = "") -> int:
        """Byte offset of a member; InputError where this kernel does not have it. `module`: where the struct is if not in vmlinux."""
        return self.layout.offset(struct_name, path, module)

    def has(self, struct_name: str, *paths: str, module: str = "") -> bool:
        """Whether this kernel has the members."""
        return all(self.layout.has(struct_name, path, module) for path in paths)

    def size(self, struct_name: str) -> int:
        """sizeof(struct NAME)."""
        return self.layout.size(struct_name)

    # --- memory ---

    def open_memory(self) -> None:
        """Load the program that reads memory; KernelError where the kernel refuses it."""
        from bpflens.kernel.programs.load import create_map, load_program

        fd = create_map(MapType.ARRAY, 4, programs.READ_BYTES, 1, name=NAME, flags=_MMAPABLE)
        self._fds.append(fd)
        self.map_fd = fd
        prog = load_program(programs.read_program(fd, self.layout.assembled), ProgType.SYSCALL, name=NAME, flags=_SLEEPABLE)
        self._fds.append(prog)
        self.prog_fd = prog
        self._note(prog)
        self._value = mmap.mmap(fd, programs.READ_BYTES)
        self._number = call_number()
        self._context = ctypes.create_string_buffer(16)
        self._test = ctypes.create_string_buffer(_TEST.size)
        _TEST.pack_into(self._test, 0, prog, 0, 0, 0, 0, 0, 0, 0, 16, 0, ctypes.addressof(self._context), 0, 0, 0, 0)
        self.can_read_memory = self.memory_read = True

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of kernel memory; OSError where it cannot be read."""
        if self._value is None:
            raise PermissionError(1, "kernel memory cannot be read")
        parts = []
        while size > 0:
            count = min(size, programs.READ_BYTES - 1)
            struct.pack_into("<QQ", self._context, 0, address & 0xFFFFFFFFFFFFFFFF, count)
            if libc.syscall(self._number, cmd.PROG_TEST_RUN, self._test, _TEST.size) < 0:
                errno = ctypes.get_errno()
                raise OSError(errno, os.strerror(errno))
            if struct.unpack_from("<I", self._test, 4)[0]:
                raise OSError(_EFAULT, f"kernel address {address:#x} cannot be read")
            parts.append(self._value[:count])
            address += count
            size -= count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def u64(self, address: int) -> int:
        """A 64-bit word of kernel memory."""
        return int.from_bytes(self.read(address, 8), "little")

    def u32(self, address: int) -> int:
        """A 32-bit word."""
        return int.from_bytes(self.read(address, 4), "little")

    def u16(self, address: int) -> int:
        """A 16-bit word."""
        return int.from_bytes(self.read(address, 2), "little")

    def text(self, address: int, size: int = 16) -> str:
        """A string of at most `size` bytes."""
        return self.read(address, size).split(b"\0", 1)[0].decode(errors="replace") if address else ""

    # --- iterators ---

    def iterate(self, target: str, text: str) -> bytes:
        """What an iterator's program writes, in the network namespace of the calling thread. NotPermitted, or KernelError where the kernel
        has no such iterator.
        """
        link = self._links.get((target, text))
        if link is None:
            link = self._links[target, text] = self._iterator(target, text)
        fd = bpf(cmd.ITER_CREATE, struct.pack("<II", link, 0), f"iterator {target}", "cannot open")[0]
        try:
            parts = []
            while part := os.read(fd, 1 << 16):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def _iterator(self, target: str, text: str) -> int:
        """The descriptor of a link that stands for an iterator with our program."""
        from bpflens.kernel.programs.load import load_program

        function = self.layout.function(f"bpf_iter_{target}")
        if function is None:
            raise KernelError(f"iterator {target}", "this kernel does not have it", errno=38)
        code = self.layout.assembled(text)
        prog = load_program(code, ProgType.TRACING, name=NAME, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=function)
        try:
            self._note(prog)
            link = bpf(cmd.LINK_CREATE, struct.pack("<IIII", prog, 0, AttachType.TRACE_ITER, 0), f"iterator {target}", "cannot create")[0]
        finally:
            os.close(prog)
        self._fds.append(link)
        return link

    def _note(self, prog: int) -> None:
        from bpflens.kernel.programs.prog_info import prog_info_by_fd

        self.own_programs.add(prog_info_by_fd(prog).id)

    @cached_property
    def file_records(self) -> list[FileRecord]:
        """Every descriptor of every task, read once."""
        return self.files()

    def files(self) -> list[FileRecord]:
        """Every descriptor of every task now."""
        data = self.iterate("task_file", programs.files(self.offset))
        whole = len(data) // programs.FILE.size * programs.FILE.size
        return [FileRecord._make(record) for record in programs.FILE.iter_unpack(data[:whole])]

    def tasks(self) -> list[tuple[int, int, int, int]]:
        """(struct task_struct pointer, pid, tid, struct seccomp_filter pointer) of every task."""
        data = self.iterate("task", programs.tasks(self.offset))
        return list(struct.iter_unpack("<QIIQ", data[: len(data) // 24 * 24]))

    def pointers(self, target: str, field: str) -> list[int]:
        """The pointers that an iterator goes over, in the network namespace of the calling thread."""
        data = self.iterate(target, programs.pointers(f"bpf_iter__{target}", field, self.offset))
        return [value for (value,) in struct.iter_unpack("<Q", data[: len(data) & ~7])]

    def current_net(self) -> int:
        """The struct net pointer of the namespace that the calling thread is in."""
        import threading

        if not self._tasks_by_tid:
            self._tasks_by_tid = {tid: task for task, _, tid, _ in self.tasks()}
        task = self._tasks_by_tid.get(threading.get_native_id(), 0)
        return self.u64(self.u64(task + self.offset("task_struct", "nsproxy")) + self.offset("nsproxy", "net_ns")) if task else 0

    def namespaces_of(self, pids: set[int]) -> list[int]:
        """The inodes of the network namespaces that these processes are in; OSError where one cannot be read."""
        found = set()
        for task, pid, _, _ in self.tasks():
            if pid in pids:
                proxy = self.u64(task + self.offset("task_struct", "nsproxy"))
                if proxy:  # else it is exiting
                    found.add(self.u32(self.u64(proxy + self.offset("nsproxy", "net_ns")) + self.offset("net", "ns.inum")))
        return sorted(found)
