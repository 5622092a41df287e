"""What faults are tried on: a thing that is done, the state before it, and how everything is as before again.

    attack(scene, 17, errno=28)      the 17th system call fails: the scene is as it was before, or everything was done
    attack(scene, 17, kill=True)     killed there: after `restore --undo` it is as before, or as after

`FreshRestore`: a restore where nothing is. `ReplacingRestore`: with --replace, where other programs of the user stand in every place.
`QuiescedSave`: a save that stops programs and processes meanwhile, over an older file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from typing import Protocol

from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.inventory.walk import collect
from bpflens.isa.extended.asm import assemble
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import prog_detach
from bpflens.kernel.attachments.attach_netlink import TcFilter, add_clsact, add_filter, delete_clsact, set_xdp
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.descriptors import device_index, program_fd
from bpflens.kernel.maps.map_data import items, update
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info
from bpflens.kernel.sys import procfs
from bpflens.snapshot.restore import restore_file
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.save import SaveOptions, save
from bpflens.snapshot.undo import undo_all
from live.attach_lab import Lab
from live.snapshot_lab import SnapshotLab, id_of, remove_pins
from live.syscall_faults import REFUSED, TRACEBACK, Outcome, run_with_fault

State = list[str]
_XDP, _SCHED_CLS, _CGROUP_SKB = 6, 3, 8
_INGRESS, _EGRESS = 0, 1


class Scene(Protocol):
    """`run` is what faults are tried on, from the first object of `begin` on; `reset`: from after it to before it."""

    name: str
    begin: type | None

    def run(self) -> object: ...
    def state(self) -> State: ...
    def reset(self) -> None: ...


def measure(scene: Scene) -> tuple[Outcome, State, State]:
    """(a run without a fault, the state before, the state after)."""
    before = scene.state()
    outcome = run_with_fault(scene.run, begin=scene.begin)
    after = scene.state()
    assert outcome.code == 0 and before != after, outcome.code
    scene.reset()
    assert scene.state() == before
    return outcome, before, after


def attack(scene: Scene, number: int, errno: int, kill: bool, before: State, after: State) -> int:
    """One fault; the child's code."""
    outcome = run_with_fault(scene.run, number, errno, kill, scene.begin)
    where = f"{scene.name}: call {number} {outcome.calls[number - 1 : number]}, {'killed' if kill else f'errno {errno}'}: {outcome.code}"
    assert outcome.code != TRACEBACK, where
    said = undo_all() if kill or outcome.code == 0 else []
    now = scene.state()
    if outcome.code == 0 or (kill and now == after):
        assert now == after, (where, said, now)
        scene.reset()
        now = scene.state()
    assert now == before, (where, said, now)
    assert leftovers() == [], where
    return outcome.code


def leftovers() -> list[str]:
    """Journals, and what was put aside, of processes that have ended."""
    names = [*(os.listdir("/run/bpflens") if os.path.isdir("/run/bpflens") else ()), *os.listdir("/sys/fs/bpf")]
    found = [(name, re.match(r"(?:restore|bpflens-old|bpflens-quiesce)-(\d+)", name)) for name in names]
    return [name for name, pid in found if pid and not os.path.exists(f"/proc/{pid[1]}")]


class _Objects:
    """Programs, a map, pins and attachments in every place that a restore writes; told apart by `word` in their names."""

    def __init__(self, machine: Lab, lab: SnapshotLab, cgroup: str, pin_directory: str) -> None:
        self.machine, self.lab, self.cgroup, self.pins = machine, lab, cgroup, pin_directory
        self.filter = TcFilter("ingress", 7, 1, name="bl_fault", direct_action=True)

    def make(self, word: str) -> list[str]:
        """Everything attached and pinned; nothing is held by a descriptor. The targets of a save."""
        number = len(word)  # another program for another word
        counters, array = create_map(1, 4, 8, 16, name="bl_count"), create_map(3, 4, 4, 2, name="bl_jump")
        update(counters, bytes(4), word.encode().ljust(8, b"\0"))
        code = f"r1 = map[fd:{counters}]\nr1 = map[fd:{array}]\nr0 = 2\nr0 = {number}\nr0 = 2\nexit"
        xdp = load_program(assemble(code, "kernel"), _XDP, name=f"{word}_xdp")
        tc = self._load(_SCHED_CLS, f"r0 = {number}\nr0 = 0\nexit", f"{word}_tc")
        alone = self._load(_CGROUP_SKB, f"r0 = {number}\nr0 = 1\nexit", f"{word}_alone", _EGRESS)
        linked = self._load(_CGROUP_SKB, f"r1 = {number}\nr0 = 1\nexit", f"{word}_link", _INGRESS)
        update(array, bytes(4), xdp.to_bytes(4, "little"))
        os.makedirs(self.pins, exist_ok=True)
        pins.pin(counters, f"{self.pins}/counters")
        pins.pin(array, f"{self.pins}/jumps")
        group = os.open(self.machine.cgroup_mount + self.cgroup, os.O_RDONLY)
        from bpflens.kernel.attachments.attach import link_create, prog_attach

        prog_attach(group, alone, _EGRESS)
        link = link_create(linked, group, _INGRESS)
        pins.pin(link, f"{self.pins}/link")
        with self.machine.inside("a"):
            index = device_index("v1", "")
            set_xdp(index, xdp, "generic")
            add_clsact(index)
            add_filter(index, self.filter, tc)
        targets = [f"pin:{self.pins}", *(f"id:{id_of_program(fd)}" for fd in (xdp, tc, alone, linked)), f"map:{id_of(counters)}"]
        for fd in (counters, array, xdp, tc, alone, linked, group, link):
            os.close(fd)
        return targets

    @staticmethod
    def _load(type: int, text: str, name: str, attach_type: int = 0) -> int:
        return load_program(assemble(text, "kernel"), type, name=name, expected_attach_type=attach_type)

    def take_away(self) -> None:
        """All of it, whoever made it."""
        group = os.open(self.machine.cgroup_mount + self.cgroup, os.O_RDONLY)
        from bpflens.kernel.attachments.prog_query import query

        if os.path.exists(f"{self.pins}/link"):
            detach(f"{self.pins}/link")
        for id in query(group, _EGRESS).ids:
            fd = program_fd(id)
            prog_detach(group, fd, _EGRESS)
            os.close(fd)
        os.close(group)
        with self.machine.inside("a"):
            index = device_index("v1", "")
            set_xdp(index, -1, "generic")
            try:
                delete_clsact(index)
            except OSError:
                pass
        remove_pins(self.pins)

    def state(self) -> State:
        """What is in each place: names and ids; contents of the pinned map."""
        rows = collect(lambda family: family.kinds[0] in ("xdp", "tc/ingress", "cgroup") or family.kinds[0].startswith("tc")).rows
        here = [
            f"{row.kind} {row.object} {_named(row.prog_id)}" for row in rows
            if (row.object == "dev:v1" and row.netns == self.machine.spaces["a"]) or row.object == f"cgroup:{self.cgroup}"
        ]  # fmt: skip
        for base, directories, files in os.walk(self.lab.prefix):
            here += [f"directory {base}/{name}" for name in directories]
            for name in files:
                found = pins.pinned_object(f"{base}/{name}")
                contents: object = None
                if found and found[0] == "map" and name == "counters":
                    with pins.opened_pin(f"{base}/{name}") as fd:
                        contents = list(items(fd))
                elif found and found[0] == "link":
                    with pins.opened_pin(f"{base}/{name}") as fd:
                        contents = _named(link_by_fd(fd).prog_id)
                here.append(f"pin {base}/{re.sub('[0-9]+', 'N', name)} {found and found[0]} {contents}")
        return sorted(here)


def id_of_program(fd: int) -> int:
    """The id of a program."""
    from bpflens.kernel.programs.prog_info import prog_info_by_fd

    return prog_info_by_fd(fd).id


def _named(id: int | None) -> str:
    """Programs that were there keep their ids; restored ones get new ones, so names tell."""
    return prog_info(id).name if id else "?"


def detach(path: str) -> None:
    """Take the pinned link off."""
    from bpflens.kernel.attachments.attach import link_detach

    with pins.opened_pin(path) as fd:
        link_detach(fd)


class FreshRestore:
    """Nothing is where the snapshot's objects go."""

    name, begin = "restore", None
    replace = False

    def __init__(self, machine: Lab, lab: SnapshotLab, letter: str) -> None:
        self.lab = lab
        self.objects = _Objects(machine, lab, machine.cgroup(letter), f"{lab.prefix}/{letter}")
        saved = lab.save(*self.objects.make("restored"), hashes=False)
        self.path = saved.path
        self.objects.take_away()
        lab.unload(saved)
        self.reset()

    def run(self) -> object:
        return restore_file(self.path, RestoreOptions(replace=self.replace), apply=True)

    def state(self) -> State:
        return self.objects.state()

    def reset(self) -> None:
        self.objects.take_away()


class ReplacingRestore(FreshRestore):
    """The user's programs are there: same devices, cgroup, priority and pins."""

    name = "restore --replace"
    replace = True

    def reset(self) -> None:
        self.objects.take_away()
        self.objects.make("users")


class QuiescedSave:
    """Links have a stub, and a process is frozen, while the file is written; an older file has its name."""

    name, begin = "save --quiesce --freeze", ArchiveWriter

    def __init__(self, machine: Lab, lab: SnapshotLab, letter: str) -> None:
        self.lab = lab
        self.frozen = machine.cgroup(f"{letter}frozen")
        self.directory = machine.cgroup_mount + self.frozen
        sleeper = subprocess.Popen(["sleep", "100000"])

        def end() -> None:
            sleeper.kill()
            sleeper.wait()

        machine.undo.callback(end)
        with open(f"{self.directory}/cgroup.procs", "w") as stream:
            stream.write(str(sleeper.pid))
        self.objects = _Objects(machine, lab, machine.cgroup(letter), f"{lab.prefix}/{letter}")
        self.targets = self.objects.make("users")
        machine.undo.callback(self.objects.take_away)
        self.path = str(lab.dir / "quiesced.bpfsnap")
        self.old = b"an older file"
        save(self.targets, self.path, SaveOptions(hashes=False, reload=False))  # the kernel's symbols and types are read now
        self.reset()

    def run(self) -> object:
        procfs.processes = lambda: [os.getpid()]  # in the child: thousands of calls look for holders, all in the same few lines
        options = SaveOptions(quiesce=True, freeze=(self.frozen,), hashes=False, reload=False)
        return save(self.targets, self.path, options)

    def state(self) -> State:
        with open(f"{self.directory}/cgroup.freeze") as stream:
            frozen = stream.read().strip()
        with open(self.path, "rb") as file:
            content = file.read()
        return [*self.objects.state(), f"frozen {frozen}", f"files {sorted(os.listdir(self.lab.dir))}", self._kind(content)]

    def _kind(self, content: bytes) -> str:
        if content == self.old:
            return "the older file"
        with Archive(self.path) as archive:
            archive.check()
            for map in archive.manifest.maps:
                assert map.data or map.why_no_data or archive.manifest.incomplete
            return "a whole snapshot"

    def reset(self) -> None:
        with open(self.path, "wb") as file:
            file.write(self.old)


def interesting(calls: tuple[str, ...]) -> list[int]:
    """Numbers of all calls; of a long row of the same (a file of the kernel that is read in 1,300 pieces) every 50th between its ends."""
    far = 10
    return [
        number for number in range(1, len(calls) + 1)
        if number % 50 == 0 or number <= far or len(set(calls[number - 1 - far : number + far])) > 1
    ]  # fmt: skip


def faults_of(calls: tuple[str, ...], errnos: tuple[int, ...] = (12, 5)) -> list[tuple[int, int, bool]]:
    """(number, errno, kill): every call with every error and a kill."""
    return [(number, errno, kill) for number in interesting(calls) for errno, kill in (*((errno, False) for errno in errnos), (0, True))]


def ends(codes: Mapping[int, int]) -> str:
    """How runs ended, in words."""
    words = {0: "done nevertheless", REFUSED: "refused", -signal.SIGKILL: "killed"}
    return ", ".join(f"{times} {words.get(code, f'code {code}')}" for code, times in sorted(codes.items()))
