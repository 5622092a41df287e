"""The recorder: its maps, its program on the tracepoint, and what comes in as loads with their original instructions.

    with Recorder() as recorder:
        for load in recorder.loads(): ...     Load(name="tc_prog", code=b"...", load_time=...)

A load is told apart from others by its load_time, which is that of bpf_prog_info. Where the kernel lacks the tracepoint alloc_vmap_area
(before 6.2) or a field that the program reads, loads are copied at the exit of bpf(2) (program.py says what that misses).

    Recorder(pins="/sys/fs/bpf/bpflens-record")

goes on without its reader: link, ring and counters are pinned, and the next reader finds what came in meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from types import TracebackType

from bpflens.errors import BpflensError, InputError, NotPermitted, NotSupported
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.attachments.attach import raw_tracepoint_open
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.limits import raise_memlock
from bpflens.kernel.maps.map_data import lookup, possible_cpus
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.pins import get, pin
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from bpflens.kernel.recorder.load import HEAD, Load, load_of
from bpflens.kernel.recorder.program import FUNCTIONS, FUNCTIONS_AT_EXIT, SCRATCH_BYTES, Layout, functions_btf, recorder_text
from bpflens.kernel.recorder.ring import Ring

__all__ = ("PINS", "RING_BYTES", "Load", "Recorder", "remove_pins")

RING_BYTES = 1 << 24
PINS = "/sys/fs/bpf/bpflens-record"
_TASK_BYTES = 272  # 16 slots of address and size, the next slot, the last load_time
_COUNTERS = ("events", "programs", "no_room")
_OPEN_AT_ONCE = 64  # chunks follow their header at once; only records of other CPUs come between
_PATIENCE = 1.0  # seconds for the rest of a load whose beginning is there


class Recorder:
    """An attached recorder; a context manager. Everything goes with the descriptors, but for what is pinned."""

    def __init__(self, ring_bytes: int = RING_BYTES, pins: str | None = None, *, at_exit: bool = False) -> None:
        """`pins`: a directory of a BPF filesystem, where a recorder that is there already is taken over with its ring. `at_exit`: at the
        exit of bpf(2); `working` finds out which way this kernel needs.

        KernelError where the kernel refuses, NotSupported where it cannot.
        """
        try:
            self._layout = Layout(vmlinux(), at_exit)
        except InputError as error:
            raise NotSupported("record", f"this kernel's types are not as expected ({error.reason})") from None
        self.at_exit = at_exit
        self._fds: list[int] = []
        self._ready: list[Load] = []
        self._open: dict[int, tuple[Load, float]] = {}
        self._ring: Ring | None = None
        self.taken_over = False
        try:
            self._set_up(ring_bytes, pins)
        except BpflensError:
            self.close()
            raise

    @classmethod
    def working(cls, ring_bytes: int = RING_BYTES, pins: str | None = None) -> Recorder:
        """A recorder whose self-test came in whole: before the verifier where this kernel has that, else at the exit of bpf(2).

        NotSupported where neither records; NotPermitted, KernelError.
        """
        for at_exit in (False, True):
            try:
                recorder = cls(ring_bytes, pins, at_exit=at_exit)
            except NotPermitted:
                raise
            except BpflensError:
                if at_exit:
                    raise
                continue
            if recorder.self_test():
                return recorder
            recorder.close()
            if pins is not None:
                remove_pins(pins)
        raise NotSupported("record", "the self-test was not recorded: this kernel loads programs in another way")

    def _set_up(self, ring_bytes: int, pins: str | None) -> None:
        if pins is not None and os.path.lexists(f"{pins}/link"):
            if os.path.exists(f"{pins}/{self._version()}"):
                self._take_over(pins)
                return
            remove_pins(pins)  # of another version of this program: its records have another form
        ring, link = self._attach(ring_bytes)
        if pins is not None:
            self._pin(pins, ring, link)
        self._ring = Ring(ring, ring_bytes)

    def _take_over(self, pins: str) -> None:
        self._kept(get(f"{pins}/link"))
        ring = self._kept(get(f"{pins}/ring"))
        self._counts = self._kept(get(f"{pins}/counts"))
        self._ring = Ring(ring, map_by_fd(ring, types=False).max_entries)
        self.taken_over = True

    def _pin(self, pins: str, ring: int, link: int) -> None:
        try:
            os.makedirs(pins, mode=0o700, exist_ok=True)
        except OSError as error:
            raise InputError(pins, error.strerror or str(error)) from None
        pin(ring, f"{pins}/ring")
        pin(self._counts, f"{pins}/counts")
        pin(self._counts, f"{pins}/{self._version()}")
        pin(link, f"{pins}/link")  # last: where it is, all are

    def _version(self) -> str:
        text = recorder_text(self._layout, {"RING": 0, "COUNTS": 0, "TASKS": 0, "EMPTY": 0, "SCRATCH": 0}, 0)
        return "v" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def _attach(self, ring_bytes: int) -> tuple[int, int]:
        """Descriptors of the ring and of the link."""
        raise_memlock()  # before Linux 5.11 maps and programs count
        ring = self._kept(create_map(MapType.RINGBUF, 0, 0, ring_bytes, name="bpflens_ring"))
        self._counts = self._kept(create_map(MapType.PERCPU_ARRAY, 4, 8, 8, name="bpflens_counts"))
        maps, names, tracepoint = {"RING": ring, "COUNTS": self._counts}, FUNCTIONS, "alloc_vmap_area"
        if self.at_exit:
            names, tracepoint = FUNCTIONS_AT_EXIT, "sys_exit"
            maps["SCRATCH"] = self._kept(create_map(MapType.PERCPU_ARRAY, 4, SCRATCH_BYTES, 1, name="bpflens_scratch"))
        else:
            maps["TASKS"] = self._kept(create_map(MapType.LRU_HASH, 8, _TASK_BYTES, 1024, name="bpflens_tasks"))
            maps["EMPTY"] = self._kept(create_map(MapType.ARRAY, 4, _TASK_BYTES, 1, name="bpflens_empty"))
        text = recorder_text(self._layout, maps, ring_bytes // 8)
        types = self._kept(load_btf(functions_btf(names)))
        starts = [(slot, 3 + number) for number, slot in enumerate(_slots_of(text, names))]
        code = assemble(text, "kernel")
        program = self._kept(load_program(code, ProgType.RAW_TRACEPOINT, btf_fd=types, func_info=starts, name="bpflens_record"))
        return ring, self._kept(raw_tracepoint_open(program, tracepoint, "record"))

    def _kept(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def wait(self, milliseconds: int) -> bool:
        """Wait for loads; they are told of at once only when the ring fills, so ask again after 100 ms."""
        return self._ring is not None and self._ring.wait(milliseconds)

    def loads(self, limit_bytes: int = 1 << 26) -> list[Load]:
        """What came in since the last call, each with all its parts; what waits for a part for more than a second comes without it. After
        `limit_bytes` the rest waits for the next call.
        """
        found, self._ready = self._ready, []
        taken, now = 0, time.monotonic()
        for record in self._ring.records() if self._ring is not None else ():
            kind, count = struct.unpack_from("=II", record)
            (address,) = struct.unpack_from("=Q", record, 8)
            if kind == HEAD:
                if (before := self._open.pop(address, None)) is not None:
                    found.append(before[0])
                self._open[address] = load_of(record, count, self._layout), now
                if len(self._open) > _OPEN_AT_ONCE:
                    found.append(self._open.pop(next(iter(self._open)))[0])
            elif (known := self._open.get(address)) is not None:
                at, failed = struct.unpack_from("=Qq", record, 16)
                known[0].add(kind, at, record[32 : 32 + count], bool(failed))
                if known[0].whole:
                    found.append(self._open.pop(address)[0])
            taken += len(record)
            if taken > limit_bytes:
                break
        for address, (load, since) in list(self._open.items()):
            if now - since > _PATIENCE or load.gap:
                found.append(self._open.pop(address)[0])
        return found

    @property
    def waiting(self) -> bool:
        """Parts of a load are still to come."""
        return bool(self._open)

    def counters(self) -> dict[str, int]:
        """Allocations that were seen, programs that were recorded, records for which there was no room."""
        cpus = possible_cpus()
        values = [lookup(self._counts, index.to_bytes(4, "little"), 8 * cpus) or bytes(8 * cpus) for index in range(len(_COUNTERS))]
        return {name: sum(struct.unpack(f"={cpus}Q", value)) for name, value in zip(_COUNTERS, values, strict=True)}

    def self_test(self) -> bool:
        """Load a program of two instructions and see it come in, whole. Other loads are kept for the next `loads`."""
        code, name = bytes.fromhex("b700000017000000 9500000000000000"), f"bpflens_{os.getpid() % 10_000_000}"
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, load_program(code, ProgType.SOCKET_FILTER, name=name))
            found = self.loads()
        own = [load for load in found if load.name == name and load.pid == os.getpid()]
        self._ready += [load for load in found if load not in own]
        return any(load.complete and load.code == code for load in own)

    def close(self) -> None:
        """Detach and forget."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
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


def remove_pins(pins: str = PINS) -> bool:
    """End a pinned recorder; whether there was one."""
    try:
        names = os.listdir(pins)
    except OSError:
        return False
    for name in sorted(names, reverse=True):
        with contextlib.suppress(OSError):
            os.unlink(f"{pins}/{name}")
    with contextlib.suppress(OSError):
        os.rmdir(pins)
    return bool(names)
