"""Plans: where pins go, what is left out and why; no kernel object is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpflens.errors import UsageError
from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.formats.snapshot.manifest import (
    SCHEMA,
    Manifest,
    SavedAttachment,
    SavedData,
    SavedHolder,
    SavedInner,
    SavedKernel,
    SavedMap,
    SavedPin,
    SavedProgram,
    SavedTarget,
)  # fmt: skip
from bpflens.snapshot.restoring.options import RestoreOptions, pin_path
from bpflens.snapshot.restoring.plan import Plan, make_plan
from bpflens.snapshot.restoring.rules import missing_capabilities

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def plan_of(path: Path, options: RestoreOptions | None = None, elements: bytes = b"", **parts: object) -> Plan:
    writer = ArchiveWriter(str(path))
    writer.add("programs/12/original.bin", RETURN_0)
    writer.add("maps/3/data.bin", elements)
    kernel = SavedKernel("6.18.0", "#1", "x86_64", "little", 2)
    writer.commit(Manifest(SCHEMA, "test", "", kernel, members=writer.members, **parts))  # type: ignore[arg-type]
    with Archive(str(path)) as archive:
        return make_plan(archive, options or RestoreOptions())


def program(id: int, **more: object) -> SavedProgram:
    made: dict[str, object] = {"grade": "exact", "original": "programs/12/original.bin", **more}
    return SavedProgram(id, f"prog{id}", 3, "sched_cls", f"{id:016x}", reason="", insns=2, license="GPL", **made)  # type: ignore[arg-type]


def hash_map(id: int, **more: object) -> SavedMap:
    return SavedMap(id, f"map{id}", 1, "hash", 4, 8, 16, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("/sys/fs/bpf/x/y", None, "/sys/fs/bpf/x/y"),
        ("/sys/fs/bpf/x/y", "/sys/fs/bpf/copy", "/sys/fs/bpf/copy/x/y"),
        ("/run/cilium/bpffs/a", "/sys/fs/bpf/copy", "/sys/fs/bpf/copy/run/cilium/bpffs/a"),
        ("/proc/812/root/sys/fs/bpf/z", None, "/sys/fs/bpf/z"),
        ("../../etc/cron.d/x", "/sys/fs/bpf/copy", "/sys/fs/bpf/copy/etc/cron.d/x"),
        ("/sys/fs/bpf/../../../etc/x", "/sys/fs/bpf/copy", "/sys/fs/bpf/copy/etc/x"),
    ],
)
def test_pins_stay_below_the_prefix(path: str, prefix: str | None, expected: str) -> None:
    assert pin_path(path, RestoreOptions(pin_prefix=prefix)) == expected


def test_the_order(tmp_path: Path) -> None:
    outer = SavedMap(1, "outer", 12, "array_of_maps", 4, 4, 2, inner=SavedInner(1, 4, 8, 16))
    extension = program(10, target=SavedTarget("f", "", 11))
    plan = plan_of(tmp_path / "x", programs=(extension, program(11)), maps=(outer, hash_map(2)))
    assert [(step.action, step.id) for step in plan.steps if step.action in ("map", "program")] == [
        ("map", 2), ("map", 1), ("program", 11), ("program", 10)
    ]  # fmt: skip


def test_what_only_a_process_held_is_pinned(tmp_path: Path) -> None:
    held = hash_map(2, holders=(SavedHolder(1, "agent", 3),))
    pinned = program(11, pins=(SavedPin("/sys/fs/bpf/nosuch/p"),))
    plan = plan_of(tmp_path / "x", programs=(program(10, maps=(3,)), pinned), maps=(held, hash_map(3)))
    pins = {(step.kind, step.id): step.path for step in plan.steps if step.action == "pin"}
    assert pins[("prog", 11)] == "/sys/fs/bpf/nosuch/p"
    assert pins[("map", 2)].startswith("/sys/fs/bpf/bpflens-")
    assert pins[("prog", 10)].startswith("/sys/fs/bpf/bpflens-")
    assert ("map", 3) not in pins  # its program keeps it


def test_what_stays_away_and_why(tmp_path: Path) -> None:
    frozen = SavedMap(4, "x.rodata", 2, "array", 4, 8, 1, frozen=True, why_no_data="left out on request (--no-data)")
    plan = plan_of(
        tmp_path / "x",
        programs=(program(10, grade="unproven"), program(11, references=((0, 99),)), program(12, maps=(4,)), program(13)),
        maps=(frozen, SavedMap(5, "ring", 27, "ringbuf", 0, 0, 4096), SavedMap(6, "outer", 12, "array_of_maps", 4, 4, 2)),
        attachments=(
            SavedAttachment("xdp/native", "dev:eth0", 10, device="eth0"), SavedAttachment("socket/packet", "sock:7", classic="x"),
            SavedAttachment("lwt", "route:1", 13), SavedAttachment("netfilter", "hook:ip/input", 13, link=3, link_type=10),
        ),
    )  # fmt: skip
    why = {item.object: item.why for item in plan.left_out}
    assert "its original is not known" in why["program 10 prog10 (sched_cls)"]
    assert "uses map 99" in why["program 11 prog11 (sched_cls)"]
    assert "read-only map" in why["program 12 prog12 (sched_cls)"]
    assert "ring buffer" in why["contents of map 5 ring (ringbuf)"]
    assert "inner maps" in why["map 6 outer (array_of_maps)"]
    assert why["xdp/native at dev:eth0"] == "its program is not restored"
    assert "socket" in why["socket/packet at sock:7"]
    assert "route" in why["lwt at route:1"]
    assert "network namespace" in why["netfilter at hook:ip/input"]
    assert plan.programs == (13,)


def test_what_depends_on_what_stays_away(tmp_path: Path) -> None:
    data = SavedData("maps/3/data.bin", "value", 1, 4, 128, "single pass")
    ops = SavedMap(7, "cc", 26, "struct_ops", 4, 128, 1, struct="tcp_congestion_ops", members={"init": 12}, data=data)
    programs = (program(10, target=SavedTarget("f", "", 11)), program(11, target=SavedTarget("g", "", 12)), program(12, grade="unproven"))
    plan = plan_of(tmp_path / "x", programs=programs, maps=(ops,))
    assert (plan.programs, plan.maps) == ((), ())
    assert sorted(item.object for item in plan.left_out) == [
        "map 7 cc (struct_ops)", "program 10 prog10 (sched_cls)", "program 11 prog11 (sched_cls)", "program 12 prog12 (sched_cls)"
    ]  # fmt: skip


def test_only_brings_what_is_needed(tmp_path: Path) -> None:
    data = SavedData("maps/3/data.bin", "records", 1, 4, 4, "single pass", ids_of="programs")
    jumps = SavedMap(3, "jumps", 3, "prog_array", 4, 4, 2, data=data)
    everything = {"programs": (program(10, maps=(3,)), program(11), program(12)), "maps": (jumps, hash_map(5))}
    plan = plan_of(tmp_path / "x", RestoreOptions(only=("prog10",)), bytes(4) + (11).to_bytes(4, "little"), **everything)
    assert (plan.programs, plan.maps) == ((10, 11), (3,))
    with pytest.raises(UsageError, match="names no program or map"):
        plan_of(tmp_path / "y", RestoreOptions(only=("nosuch",)), bytes(8), **everything)


def attached(**more: object) -> SavedAttachment:
    more = {"netns": 5, **more}
    return SavedAttachment("xdp/generic", "dev:lo", 10, device="lo", link=3, link_type=6, attach_type=37, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attachment", "options", "expected"),
    [
        (attached(), RestoreOptions(devices={"lo": "eth77"}), "xdp/generic at dev:eth77: there is no device eth77 here (--dev OLD=NEW"),
        (attached(netns_name="gone", own_netns=False), RestoreOptions(), "netns:gone: there is no such network namespace (--"),
        (attached(netns_name="old", own_netns=False), RestoreOptions(netns={"old": "nonesuch"}), "netns:nonesuch: there is no such"),
        (attached(own_netns=False), RestoreOptions(netns={"5": "self"}), ""),
        (
            SavedAttachment("cgroup/egress", "cgroup:/x", 10, cgroup="/x", link=3, link_type=3),
            RestoreOptions(cgroups={"/x": "/nosuch/group"}), "cgroup/egress at cgroup:/nosuch/group: there is no such cgroup",
        ),
        (attached(), RestoreOptions(pin_prefix="/tmp/foo"), "pin:/tmp/foo: is not on a BPF filesystem (--pin-prefix"),
        (attached(), RestoreOptions(pin_prefix="/etc/passwd/x"), "pin:/etc/passwd: is not a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_here(tmp_path: Path, attachment: SavedAttachment, options: RestoreOptions, expected: str) -> None:
    plan = plan_of(tmp_path / "x", options, programs=(program(10),), attachments=(attachment,))
    lines = [f"{item.object}: {item.why}" for item in plan.impossible]
    if not expected:
        assert not [line for line in lines if "netns" in line or "device" in line]
        return
    assert [line for line in lines if expected in line], lines
    assert not plan.feasible


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (RestoreOptions(devices={"foo": "bar"}), "it has lo"),
        (RestoreOptions(netns={"foo": "bar"}), "it has blue"),
        (RestoreOptions(cgroups={"foo": "bar"}), "it has no cgroup at all"),
    ],
)
def test_another_name_for_nothing(tmp_path: Path, options: RestoreOptions, hint: str) -> None:
    item = attached(netns_name="blue", own_netns=False)
    with pytest.raises(UsageError, match=r'the snapshot has no .* "foo"') as raised:
        plan_of(tmp_path / "x", options, programs=(program(10),), attachments=(item,))
    assert raised.value.hint == hint


def test_devices_of_elements(tmp_path: Path) -> None:
    data = SavedData("maps/3/data.bin", "records", 1, 4, 4, "single pass", devices={"7": "eth77"})
    devmap = SavedMap(3, "ports", 14, "devmap", 4, 4, 2, data=data)
    plan = plan_of(tmp_path / "x", elements=bytes(8), maps=(devmap,))
    assert [item.object for item in plan.impossible if "eth77" in item.why] == ["map 3 ports"]
    plan = plan_of(tmp_path / "y", RestoreOptions(devices={"eth77": "lo"}), elements=bytes(8), maps=(devmap,))
    assert not [item for item in plan.impossible if "device" in item.why]


def test_capabilities_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(held: set[str], types: set[int]) -> list[str]:
        monkeypatch.setattr("bpflens.snapshot.restoring.rules.effective", lambda: frozenset(held))
        return [name for name, _ in missing_capabilities(types, objects=True, namespaces=True)]

    assert names(set(), {1, 6, 26}) == ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"]
    assert names({"BPF", "NET_ADMIN"}, {6}) == ["CAP_SYS_ADMIN"]
    assert names({"SYS_ADMIN"}, {1, 6, 26}) == []
