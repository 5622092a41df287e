"""Links that a family claims, programs in maps, perf descriptors and seccomp filters: the kernel answers as the test says."""

from __future__ import annotations

import os
import struct

import pytest

from bpflens.attachment import ProgInfo
from bpflens.errors import NotFound
from bpflens.inventory.finders import links, maps, perf, seccomp
from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType
from bpflens.kernel.attachments import links as kernel_links
from bpflens.kernel.attachments.links import LinkInfo
from bpflens.kernel.attachments.perf_events import FdProgram
from bpflens.kernel.attachments.prog_query import Answer
from bpflens.kernel.maps import map_data
from bpflens.kernel.maps import struct_ops as kernel_struct_ops
from bpflens.kernel.maps.struct_ops import StructOps
from bpflens.kernel.programs.loaded import LinkHead, MapHead
from bpflens.kernel.sys import procfs
from inventory.memory.plain_memory import context

INFO = ProgInfo._make([0] * len(ProgInfo._fields))._replace(tag="00" * 8, name="x")
PERF = "anon_inode:[perf_event]"


# --- links ---


def test_claim() -> None:
    """By type, program and what follows in its info; two that cannot be told apart are both named."""
    ctx = context()
    union = struct.pack("<I", 5)
    heads = (LinkHead(1, LinkType.XDP, 12, union + b"x"), LinkHead(2, LinkType.TCX, 12, union), LinkHead(3, LinkType.XDP, 13, union))
    ctx.links = {head.id: head for head in heads}
    assert links.claim(ctx, LinkType.XDP, 12, union) == {"link": 1}
    assert links.claim(ctx, LinkType.XDP, 12, union) == {}, "it is taken"
    assert links.claim(ctx, LinkType.XDP, 12, struct.pack("<I", 6)) == {}
    ctx.links[4] = LinkHead(4, LinkType.XDP, 13, union)
    assert links.claim(ctx, LinkType.XDP, 13, union) == {"links": [3, 4]}
    assert links.claim(ctx, LinkType.XDP, 13, union) == {"links": [3, 4]} and ctx.claimed_links == {1, 3, 4}
    assert links.claim(ctx, LinkType.XDP, 13, union) == {}


def test_links_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that were claimed, those of struct_ops, and those that have gone meanwhile."""
    infos = {
        2: LinkInfo(2, LinkType.XDP, 12, None, {"ifindex": 5}),
        3: LinkInfo(3, LinkType.NETFILTER, 13, None, {"pf": "ip", "hooknum": 1, "priority": 0}),
        5: LinkInfo(5, LinkType.RAW_TRACEPOINT, 14, None, {"tp_name": "sched_switch"}),
        6: LinkInfo(6, LinkType.RAW_TRACEPOINT, 15, None, {"tp_name": "sched_switch"}),
        7: LinkInfo(7, LinkType.KPROBE_MULTI, 16, None, {"count": 1, "addrs": [0x1234]}),
        8: LinkInfo(8, 4711, 0, None, {}),
    }

    def info(id: int) -> LinkInfo:
        if id not in infos:
            raise NotFound(f"link:{id}", "has gone")
        return infos[id]

    monkeypatch.setattr(kernel_links, "link_info", info)
    monkeypatch.setattr(links, "_symbols", lambda addresses: [f"f{address:x}" for address in addresses])
    ctx = context()
    ctx.links = {id: LinkHead(id, info.type, info.prog_id, b"") for id, info in infos.items()}
    ctx.links[1] = LinkHead(1, LinkType.STRUCT_OPS, 12, b"")
    ctx.links[9] = LinkHead(9, LinkType.XDP, 12, b"")
    ctx.programs = {14: INFO._replace(type=ProgType.TRACING), 15: INFO._replace(type=ProgType.RAW_TRACEPOINT)}
    ctx.claimed_links = {8}
    rows = {row.details["link"]: row for row in links.find(ctx)}
    assert {id: (row.kind, row.object, row.prog_id) for id, row in rows.items()} == {
        2: ("xdp", "ifindex:5", 12), 3: ("netfilter", "hook:ip/input", 13), 5: ("tp_btf", "sched_switch", 14),
        6: ("raw_tracepoint", "sched_switch", 15), 7: ("kprobe_multi", "1 functions", 16),
    }  # fmt: skip
    assert rows[2].details["why"] == "in a network namespace that was not reached"
    assert rows[7].details["functions"] == ["f1234"] and "addrs" not in rows[7].details
    ctx.claimed_links = {*range(1, 8), 9}
    assert [(row.kind, row.object, row.prog_id) for row in links.find(ctx)] == [("type 4711", "link:8", None)]


# --- maps ---


def head(id: int, type: int, value_bytes: int = 8, name: str = "m") -> MapHead:
    return MapHead(id, type, 4, value_bytes, 8, 0, name, 0)


@pytest.fixture
def elements(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[bytes, bytes | None]]]:
    """By map id; a map that is not there has gone. Descriptors are of /dev/null."""
    found: dict[int, list[tuple[bytes, bytes | None]]] = {}
    opened: dict[int, int] = {}

    def map_fd(id: int) -> int:
        if id not in found:
            raise NotFound(f"map:{id}", "has gone")
        fd = os.open("/dev/null", os.O_RDONLY)
        opened[fd] = id
        return fd

    monkeypatch.setattr(maps, "map_fd", map_fd)
    monkeypatch.setattr(map_data, "items", lambda fd: iter(found[opened[fd]]))
    return found


def test_entries_with_programs(elements: dict[int, list[tuple[bytes, bytes | None]]]) -> None:
    """Of devices and processors; not those without a program, and none in a map whose values have no room for one."""
    value = struct.Struct("<II")
    elements[1] = [(struct.pack("<I", 3), value.pack(5, 12)), (struct.pack("<I", 4), value.pack(6, 0)), (struct.pack("<I", 5), None)]
    elements[2] = [(struct.pack("<I", 0), value.pack(192, 13))]
    elements[3] = [(struct.pack("<I", 0), struct.pack("<I", 5))]
    ctx = context()
    ctx.maps = {1: head(1, MapType.DEVMAP), 2: head(2, MapType.CPUMAP), 3: head(3, MapType.DEVMAP_HASH, 4), 4: head(4, MapType.DEVMAP),
                5: head(5, MapType.HASH)}  # fmt: skip
    assert [(row.kind, row.object, row.prog_id, row.details) for row in maps.find(ctx)] == [
        ("xdp/devmap", "map:1[3]", 12, {"map_name": "m", "key": 3, "ifindex": 5}),
        ("xdp/cpumap", "map:2[0]", 13, {"map_name": "m", "key": 0, "qsize": 192}),
    ]
    ctx.program_types = frozenset({ProgType.SK_SKB})
    assert list(maps.find(ctx)) == [], "no program is loaded that could be there"


def test_tail_calls_and_inner_maps(elements: dict[int, list[tuple[bytes, bytes | None]]]) -> None:
    elements[1] = [(struct.pack("<I", 2), struct.pack("<I", 12)), (struct.pack("<I", 5), struct.pack("<I", 13))]
    ctx = context()
    ctx.maps = {1: head(1, MapType.PROG_ARRAY, 4), 2: head(2, MapType.PROG_ARRAY, 4), 3: head(3, MapType.ARRAY)}
    assert maps.prog_array_entries(ctx.maps[1]) == [(2, 12), (5, 13)]
    assert maps.inner_maps(ctx.maps[1]) == {12, 13} and maps.inner_maps(ctx.maps[2]) == set()
    assert [(row.object, row.prog_id) for row in maps.find_prog_arrays(ctx)] == [("map:1[2]", 12), ("map:1[5]", 13)]


def test_sockmaps(elements: dict[int, list[tuple[bytes, bytes | None]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hook, with the link of it alone."""
    elements[1] = []
    verdict, message = AttachType.SK_SKB_STREAM_VERDICT, AttachType.SK_MSG_VERDICT
    answers = {verdict: (12,), message: (13,)}

    def query(fd: int, attach_type: int) -> Answer:
        if attach_type not in answers:
            raise OSError(22, "no such hook")
        return Answer(answers[attach_type], 0)

    monkeypatch.setattr(maps, "query", query)
    ctx = context()
    ctx.maps = {1: head(1, MapType.SOCKMAP)}
    ctx.links = {id: LinkHead(id, LinkType.SOCKMAP, prog_id, struct.pack("<II", 1, verdict)) for id, prog_id in ((5, 12), (6, 13))}
    rows = list(maps.find(ctx))
    assert [(row.kind, row.prog_id, row.details.get("link")) for row in rows] == [
        ("sockmap/skb_stream_verdict", 12, 5), ("sockmap/msg_verdict", 13, None),
    ]  # fmt: skip
    assert ctx.claimed_links == {5}


def test_members_of_a_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {1: StructOps("tcp_congestion_ops", 1, {"init": (3, 12), "release": (4, 13)})}

    def struct_ops(id: int) -> StructOps:
        if id not in found:
            raise NotFound(f"map:{id}", "has gone")
        return found[id]

    monkeypatch.setattr(kernel_struct_ops, "struct_ops", struct_ops)
    ctx = context()
    ctx.maps = {1: head(1, MapType.STRUCT_OPS), 2: head(2, MapType.STRUCT_OPS)}
    ctx.links = {5: LinkHead(5, LinkType.STRUCT_OPS, 0, struct.pack("<I", 1))}
    rows = list(maps.find(ctx))
    assert [(row.object, row.prog_id) for row in rows] == [("map:1 tcp_congestion_ops.init", 12), ("map:1 tcp_congestion_ops.release", 13)]
    assert rows[1].details == {"map_name": "m", "member": "release", "index": 4, "state": "in use", "link": 5}


# --- perf and seccomp ---


def test_events_by_their_names() -> None:
    assert [perf.event_name(type, config) for type, config in ((0, 0), (1, 10), (1, 99), (4, 0x1C2), (9, 7))] == [
        "cpu-cycles", "bpf-output", "software config 0x63", "raw config 0x1c2", "type 9 config 0x7",
    ]  # fmt: skip


def test_perf_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one event are one row; what the info of a link tells is left to the links, else its link is claimed."""
    answers = {
        3: FdProgram(12, 2, 0, 0, "vfs_read"), 4: FdProgram(12, 2, 0, 0, "vfs_read"), 5: FdProgram(13, 4, 256, 0, "/bin/sh"),
        6: FdProgram(14, 1, 0, 0, "sched_switch"), 7: FdProgram(0, 1, 0, 0, "x"), 9: FdProgram(15, 3, 4, 0xABC, ""),
        10: FdProgram(16, 77, 0, 0, "new"),
    }  # fmt: skip

    def ask(pid: int, fd: int) -> FdProgram:
        if fd not in answers:
            raise OSError(2, "nothing to tell")
        return answers[fd]

    monkeypatch.setattr(perf, "program_of_fd", ask)
    ctx = context(*((7, fd, PERF) for fd in range(3, 11)), (7, 20, "/dev/null"))
    ctx.links = {1: LinkHead(1, LinkType.PERF_EVENT, 13, bytes(8)), 2: LinkHead(2, LinkType.PERF_EVENT, 14, struct.pack("<I", 5))}
    rows = list(perf.find(ctx))
    assert [(row.kind, row.object, row.prog_id, len(row.holders), row.details.get("link")) for row in rows] == [
        ("kprobe", "vfs_read", 12, 2, None), ("uprobe", "/bin/sh+0x100", 13, 1, 1), ("kretprobe", "0xabc+0x4", 15, 1, None),
        ("perf type 77", "new", 16, 1, None),
    ]  # fmt: skip
    assert ctx.claimed_links == {1}


def test_perf_descriptors_without_the_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, fd: int) -> FdProgram:
        raise PermissionError(1, "x")

    monkeypatch.setattr(perf, "program_of_fd", refused)
    ctx = context((7, 3, PERF))
    assert list(perf.find(ctx)) == [] and [denial.needs for denial in ctx.denied] == ["CAP_SYS_ADMIN"]


ONE, TWO = b"first000", b"second00"


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], bytes | OSError]:
    """Process and thread -> its status."""
    found: dict[tuple[int, int], bytes | OSError] = {}

    def read(path: str) -> bytes:
        if not path.endswith("/status") or path == "/proc/thread-self/status":
            return b"Name:\tx\nSeccomp:\t0\n"
        _, _, pid, _, tid, _ = path.split("/")
        answer = found[int(pid), int(tid)]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(procfs, "thread_ids", lambda pid: [tid for own, tid in found if own == pid])
    monkeypatch.setattr(procfs, "read", read)
    return found


def test_seccomp(threads: dict[tuple[int, int], bytes | OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads with the same filters are one row each; what was not read is said, by what is missing."""
    filtered = b"Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t2\n"
    threads.update({(7, 7): filtered, (7, 8): filtered, (9, 9): b"Name:\tx\nSeccomp:\t1\n", (10, 10): filtered, (11, 11): filtered,
                    (12, 12): PermissionError(13, "x")})  # fmt: skip

    def filters(tid: int) -> list[tuple[bytes, int]]:
        if tid == 10:
            raise TimeoutError
        if tid == 11:
            raise OSError(5, "x")
        return [(ONE, 0), (TWO, 2)] if tid == 7 else [(ONE, 0)]

    monkeypatch.setattr(seccomp, "filters_of_thread", filters)
    ctx = context()
    ctx.pids = [7, 9, 10, 11, 12]
    assert list(seccomp.filtered_threads(ctx)) == [(7, 7, 2), (7, 8, 2), (10, 10, 2), (11, 11, 2)]
    rows = list(seccomp.find(ctx))
    assert [(row.object, row.classic, [holder.tid for holder in row.holders]) for row in rows] == [
        ("pid:7", ONE, [7, 8]), ("pid:7", TWO, [7]), ("pid:10", None, [10]), ("pid:11", None, [11]),
    ]  # fmt: skip
    assert [row.details.get("log") for row in rows[:2]] == [None, True]
    assert {denial.what for denial in ctx.denied} == {
        "the seccomp state of 1 threads", "the seccomp filters of thread 10, which does not stop", "the code of seccomp filters",
    }  # fmt: skip
    ctx.memory_read = True
    assert list(seccomp.find(ctx)) == [], "kernel memory stops nobody"
