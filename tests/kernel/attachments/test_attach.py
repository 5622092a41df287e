"""Attaching by links, and what the kernel then says of the link; perf events and who asks for their programs."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

import pytest

import needs
from bpflens.btf.btf import Kind
from bpflens.errors import KernelError, NotSupported
from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType
from bpflens.kernel.attachments import attach
from bpflens.kernel.attachments.links import LinkInfo, link_by_fd
from bpflens.kernel.attachments.perf_events import FdProgram, open_probe, open_tracepoint, program_of_fd
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.loaded import prog_map_ids
from bpflens.kernel.programs.prog_info import prog_info_by_fd

pytestmark = pytest.mark.live
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
RETURN_1 = bytes.fromhex("b700000001000000 9500000000000000")
LINK_OF_PERF_EVENT = AttachType.PERF_EVENT


@pytest.fixture
def fds() -> Iterator[list[int]]:
    """Descriptors that are closed after the test, the last first."""
    kept: list[int] = []
    yield kept
    close(*reversed(kept))


def load(fds: list[int], type: int, code: bytes = RETURN_0, **options: int) -> tuple[int, int]:
    """(descriptor, id)."""
    fds.append(load_program(code, type, name="bl_attach", **options))  # type: ignore[arg-type]
    return fds[-1], prog_info_by_fd(fds[-1]).id


def kept(fds: list[int], link: int) -> LinkInfo:
    """What the kernel says of a new link."""
    fds.append(link)
    return link_by_fd(link)


def test_raw_tracepoint(fds: list[int]) -> None:
    prog, id = load(fds, ProgType.RAW_TRACEPOINT)
    link = kept(fds, attach.raw_tracepoint_open(prog, "sched_process_exit"))
    assert (link.type, link.prog_id, link.facts) == (LinkType.RAW_TRACEPOINT, id, {"tp_name": "sched_process_exit"})
    with pytest.raises(KernelError, match="my link: cannot attach"):
        attach.raw_tracepoint_open(prog, "no_such_tracepoint", "my link")


def test_iterators(fds: list[int]) -> None:
    """Over everything, and over the elements of one map."""
    functions = {name: vmlinux().find(f"bpf_iter_{name}", Kind.FUNC) or 0 for name in ("task", "bpf_map_elem")}
    prog, id = load(fds, ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=functions["task"])
    link = kept(fds, attach.iterator(prog))
    assert (link.prog_id, link.facts["target_name"]) == (id, "task")
    fds.append(create_map(MapType.HASH, 4, 8, 4))
    map = map_by_fd(fds[-1], types=False)
    prog, id = load(fds, ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=functions["bpf_map_elem"])
    link = kept(fds, attach.iterator(prog, fds[-2]))
    assert (link.prog_id, link.facts) == (id, {"target_name": "bpf_map_elem", "map_id": map.id})


def test_multi_kprobe(fds: list[int]) -> None:
    prog, id = load(fds, ProgType.KPROBE, expected_attach_type=AttachType.TRACE_KPROBE_MULTI)
    try:
        made = attach.multi_kprobe(prog, AttachType.TRACE_KPROBE_MULTI, ["vfs_mkdir", "vfs_rmdir"], 1)
    except KernelError as error:
        needs.kernel_feature(error.errno != errno.EOPNOTSUPP, "links on many functions")
        raise
    link = kept(fds, made)
    assert (link.prog_id, link.facts["count"], link.facts["flags"] & 1) == (id, 2, 1)
    with pytest.raises(KernelError):
        attach.multi_kprobe(prog, AttachType.TRACE_KPROBE_MULTI, ["no_such_function"], 0)


def test_multi_uprobe(fds: list[int]) -> None:
    prog, id = load(fds, ProgType.KPROBE, expected_attach_type=AttachType.TRACE_UPROBE_MULTI)
    path = os.path.realpath("/bin/true")
    link = kept(fds, attach.multi_uprobe(prog, AttachType.TRACE_UPROBE_MULTI, path, [0x1000, 0x1040], 0, 0))
    assert (link.prog_id, link.facts["path"], link.facts["offsets"]) == (id, path, [0x1000, 0x1040])


def test_another_program_in_the_same_place(own_netns: None, fds: list[int]) -> None:
    """A link on the namespace's flow dissector: created, updated, and the place is taken meanwhile."""
    first, id = load(fds, ProgType.FLOW_DISSECTOR)
    second, other = load(fds, ProgType.FLOW_DISSECTOR, RETURN_0)
    fds.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
    link = kept(fds, attach.link_create(first, fds[-1], AttachType.FLOW_DISSECTOR))
    assert (link.type, link.prog_id) == (LinkType.NETNS, id)
    with pytest.raises(KernelError, match="cannot attach"):
        attach.link_create(second, fds[-2], AttachType.FLOW_DISSECTOR)
    attach.link_update(fds[-1], second)
    assert link_by_fd(fds[-1]).prog_id == other


def test_without_a_link(fds: list[int]) -> None:
    """A program on a sockmap: attached, asked for, taken off."""
    prog, id = load(fds, ProgType.SK_SKB, RETURN_1)
    fds.append(create_map(MapType.SOCKMAP, 4, 4, 2))
    attach.prog_attach(fds[-1], prog, AttachType.SK_SKB_STREAM_VERDICT)
    assert query(fds[-1], AttachType.SK_SKB_STREAM_VERDICT).ids == (id,)
    attach.prog_detach(fds[-1], prog, AttachType.SK_SKB_STREAM_VERDICT)
    assert query(fds[-1], AttachType.SK_SKB_STREAM_VERDICT).ids == ()
    with pytest.raises(KernelError, match="cannot detach"):
        attach.prog_detach(fds[-1], prog, AttachType.SK_SKB_STREAM_VERDICT)


def test_a_map_that_the_program_does_not_use(fds: list[int]) -> None:
    prog, id = load(fds, ProgType.SOCKET_FILTER)
    fds.append(create_map(MapType.ARRAY, 4, 8, 1))
    assert prog_map_ids(id) == ()
    attach.bind_map(prog, fds[-1])
    assert prog_map_ids(id) == (map_by_fd(fds[-1], types=False).id,)


def test_perf_events(fds: list[int]) -> None:
    """A tracepoint by group and name and by its name alone; another process may ask what is on the descriptor."""
    prog, id = load(fds, ProgType.TRACEPOINT)
    for name in ("sched:sched_process_exit", "sched_process_exit"):
        event = open_tracepoint(name)
        link = attach.link_create(prog, event, LINK_OF_PERF_EVENT)
        found = program_of_fd(os.getpid(), event)
        close(link, event)
        assert found == FdProgram(id, 1, 0, 0, "sched_process_exit")
    with pytest.raises(NotSupported, match="tracepoint no:such"):
        open_tracepoint("no:such")
    with pytest.raises(OSError):
        program_of_fd(os.getpid(), prog)  # no perf event


@pytest.mark.parametrize(("kind", "name", "offset", "type"), [
    ("kprobe", "vfs_mkdir", 0, 2), ("kretprobe", "vfs_mkdir", 0, 3), ("uprobe", os.path.realpath("/bin/true"), 0x1000, 4),
])  # fmt: skip
def test_probes(fds: list[int], kind: str, name: str, offset: int, type: int) -> None:
    needs.kernel_feature(os.path.exists(f"/sys/bus/event_source/devices/{kind[0]}probe"), f"{kind}s as perf events")
    prog, id = load(fds, ProgType.KPROBE)
    fds.append(open_probe(kind, name, offset))
    event = fds[-1]
    kept(fds, attach.link_create(prog, event, LINK_OF_PERF_EVENT, extra=struct.pack("=Q", 0)))
    found = program_of_fd(os.getpid(), event)
    assert (found.prog_id, found.type, found.name, found.offset) == (id, type, name, offset)


def test_a_probe_where_nothing_is() -> None:
    with pytest.raises(KernelError, match="uprobe /no/such/file: cannot open the event"):
        open_probe("uprobe", "/no/such/file", 0)
