"""The addresses of all program images: every struct bpf_prog, classic or extended, program or function, is a vmalloc area of its own.

Two sources. /proc/vmallocinfo names the maker of each area, and its address to who may see it (kernel.kptr_restrict). Else the kernel's own
lists are walked: `vmap_nodes` (Linux 6.9, "mm: vmalloc: Remove global vmap_area_root rb-tree"), whose place the code of find_vmap_area()
shows on kernels that do not list data symbols, or `vmap_area_list` before. The lists change while they are walked: steps are bounded, and
the number found is compared with the lines of /proc/vmallocinfo by who calls.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.inventory.memory.structures.builtin import loads
from bpflens.kernel.memory.reader import Reader
from bpflens.kernel.sys import procfs
from bpflens.lean import NamedTuple

__all__ = ("Area", "areas", "count_areas")

_MAKERS = ("bpf_prog_alloc", "bpf_prog_realloc", "bpf_prog_clone", "bpf_jit_blind_constants")
_MOST_NODES, _MOST_AREAS, _CODE_BYTES = 1024, 1 << 20, 192
_KERNEL = 1 << 63


class Area(NamedTuple):
    """A program image: address of its struct bpf_prog, bytes of the area (with its guard page where vmallocinfo is the source)."""

    address: int
    size: int


def count_areas() -> int:
    """Program images in the kernel now, by the lines of /proc/vmallocinfo. OSError without root."""
    text = procfs.read("/proc/vmallocinfo")
    if not text:
        raise FileNotFoundError(2, "/proc/vmallocinfo is empty")
    return sum(text.count(b" " + maker.encode()) for maker in _MAKERS)


def areas(reader: Reader) -> list[Area] | None:
    """Every program image now; None where their addresses cannot be had."""
    return _from_proc() or _from_memory(reader)


def _from_proc() -> list[Area] | None:
    """By /proc/vmallocinfo, where it shows addresses and not their hashes."""
    try:
        lines = procfs.read("/proc/vmallocinfo").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 3 or not words[2].startswith(tuple(maker.encode() for maker in _MAKERS)):
            continue
        address = int(words[0].partition(b"-")[0], 16)
        if address < _KERNEL:
            return None
        found.append(Area(address, int(words[1])))
    return found


def _from_memory(reader: Reader) -> list[Area] | None:
    from bpflens.kernel.sys.kallsyms import kallsyms

    if not reader.can_read_memory:
        return None
    offset = reader.offset
    heads = _heads(reader)
    if not heads:
        return None
    makers = kallsyms().ranges(_MAKERS)
    found = []
    for head in heads:
        for area in _list(reader, head, offset("vmap_area", "list")):
            try:
                vm = reader.u64(area + offset("vmap_area", "vm"))
                if vm < _KERNEL:
                    continue  # an area without a struct vm_struct
                caller = reader.u64(vm + offset("vm_struct", "caller"))
                if any(start <= caller < end for start, end in makers):
                    found.append(Area(reader.u64(vm + offset("vm_struct", "addr")), reader.u64(vm + offset("vm_struct", "size"))))
            except OSError:
                continue  # freed meanwhile
    return found


def _heads(reader: Reader) -> list[int]:
    """The addresses of the struct list_head of all lists of areas in use."""
    from bpflens.kernel.sys.kallsyms import kallsyms

    names = kallsyms()
    if not reader.has("vmap_node", "busy.head"):
        old = names.address("vmap_area_list")
        return [old] if old else []
    variable, function = names.address("vmap_nodes"), names.address("find_vmap_area")
    candidates = [variable] if variable else list(loads(reader, function, _CODE_BYTES)) if function else []
    for candidate in candidates:
        try:
            first = reader.u64(candidate)
        except OSError:
            continue
        heads = list(_nodes(reader, first)) if first >= _KERNEL else []
        if heads:
            return heads
    return []


def _nodes(reader: Reader, first: int) -> Iterator[int]:
    """The list heads of an array of struct vmap_node, as far as they are lists: each neighbour points back."""
    size, at = reader.size("vmap_node"), reader.offset("vmap_node", "busy.head")
    for number in range(_MOST_NODES):
        head = first + number * size + at
        try:
            after, before = reader.u64(head), reader.u64(head + 8)
            if after < _KERNEL or before < _KERNEL or reader.u64(after + 8) != head or reader.u64(before) != head:
                return
        except OSError:
            return
        yield head


def _list(reader: Reader, head: int, at: int) -> Iterator[int]:
    """The structures whose struct list_head at offset `at` is in a list."""
    try:
        node = reader.u64(head)
        for _ in range(_MOST_AREAS):
            if node == head or node < _KERNEL:
                return
            yield node - at
            node = reader.u64(node)
    except OSError:
        return
