"""What the targets reach; programs and attachments as records; a snapshot beside the machine."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens.btf.btf import Kind
from bpflens.errors import NotFound, UsageError
from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace
from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType
from bpflens.kernel.attachments.attach import iterator, raw_tracepoint_open
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_data import delete, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.pins import pin
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.snapshot.save import SaveOptions, save
from bpflens.snapshot.taking.attachments import read_attachments
from bpflens.snapshot.taking.btfs import Btfs
from bpflens.snapshot.taking.holders import Keepers
from bpflens.snapshot.taking.programs import read_program
from bpflens.snapshot.taking.scope import Scope, add_target, close_over, map_of_row, namespace_of_map, references_of_map
from bpflens.snapshot.verify import verify, verify_file
from live.loaded import lookup_code
from snapshot.made import program

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def inventory(*rows: InventoryRow) -> Inventory:
    return Inventory(list(rows), [], {}, {17: NetNamespace(17, (), "blue", False)}, [])


@pytest.fixture
def fds() -> Iterator[list[int]]:
    kept: list[int] = []
    yield kept
    close(*reversed(kept))


def load(fds: list[int], code: bytes = RETURN_0, type: int = ProgType.SOCKET_FILTER, **options: int) -> int:
    """The id of a new program, whose descriptor is the last one."""
    fds.append(load_program(code, type, name="bl_scope", **options))  # type: ignore[arg-type]
    return prog_info_by_fd(fds[-1]).id


def make(fds: list[int], type: int, value: int = 8, **options: int) -> int:
    fds.append(create_map(type, 4, value, 4, name="bl_scope", **options))  # type: ignore[arg-type]
    return map_by_fd(fds[-1], types=False).id or 0


def close_scope(programs: list[int], maps: list[int], rows: Inventory | None = None) -> Scope:
    scope = Scope(rows or inventory())
    close_over(scope, programs, maps)
    return scope


# --- what is reached ---


@pytest.mark.live
def test_from_a_program_to_everything(fds: list[int]) -> None:
    """Its map; the programs in a jump table and their maps; maps in maps. What has gone is said."""
    plain = make(fds, MapType.HASH)
    user = load(fds, lookup_code(fds[-1]))
    jumps = make(fds, MapType.PROG_ARRAY, 4)
    update(fds[-1], bytes(4), struct.pack("=I", fds[-2]))
    table = fds[-1]
    outer = make(fds, MapType.ARRAY_OF_MAPS, 4, inner_fd=fds[0])
    update(fds[-1], bytes(4), struct.pack("=I", fds[0]))
    try:
        assert [references_of_map(id) for id in (jumps, outer, plain)] == [([user], []), ([], [plain]), ([], [])]
        found = close_scope([], [jumps])
        assert (found.programs, found.maps) == ([user], sorted([jumps, plain]))
        found = close_scope([0x7FFF_FFF0], [outer])
        assert (found.programs, found.maps, found.gone) == ([], sorted([outer, plain]), ["id:2147483632"])
        with pytest.raises(NotFound):
            references_of_map(0x7FFF_FFF0)
    finally:
        delete(table, bytes(4))


@pytest.mark.live
def test_attachments_of_what_was_reached(fds: list[int]) -> None:
    """By the map that an iterator goes over, too; not of others, and not those that are none."""
    over = make(fds, MapType.HASH)
    id = load(fds)
    rows = inventory(
        InventoryRow("iter", "bpf_map_elem of map", prog_id=id, details={"map_id": over}),
        InventoryRow("xdp", "dev:x", prog_id=id + 999999), InventoryRow("fd", "fd:1/2", prog_id=id),
        InventoryRow("struct_ops", "map:99 x.y", prog_id=id), InventoryRow("seccomp", "pid:7", classic=b"x"),
    )  # fmt: skip
    found = close_scope([id], [], rows)
    assert found.maps == [over] and [row.kind for row in found.rows] == ["iter"]
    scope = Scope(rows)
    close_over(scope, [], [], [rows.rows[4]])
    assert [row.kind for row in scope.rows] == ["seccomp"], "a classic filter where it was named"


def test_the_map_of_a_row() -> None:
    objects = ("map:12", "map:12[3]", "map:12 ops.init", "dev:eth0", "map:x", "mapx:12")
    assert [map_of_row(InventoryRow("x", object)) for object in objects] == [12, 12, 12, 0, 0, 0]


def test_the_namespace_of_a_map() -> None:
    """That of the programs which use it, where it is one."""
    scope = Scope(inventory(), rows=[InventoryRow("xdp", "dev:x", netns, id) for netns, id in ((17, 12), (18, 13), (17, 14))])
    users = [program(12, maps=(7,)), program(13, maps=(8,)), program(14, maps=(7, 8))]
    one = namespace_of_map(scope, 7, users)
    assert one is not None and one.name == "blue"
    assert namespace_of_map(scope, 8, users) is None is namespace_of_map(scope, 9, users)


# --- targets ---


def named(target: str, rows: Inventory | None = None, maps: set[int] | None = None) -> tuple[set[int], set[int], list[InventoryRow]]:
    programs: set[int] = set()
    found: list[InventoryRow] = []
    maps = maps if maps is not None else set()
    add_target(target, rows or inventory(), programs, maps, found)
    return programs, maps, found


@pytest.mark.live
def test_targets(fds: list[int], tmp_path: Path) -> None:
    map_id, directory = make(fds, MapType.HASH), f"/sys/fs/bpf/bl_scope{os.getpid()}"
    id = load(fds, type=ProgType.RAW_TRACEPOINT)
    fds.append(raw_tracepoint_open(fds[-1], "sched_process_exit"))
    os.makedirs(f"{directory}/deep")
    try:
        pin(fds[0], f"{directory}/map")
        pin(fds[2], f"{directory}/deep/link")
        assert named(f"map:{map_id}")[:2] == (set(), {map_id}) and named(f"id:{id}")[:2] == ({id}, set())
        assert named(f"pin:{directory}")[:2] == ({id}, {map_id}) and named(f"pin:{directory}/map")[:2] == (set(), {map_id})
        assert map_id in named("pid:self")[1]
        row = InventoryRow("xdp/native", "dev:eth7", prog_id=12)
        assert named("dev:eth7", inventory(row)) == ({12}, set(), [row])
    finally:
        for path in (f"{directory}/map", f"{directory}/deep/link"):
            if os.path.exists(path):
                os.unlink(path)
        os.rmdir(f"{directory}/deep")
        os.rmdir(directory)


@pytest.mark.live
def test_targets_that_name_nothing() -> None:
    """Also beside one that names a map."""
    with pytest.raises(UsageError, match="names no object of the kernel"):
        named("x.bpfsnap")
    for maps in (set(), {7}):
        with pytest.raises(NotFound):
            named("dev:lo", maps=maps)


# --- records ---


@pytest.mark.live
def test_a_program(fds: list[int], tmp_path: Path) -> None:
    """With its original, its references by id, who keeps it, the function that it was loaded for."""
    map_id = make(fds, MapType.HASH)
    id = load(fds, lookup_code(fds[-1]))
    writer = ArchiveWriter(str(tmp_path / "x"))
    found = read_program(id, writer, Btfs(writer), Keepers())
    assert (found.name, found.type_name, found.grade, found.insns) == ("bl_scope", "socket_filter", "exact", 10)
    assert found.references == ((4, map_id),) and found.maps == (map_id,) and found.bound == () and found.symbols == ()
    assert found.target is None and {found.original, found.xlated} <= set(writer.members)
    without = read_program(id, writer, Btfs(writer), Keepers(), originals=False)
    assert (without.grade, without.original, without.reason) == ("unproven", None, "its original was not asked for")
    function = vmlinux().find("bpf_iter_task", Kind.FUNC) or 0
    traced = load(fds, type=ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=function)
    found = read_program(traced, writer, Btfs(writer), Keepers())
    assert found.target is not None and (found.target.name, found.target.btf, found.target.program) == ("bpf_iter_task", "vmlinux", None)
    assert found.expected_attach_type == AttachType.TRACE_ITER
    with pytest.raises(NotFound):
        read_program(0x7FFF_FFF0, writer, Btfs(writer), Keepers())
    writer.abort()


@pytest.mark.live
def test_attachments(fds: list[int], tmp_path: Path) -> None:
    """With what a link says of itself; members of one structure are one; the number of a hook from its name."""
    function = vmlinux().find("bpf_iter_task", Kind.FUNC) or 0
    id = load(fds, type=ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=function)
    fds.append(iterator(fds[-1]))
    link = link_by_fd(fds[-1]).id
    rows = [
        InventoryRow("iter", "task", prog_id=id, details={"link": link, "why": "x"}),
        InventoryRow("struct_ops", "map:9 ops.init", prog_id=12), InventoryRow("struct_ops", "map:9 ops.exit", prog_id=13),
        InventoryRow("cgroup/device", "cgroup:/a", 17, 14), InventoryRow("tcx/egress", "dev:eth0", 17, 15),
        InventoryRow("sockmap/msg_verdict", "map:7", None, 16, details={"link": 0x7FFF_FFF0}),
        InventoryRow("socket/udp", "sock:5", classic=b"classic!"),
    ]  # fmt: skip
    writer = ArchiveWriter(str(tmp_path / "x"))
    found = read_attachments(rows, inventory(), writer, Keepers())
    assert [(item.kind, item.program, item.map, item.attach_type) for item in found] == [
        ("iter", id, None, None), ("struct_ops", None, 9, None), ("cgroup/device", 14, None, AttachType.CGROUP_DEVICE),
        ("tcx/egress", 15, None, AttachType.TCX_EGRESS), ("sockmap/msg_verdict", 16, 7, AttachType.SK_MSG_VERDICT),
        ("socket/udp", None, None, None),
    ]  # fmt: skip
    assert (found[0].link, found[0].link_type, found[0].details["target_name"]) == (link, LinkType.ITER, "task")
    assert "why" not in found[0].details
    assert (found[2].cgroup, found[3].device, found[3].netns, found[3].netns_name, found[3].own_netns) == ("/a", "eth0", 17, "blue", False)
    assert found[4].link is None and found[5].classic in writer.members
    writer.abort()


# --- beside the machine ---


@pytest.mark.live
def test_verify(fds: list[int], tmp_path: Path) -> None:
    """The same; then a value is another one; then nothing is there."""
    map_id = make(fds, MapType.HASH)
    id = load(fds, lookup_code(fds[0]))
    path = str(tmp_path / "x.bpfsnap")
    save([f"id:{id}"], path, SaveOptions(deep=False))
    objects = (f"{id} bl_scope", f"{map_id} bl_scope")

    def statuses() -> dict[str, str]:
        return {change.kind: change.status for change in verify_file(path) if change.object.startswith(objects)}

    assert statuses() == {"program": "same", "map": "same"}
    update(fds[0], bytes(4), struct.pack("=Q", 5))
    assert statuses() == {"program": "same", "map": "changed"}
    with Archive(path) as archive:
        assert {change.kind: change.status for change in verify(archive, data=False, new=False)}["map"] == "same"
    close(*reversed(fds))
    fds.clear()
    assert set(statuses().values()) == {"missing"}
