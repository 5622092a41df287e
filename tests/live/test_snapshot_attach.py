"""Attachments of every kind that can be restored: attached in the lab, saved, undone, restored; the inventory shows the same rows again."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.walk import collect
from bpflens.kernel.programs.loaded import link_heads
from live.attach_kinds import KINDS
from live.attach_lab import Lab, Lacking
from live.snapshot_lab import SnapshotLab, failures, snapshot_lab

pytestmark = pytest.mark.live

# Kinds whose attachments come back
RESTORED = (
    "tcx", "netkit", "xdp", "tc_extended", "cgroups", "lsm_cgroup", "namespace_programs", "netfilter", "sockmap", "sockmap_link",
    "struct_ops", "tracing", "lsm", "raw_tracepoint", "tp_btf", "perf_link", "uprobe_multi", "kprobe_multi", "iterator",
)  # fmt: skip
# Kinds that belong to sockets and processes, or to tools with files of their own: the plan says why they stay away
REASONS = {"packet": "socket", "seccomp": "process", "tap_filter": "tap device", "lwt": "routes"}
WITHOUT_LINKS = {
    "xdp": ("ip", "link", "set", "dev", "x2", "xdpgeneric", "off"), "tc_extended": ("tc", "qdisc", "del", "dev", "v2", "clsact"),
}  # fmt: skip
STANDING = frozenset({"namespace_programs"})  # a flow dissector without a link stands in the lab's namespace to its end
AFTERWARDS = {
    "xdp": (("ip", "link", "del", "x0"), ("ip", "link", "del", "x2")), "tc_extended": (("tc", "qdisc", "del", "dev", "v2", "clsact"),),
}  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Iterator[Lab]:
    needs.root()
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    with snapshot_lab(tmp_path) as made:
        yield made


@contextlib.contextmanager
def attached(machine: Lab, kind: str) -> Iterator[list[int]]:
    """Programs of a kind, attached for a while: their ids."""
    before, machine.undo = machine.undo, contextlib.ExitStack()
    try:
        with machine.undo:
            try:
                yield [one.prog_id for one in KINDS[kind](machine) if one.prog_id]
            except Lacking as error:
                needs.kernel_feature(False, str(error))
    finally:
        machine.undo = before


def places(rows: list[InventoryRow], programs: set[int]) -> list[tuple[object, ...]]:
    """Kind, object and namespace of rows, in order; numbers of maps are left out."""
    found = []
    for row in rows:
        if row.prog_id in programs and row.kind not in ("pin", "fd", "held"):
            object = row.object.split(" ", 1)[-1] if row.object.startswith("map:") else row.object
            found.append((row.kind, object if not object.startswith("map:") else "map", row.netns))
    return sorted(found, key=str)


@pytest.mark.parametrize("kind", RESTORED)
def test_attachments_come_back(kind: str, machine: Lab, lab: SnapshotLab) -> None:
    kept: list[str] = []
    with attached(machine, kind) as ids:
        saved = lab.save(*(f"id:{id}" for id in ids))
        before = places(collect().rows, set(ids))
        kept = [item.cgroup for item in saved.manifest.attachments if item.cgroup]
        assert before
    with contextlib.ExitStack() as again:
        for path in dict.fromkeys(kept):  # the lab removed them
            os.mkdir(machine.cgroup_mount + path)
            again.callback(os.rmdir, machine.cgroup_mount + path)
        if kind in WITHOUT_LINKS:
            with machine.inside("a"):
                machine.run(*WITHOUT_LINKS[kind])  # what the lab leaves to the end of its namespaces
        for command in AFTERWARDS.get(kind, ()):
            again.callback(machine.run, "ip", "netns", "exec", f"{machine.name}a", *command)

        restored, plan = lab.restore(saved.path, replace=kind in STANDING)

        assert failures(restored) == []
        assert [item for item in plan.left_out if not item.object.startswith("contents")] == []
        after = places(collect().rows, set(restored.programs.values()))
        assert after == before
        _detach(machine, lab, saved.path, restored)


def _detach(machine: Lab, lab: SnapshotLab, path: str, restored: object) -> None:
    """What is not a link does not go with its pin."""
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.snapshot.restore import Restored
    from bpflens.snapshot.restoring.journal import undo_record

    assert isinstance(restored, Restored)
    with Archive(path) as archive:
        for item in archive.manifest.attachments:
            netns = f"/run/netns/{item.netns_name}" if item.netns and not item.own_netns else None
            place = {"netns": netns} if netns else {}
            program = restored.programs.get(item.program or 0)
            if item.link is not None:
                continue
            if item.kind.startswith("cgroup/"):
                path = machine.cgroup_mount + (item.cgroup or "")
                undo_record({"do": "attach", "type": item.attach_type, "program": program, "path": path})
            elif item.kind.startswith("tcx/"):
                import socket

                with machine.inside("a"):
                    index = socket.if_nametoindex(item.device or "")
                undo_record({"do": "attach", "type": item.attach_type, "program": program, "ifindex": index, **place})
            elif item.kind == "flow_dissector":
                undo_record({"do": "attach", "type": 17, "program": program, **place})
            elif item.kind == "struct_ops":
                undo_record({"do": "struct_ops", "map": restored.maps[item.map or 0]})


@pytest.mark.parametrize("kind", REASONS)
def test_the_plan_says_why_others_stay_away(kind: str, machine: Lab, lab: SnapshotLab) -> None:
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.snapshot.restoring.options import RestoreOptions
    from bpflens.snapshot.restoring.plan import make_plan

    before, machine.undo = machine.undo, contextlib.ExitStack()
    try:
        with machine.undo:
            try:
                found = list(KINDS[kind](machine))
            except Lacking as error:
                needs.kernel_feature(False, str(error))
            targets = [f"id:{one.prog_id}" for one in found if one.prog_id] or [one.object for one in found]
            saved = lab.save(*targets)
    finally:
        machine.undo = before
    with Archive(saved.path) as archive:
        plan = make_plan(archive, RestoreOptions())

    assert any(REASONS[kind] in item.why for item in plan.left_out), plan.left_out


@pytest.mark.parametrize("kind", ["tcx", "xdp", "netkit", "cgroups", "sockmap_link", "namespace_programs"])
def test_links_stand_still_and_go_on(kind: str, machine: Lab) -> None:
    """Every link that the kernel updates has a stub meanwhile, and its program afterwards: at the end, or after SIGKILL by the journal."""
    from bpflens.snapshot.save import SaveOptions, save
    from bpflens.snapshot.undo import undo_all

    with attached(machine, kind) as ids:
        links = [link for link, head in link_heads().items() if head.prog_id in ids]
        needs.kernel_feature(bool(links), f"links of kind {kind}")
        before = programs_of(links)
        where = tempfile.mkdtemp()
        pid = os.fork()
        if pid == 0:  # dies with its stubs in place
            import bpflens.snapshot.taking.quiesce as quiesce

            quiesce.undo = lambda directory: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,return-value]
            try:
                save([f"id:{id}" for id in ids], f"{where}/x", SaveOptions(quiesce=True, hashes=False))
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        assert os.listdir(where) == []
        os.rmdir(where)
        stopped = programs_of(links)
        undo_all()
        assert programs_of(links) == before
        assert any(stopped[link] != before[link] for link in links), stopped


def programs_of(links: list[int]) -> dict[int, int]:
    """Link -> its program now."""
    heads = link_heads()
    return {link: heads[link].prog_id for link in links}
