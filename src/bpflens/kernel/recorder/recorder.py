"""The recorder: its maps, its program on the tracepoint, and what comes in as loads with their original instructions.

    with Recorder() as recorder:
        for load in recorder.loads(): ...     Load(name="tc_prog", code=b"...", load_time=...)

A load is told apart from others by its load_time, which is that of bpf_prog_info. NotSupported where the kernel lacks the tracepoint
(before 6.2) or a field that the program reads.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass, field
from types import TracebackType

from bpflens.errors import BpflensError, InputError, NotSupported
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.attachments.attach import raw_tracepoint_open
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.maps.map_data import lookup, possible_cpus
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from bpflens.kernel.recorder.program import ATTR_BYTES, FUNCTIONS, HEADER_AT_ATTR, Layout, functions_btf, recorder_text
from bpflens.kernel.recorder.ring import Ring

__all__ = ("RING_BYTES", "Load", "Recorder")

RING_BYTES = 1 << 24
_TASK_BYTES = 272  # 16 slots of address and size, the next slot, the last load_time
_COUNTERS = ("events", "programs", "no_room")
_HEAD, _CODE, _FUNC_INFO, _LINE_INFO = 1, 2, 3, 4
_OPEN_AT_ONCE = 64  # chunks follow their header at once; only records of other CPUs come between
_BPF_SYSCALLS = (321, 357)  # of x86-64, and of its 32-bit entry
_PROG_LOAD = 5


@dataclass(slots=True)
class Load:
    """A program as the kernel got it. `load_time` (ns since boot) is the key to its id. `attr` is union bpf_attr as far as it was given,
    b"" where a program loaded it. `func_info` and `line_info` are best effort.
    """

    load_time: int
    pid: int
    uid: int
    comm: str
    name: str
    type: int
    expected_attach_type: int
    insn_count: int
    attr: bytes = b""
    license: str = ""
    parts: dict[int, bytearray] = field(default_factory=lambda: {_CODE: bytearray(), _FUNC_INFO: bytearray(), _LINE_INFO: bytearray()})

    @property
    def code(self) -> bytes:
        """The instructions, with descriptors of maps as the loader gave them."""
        return bytes(self.parts[_CODE])

    @property
    def complete(self) -> bool:
        """No chunk was lost."""
        return len(self.parts[_CODE]) == 8 * self.insn_count


class Recorder:
    """An attached recorder; a context manager. Everything goes with the descriptors."""

    def __init__(self, ring_bytes: int = RING_BYTES) -> None:
        """KernelError where the kernel refuses, NotSupported where it cannot."""
        try:
            self._layout = Layout(vmlinux())
        except InputError as error:
            raise NotSupported("record", f"this kernel's types are not as expected ({error.reason})") from None
        self._fds: list[int] = []
        try:
            self._attach(ring_bytes)
        except BpflensError:
            self.close()
            raise
        self._open: dict[int, Load] = {}

    def _attach(self, ring_bytes: int) -> None:
        ring = self._kept(create_map(MapType.RINGBUF, 0, 0, ring_bytes, name="bpflens_ring"))
        self._counts = self._kept(create_map(MapType.PERCPU_ARRAY, 4, 8, 8, name="bpflens_counts"))
        tasks = self._kept(create_map(MapType.LRU_HASH, 8, _TASK_BYTES, 1024, name="bpflens_tasks"))
        empty = self._kept(create_map(MapType.ARRAY, 4, _TASK_BYTES, 1, name="bpflens_empty"))
        maps = {"RING": ring, "COUNTS": self._counts, "TASKS": tasks, "EMPTY": empty}
        text = recorder_text(self._layout, maps, ring_bytes // 8)
        types = self._kept(load_btf(functions_btf(FUNCTIONS)))
        starts = [(slot, 3 + number) for number, slot in enumerate(_slots_of(text, FUNCTIONS))]
        code = assemble(text, "kernel")
        program = self._kept(load_program(code, ProgType.RAW_TRACEPOINT, btf_fd=types, func_info=starts, name="bpflens_record"))
        self._kept(raw_tracepoint_open(program, "alloc_vmap_area", "record"))
        self._ring = Ring(ring, ring_bytes)

    def _kept(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def wait(self, milliseconds: int) -> bool:
        """Wait for loads; they are told of at once only when the ring fills, so ask again after 100 ms."""
        return self._ring.wait(milliseconds)

    def loads(self) -> list[Load]:
        """What came in since the last call, in order."""
        found: list[Load] = []
        for record in self._ring.records():
            kind, count = struct.unpack_from("=II", record)
            (address,) = struct.unpack_from("=Q", record, 8)
            if kind == _HEAD:
                self._open.pop(address, None)
                load = self._open[address] = self._header(record, count)
                if len(self._open) > _OPEN_AT_ONCE:
                    del self._open[next(iter(self._open))]
                found.append(load)
            elif (known := self._open.get(address)) is not None:
                at, failed = struct.unpack_from("=Qq", record, 16)
                part = known.parts.get(kind)
                if part is not None and not failed and len(part) == at:  # else there is a gap, and the load stays incomplete
                    part += record[32 : 32 + count]
        return found

    def _header(self, record: bytes, count: int) -> Load:
        layout = self._layout
        pid_tgid, uid_gid, comm = struct.unpack_from("=QQ16s", record, 24)
        call, command, _, attr_bytes, license_bytes = struct.unpack_from("=QQQQq", record, 56)
        load_time, name = struct.unpack_from("=Q16s", record, layout.at_load_time)
        type, attach_type = struct.unpack_from("=II", record, layout.at_prog + layout.type)
        by_syscall = call in _BPF_SYSCALLS and command == _PROG_LOAD and license_bytes >= 0
        at_license = HEADER_AT_ATTR + ATTR_BYTES
        return Load(
            load_time, pid_tgid >> 32, uid_gid & 0xFFFFFFFF, _text(comm), _text(name), type, attach_type, count,
            record[HEADER_AT_ATTR : HEADER_AT_ATTR + min(ATTR_BYTES, attr_bytes & 0xFFFFFFFF)] if by_syscall else b"",
            _text(record[at_license : at_license + 128]) if by_syscall and license_bytes > 0 else "",
        )  # fmt: skip

    def counters(self) -> dict[str, int]:
        """Allocations that were seen, programs that were recorded, records for which there was no room."""
        cpus = possible_cpus()
        values = [lookup(self._counts, index.to_bytes(4, "little"), 8 * cpus) or bytes(8 * cpus) for index in range(len(_COUNTERS))]
        return {name: sum(struct.unpack(f"={cpus}Q", value)) for name, value in zip(_COUNTERS, values, strict=True)}

    def self_test(self) -> bool:
        """Load a program of two instructions and see it come in, whole."""
        code = bytes.fromhex("b700000017000000 9500000000000000")
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, load_program(code, ProgType.SOCKET_FILTER, name="bpflens_test"))
            return any(load.name == "bpflens_test" and load.complete and load.code == code for load in self.loads())

    def close(self) -> None:
        """Detach and forget."""
        ring = getattr(self, "_ring", None)
        if ring is not None:
            ring.close()
            self._ring = None  # type: ignore[assignment]
        for fd in reversed(self._fds):
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _slots_of(text: str, labels: tuple[str, ...]) -> list[int]:
    """Where the labels of the text are, the first at 0: calls to them, put at the end, say how far away they are."""
    probe = assemble("\n".join((text, *(f"call {label}" for label in labels[1:]))), "kernel")
    after = [len(probe) // 8 - number for number in reversed(range(len(labels) - 1))]
    return [0, *(end + int.from_bytes(probe[8 * end - 4 : 8 * end], "little", signed=True) for end in after)]


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
