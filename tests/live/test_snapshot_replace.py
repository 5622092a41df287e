"""restore over things that are there: what stays without --replace, and what gives way with it, with nothing of the user's lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.isa.extended.asm import assemble
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import link_create, prog_attach
from bpflens.kernel.attachments.attach_netlink import set_xdp
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.descriptors import device_index
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info
from bpflens.snapshot.restore import restore
from bpflens.snapshot.restoring.journal import KEPT, Journal, Record, undo_record
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.plan import make_plan
from live.attach_lab import Lab
from live.fault_scenes import detach, id_of_program
from live.snapshot_lab import SnapshotLab, snapshot_lab

pytestmark = pytest.mark.live
XDP, CGROUP_SKB, XDP_HOOK, EGRESS = 6, 8, 37, 1


@pytest.fixture
def machine() -> Iterator[Lab]:
    needs.root()
    with Lab() as made:
        yield made


@pytest.fixture
def lab(tmp_path: Path, machine: Lab) -> Iterator[SnapshotLab]:
    with snapshot_lab(tmp_path) as made:
        yield made


def xdp(lab: SnapshotLab, name: str) -> int:
    return lab.fd(load_program(assemble(f"r0 = {len(name)}\nr0 = 2\nexit", "kernel"), XDP, name=name))


@contextmanager
def failing_at_the_end() -> Iterator[None]:
    """Everything is done; then the journal cannot say so."""
    write = Journal.write

    def fail(journal: Journal, record: Record) -> None:
        if record["do"] == KEPT:
            raise KernelError(journal.path, "cannot be written: on purpose")
        write(journal, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "write", fail)
        yield


def on_device(machine: Lab) -> str:
    """The name of the XDP program on v1."""
    from bpflens.snapshot.restoring.replacing import xdp_there

    with machine.inside("a"):
        return prog_info(xdp_there(device_index("v1", ""))[0]).name


def saved_link(machine: Lab, lab: SnapshotLab) -> str:
    """A snapshot of an XDP link of v1, which is gone then."""
    program = xdp(lab, "saved_xdp")
    with machine.inside("a"):
        link = lab.fd(link_create(program, device_index("v1", ""), XDP_HOOK))
    lab.pin(link, "link")
    saved = lab.save(f"id:{id_of_program(program)}", hashes=False)
    detach(f"{lab.prefix}/then/link")
    lab.unload(saved)
    return saved.path


def test_an_xdp_link_over_a_program_without_one(machine: Lab, lab: SnapshotLab) -> None:
    path = saved_link(machine, lab)
    with machine.inside("a"):
        set_xdp(device_index("v1", ""), xdp(lab, "users_xdp"), "native")
    with pytest.raises(KernelError, match=r"xdp/native at dev:v1 exists"):
        lab.restore(path)
    assert on_device(machine) == "users_xdp"

    restored, plan = lab.restore(path, replace=True)

    assert plan.replaced[0].there.startswith("program ")
    assert on_device(machine) == "saved_xdp"
    assert any("was taken off before the link took its place" in note for note in restored.notes)
    detach(restored.pins[0])
    os.unlink(restored.pins[0])
    with machine.inside("a"):
        set_xdp(device_index("v1", ""), xdp(lab, "users_xdp"), "native")
    with failing_at_the_end(), pytest.raises(KernelError):
        lab.restore(path, replace=True)
    assert on_device(machine) == "users_xdp"
    with machine.inside("a"):
        set_xdp(device_index("v1", ""), -1, "native")


def test_an_xdp_link_over_another_link(machine: Lab, lab: SnapshotLab) -> None:
    """The link of the user stays and gets the restored program: there is no moment without a program."""
    path = saved_link(machine, lab)
    with machine.inside("a"):
        users = lab.fd(link_create(xdp(lab, "users_xdp"), device_index("v1", ""), XDP_HOOK))

    restored, plan = lab.restore(path, replace=True)

    assert "link" in plan.replaced[0].there
    assert on_device(machine) == "saved_xdp"
    assert list(restored.links.values()) == [link_by_fd(users).id]
    detach(restored.pins[0])


def test_a_program_of_a_cgroup_is_not_replaced_unasked(machine: Lab, lab: SnapshotLab) -> None:
    """BPF_PROG_ATTACH without "multi" exchanges the program without a word (kernel/bpf/cgroup.c)."""
    cgroup = machine.cgroup("r")
    group = machine.fd(os.open(machine.cgroup_mount + cgroup, os.O_RDONLY))
    code = assemble("r0 = 1\nexit", "kernel")
    first = lab.fd(load_program(code, CGROUP_SKB, name="saved_cg", expected_attach_type=EGRESS))
    prog_attach(group, first, EGRESS)
    saved = lab.save(f"cgroup:{cgroup}", hashes=False)
    prog_attach(group, lab.fd(load_program(code, CGROUP_SKB, name="users_cg", expected_attach_type=EGRESS)), EGRESS)

    with pytest.raises(KernelError, match=r"cgroup/inet_egress at cgroup:.* exists"):
        lab.restore(saved.path)
    assert prog_info(query(group, EGRESS).ids[0]).name == "users_cg"

    lab.restore(saved.path, replace=True)
    assert prog_info(query(group, EGRESS).ids[0]).name == "saved_cg"
    assert not [name for name in os.listdir("/sys/fs/bpf") if name.startswith(f"bpflens-old-{os.getpid()}-")]


def test_a_pin_that_is_replaced_is_never_missing(lab: SnapshotLab) -> None:
    """The pin is exchanged at once (rename); in a failure the former file comes back, with its inode."""
    program = xdp(lab, "saved_xdp")
    path = lab.pin(program, "prog")
    saved = lab.save(f"pin:{path}", hashes=False)
    before = pins.pinned_object(path)
    lab.restore(saved.path, replace=True, pin_prefix=None)
    assert pins.pinned_object(path) != before
    os.unlink(path)
    pins.pin(program, path)
    inode = os.stat(path).st_ino
    with failing_at_the_end(), pytest.raises(KernelError):
        lab.restore(saved.path, replace=True, pin_prefix=None)
    assert (os.stat(path).st_ino, pins.pinned_object(path)) == (inode, before)
    assert os.listdir(os.path.dirname(path)) == ["prog"]


def test_a_pin_that_cannot_be_looked_at_is_not_removed(lab: SnapshotLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at the path is the user's, whatever one look at it says: found by a fault in newfstatat."""
    path = lab.pin(xdp(lab, "saved_xdp"), "prog")
    saved = lab.save(f"pin:{path}", hashes=False)
    before, look = pins.pinned_object(path), os.lstat
    with Archive(saved.path) as archive:
        options = RestoreOptions(replace=True)
        plan = make_plan(archive, options)

        def failing(name: str, **more: int | None) -> os.stat_result:
            if name == path:
                raise OSError(5, "Input/output error")
            return look(name, **more)

        monkeypatch.setattr(os, "lstat", failing)
        with pytest.raises(KernelError, match="cannot be looked at"):
            restore(archive, plan, options)
    monkeypatch.undo()
    assert pins.pinned_object(path) == before
    assert undo_record({"do": "pin", "path": path, "object": ["prog", 1 << 30]}) == ""
    assert pins.pinned_object(path) == before
