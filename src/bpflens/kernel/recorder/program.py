"""The program that records: on each allocation of the kernel it looks whether that is the verifier beginning with a program.

bpf_prog_load() (kernel/bpf/syscall.c) allocates a program by vmalloc and copies the instructions in. bpf_check() (kernel/bpf/verifier.c)
then allocates struct bpf_insn_aux_data for each of them by vzalloc, before it changes anything. That second allocation is the moment: the
program is whole and untouched, no page can be missing, and nobody can change the copy. The tracepoint alloc_vmap_area came with Linux 6.2.

Where it is missing, the program sits on the exit of system calls (raw_tp sys_exit) and copies what the caller of a successful
BPF_PROG_LOAD had given in: its pages are there, because the kernel has just read them. A thread that changes them meanwhile is noticed by
the tag; loads by programs (light skeletons) are not seen, and every system call takes some 70 ns longer.

The texts are in recorder.bpf and recorder_exit.bpf; sizes and offsets in them ($NAME) are those of the running kernel's BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from importlib.resources import files

from bpflens.btf.btf import Btf
from bpflens.btf.fields import member_offset

__all__ = ("ATTR_BYTES", "FUNCTIONS", "FUNCTIONS_AT_EXIT", "SCRATCH_BYTES", "Layout", "functions_btf", "recorder_text")

ATTR_BYTES = 168  # of union bpf_attr, as far as BPF_PROG_LOAD goes
LICENSE_BYTES = 128
FUNCTIONS: tuple[str, ...] = ("main", "is_program", "count", "emit", "chunk")
FUNCTIONS_AT_EXIT: tuple[str, ...] = ("main", "pieces", "count")
SCRATCH_BYTES = 32 + 16384
HEADER_AT_ATTR = 96


class Layout:
    """Where things are: in the kernel's structures, by their BTF, and in the records of the ring. `at_exit`: of the second program."""

    def __init__(self, btf: Btf, at_exit: bool = False) -> None:
        """InputError where this kernel lacks one of the fields."""
        self.at_exit = at_exit
        self.prog_head = member_offset(btf, "bpf_prog", "insnsi")
        self.at_load_time = HEADER_AT_ATTR + ATTR_BYTES + LICENSE_BYTES
        self.at_prog = self.at_load_time + 24
        self.at_aux = self.at_prog + self.prog_head
        self.type = member_offset(btf, "bpf_prog", "type")
        self.numbers: dict[str, int] = {
            "PROG_HEAD": self.prog_head, "ATTR": ATTR_BYTES, "PROG_AUX": member_offset(btf, "bpf_prog", "aux"),
            "AUX_PROG": member_offset(btf, "bpf_prog_aux", "prog"),
            "AUX_LOAD_TIME": member_offset(btf, "bpf_prog_aux", "load_time"), "AUX_NAME": member_offset(btf, "bpf_prog_aux", "name"),
            "AT_PROG": self.at_prog, "AT_LOAD_TIME": self.at_load_time, "AT_NAME": self.at_load_time + 8,
            "AT_LICENSE": HEADER_AT_ATTR + ATTR_BYTES,
            **{name.upper(): member_offset(btf, "pt_regs", name) for name in ("orig_ax", "di", "si", "dx", "bx", "cx")},
        }  # fmt: skip
        self.numbers |= self._at_exit(btf) if at_exit else self._before_the_verifier(btf)
        self.header_bytes = self.numbers["HEADER_ALL"]

    def _before_the_verifier(self, btf: Btf) -> dict[str, int]:
        aux_bytes = member_offset(btf, "bpf_prog_aux", "ext_mutex")  # as far as anything is worth having
        return {
            "HEADER_ALL": (self.at_aux + aux_bytes + 7) & ~7, "INSN_AUX": btf.size(btf.struct_id("bpf_insn_aux_data")),
            "LARGEST": self.prog_head + 4095 + 4096, "SMALLEST": self.prog_head + 8 + 4095 + 4096,
            "PROG_LEN": member_offset(btf, "bpf_prog", "len"), "AUX_SIZE": aux_bytes, "AUX_ID": member_offset(btf, "bpf_prog_aux", "id"),
            "AT_PROG_AUX": self.at_prog + member_offset(btf, "bpf_prog", "aux"), "AT_AUX": self.at_aux,
        }  # fmt: skip

    def _at_exit(self, btf: Btf) -> dict[str, int]:
        return {
            "HEADER_ALL": (self.at_aux + 7) & ~7, "TASK_FILES": member_offset(btf, "task_struct", "files"),
            "FILES_FDT": member_offset(btf, "files_struct", "fdt"), "FDTABLE_FD": member_offset(btf, "fdtable", "fd"),
            "FILE_DATA": member_offset(btf, "file", "private_data"),
        }  # fmt: skip


def recorder_text(layout: Layout, maps: Mapping[str, int], wake_bytes: int) -> str:
    """The assembler text of the program; `maps`: descriptors of RING, COUNTS, TASKS and EMPTY, at the exit of RING, COUNTS and SCRATCH."""
    text = (files("bpflens.kernel.recorder") / ("recorder_exit.bpf" if layout.at_exit else "recorder.bpf")).read_text()
    numbers = {**layout.numbers, **maps, "WAKE": wake_bytes}
    for name in sorted(numbers, key=len, reverse=True):
        text = text.replace(f"${name}", str(numbers[name]))
    return text


def functions_btf(names: tuple[str, ...]) -> bytes:
    """The smallest BTF that gives functions their names: bpf_loop() takes no callback without func_info. Function N has type id 3 + N."""
    strings = b"\0int\0"
    types = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32) + struct.pack("=III", 0, 13 << 24, 1)
    for name in names:
        types += struct.pack("=III", len(strings), 12 << 24, 2)
        strings += name.encode() + b"\0"
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
