"""The image of a loaded program as records are compared with it: exactly what the kernel gives, not what was made of it."""

from __future__ import annotations

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
    return Base(tuple(words(dump.xlated)), dump.func_info, dump.line_info) if dump.xlated else None
