"""Kernel memory as a test lays it out: structures with members by name, no kernel behind them."""

from __future__ import annotations

import errno
import struct

from bpflens.errors import KernelError
from bpflens.inventory.facts.context import Context
from bpflens.kernel.memory.programs import FileRecord
from bpflens.kernel.memory.reader import Reader
from bpflens.kernel.sys.procfs import OpenFile

START = 0xFFFF_8880_0000_0000
_APART = 1 << 20
_ROOM = 1 << 16
_INSNS_AT = 1 << 13  # struct bpf_prog ends with its instructions


class Memory(Reader):
    """A reader of made-up memory. Each member has its own offset, 64 bytes from the next; what was not written is zero, what is not an
    object cannot be read. `lacking`: (struct, member) that this kernel does not have.
    """

    def __init__(self) -> None:
        self.can_read_memory = self.memory_read = True
        self.objects: dict[int, bytearray] = {}
        self.offsets: dict[tuple[str, str], int] = {("bpf_prog", "insnsi"): _INSNS_AT}
        self.lacking: set[tuple[str, str]] = set()
        self.lists: dict[str, list[int]] = {}
        self.all_tasks: list[tuple[int, int, int, int]] = []
        self.file_records: list[FileRecord] = []
        self.net = 0

    def offset(self, struct_name: str, path: str, module: str = "") -> int:
        return self.offsets.setdefault((struct_name, path), 64 * len(self.offsets))

    def has(self, struct_name: str, *paths: str, module: str = "") -> bool:
        return not any((struct_name, path) in self.lacking for path in paths)

    def size(self, struct_name: str) -> int:
        return _INSNS_AT

    def read(self, address: int, size: int) -> bytes:
        base = START + (address - START) // _APART * _APART
        found, at = self.objects.get(base), address - base
        if found is None or at + size > len(found):
            raise OSError(errno.EFAULT, f"kernel address {address:#x} cannot be read")
        return bytes(found[at : at + size])

    def pointers(self, target: str, field: str) -> list[int]:
        if target not in self.lists:
            raise KernelError(f"iterator {target}", "this kernel does not have it")
        return self.lists[target]

    def tasks(self) -> list[tuple[int, int, int, int]]:
        return self.all_tasks

    def current_net(self) -> int:
        return self.net

    # --- what a test writes ---

    def new(self, name: str = "", /, **members: int | str | bytes) -> int:
        """The address of a new structure; members with "." in their paths by `put`."""
        address = START + len(self.objects) * _APART
        self.objects[address] = bytearray(_ROOM)
        for path, value in members.items():
            self.put(address, name, path, value)
        return address

    def put(self, address: int, name: str, path: str, value: int | str | bytes) -> None:
        """Write a member: a number as 64 bits, a text with its zero, bytes as they are."""
        self.write(address + self.offset(name, path), value)

    def write(self, address: int, value: int | str | bytes) -> None:
        base = START + (address - START) // _APART * _APART
        raw = struct.pack("<Q", value) if isinstance(value, int) else value.encode() + b"\0" if isinstance(value, str) else value
        self.objects[base][address - base : address - base + len(raw)] = raw

    def program(self, id: int = 0, classic: bytes = b"", image: bytes = b"") -> int:
        """A struct bpf_prog: an extended one with its id, or a classic one with its original or its image only."""
        aux = self.new("bpf_prog_aux", id=id)
        prog = self.new("bpf_prog", type=1, aux=aux, len=len(image) // 8)
        if classic:
            code = self.new()
            self.write(code, classic)
            self.put(prog, "bpf_prog", "orig_prog", self.new("sock_fprog_kern", len=len(classic) // 8, filter=code))
        self.write(prog + _INSNS_AT, image)
        return prog

    def file(self, pid: int, fd: int, **facts: int) -> FileRecord:
        """A descriptor in the list of all descriptors."""
        record = FileRecord._make([0] * len(FileRecord._fields))._replace(pid=pid, tid=pid, fd=fd, **facts)
        self.file_records.append(record)
        return record


def context(*files: tuple[int, int, str]) -> Context:
    """A walk in which /proc shows these descriptors: (pid, fd, link)."""
    made = Context()
    made.files = [OpenFile(*file) for file in files]
    made.links, made.programs = {}, None
    made._comms = {pid: f"proc{pid}" for pid, _, _ in files}
    return made
