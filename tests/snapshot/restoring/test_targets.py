"""The places of a plan: names that the options give, what is at paths and hooks, and attachments made there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens.errors import InputError, KernelError, UsageError
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedAttachment, SavedPin
from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType
from bpflens.kernel.attachments.attach_netlink import TcFilter, add_clsact, add_filter, filter_at
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.network.devices import devices
from bpflens.kernel.pins import pin
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys import syscalls
from bpflens.snapshot.restoring.attach import attach, occupied, place
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.steps import Conflict, LeftOut, Plan, Step
from bpflens.snapshot.restoring.targets import check_names, look, same_pin
from snapshot.made import KERNEL, archive, data, map, program

RETURN_2 = bytes.fromhex("b700000002000000 9500000000000000")
DIRECTORY = f"/sys/fs/bpf/bl_targets{os.getpid()}"
LO = 1


def manifest(**parts: object) -> Manifest:
    return Manifest(SCHEMA, "test", "", KERNEL, **parts)  # type: ignore[arg-type]


def plan(*steps: Step, **parts: object) -> Plan:
    return Plan(tuple(steps), (), (), **{"maps": (), "attachments": (), **parts})  # type: ignore[arg-type]


# --- names ---


def test_names_that_the_snapshot_has() -> None:
    """Of attachments, of elements of maps, of namespaces by name and number."""
    devmap = map(1, MapType.DEVMAP, data=data(1, "records", 1, 4, 8, devices={"5": "eth1"}, netns=18, netns_name="red"))
    cgroups = map(2, MapType.CGROUP_ARRAY, data=data(2, "records", 1, 4, 8, devices={"9": "/web"}))
    attachments = (
        SavedAttachment("xdp", "dev:eth0", 12, device="eth0", netns=17), SavedAttachment("cgroup/device", "cgroup:/a", 12, cgroup="/a"),
    )  # fmt: skip
    found = manifest(maps=(devmap, cgroups), attachments=attachments)
    spaces = {"17": "z", "red": "z", "18": "z"}
    check_names(found, RestoreOptions(devices={"eth0": "x", "eth1": "y"}, cgroups={"/a": "/b", "/web": "/c"}, netns=spaces))
    for options, message, hint in (
        (RestoreOptions(devices={"eth2": "x"}), 'no network device "eth2"', "it has eth0, eth1"),
        (RestoreOptions(cgroups={"/x": "x"}), 'no cgroup "/x"', "it has /a, /web"),
        (RestoreOptions(netns={"blue": "x"}), 'no network namespace "blue"', "it has 17, red"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            check_names(found, options)
        assert caught.value.hint == hint
    with pytest.raises(UsageError) as caught:
        check_names(manifest(), RestoreOptions(devices={"eth2": "x"}))
    assert caught.value.hint == "it has no network device at all"
    many = tuple(SavedAttachment("xdp", "", 12, device=f"eth{number}") for number in range(10))
    with pytest.raises(UsageError) as caught:
        check_names(manifest(attachments=many), RestoreOptions(devices={"x": "y"}))
    assert caught.value.hint is not None and caught.value.hint.endswith("eth7 and 2 more")


def test_what_a_plan_is_good_for() -> None:
    assert plan().feasible
    assert not plan(conflicts=(Conflict("/x", "", ()),)).feasible and not plan(impossible=(LeftOut("map 1", "why"),)).feasible
    assert plan(replaced=(Conflict("/x", "", ()),), unseen=("x",), needs=(("CAP_BPF", "x"),)).feasible


def test_objects_as_they_are_called_now() -> None:
    options = RestoreOptions(devices={"eth0": "eth9"}, cgroups={"/a": "/b"})
    assert place(options, SavedAttachment("xdp", "dev:eth0", 1, device="eth0")) == "dev:eth9"
    assert place(options, SavedAttachment("xdp", "dev:eth1", 1, device="eth1")) == "dev:eth1"
    assert place(options, SavedAttachment("cgroup/device", "cgroup:/a", 1, cgroup="/a")) == "cgroup:/b"
    assert place(options, SavedAttachment("iter", "task", 1)) == "task"


# --- paths ---


@pytest.fixture
def bpffs() -> Iterator[str]:
    """A directory of the BPF filesystem with a pinned map in it."""
    os.mkdir(DIRECTORY)
    fd = create_map(MapType.HASH, 4, 8, 16)
    pin(fd, f"{DIRECTORY}/map")
    close(fd)
    yield DIRECTORY
    os.unlink(f"{DIRECTORY}/map")
    os.rmdir(DIRECTORY)


def pinning(path: str, kind: str = "map", id: int = 1) -> Step:
    return Step("pin", id, "", path, kind)


@pytest.mark.live
def test_what_is_at_the_paths(bpffs: str, tmp_path: Path) -> None:
    """Something pinned, with what helps; a directory; no BPF filesystem; a file in the way of a directory."""
    saved = manifest(maps=(map(1, pins=(SavedPin(f"{bpffs}/map"),)),))
    free, taken = pinning(f"{bpffs}/new"), pinning(f"{bpffs}/map")
    assert look(plan(free), saved, RestoreOptions()).feasible
    (conflict,) = look(plan(free, taken), saved, RestoreOptions()).conflicts
    assert conflict.path == f"{bpffs}/map" and conflict.there.startswith("map ")
    assert conflict.helps == ("--reuse-maps", "--replace", "--pin-prefix")
    (other,) = look(plan(pinning(f"{bpffs}/map", "prog")), saved, RestoreOptions()).conflicts
    assert other.helps == ("--replace", "--pin-prefix"), "a program cannot use a map"
    found = look(plan(taken), saved, RestoreOptions(replace=True))
    assert found.feasible and [one.path for one in found.replaced] == [f"{bpffs}/map"]
    for path, why in (
        (bpffs, "is a directory"), (str(tmp_path / "x"), "is not on a BPF filesystem"), (f"{bpffs}/map/deep/x", "is not a directory"),
    ):  # fmt: skip
        (impossible,) = look(plan(pinning(path)), saved, RestoreOptions()).impossible
        assert impossible.why == f"{why} (--pin-prefix DIR pins elsewhere)"


@pytest.mark.live
def test_maps_that_are_to_be_used(bpffs: str) -> None:
    saved = manifest(maps=(map(1), map(2, entries=99)))
    path = f"{bpffs}/map"
    assert look(plan(reused=((1, path),)), saved, RestoreOptions()).feasible
    (impossible,) = look(plan(reused=((2, path),)), saved, RestoreOptions()).impossible
    assert impossible.object == "map 2 map2" and "is a map of another shape" in impossible.why
    assert same_pin(path, path) and not same_pin(path, f"{bpffs}/nothing") and not same_pin(f"{bpffs}/nothing", path)


# --- hooks ---


@pytest.fixture
def own_netns() -> Iterator[None]:
    """The calling thread in a new network namespace."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(0x40000000)
        yield
        syscalls.setns(back, 0x40000000)
    finally:
        os.close(back)


@pytest.fixture
def fds() -> Iterator[list[int]]:
    """Descriptors of programs by type; closed after the test."""
    kept: list[int] = []
    yield kept
    close(*kept)


def load(fds: list[int], type: int, **options: int) -> int:
    fds.append(load_program(RETURN_2, type, name="bl_targets", **options))  # type: ignore[arg-type]
    return fds[-1]


@pytest.mark.live
def test_devices_cgroups_and_namespaces_that_are_not_there(own_netns: None) -> None:
    attachments = (
        SavedAttachment("xdp/generic", "dev:nosuch0", 12, device="nosuch0"),
        SavedAttachment("cgroup/device", "cgroup:/nosuch", 12, cgroup="/nosuch", attach_type=AttachType.CGROUP_DEVICE),
        SavedAttachment("tcx/ingress", "dev:lo", 12, device="lo", netns=17, netns_name="nosuch", own_netns=False),
        SavedAttachment("xdp/generic", "dev:lo", 12, device="lo"),
    )
    devmap = map(1, MapType.DEVMAP, data=data(1, "records", 1, 4, 8, ids_of="device", devices={"5": "nosuch1"}))
    found = look(plan(attachments=(0, 1, 2, 3), maps=(1,)), manifest(attachments=attachments, maps=(devmap,)), RestoreOptions())
    assert [item.object for item in found.impossible] == [
        "xdp/generic at dev:nosuch0", "cgroup/device at cgroup:/nosuch", "tcx/ingress at dev:lo", "map 1 map1",
    ]  # fmt: skip
    assert "there is no device nosuch0 here" in found.impossible[0].why and "nosuch1" in found.impossible[3].why


@pytest.mark.live
def test_a_classifier_is_put_back_where_it_was(own_netns: None, tmp_path: Path, fds: list[int]) -> None:
    """With its clsact; undone with the maker. A filter in its place is seen before, and refused."""
    details = {"parent": "ingress", "chain": 0, "prio": 7, "handle": 2, "protocol": "0x0800", "name": "mine", "direct_action": True}
    saved = SavedAttachment("tc/ingress", "dev:lo", 12, device="lo", details=details)
    filter = TcFilter("ingress", 7, 2, 0x0800, name="mine", direct_action=True)
    with archive(tmp_path / "x", attachments=(saved,), programs=(program(12, ProgType.SCHED_CLS),)) as opened:
        maker = Maker(opened, RestoreOptions())
        with pytest.raises(KernelError, match="its program is not restored"):
            attach(maker, 0)
        maker.programs[12] = maker.own(load_program(RETURN_2, ProgType.SCHED_CLS))
        assert occupied(LO, saved) == ""
        attach(maker, 0)
        assert filter_at(LO, filter) is not None and occupied(LO, saved) == "a filter"
        with pytest.raises(KernelError, match="tc/ingress at dev:lo: cannot attach: File exists") as caught:
            attach(maker, 0)
        assert caught.value.hint == "--replace puts the restored program in its place"
        maker.close()
        assert filter_at(LO, filter) is None
    add_clsact(LO)
    add_filter(LO, filter, load(fds, ProgType.SCHED_CLS))
    found = look(plan(attachments=(0,)), manifest(attachments=(saved,)), RestoreOptions())
    assert [(conflict.path, conflict.there) for conflict in found.conflicts] == [("tc/ingress at dev:lo", "a filter")]


@pytest.mark.live
def test_xdp(own_netns: None, tmp_path: Path) -> None:
    saved = SavedAttachment("xdp/generic", "dev:eth0", 12, device="eth0")
    with archive(tmp_path / "x", attachments=(saved,), programs=(program(12, ProgType.XDP),)) as opened:
        maker = Maker(opened, RestoreOptions(devices={"eth0": "lo"}))
        maker.programs[12] = maker.own(load_program(RETURN_2, ProgType.XDP))
        id = prog_info_by_fd(maker.programs[12]).id
        attach(maker, 0)
        assert [device.xdp for device in devices() if device.ifindex == LO] == [(("generic", id),)]
        assert occupied(LO, saved) == f"program {id}"
        maker.close()
    assert [device.xdp for device in devices() if device.ifindex == LO] == [()]


@pytest.mark.live
def test_links(own_netns: None, tmp_path: Path) -> None:
    """Of a namespace and of an iterator over a map; each is the maker's by its index."""
    attachments = (
        SavedAttachment("flow_dissector", "netns:x", 12, link=5, link_type=LinkType.NETNS, attach_type=AttachType.FLOW_DISSECTOR),
        SavedAttachment("iter", "bpf_map_elem of map:7", 13, link=6, link_type=LinkType.ITER, details={"map_id": 7}),
    )
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux

    with archive(tmp_path / "x", attachments=attachments, maps=(map(7),)) as opened:
        maker = Maker(opened, RestoreOptions())
        maker.programs[12] = maker.own(load_program(bytes.fromhex("b700000000000000 9500000000000000"), ProgType.FLOW_DISSECTOR))
        function = vmlinux().find("bpf_iter_bpf_map_elem", Kind.FUNC) or 0
        code = bytes.fromhex("b700000000000000 9500000000000000")
        tracing = load_program(code, ProgType.TRACING, expected_attach_type=AttachType.TRACE_ITER, attach_btf_id=function)
        maker.programs[13] = maker.own(tracing)
        with pytest.raises(KernelError, match="it goes over map 7, which is not restored"):
            attach(maker, 1)
        maker.maps[7] = maker.own(create_map(MapType.HASH, 4, 8, 16))
        attach(maker, 0)
        attach(maker, 1)
        assert [link_by_fd(maker.links[index]).type for index in (0, 1)] == [LinkType.NETNS, LinkType.ITER]
        assert link_by_fd(maker.links[1]).facts["map_id"] == map_by_fd(maker.maps[7], types=False).id
        maker.close()


@pytest.mark.live
def test_a_program_on_a_sockmap(tmp_path: Path) -> None:
    saved = SavedAttachment("sockmap/skb_stream_verdict", "map:7", 12, map=7, attach_type=AttachType.SK_SKB_STREAM_VERDICT)
    with archive(tmp_path / "x", attachments=(saved, SavedAttachment("unheard/of", "x", 12))) as opened:
        maker = Maker(opened, RestoreOptions())
        maker.programs[12] = maker.own(load_program(bytes.fromhex("b700000001000000 9500000000000000"), ProgType.SK_SKB))
        with pytest.raises(KernelError, match="its map is not restored"):
            attach(maker, 0)
        maker.maps[7] = maker.own(create_map(MapType.SOCKMAP, 4, 4, 1))
        attach(maker, 0)
        assert query(maker.maps[7], AttachType.SK_SKB_STREAM_VERDICT).ids == (prog_info_by_fd(maker.programs[12]).id,)
        with pytest.raises(InputError, match="this kind cannot be attached without a link"):
            attach(maker, 1)
        maker.close()
