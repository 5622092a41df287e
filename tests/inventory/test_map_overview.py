"""All maps with who uses and holds them; what hangs around programs; both on the running kernel."""

from __future__ import annotations

import builtins
import io
import os
import struct

import pytest

from bpflens.btf.btf import Kind
from bpflens.inventory.around import attach_target, stats_enabled, surroundings
from bpflens.inventory.map_overview import overview
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.uapi import AttachType, MapType, ProgType
from bpflens.kernel.attachments.attach import iterator, raw_tracepoint_open
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_data import update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.pins import pin
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.programs.progs import read_program
from live.loaded import lookup_code


@pytest.mark.live
def test_maps() -> None:
    """Elements are counted where that is asked for; a link and an outer map hold what no program uses."""
    fds = [create_map(MapType.HASH, 4, 8, 10, name="bl_alone")]
    try:
        for key in range(3):
            update(fds[0], struct.pack("<I", key), bytes(8))
        fds.append(create_map(MapType.HASH, 4, 8, 10, name="bl_listed"))
        fds.append(load_program(assemble("r0 = 0\nexit"), ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER,
                                attach_btf_id=vmlinux().find("bpf_iter_bpf_map_elem", Kind.FUNC) or 0))  # fmt: skip
        fds.append(iterator(fds[-1], fds[1]))
        fds.append(create_map(MapType.HASH, 4, 8, 10, name="bl_inner"))
        fds.append(create_map(MapType.ARRAY_OF_MAPS, 4, 4, 2, inner_fd=fds[-1], name="bl_outer"))
        update(fds[-1], bytes(4), struct.pack("<I", fds[-2]))
        outer = map_by_fd(fds[-1], types=False).id
        fds.append(load_program(lookup_code(fds[0]), ProgType.SOCKET_FILTER, name="bl_user"))
        user = prog_info_by_fd(fds[-1]).id
        maps = [map_by_fd(fd, types=False) for fd in (fds[0], fds[1], fds[4])]
        alone, listed, inner = overview(maps, count=True)[0]
        assert (alone.elements, alone.users, alone.kernel) == (3, (user,), ())
        assert (listed.elements, listed.users) == (0, ()) and [text.split()[0] for text in listed.kernel] == ["link"]
        assert inner.kernel == (f"element of map {outer}",) and not inner.orphaned
        assert all(row.memory_bytes and os.getpid() in {holder.pid for holder in row.holders} for row in (alone, listed, inner))
        (everything, _) = overview()
        by_id = {row.map.id: row for row in everything}
        assert by_id[alone.map.id].users == (user,) and by_id[alone.map.id].elements is None
    finally:
        close(*reversed(fds))


@pytest.mark.live
def test_around_a_program() -> None:
    """Its attachment, its pin, its holder, the users of its map; of others nothing."""
    path = f"/sys/fs/bpf/bl_around{os.getpid()}"
    fds = [create_map(MapType.HASH, 4, 8, 10, name="bl_around")]
    try:
        fds.append(load_program(lookup_code(fds[0]), ProgType.RAW_TRACEPOINT, name="bl_around"))
        fds.append(raw_tracepoint_open(fds[-1], "sched_process_exit"))
        pin(fds[1], path)
        id, map_id = prog_info_by_fd(fds[1]).id, map_by_fd(fds[0], types=False).id
        found = surroundings({id}, {map_id}, deep=False)
        assert [(one.kind, one.object) for one in found.attachments[id]] == [("raw_tracepoint", "sched_process_exit")]
        assert found.prog_pins == {id: (path,)} and found.map_users == {map_id: (id,)} and found.map_pins == {}
        assert [(holder.pid, holder.fd) for holder in found.prog_holders[id]] == [(os.getpid(), fds[1])]
        assert [(holder.pid, holder.fd) for holder in found.map_holders[map_id]] == [(os.getpid(), fds[0])]
        assert surroundings({id}, attachments=False, deep=False).attachments == {}
    finally:
        if os.path.exists(path):
            os.unlink(path)
        close(*reversed(fds))


@pytest.mark.live
def test_the_function_that_a_program_was_verified_against() -> None:
    id = vmlinux().find("bpf_iter_task", Kind.FUNC) or 0
    fd = load_program(assemble("r0 = 0\nexit"), ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=id)
    plain = load_program(assemble("r0 = 0\nexit"), ProgType.SOCKET_FILTER)
    try:
        assert attach_target(read_program(prog_info_by_fd(fd).id)) == "bpf_iter_task"
        assert attach_target(read_program(prog_info_by_fd(plain).id)) is None
    finally:
        close(fd, plain)


@pytest.mark.parametrize(("text", "expected"), [("0\n", False), ("1\n", True), (None, None)])
def test_whether_runs_are_counted(text: str | None, expected: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: str, **_: object) -> io.StringIO:
        assert path == "/proc/sys/kernel/bpf_stats_enabled"
        if text is None:
            raise PermissionError(13, path)
        return io.StringIO(text)

    monkeypatch.setattr(builtins, "open", opened)
    found = stats_enabled()
    monkeypatch.undo()
    assert found is expected
