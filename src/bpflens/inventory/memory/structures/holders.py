"""Who holds programs and maps among the processes whose descriptors /proc does not show us, from kernel memory.

A descriptor of a program is a file with the operations of programs; which ones these are is seen on a descriptor of our own.
"""

from __future__ import annotations

import os

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Holders
from bpflens.kernel.memory.reader import Reader

__all__ = ("hidden_holders",)


def hidden_holders(ctx: Context, reader: Reader) -> Holders | None:
    """Holders of programs and maps among `ctx.hidden_files`; None where kernel memory may not be read. Links are not looked for."""
    if not reader.can_read_memory:
        return None
    pid = os.getpid()
    own = {record.fd: record.operations for record in reader.file_records if record.pid == pid}
    programs: dict[int, list[Holder]] = {}
    maps: dict[int, list[Holder]] = {}
    prog_operations, map_operations = own.get(reader.prog_fd), own.get(reader.map_fd)
    hidden = set(ctx.hidden_files)
    for record in reader.file_records:
        if record.pid not in hidden or not record.private:
            continue
        try:
            if record.operations == prog_operations:
                id = reader.u32(reader.u64(record.private + reader.offset("bpf_prog", "aux")) + reader.offset("bpf_prog_aux", "id"))
                programs.setdefault(id, []).append(ctx.holder(record.pid, record.fd))
            elif record.operations == map_operations:
                maps.setdefault(reader.u32(record.private + reader.offset("bpf_map", "id")), []).append(ctx.holder(record.pid, record.fd))
        except OSError:
            continue
    return Holders(programs, {}, maps)
