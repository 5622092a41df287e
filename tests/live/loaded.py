"""Small programs and maps of our own, loaded for the length of a test."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd

SOCKET_FILTER = 1
HASH, ARRAY = 1, 2
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One slot."""
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def lookup_code(map_fd: int) -> bytes:
    """A program that looks up key 0 of a map with keys of 4 bytes, asks for the time and returns 7."""
    return b"".join((
        insn(0xB7, 1), insn(0x63, 10, 1, -4), insn(0xBF, 2, 10), insn(0x07, 2, imm=-4), insn(0x18, 1, 1, imm=map_fd), insn(0),
        insn(0x85, imm=1), insn(0x85, imm=5), insn(0xB7, imm=7), insn(0x95),
    ))  # fmt: skip


class Loaded(NamedTuple):
    """Descriptors and ids of a program and its map."""

    fd: int
    id: int
    map_fd: int
    map_id: int


@contextlib.contextmanager
def program_with_map(name: str = "bpflens_test", map_name: str = "bpflens_map") -> Iterator[Loaded]:
    """A socket filter that uses a hash map."""
    fds: list[int] = []
    try:
        fds.append(create_map(HASH, 4, 8, 16, name=map_name))
        fds.append(load_program(lookup_code(fds[0]), SOCKET_FILTER, name=name))
        yield Loaded(fds[1], prog_info_by_fd(fds[1]).id, fds[0], map_by_fd(fds[0]).id or 0)
    finally:
        for fd in fds:
            os.close(fd)


def open_fds() -> set[str]:
    """The descriptors of this process, by what they are."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return {entry for entry in found if "/proc/" not in entry}
