"""Sockets that no descriptor leads to, but a message that nobody has received yet, or the file table of an io_uring.

A socket that is not bound to anything stands in no list of the kernel, so these are the only ways to it:

    unix socket -> receive queue -> struct sk_buff -> UNIXCB(skb).fp -> struct file -> socket      (net/unix/af_unix.c, unix_attach_fds)
    io_uring -> io_ring_ctx.file_table -> struct file -> socket                                   (io_uring/filetable.c)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.errors import BpflensError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.memory.structures.sockets import unheld_socket
from bpflens.kernel.memory.reader import Reader

__all__ = ("IO_URING", "find_in_flight", "find_io_uring")

IO_URING = "anon_inode:[io_uring]"
_KERNEL = 1 << 63
_MOST_MESSAGES, _MOST_FILES, _MOST_REGISTERED = 1 << 16, 1 << 15, 16
_MOST_DESCRIPTORS = 253  # SCM_MAX_FD


def find_in_flight(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Filters on sockets in the queues of the unix sockets of the thread's namespace."""
    strays = ctx.strays.get(ctx.netns.inode) if ctx.netns else None
    nothing_waits = strays is not None and not strays.messages
    if not reader.can_read_memory or nothing_waits or not reader.has("unix_skb_parms", "fp"):
        return
    try:
        receivers = reader.pointers("unix", "unix_sk")
    except BpflensError:
        return
    known = {record.sock for record in reader.file_records}
    for receiver in receivers:
        for file in _files_in_queue(reader, receiver):
            yield from _socket(reader, file, known, "in a message that no process has received yet")


def _files_in_queue(reader: Reader, receiver: int) -> Iterator[int]:
    offset = reader.offset
    queue = receiver + offset("sock", "sk_receive_queue")
    parms = offset("sk_buff", "cb") + offset("unix_skb_parms", "fp")
    try:
        message = reader.u64(queue)
        for _ in range(_MOST_MESSAGES):
            if message == queue or message < _KERNEL:
                return
            files = reader.u64(message + parms)
            if files >= _KERNEL:
                count = min(reader.u16(files + offset("scm_fp_list", "count")), _MOST_DESCRIPTORS)
                yield from struct.unpack(f"<{count}Q", reader.read(files + offset("scm_fp_list", "fp"), 8 * count))
            message = reader.u64(message)
    except OSError:
        return  # received meanwhile


def find_io_uring(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Filters on sockets in the file tables of the rings that descriptors, or the registered rings of a task, lead to."""
    if not reader.can_read_memory:
        return
    visible = {(file.pid, file.fd) for file in ctx.files if file.link == IO_URING}
    operations = {record.operations for record in reader.file_records if (record.pid, record.fd) in visible}
    rings = {record.private for record in reader.file_records if record.private and record.operations in operations}
    rings |= set(_registered(reader))
    known = {record.sock for record in reader.file_records}
    for ring in rings:
        for file in _files_of_ring(reader, ring):
            yield from _socket(reader, file, known, "in the file table of an io_uring only")


def _registered(reader: Reader) -> Iterator[int]:
    """struct io_ring_ctx pointers of rings that a task has registered: their descriptors may be closed (io_uring/tctx.c)."""
    if not reader.has("task_struct", "io_uring") or not reader.has("io_uring_task", "registered_rings"):
        return
    for task, _, _, _ in reader.tasks():
        try:
            context = reader.u64(task + reader.offset("task_struct", "io_uring"))
            if context < _KERNEL:
                continue
            files = reader.read(context + reader.offset("io_uring_task", "registered_rings"), 8 * _MOST_REGISTERED)
            for (file,) in struct.iter_unpack("<Q", files):
                if file >= _KERNEL:
                    yield reader.u64(file + reader.offset("file", "private_data"))
        except OSError:
            continue


def _files_of_ring(reader: Reader, ring: int) -> Iterator[int]:
    offset = reader.offset
    try:
        if reader.has("io_ring_ctx", "file_table.data.nodes"):  # Linux 6.13
            table = ring + offset("io_ring_ctx", "file_table.data")
            count = min(reader.u32(table + offset("io_rsrc_data", "nr")), _MOST_FILES)
            nodes = reader.u64(table + offset("io_rsrc_data", "nodes"))
            for (node,) in struct.iter_unpack("<Q", reader.read(nodes, 8 * count)) if nodes else ():
                if node >= _KERNEL:
                    yield reader.u64(node + offset("io_rsrc_node", "file_ptr")) & ~7
        elif reader.has("io_ring_ctx", "file_table.files") and reader.has("io_ring_ctx", "nr_user_files"):
            count = min(reader.u32(ring + offset("io_ring_ctx", "nr_user_files")), _MOST_FILES)
            files = reader.u64(ring + offset("io_ring_ctx", "file_table.files"))
            for (file,) in struct.iter_unpack("<Q", reader.read(files, 8 * count)) if files else ():
                yield file & ~7
    except OSError:
        return


def _socket(reader: Reader, file: int, known: set[int], why: str) -> Iterator[InventoryRow]:
    """The row of a struct file that is a socket, unless a descriptor leads to it too."""
    sockets = {record.operations for record in reader.file_records if record.sock}
    offset = reader.offset
    try:
        if file < _KERNEL or reader.u64(file + offset("file", "f_op")) not in sockets:
            return
        sock = reader.u64(reader.u64(file + offset("file", "private_data")) + offset("socket", "sk"))
        if sock < _KERNEL or sock in known:
            return
        net = reader.u64(sock + offset("sock", "__sk_common.skc_net.net"))
        namespace = reader.u32(net + offset("net", "ns.inum")) if net else None
    except OSError:
        return
    yield from unheld_socket(reader, sock, namespace, why)
