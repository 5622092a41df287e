"""A load of a program as the recorder saw it: parts of it come in one after the other."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from bpflens.isa.extended.uapi import Cmd
from bpflens.kernel.programs.load import FUNC_INFO_SIZE, LINE_INFO_SIZE
from bpflens.kernel.recorder.program import ATTR_BYTES, HEADER_AT_ATTR, Layout

__all__ = ("CODE", "FUNC_INFO", "HEAD", "LINE_INFO", "Load", "load_of")

HEAD, CODE, FUNC_INFO, LINE_INFO = 1, 2, 3, 4
_BPF_SYSCALLS = (321, 357)  # of x86-64, and of its 32-bit entry
_FIELDS = {  # of union bpf_attr, what says something later: offset
    "kern_version": 40, "prog_flags": 44, "prog_ifindex": 64, "expected_attach_type": 68, "prog_btf_fd": 72, "attach_btf_id": 108,
    "attach_prog_fd": 112, "core_relo_cnt": 116, "fd_array_cnt": 148, "log_level": 24,
}  # fmt: skip
_FUNC_INFO_SIZE, _FUNC_INFO_COUNT, _LINE_INFO_SIZE, _LINE_INFO_COUNT = 76, 88, 92, 104


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
    parts: dict[int, bytearray] = field(default_factory=lambda: {CODE: bytearray(), FUNC_INFO: bytearray(), LINE_INFO: bytearray()})
    gap: bool = False

    @property
    def code(self) -> bytes:
        """The instructions, with descriptors of maps as the loader gave them."""
        return bytes(self.parts[CODE])

    @property
    def complete(self) -> bool:
        """No instruction was lost."""
        return len(self.parts[CODE]) == 8 * self.insn_count

    @property
    def whole(self) -> bool:
        """Nothing more of it can come."""
        return self.complete and all(len(self.parts[kind]) >= count for kind, count in self._expected())

    @property
    def func_info(self) -> tuple[tuple[int, int], ...]:
        """insn_off, type_id; empty where it was not read, or its records are longer than is known."""
        return tuple(struct.iter_unpack("<II", self._records(FUNC_INFO, _FUNC_INFO_SIZE, FUNC_INFO_SIZE)))

    @property
    def line_info(self) -> tuple[tuple[int, int, int, int], ...]:
        """insn_off, file_name_off, line_off, line_col."""
        return tuple(struct.iter_unpack("<4I", self._records(LINE_INFO, _LINE_INFO_SIZE, LINE_INFO_SIZE)))

    @property
    def attributes(self) -> Mapping[str, int]:
        """Fields of union bpf_attr that are not 0."""
        return {name: value for name, at in _FIELDS.items() if (value := self._size(at))}

    def add(self, kind: int, at: int, content: bytes, failed: bool) -> None:
        """A piece; after a gap the rest is of no use."""
        part = self.parts.get(kind)
        if part is not None and not failed and len(part) == at:
            part += content
        else:
            self.gap = True

    def _records(self, kind: int, size_at: int, size: int) -> bytes:
        """A part whose records are of the size that is known, and whole; else nothing."""
        raw = bytes(self.parts[kind])
        return raw if self._size(size_at) == size and len(raw) % size == 0 else b""

    def _expected(self) -> tuple[tuple[int, int], ...]:
        return (
            (FUNC_INFO, self._size(_FUNC_INFO_SIZE) * self._size(_FUNC_INFO_COUNT)),
            (LINE_INFO, self._size(_LINE_INFO_SIZE) * self._size(_LINE_INFO_COUNT)),
        )

    def _size(self, at: int) -> int:
        return int.from_bytes(self.attr[at : at + 4], "little")


def load_of(record: bytes, count: int, layout: Layout) -> Load:
    """The load that a header of the ring begins; `count`: its instructions."""
    pid_tgid, uid_gid, comm = struct.unpack_from("=QQ16s", record, 24)
    call, command, _, attr_bytes, license_bytes = struct.unpack_from("=QQQQq", record, 56)
    load_time, name = struct.unpack_from("=Q16s", record, layout.at_load_time)
    type, attach_type = struct.unpack_from("=II", record, layout.at_prog + layout.type)
    by_syscall = call in _BPF_SYSCALLS and command == Cmd.PROG_LOAD and license_bytes >= 0
    at_license = HEADER_AT_ATTR + ATTR_BYTES
    return Load(
        load_time, pid_tgid >> 32, uid_gid & 0xFFFFFFFF, _text(comm), _text(name), type, attach_type, count,
        record[HEADER_AT_ATTR : HEADER_AT_ATTR + min(ATTR_BYTES, attr_bytes & 0xFFFFFFFF)] if by_syscall else b"",
        _text(record[at_license : at_license + 128]) if by_syscall and license_bytes > 0 else "",
    )  # fmt: skip


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
