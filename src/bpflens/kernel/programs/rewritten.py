"""What the verifier makes of small programs: each is loaded, read back and closed, about 50 µs apiece.

    Prober(SCHED_CLS).image([r2 = *(u32*)(r1+16), r0 = 1, exit])   ──►   words of the xlated image
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bpflens.isa.extended.insn import Insn, words
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.sys.bpf import Buffer, bpf_errno, cmd

__all__ = ("Prober", "probe_map")

_MAX_SLOTS = 4096


class Prober:
    """Loads programs of one type and attach type, and reads their images; holds nothing."""

    def __init__(self, prog_type: int, attach_type: int = 0, flags: int = 0) -> None:
        self._license = Buffer(b"GPL\0")
        self._tail = struct.pack("=QIIQIIII", self._license.address, 0, 0, 0, 0, flags, 0, 0) + struct.pack("=QIi", 0, 0, attach_type)
        self._type = prog_type
        self._xlated = Buffer(8 * _MAX_SLOTS)
        self._info = bytes(20) + struct.pack("=I", self._xlated.size) + bytes(8) + struct.pack("=Q", self._xlated.address) + bytes(192)

    def image(self, program: Iterable[Insn]) -> tuple[int, ...] | None:
        """The words that the kernel made of `program`, constants blinded where it blinds; None where it refuses it."""
        read = self._load(program)
        if read is None:
            return None
        size = int.from_bytes(read[20:24], "little")
        return tuple(words(self._xlated.bytes[:size]))

    def tag(self, program: Iterable[Insn]) -> str | None:
        """The tag that the kernel gives `program`; None where it refuses it."""
        read = self._load(program)
        return None if read is None else read[8:16].hex()

    def _load(self, program: Iterable[Insn]) -> bytes | None:
        """struct bpf_prog_info of `program`, whose image is in the buffer then."""
        code = b"".join([insn.word.to_bytes(8, "little") for insn in program])
        buffer = Buffer(code)
        fd, _, _ = bpf_errno(cmd.PROG_LOAD, struct.pack("=IIQ", self._type, len(code) // 8, buffer.address) + self._tail)
        if fd < 0:
            return None
        try:
            info = Buffer(self._info)
            result, _, _ = bpf_errno(cmd.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, info.size, info.address))
            return None if result < 0 else info.bytes
        finally:
            os.close(fd)


@contextmanager
def probe_map(type: int, key_size: int, value_size: int, max_entries: int) -> Iterator[int]:
    """A descriptor of a map for programs of a prober, for the length of a with statement. KernelError where there is none of this type."""
    fd = create_map(type, key_size, value_size, max_entries)
    try:
        yield fd
    finally:
        os.close(fd)
