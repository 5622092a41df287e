"""The image of a loaded program as records are compared with it: exactly what the kernel gives, not what was made of it."""

from __future__ import annotations

import os
import re

from bpflens.errors import KernelError
from bpflens.isa.extended.insn import words
from bpflens.kernel.programs.prog_info import open_prog, prog_dump
from bpflens.original.store.record import Base

__all__ = ("base_of",)


def base_of(prog_id: int) -> Base | None:
    """None where the program has gone, or its instructions may not be seen."""
    try:
        with open_prog(prog_id) as fd:
            dump = prog_dump(fd, f"id:{prog_id}")
    except KernelError:
        return None
    if not dump.xlated:
        return None
    return Base(tuple(words(dump.xlated)), dump.func_info, dump.line_info, dump.info.name, dump.info.type, _version(os.uname().release))


def _version(release: str) -> int:
    """LINUX_VERSION_CODE of "6.18.44-x" as libbpf makes it (include/uapi/linux/version.h)."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", release)
    if found is None:
        return 0
    major, minor, patch = (int(part) for part in found.groups())
    return major << 16 | minor << 8 | min(patch, 255)
