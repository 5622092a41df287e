"""Sockets in memory: by descriptors, in the kernel's lists, in messages and in the tables of rings."""

from __future__ import annotations

import struct

import pytest

from bpflens.attachment import Holder
from bpflens.inventory.facts.records import NetNamespace, Strays
from bpflens.inventory.memory.structures import kept, sockets
from inventory.memory.plain_memory import Memory, context

CLASSIC = bytes(range(16))
INET, UNIX, PACKET = 2, 1, 17


@pytest.fixture
def memory() -> Memory:
    return Memory()


def sock(memory: Memory, family: int, type: int, protocol: int = 0, prog: int = 0, *, state: int = 1, inode: int = 0, port: int = 0) -> int:
    """A struct sock."""
    made = memory.new("sock", sk_type=type, sk_protocol=protocol)
    memory.put(made, "sock", "__sk_common.skc_family", family)
    memory.put(made, "sock", "__sk_common.skc_state", state)
    memory.put(made, "sock", "__sk_common.skc_num", port)
    if prog:
        memory.put(made, "sock", "sk_filter", memory.new("sk_filter", prog=prog))
    if inode:
        owner = memory.new()
        memory.write(owner + memory.offset("socket_alloc", "vfs_inode") + memory.offset("inode", "i_ino"), inode)
        memory.put(made, "sock", "sk_socket", owner)
    return made


def test_filters_by_descriptors(memory: Memory) -> None:
    """Extended and classic; a socket that two processes have is one row with two holders."""
    ctx = context((7, 3, ""), (8, 4, ""))
    one, two = memory.program(id=12), memory.program(classic=CLASSIC)
    for pid, fd in ((7, 3), (8, 4), (7, 3)):
        memory.file(pid, fd, sock=memory.new(), inode=100, family=INET, type=2, protocol=17, netns=5, filter=one, filter_id=12)
    shared = memory.file_records[0].sock
    memory.file_records = [record._replace(sock=shared) for record in memory.file_records]
    memory.file(7, 9, sock=memory.new(), inode=101, family=UNIX, type=1, filter=two)
    memory.file(7, 10, sock=memory.new(), inode=102, family=UNIX, type=1, filter=0x1234)

    rows = list(sockets.find(ctx, memory))

    assert [(row.kind, row.object, row.netns, row.prog_id, row.classic) for row in rows] == [
        ("socket/udp", "sock:100", 5, 12, None), ("socket/unix", "sock:101", None, None, CLASSIC),
        ("socket/unix", "sock:102", None, None, None),
    ]  # fmt: skip
    assert rows[0].holders == (Holder(7, "proc7", 3), Holder(8, "proc8", 4))
    assert rows[2].details["unknown"] == "the code could not be read from kernel memory"


def test_a_reuseport_group_is_one_row(memory: Memory) -> None:
    prog = memory.program(id=12)
    for fd, inode in ((3, 100), (4, 101)):
        memory.file(7, fd, sock=memory.new(), inode=inode, family=INET, type=2, protocol=17, reuseport=prog, reuseport_id=12)
    (row,) = sockets.find(context((7, 3, "")), memory)
    assert (row.kind, row.object, row.prog_id, row.details["sockets"]) == ("reuseport", "sock:100", 12, [100, 101])
    assert [holder.fd for holder in row.holders] == [3, 4]


@pytest.mark.parametrize(("type", "expected"), [(6, ["fanout:71"]), (7, ["fanout:71"]), (1, [])])
def test_fanout(memory: Memory, type: int, expected: list[str]) -> None:
    """Of the modes with a program alone: the round-robin mode has a counter in its place."""
    group = memory.new("packet_fanout", type=type, id=71, bpf_prog=memory.program(id=12))
    for fd in (3, 4):
        memory.file(7, fd, sock=memory.new("packet_sock", fanout=group), inode=100 + fd, family=PACKET, type=3)
    rows = list(sockets.find(context((7, 3, "")), memory))
    assert [row.object for row in rows] == expected
    assert [len(row.holders) for row in rows] == [2] * len(expected)


def test_kcm(memory: Memory) -> None:
    """What sk_user_data points to must point back: it is anybody's."""
    for fd, back in ((3, True), (4, False)):
        own = memory.new()
        psock = memory.new("kcm_psock", sk=own if back else 0xDEAD, bpf_prog=memory.program(id=12 + fd))
        memory.put(own, "sock", "sk_user_data", psock | 1)  # the low bits are flags
        memory.file(7, fd, sock=own, inode=100 + fd, family=INET, type=1, protocol=6)
    memory.file(7, 5, sock=memory.new("sock", sk_user_data=0x5678), inode=105, family=INET, type=1, protocol=6)
    assert [(row.kind, row.object, row.prog_id) for row in sockets.find(context((7, 3, "")), memory)] == [("kcm", "sock:103", 15)]


def test_sockets_that_nobody_holds(memory: Memory) -> None:
    """In the lists of the namespace; half-open connections are no whole struct sock."""
    ctx = context()
    ctx.netns = NetNamespace(17, (), None, True)
    held = sock(memory, INET, 2, 17, memory.program(id=1), inode=100)
    memory.file(7, 3, sock=held, inode=100)
    waiting = sock(memory, INET, 1, 6, memory.program(classic=CLASSIC), port=443)
    memory.lists = {
        "udp": [held, sock(memory, INET, 2, 17, memory.program(id=12), inode=101, port=53)],
        "tcp": [waiting, sock(memory, INET, 1, 6, memory.program(id=2), state=6), sock(memory, INET, 1, 6), 0xDEAD],
    }
    memory.net = memory.new()
    packet = sock(memory, PACKET, 3, 3, memory.program(id=13), inode=103)
    memory.put(memory.net, "net", "packet.sklist", packet + memory.offset("sock", "__sk_common.skc_node"))

    rows = list(sockets.find_lists(ctx, memory))

    assert [(row.kind, row.object, row.netns, row.prog_id, row.classic) for row in rows] == [
        ("socket/udp", "sock:101", 17, 12, None), ("socket/tcp", "port:443", 17, None, CLASSIC),
        ("socket/packet", "sock:103", 17, 13, None),
    ]  # fmt: skip
    assert rows[1].details["why"] == "no descriptor of a process leads to it" and rows[1].details["port"] == 443


def test_a_namespace_without_strays_is_not_searched(memory: Memory) -> None:
    """Every socket that /proc/net names has a descriptor in kernel memory."""
    ctx = context()
    ctx.netns = NetNamespace(17, (), None, True)
    memory.lists = {"udp": [sock(memory, INET, 2, 17, memory.program(id=12), inode=101)]}
    ctx.strays[17] = Strays(frozenset({100}), False)
    assert len(list(sockets.find_lists(ctx, memory))) == 1
    memory.file(7, 3, inode=100)
    assert list(sockets.find_lists(ctx, memory)) == []


class Files:
    """Struct files of sockets, which are told by their operations."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.operations = memory.new()
        memory.file(1, 1, sock=memory.new(), operations=self.operations)

    def of(self, sock: int) -> int:
        return self.memory.new("file", f_op=self.operations, private_data=self.memory.new("socket", sk=sock))


def test_in_a_message(memory: Memory) -> None:
    """A chain of messages with files; what is no socket, or has a descriptor too, is left out."""
    files = Files(memory)
    wanted, known = sock(memory, INET, 2, 17, memory.program(id=12), inode=101), sock(memory, INET, 2, 17, memory.program(id=13), inode=102)
    memory.file(7, 3, sock=known)
    pipe = memory.new("file", f_op=memory.new())
    lists = memory.new("scm_fp_list", count=4)
    memory.put(lists, "scm_fp_list", "fp", struct.pack("<4Q", files.of(wanted), files.of(known), pipe, 0))
    receiver = memory.new()
    queue = receiver + memory.offset("sock", "sk_receive_queue")
    first, second = memory.new(), memory.new()
    for node, following in ((queue, first), (first, second), (second, queue)):
        memory.write(node, following)
    memory.write(second + memory.offset("sk_buff", "cb") + memory.offset("unix_skb_parms", "fp"), lists)
    memory.lists["unix"] = [receiver, 0xDEAD]

    rows = list(kept.find_in_flight(context(), memory))

    assert [(row.object, row.prog_id, row.details["why"]) for row in rows] == [
        ("sock:101", 12, "in a message that no process has received yet")
    ]


def test_no_message_waits(memory: Memory) -> None:
    ctx = context()
    ctx.netns = NetNamespace(17, (), None, True)
    ctx.strays[17] = Strays(frozenset(), False)
    memory.lists["unix"] = [memory.new()]
    memory.read = None  # type: ignore[assignment, method-assign]
    assert list(kept.find_in_flight(ctx, memory)) == []


@pytest.mark.parametrize("newer", [True, False])
def test_in_the_table_of_a_ring(memory: Memory, newer: bool) -> None:
    """Of rings with a visible descriptor and of rings that a task has registered; since Linux 6.13 by nodes."""
    files = Files(memory)
    found = [files.of(sock(memory, INET, 2, 17, memory.program(id=id), inode=100 + id)) for id in (12, 13)]

    def ring(file: int) -> int:
        made, table = memory.new(), memory.new()
        if newer:
            memory.write(table, struct.pack("<2Q", 0, memory.new("io_rsrc_node", file_ptr=file | 5)))
            data = made + memory.offset("io_ring_ctx", "file_table.data")
            memory.write(data + memory.offset("io_rsrc_data", "nr"), 2)
            memory.write(data + memory.offset("io_rsrc_data", "nodes"), table)
        else:
            memory.write(table, struct.pack("<2Q", 0, file | 5))
            memory.put(made, "io_ring_ctx", "nr_user_files", 2)
            memory.put(made, "io_ring_ctx", "file_table.files", table)
        return made

    if not newer:
        memory.lacking.add(("io_ring_ctx", "file_table.data.nodes"))
    operations = memory.new()
    memory.file(7, 3, private=ring(found[0]), operations=operations)
    of_task = memory.new()
    memory.put(of_task, "io_uring_task", "registered_rings", struct.pack("<2Q", memory.new("file", private_data=ring(found[1])), 0))
    memory.all_tasks = [(memory.new("task_struct", io_uring=of_task), 8, 8, 0), (memory.new(), 9, 9, 0)]

    rows = list(kept.find_io_uring(context((7, 3, kept.IO_URING)), memory))

    assert sorted((row.object, row.prog_id) for row in rows) == [("sock:112", 12), ("sock:113", 13)]
