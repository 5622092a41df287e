"""Tasks and their files in memory: seccomp filters, perf events, PPP units."""

from __future__ import annotations

import pytest

from bpflens.inventory.finders.seccomp import LISTENER
from bpflens.inventory.memory.structures import tasks
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.programs.loaded import LinkHead
from inventory.memory.plain_memory import Memory, context

OLD, NEW, ALONE = (bytes([number]) * 8 for number in (1, 2, 3))
PERF = "anon_inode:[perf_event]"


@pytest.fixture
def memory() -> Memory:
    return Memory()


def filter(memory: Memory, code: bytes, previous: int = 0) -> int:
    return memory.new("seccomp_filter", prog=memory.program(classic=code), prev=previous)


def test_filters_count_from_the_oldest(memory: Memory) -> None:
    """Two threads of one process share theirs and are one row; a child has one more."""
    first = filter(memory, OLD)
    second = filter(memory, NEW, first)
    memory.all_tasks = [(0, 7, 7, first), (0, 7, 8, first), (0, 9, 9, second), (0, 10, 10, 0)]
    rows = list(tasks.find_seccomp(context(), memory))
    assert [(row.object, row.details["filter"], row.classic, [holder.tid for holder in row.holders]) for row in rows] == [
        ("pid:7", 0, OLD, [7, 8]), ("pid:9", 0, OLD, [9]), ("pid:9", 1, NEW, [9]),
    ]  # fmt: skip
    assert all(len(row.details["addresses"]) == 1 for row in rows)


def test_a_filter_that_only_a_listener_keeps(memory: Memory) -> None:
    used = filter(memory, NEW)
    memory.all_tasks = [(0, 7, 7, used)]
    memory.file(9, 3, private=filter(memory, ALONE))
    memory.file(9, 4, private=used)
    memory.file(9, 5, private=filter(memory, OLD))  # no listener
    rows = list(tasks.find_seccomp(context((9, 3, LISTENER), (9, 4, LISTENER)), memory))
    assert [(row.object, row.classic) for row in rows] == [("pid:7", NEW), ("fd:9/3", ALONE)]
    assert rows[1].details["why"] == "no task has it, a listener keeps it"


def test_filters_whose_code_the_kernel_did_not_keep(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once; a chain that goes round, or that cannot be read, ends."""
    monkeypatch.setattr(tasks, "_MOST_FILTERS", 20)
    ctx = context()
    memory.all_tasks = [(0, 7, 7, memory.new("seccomp_filter", prog=memory.program(image=bytes(8))))]
    assert list(tasks.find_seccomp(ctx, memory)) == []
    assert [denial.needs for denial in ctx.denied] == ["a kernel with CONFIG_CHECKPOINT_RESTORE"]
    ring = filter(memory, OLD)
    memory.put(ring, "seccomp_filter", "prev", ring)
    memory.all_tasks = [(0, 7, 7, ring), (0, 8, 8, 0xDEAD)]
    assert [row.classic for row in tasks.find_seccomp(context(), memory)] == [OLD] * 20


def event(memory: Memory, type: int, config: int, prog: int, traced: int = 0) -> int:
    made = memory.new("perf_event", orig_type=type, tp_event=traced, prog=prog)
    memory.put(made, "perf_event", "attr.config", config)
    return made


def test_perf_events(memory: Memory) -> None:
    """Hardware and software events, one row for those of each CPU; what other interfaces tell is left to them."""
    ctx = context(*((7, fd, PERF) for fd in (3, 4, 5, 6, 7, 8)))
    ctx.links = {1: LinkHead(1, LinkType.PERF_EVENT, 14, b"")}
    cycles, clock, linked = memory.program(id=12), memory.program(id=13), memory.program(id=14)
    for fd, private in (
        (3, event(memory, 0, 0, cycles)), (4, event(memory, 0, 0, cycles)), (5, event(memory, 1, 0, clock)),
        (6, event(memory, 1, 1, linked)), (7, event(memory, 2, 99, cycles, traced=1)), (8, event(memory, 1, 0, 0)),
        (9, event(memory, 1, 0, cycles)),  # no descriptor that /proc shows
    ):  # fmt: skip
        memory.file(7, fd, private=private)
    rows = list(tasks.find_perf(ctx, memory))
    assert [(row.object, row.prog_id, [holder.fd for holder in row.holders]) for row in rows] == [
        ("cpu-cycles", 12, [3, 4]), ("cpu-clock", 13, [5]),
    ]  # fmt: skip


def test_ppp(memory: Memory) -> None:
    """The filters of an interface; of a channel, and of the same unit again, nothing."""
    net = memory.new()
    memory.put(net, "net", "ns.inum", 17)
    unit = memory.new("ppp", dev=memory.new("net_device", name="ppp0"), ppp_net=net, pass_filter=memory.program(image=bytes(16)))
    memory.put(unit, "ppp_file", "kind", 1)
    channel = memory.new("ppp", pass_filter=memory.program(id=12))
    memory.put(channel, "ppp_file", "kind", 2)
    for fd, private in ((3, unit), (4, unit), (5, channel)):
        memory.file(7, fd, private=private)
    rows = list(tasks.find_ppp(context(*((7, fd, "/dev/ppp") for fd in (3, 4, 5))), memory))
    assert [(row.kind, row.object, row.netns, row.image) for row in rows] == [("ppp/pass", "dev:ppp0", 17, bytes(16))]
    assert list(tasks.find_ppp(context(), memory)) == []
