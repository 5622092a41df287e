"""Contents that no interface of the kernel gives without changing them, read from its memory: queues, stacks, cgroup arrays, arenas, values
of inodes.

Only with the privilege for it (CAP_PERFMON, no lockdown); where it is missing the data is left out and the manifest says so.
Layouts come from the kernel's type information: struct bpf_queue_stack, struct bpf_array, struct bpf_arena (kernel/bpf, v6.18).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.errors import BpflensError
from bpflens.inventory.memory.open_reader import open_reader
from bpflens.kernel.maps.inode_storage import inode_items
from bpflens.kernel.maps.map_attributes import MapAttributes, map_attributes
from bpflens.kernel.memory.reader import Reader

__all__ = ("KernelMemory",)

_PAGE = 4096
_ARENA_PAGES = 1 << 16  # more are not looked through: 256 MiB
_ARENA_GUARD = 1 << 15  # half of GUARD_SZ (kernel/bpf/arena.c)
_QUEUE_LIMIT = 1 << 30
_RETRIES = 5


class KernelMemory:
    """Reads maps at their addresses. `attributes` of all maps are read once; close it in the end."""

    def __init__(self) -> None:
        self.attributes: dict[int, MapAttributes] = map_attributes()
        self._reader: Reader | None = None
        self._asked = False
        self.reason = "kernel memory cannot be read here"

    def reader(self) -> Reader | None:
        """The reader, loaded when it is first asked for; None where it may not be."""
        if not self._asked:
            self._asked = True
            from bpflens.inventory.facts.context import Context

            context = Context()
            reader = open_reader(context)
            if reader is not None and reader.can_read_memory:
                self._reader = reader
            else:
                self.reason = next((f"needs {denial.needs}" for denial in context.denied), self.reason)
        return self._reader

    def close(self) -> None:
        """Unload the reader's programs."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _address(self, map_id: int) -> int:
        known = self.attributes.get(map_id)
        if known is None or not known.address:
            self.attributes = map_attributes()
            known = self.attributes.get(map_id)
        return known.address if known else 0

    def queue(self, map_id: int, value_size: int) -> list[bytes] | None:
        """The elements of a queue or stack, oldest first. None where memory cannot be read or does not hold still."""
        reader, address = self.reader(), self._address(map_id)
        if reader is None or not address:
            return None
        try:
            head_at, tail_at, size_at = (address + reader.offset("bpf_queue_stack", name) for name in ("head", "tail", "size"))
            elements = address + reader.offset("bpf_queue_stack", "elements")
            size = reader.u32(size_at)
            for _ in range(_RETRIES):
                head, tail = reader.u32(head_at), reader.u32(tail_at)
                if not (head < size and tail < size) or size * value_size > _QUEUE_LIMIT:
                    return None
                spans = [(tail, head)] if tail <= head else [(tail, size), (0, head)]
                parts = [(elements + first * value_size, (last - first) * value_size) for first, last in spans if last > first]
                raw = b"".join(reader.read(at, length) for at, length in parts)
                if (head, tail) == (reader.u32(head_at), reader.u32(tail_at)):
                    return [raw[at : at + value_size] for at in range(0, len(raw), value_size)]
        except (BpflensError, OSError):
            return None
        return None

    def cgroups(self, map_id: int, entries: int) -> list[tuple[int, int]] | None:
        """(index, cgroup id) of the filled slots of a cgroup array."""
        reader, address = self.reader(), self._address(map_id)
        if reader is None or not address:
            return None
        try:
            base = address + reader.offset("bpf_array", "ptrs")
            kn, id = reader.offset("cgroup", "kn"), reader.offset("kernfs_node", "id")
            pointers = struct.unpack(f"={entries}Q", reader.read(base, 8 * entries))
            return [(index, reader.u64(reader.u64(pointer + kn) + id)) for index, pointer in enumerate(pointers) if pointer]
        except (BpflensError, OSError):
            return None

    def inodes(self, map_id: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
        """(device and inode, value) of an inode storage map. OSError where memory cannot be read or does not hold still."""
        reader, address = self.reader(), self._address(map_id)
        if reader is None or not address:
            raise OSError(1, self.reason)
        try:
            yield from inode_items(reader, address, value_size)
        except BpflensError as error:
            raise OSError(5, error.reason) from None

    def arena_start(self, map_id: int) -> int:
        """The user address at which an arena is mapped, 0 where it cannot be told."""
        reader, address = self.reader(), self._address(map_id)
        if reader is None or not address:
            return 0
        try:
            return reader.u64(address + reader.offset("bpf_arena", "user_vm_start"))
        except (BpflensError, OSError):
            return 0

    def arena_pages(self, map_id: int, pages: int) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of the pages of an arena that exist; looking does not make others. OSError where memory cannot be read."""
        reader, address = self.reader(), self._address(map_id)
        if reader is None or not address or pages > _ARENA_PAGES:
            raise OSError(1, self.reason if pages <= _ARENA_PAGES else f"it may have {pages} pages, more than are looked through")
        start = reader.u64(address + reader.offset("bpf_arena", "user_vm_start"))
        area = reader.u64(address + reader.offset("bpf_arena", "kern_vm"))
        base = reader.u64(area + reader.offset("vm_struct", "addr")) + _ARENA_GUARD + (start & 0xFFFFFFFF)
        for number in range(pages):
            try:
                content = reader.read(base + number * _PAGE, _PAGE)
            except OSError:
                continue
            yield number, content
