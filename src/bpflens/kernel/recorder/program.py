"""The program that records: on each allocation of the kernel it looks whether that is the verifier beginning with a program.

bpf_prog_load() (kernel/bpf/syscall.c) allocates a program by vmalloc and copies the instructions in. bpf_check() (kernel/bpf/verifier.c)
then allocates struct bpf_insn_aux_data for each of them by vzalloc, before it changes anything. That second allocation is the moment: the
program is whole and untouched, no page can be missing, and nobody can change the copy. The tracepoint alloc_vmap_area came with Linux 6.2.

The text is in recorder.bpf; sizes and offsets in it ($NAME) are those of the running kernel's BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from importlib.resources import files

from bpflens.btf.btf import Btf
from bpflens.btf.fields import member_offset

__all__ = ("ATTR_BYTES", "FUNCTIONS", "Layout", "functions_btf", "recorder_text")

ATTR_BYTES = 168  # of union bpf_attr, as far as BPF_PROG_LOAD goes
LICENSE_BYTES = 128
FUNCTIONS = ("main", "is_program", "count", "emit", "chunk")
HEADER_AT_ATTR = 96


class Layout:
    """Where things are: in the kernel's structures, by their BTF, and in the records of the ring."""

    def __init__(self, btf: Btf) -> None:
        """InputError where this kernel lacks one of the fields."""
        self.prog_head = member_offset(btf, "bpf_prog", "insnsi")
        self.aux_bytes = member_offset(btf, "bpf_prog_aux", "ext_mutex")  # as far as anything is worth having
        self.at_load_time = HEADER_AT_ATTR + ATTR_BYTES + LICENSE_BYTES
        self.at_prog = self.at_load_time + 24
        self.at_aux = self.at_prog + self.prog_head
        self.header_bytes = (self.at_aux + self.aux_bytes + 7) & ~7
        self.type = member_offset(btf, "bpf_prog", "type")
        insn_aux = btf.size(btf.struct_id("bpf_insn_aux_data"))
        self.numbers: Mapping[str, int] = {
            "PROG_HEAD": self.prog_head, "HEADER_ALL": self.header_bytes, "INSN_AUX": insn_aux, "ATTR": ATTR_BYTES,
            "LARGEST": self.prog_head + 4095 + 4096, "SMALLEST": self.prog_head + 8 + 4095 + 4096,
            "PROG_AUX": member_offset(btf, "bpf_prog", "aux"), "PROG_LEN": member_offset(btf, "bpf_prog", "len"),
            "AUX_PROG": member_offset(btf, "bpf_prog_aux", "prog"), "AUX_SIZE": self.aux_bytes,
            "AUX_ID": member_offset(btf, "bpf_prog_aux", "id"),
            "AUX_LOAD_TIME": member_offset(btf, "bpf_prog_aux", "load_time"), "AUX_NAME": member_offset(btf, "bpf_prog_aux", "name"),
            "AT_PROG": self.at_prog, "AT_PROG_AUX": self.at_prog + member_offset(btf, "bpf_prog", "aux"), "AT_AUX": self.at_aux,
            "AT_LOAD_TIME": self.at_load_time, "AT_NAME": self.at_load_time + 8, "AT_LICENSE": HEADER_AT_ATTR + ATTR_BYTES,
            **{name.upper(): member_offset(btf, "pt_regs", name) for name in ("orig_ax", "di", "si", "dx", "bx", "cx")},
        }  # fmt: skip


def recorder_text(layout: Layout, maps: Mapping[str, int], wake_bytes: int) -> str:
    """The assembler text of the program; `maps`: descriptors of RING, COUNTS, TASKS and EMPTY."""
    text = (files("bpflens.kernel.recorder") / "recorder.bpf").read_text()
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
