"""The reader of kernel memory for one walk, or why there is none."""

from __future__ import annotations

import os

from bpflens.errors import BpflensError, NotPermitted
from bpflens.inventory.facts.context import Context
from bpflens.kernel.memory.reader import Reader

__all__ = ("open_reader",)


def open_reader(ctx: Context) -> Reader | None:
    """A reader, or None with the reason among the context's denials."""
    what = "what only the kernel-side reader sees"
    reader = Reader()
    try:
        reader.offset("bpf_prog", "aux")
    except BpflensError as error:
        ctx.deny(what, f"the kernel's BTF ({error})")
        return None
    refused = ""
    try:
        reader.open_memory()  # first: its descriptors are among those that the iterator shows (memory/structures/holders.py)
    except NotPermitted:
        ctx.deny(what, "CAP_BPF and CAP_PERFMON")
        return None
    except (BpflensError, OSError) as error:
        locked = "bpf_probe_read_kernel" in getattr(error, "log", "")  # the verifier says that the helper may not be used
        refused = "a kernel that is not locked down for confidentiality" if locked else f"Linux 5.14 ({error})"
    try:
        if os.getpid() not in {record.pid for record in reader.file_records}:
            ctx.note("this is not the initial pid namespace: process numbers from kernel memory are those of the initial one")
    except NotPermitted:
        ctx.deny(what, "CAP_BPF and CAP_PERFMON")
        reader.close()
        return None
    except (BpflensError, OSError) as error:
        ctx.deny(what, f"BPF iterators, which this kernel refuses: {error}")
        reader.close()
        return None
    if refused:
        ctx.deny("code that only kernel memory has", refused)
    return reader
