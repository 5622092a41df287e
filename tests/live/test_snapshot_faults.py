"""Every single system call of a save and of a restore fails once, and the process is killed at every step: nothing half-made stays.

The faults come from kernel/sys/faults.py (bpf(2), netlink, the journal), and from a tracer that knows every system call of the process
(syscall_faults.py, fault_scenes.py). Some of them here; all with --slow, and by `python bench/soak_snapshot.py --faults --whole`.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.errors import BpflensError
from bpflens.formats.snapshot.archive import Archive
from bpflens.inventory.walk import collect
from bpflens.kernel.maps.map_data import update
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.sys import faults
from bpflens.kernel.sys.bpf import bpf, cmd
from bpflens.snapshot.restoring.journal import unfinished
from bpflens.snapshot.undo import undo_all
from live.attach_lab import Lab
from live.fault_scenes import FreshRestore, QuiescedSave, ReplacingRestore, attack, faults_of, measure
from live.snapshot_lab import SnapshotLab, id_of, live_ids, pinned_files, remove_pins, snapshot_lab

pytestmark = pytest.mark.live
TESTS = Path(__file__).resolve().parents[1]


class Subject:
    """A snapshot of an XDP program with a map, a tail call, a link and an attachment to a cgroup; none of it is loaded any more."""

    def __init__(self, machine: Lab, lab: SnapshotLab) -> None:
        self.machine, self.lab = machine, lab
        self.cgroup = machine.cgroup("f")
        before, machine.undo = machine.undo, contextlib.ExitStack()
        with machine.undo:
            self.targets = self.attach()
            self.saved = lab.save(*self.targets, hashes=False)
            self.count_of_save = self.save_steps()
            with machine.inside("a"):
                machine.run("ip", "link", "set", "dev", "v1", "xdpgeneric", "off")
        machine.undo = before
        remove_pins(f"{lab.prefix}/then")
        lab.unload(self.saved)

    def attach(self) -> list[str]:
        lab, machine = self.lab, self.machine
        counters = lab.fd(create_map(1, 4, 8, 16, name="bl_fault_map"))
        update(counters, bytes(4), bytes(8))
        array = lab.fd(create_map(3, 4, 4, 2, name="bl_fault_jump"))
        code = f"r1 = map[fd:{counters}]\nr1 = map[fd:{array}]\nr0 = 2\nexit"
        from bpflens.isa.extended.asm import assemble
        from bpflens.kernel.programs.load import load_program

        prog = lab.fd(load_program(assemble(code, "kernel"), 6, name="bl_fault_xdp"))
        update(array, bytes(4), prog.to_bytes(4, "little"))
        lab.pin(prog, "xdp")
        lab.pin(array, "jumps")
        with machine.inside("a"):
            machine.run("ip", "link", "set", "dev", "v1", "xdpgeneric", "pinned", f"{lab.prefix}/then/xdp")
        group = machine.fd(os.open(machine.cgroup_mount + self.cgroup, os.O_RDONLY))
        first, first_id = machine.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit", name="bl_fault_cg")
        machine.prog_attach(group, first, "cgroup_inet_egress", 2)
        second, second_id = machine.load("cgroup_skb", "cgroup_inet_ingress", "r0 = 1\nexit", name="bl_fault_ln")
        machine.link(second, group, "cgroup_inet_ingress")
        return [f"pin:{lab.prefix}/then", f"id:{first_id}", f"id:{second_id}", f"map:{id_of(counters)}"]

    def save_steps(self) -> int:
        with faults.counting() as names:
            self.lab.save(*self.targets, hashes=False)
        return len(names)

    def left(self) -> list[object]:
        """Whatever a restore could have left."""
        rows = [
            (row.kind, row.object) for row in collect(lambda family: family.kinds[0] in ("xdp", "cgroup")).rows
            if (row.object == "dev:v1" and row.netns == self.machine.spaces["a"]) or row.object == f"cgroup:{self.cgroup}"
        ]  # fmt: skip
        return [*rows, *pinned_files(self.lab.prefix), *([self.lab.prefix] if os.path.exists(f"{self.lab.prefix}/now") else [])]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    needs.root()
    with Lab() as machine, snapshot_lab(tmp_path_factory.mktemp("faults")) as lab:
        yield Subject(machine, lab)


def test_every_call_of_a_restore_fails_once(subject: Subject, request: pytest.FixtureRequest) -> None:
    with faults.counting() as names:
        subject.lab.restore(subject.saved.path)
    clean(subject)
    assert subject.left() == []
    refused = 0
    numbers = sampled(len(names), request, 10)
    for number in numbers:
        with faults.failing(number):
            try:
                subject.lab.restore(subject.saved.path)
            except (BpflensError, OSError):
                refused += 1
                assert subject.left() == [], (number, names[number - 1])
            else:
                clean(subject)
        assert unfinished() == []
        assert not os.path.exists(f"/run/bpflens/restore-{os.getpid()}.jsonl"), (number, names[number - 1])
    assert refused > len(numbers) // 3


def sampled(count: int, request: pytest.FixtureRequest, some: int) -> range:
    """Every step with --slow, else about `some` of them, which move from day to day."""
    if request.config.getoption("--slow"):
        return range(1, count + 1)
    step = max(1, count // some)
    return range(1 + int(time.time() // 86400) % step, count + 1, step)


def clean(subject: Subject) -> None:
    """Take a successful restore away."""
    remove_pins(f"{subject.lab.prefix}/now")
    with subject.machine.inside("a"):
        subject.machine.run("ip", "link", "set", "dev", "v1", "xdpgeneric", "off")
    for row in collect(lambda family: family.kinds[0] == "cgroup").rows:
        if row.object == f"cgroup:{subject.cgroup}" and "link" not in row.details:
            from bpflens.snapshot.restoring.journal import undo_record

            path = subject.machine.cgroup_mount + subject.cgroup
            undo_record({"do": "attach", "type": 1, "program": row.prog_id, "path": path})


KILLED = """
import sys
from pathlib import Path
from bpflens.kernel.sys import faults
from live.snapshot_lab import SnapshotLab
lab = SnapshotLab(Path(sys.argv[1]))
lab.prefix = sys.argv[2]
with faults.killing(int(sys.argv[4])):
    lab.restore(sys.argv[3])
"""


def test_killed_restores_are_undone(subject: Subject, request: pytest.FixtureRequest) -> None:
    """Killed at many steps: what stays is undone by `restore --undo`, and only by that for attachments without a link."""
    with faults.counting() as names:
        subject.lab.restore(subject.saved.path)
    clean(subject)
    first = next(number for number, name in enumerate(names) if name == "journal")
    stayed = 0
    for number in [1, first, *(first + step for step in sampled(len(names) - first, request, 2))]:
        arguments = [str(subject.lab.dir), subject.lab.prefix, subject.saved.path, str(number)]
        done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True)
        assert done.returncode == -9, done.stderr.decode()
        stayed += bool(subject.left())
        undo_all()
        assert subject.left() == [], names[number - 1]
        assert unfinished() == []
    assert stayed


def test_every_call_of_a_save_fails_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The file is whole or absent; what is missing in it is said."""
    with snapshot_lab(tmp_path) as lab:
        fd = lab.fd(create_map(1, 4, 8, 16, name="bl_fault_save"))
        update(fd, bytes(4), bytes(8))
        target = f"map:{id_of(fd)}"
        with faults.counting() as names:
            lab.save(target, hashes=False)
        files = set(tmp_path.iterdir())
        for number in sampled(len(names), request, 6):
            with faults.failing(number), contextlib.suppress(BpflensError, OSError):
                lab.save(target, hashes=False)
            for path in set(tmp_path.iterdir()) - files:
                with Archive(str(path)) as archive:
                    archive.check()
                    whole = archive.manifest.maps and archive.manifest.maps[0].data
                    assert whole or archive.manifest.incomplete or archive.manifest.maps[0].why_no_data, names[number - 1]
                path.unlink()


def test_a_killed_save_leaves_no_file(tmp_path: Path) -> None:
    with snapshot_lab(tmp_path / "lab") as lab:
        os.mkdir(tmp_path / "lab")
        fd = lab.fd(create_map(2, 4, 8, 16, name="bl_fault_kill"))
        code = "import sys\nfrom bpflens.kernel.sys import faults\nfrom bpflens.snapshot.save import save\n"
        code += "with faults.killing(int(sys.argv[3])): save([sys.argv[1]], sys.argv[2])"
        for number in (5, 60):
            arguments = [f"map:{id_of(fd)}", str(tmp_path / "lab" / "x.bpfsnap"), str(number)]
            done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
            assert done.returncode == -9, done.stderr
            assert list((tmp_path / "lab").iterdir()) == []


def test_a_killed_quiesce_is_undone(subject: Subject, tmp_path: Path) -> None:
    """The stub is in place when the process is killed; undo puts the program back."""
    machine = subject.machine
    group = machine.fd(os.open(machine.cgroup_mount + subject.cgroup, os.O_RDONLY))
    prog, id = machine.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit", name="bl_quiesce")
    link = machine.link(prog, group, "cgroup_inet_egress")
    from bpflens.kernel.attachments.links import link_by_fd

    code = """
import os, signal, sys
import bpflens.snapshot.save as save
import bpflens.snapshot.taking.quiesce as quiesce
quiesce.undo = lambda directory: os.kill(os.getpid(), signal.SIGKILL)
save.save([sys.argv[1]], sys.argv[2], save.SaveOptions(quiesce=True))
"""
    done = subprocess.run([sys.executable, "-c", code, f"id:{id}", str(tmp_path / "x")], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert link_by_fd(link).prog_id != id

    said = undo_all()

    assert link_by_fd(link).prog_id == id
    assert any("has its program again" in text for text in said)
    assert not list(tmp_path.iterdir())
    bpf(cmd.LINK_DETACH, struct.pack("<I", link))  # the next tests ask what is attached there


def test_ids_are_not_leaked(subject: Subject) -> None:
    """A restore that is refused leaves no program and no map of its own."""
    _, maps = live_ids()
    with faults.failing(60), contextlib.suppress(BpflensError, OSError):
        subject.lab.restore(subject.saved.path)
    clean(subject)
    from bpflens.kernel.maps.maps import read_map_info

    def ours() -> list[str]:
        new = []
        for id in live_ids()[1] - maps:
            with contextlib.suppress(BpflensError):
                new.append(read_map_info(id, types=False).name)
        return [name for name in new if name.startswith("bl_fault")]

    end = time.monotonic() + 10  # the kernel frees maps some time after the last reference is gone
    while ours() and time.monotonic() < end:
        time.sleep(0.1)
    assert ours() == []


@pytest.mark.parametrize("kind", [FreshRestore, ReplacingRestore, QuiescedSave])
def test_any_system_call_fails_or_is_the_last(
    kind: type[FreshRestore] | type[QuiescedSave], subject: Subject, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with snapshot_lab(tmp_path) as lab:
        scene = kind(subject.machine, lab, kind.__name__)
        try:
            outcome, before, after = measure(scene)
            assert {"bpf", "openat", "write"} <= set(outcome.calls)
            plan = faults_of(outcome.calls)
            chosen = plan if request.config.getoption("--slow") else random.Random(time.time() // 86400).sample(plan, 4)
            for number, errno, kill in chosen:
                attack(scene, number, errno, kill, before, after)
        finally:
            scene.objects.take_away()
