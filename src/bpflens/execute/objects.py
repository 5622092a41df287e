"""Memory that is not the program's, made up for a test: what pointers in contexts point to, the same for every program of a comparison.

Contexts and the memory itself hold addresses in two windows, `KERNEL` and `USER`; both show the same bytes. In the kernel these are an
array map, whose values user space maps too, so that probe reads of either kind find them; the interpreter has a region at each window.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_memory import address_of, map_array
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.test_run import SYSCALL, TestRun

__all__ = ("KERNEL", "SIZE", "USER", "KernelObjects", "made_memory", "pointers")

KERNEL, USER, SIZE = 0xFFFF_9000_0000_0000, 0x7F00_0000_0000, 1 << 16
_START = SIZE // 2  # pointers lead into the first half: what follows them is still inside
_MMAPABLE, _SLEEPABLE = 1 << 10, 1 << 4
_TEXTS = (b"bash", b"sshd", b"/etc/passwd", b"/tmp/x", b"eth0", b"root", b"a")


def pointers() -> tuple[int, ...]:
    """Addresses for contexts."""
    return tuple(base + offset for base in (KERNEL, KERNEL, KERNEL, USER) for offset in (0, 0x1000, 0x2340, 0x7000))


def made_memory(rnd: Random, constants: Sequence[int]) -> bytes:
    """Random contents: zeros, small numbers, numbers that the code compares with, texts, pointers to more of it."""
    words = []
    for _ in range(512):
        how = rnd.random()
        if how < 0.2:
            word = struct.pack("=Q", rnd.choice((0, 0, 1, 2, 3, 1 << 32, 0x100000001)))
        elif how < 0.45:
            word = struct.pack("=II", rnd.choice(constants) & 0xFFFFFFFF, rnd.choice(constants) & 0xFFFFFFFF)
        elif how < 0.55:
            word = rnd.choice(_TEXTS)[:8].ljust(8, b"\0")
        elif how < 0.9:
            word = struct.pack("=Q", (USER if rnd.random() < 0.1 else KERNEL) + 8 * rnd.randrange(_START // 8))
        else:
            word = rnd.randbytes(8)
        words.append(word)
    order = [rnd.randrange(len(words)) for _ in range(SIZE // 8)]
    return b"".join([words[n] for n in order])


class KernelObjects:
    """The memory in the kernel; close it, or let its descriptors go with the process."""

    def __init__(self) -> None:
        self._fd = create_map(2, 4, SIZE, 1, flags=_MMAPABLE)
        try:
            self._memory = map_array(self._fd, SIZE)
            self._shift = {KERNEL >> 16: self._kernel_address() - KERNEL, USER >> 16: address_of(self._memory) - USER}
        except BaseException:
            close(self._fd)
            raise
        self._content = b""
        self._known: dict[bytes, bytes] = {}

    def _kernel_address(self) -> int:
        """Where the kernel has the value: a program writes its address into it."""
        code = encode((
            Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_VALUE, 0, self._fd), Insn(0), Insn.make(op.STX | op.MEM | op.DW, 1, 1),
            Insn.make(op.ALU64 | op.MOV | op.K), Insn.make(op.EXIT_CODE),
        ))  # fmt: skip
        fd = load_program(code, SYSCALL, flags=_SLEEPABLE)
        try:
            TestRun(fd, SYSCALL).run(b"")
        finally:
            close(fd)
        return int.from_bytes(self._memory[:8], "little")

    def set(self, content: bytes) -> None:
        """Give the memory this content."""
        if content != self._content:
            self._memory[: len(content)] = self.moved(content)
            self._content = content
            self._known.clear()

    def context(self, ctx: bytes) -> bytes:
        """A context with the real addresses."""
        found = self._known.get(ctx)
        if found is None:
            found = self._known[ctx] = self.moved(ctx)
        return found

    def moved(self, data: bytes) -> bytes:
        """Words in one of the windows become real addresses."""
        shift = self._shift
        whole = len(data) & ~7
        words = struct.unpack(f"={whole // 8}Q", data[:whole])
        return struct.pack(f"={len(words)}Q", *(word + shift.get(word >> 16, 0) for word in words)) + data[whole:]

    def close(self) -> None:
        """Let the memory go."""
        self._memory.close()
        close(self._fd)
